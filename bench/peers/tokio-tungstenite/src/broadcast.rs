//! tokio-tungstenite: one room, by a broadcast channel of tokio's, in which all hear what anyone else says.
//!
//! A message's bytes are shared by all who get it. `--batched` gathers what the channel has before it flushes.

use std::{error::Error, io::Write as _, net::Ipv4Addr, process::ExitCode};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};
use tokio_tungstenite::{accept_async, tungstenite::Message};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A message, and which connection says it.
type Said = (u64, Message);

/// Messages that the room keeps for those who are late.
const ROOM: usize = 1024;

fn main() -> ExitCode {
    let Some((port, batched)) = arguments() else {
        eprintln!("usage: peer-tokio-tungstenite-broadcast [--port N] [--batched] --broadcast");
        return ExitCode::from(2);
    };
    match serve(port, batched) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tokio-tungstenite: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<(u16, bool)> {
    let (mut port, mut batched, mut broadcast) = (0, false, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--port" => port = args.next()?.parse().ok()?,
            "--batched" => batched = true,
            "--broadcast" => broadcast = true,
            _ => return None,
        }
    }
    broadcast.then_some((port, batched))
}

fn serve(port: u16, batched: bool) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        println!("listening {}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let room = broadcast::channel(ROOM).0;
        for number in 0.. {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(attend(stream, number, room.subscribe(), room.clone(), batched));
        }
        Ok(())
    })
}

async fn attend(stream: TcpStream, number: u64, mut hear: Receiver<Said>, room: Sender<Said>, batched: bool) -> Result {
    let (mut send, mut receive) = accept_async(stream).await?.split();
    loop {
        tokio::select! {
            message = receive.next() => match message.transpose()? {
                Some(message) if message.is_text() || message.is_binary() => drop(room.send((number, message))),
                Some(_) => {}
                None => return Ok(()),
            },
            said = hear.recv() => {
                let mut next = match said {
                    Ok(said) => Some(said),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return Ok(()),
                };
                while let Some((by, message)) = next {
                    if by != number {
                        send.feed(message).await?;
                    }
                    next = if batched { hear.try_recv().ok() } else { None };
                }
                send.flush().await?;
            }
        }
    }
}
