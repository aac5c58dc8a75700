//! Sockeye's servers as its documentation shows them, on tokio's current-thread runtime: the plain echo, or one room in which
//! all hear what anyone says.

use std::error::Error;
use std::fs;

use server_args::{MAX_MESSAGE, ServerArgs, announce};
use sockeye::transport::tls;
use sockeye::{DeflateOptions, Incoming, Prepared, Server, ServerOptions};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

fn main() -> Result<(), Box<dyn Error>> {
    let args = ServerArgs::parse()?;
    ServerArgs::refuse(args.batched, "loop that is batched by hand: the plain one batches")?;
    ServerArgs::refuse(args.threads > 1, "threads")?;
    let mut options = ServerOptions::builder().max_message_size(MAX_MESSAGE);
    if args.deflate {
        options = options.deflate(DeflateOptions::server());
    }
    let options = options.build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut server = Server::bind(args.address(), options).await?;
        if let Some((chain, key)) = &args.tls {
            server = server.with_tls(tls::server_config(&fs::read(chain)?, &fs::read(key)?)?);
        }
        announce(server.local_addr()?)?;
        let room = args.broadcast.then(|| broadcast::channel(ROOM).0);
        for number in 0.. {
            let incoming = server.accept().await?;
            // Each kind in a task of its own: one that could be either would be as large as the larger.
            match &room {
                Some(room) => {
                    let room = room.clone();
                    tokio::spawn(async move { report(attend(incoming, number, room.subscribe(), room).await) });
                }
                None => {
                    tokio::spawn(async move { report(echo(incoming).await) });
                }
            }
        }
        Ok(())
    })
}

type Served = Result<(), Box<dyn Error + Send + Sync>>;

fn report(served: Served) {
    if let Err(error) = served {
        eprintln!("{error}");
    }
}

async fn echo(incoming: Incoming) -> Served {
    let mut ws = incoming.accept().await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Messages that the room keeps for those who are late.
const ROOM: usize = 1024;

/// A message, encoded once for all, and who says it.
type Said = (u64, Prepared);

async fn attend(incoming: Incoming, number: u64, mut hear: Receiver<Said>, room: Sender<Said>) -> Served {
    let mut ws = incoming.accept().await?;
    loop {
        tokio::select! {
            message = ws.recv() => match message? {
                // An error says that nobody hears it.
                Some(message) => drop(room.send((number, Prepared::new(&message)))),
                None => return Ok(()),
            },
            said = hear.recv() => match said {
                Ok((by, message)) if by != number => ws.send_prepared(&message).await?,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}
