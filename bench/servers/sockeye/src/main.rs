//! Sockeye's echo server, as its documentation shows it: the plain loop, on tokio's current-thread runtime.

use std::error::Error;
use std::fs;

use server_args::{MAX_MESSAGE, ServerArgs, announce};
use sockeye::transport::tls;
use sockeye::{DeflateOptions, Incoming, Server, ServerOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let args = ServerArgs::parse()?;
    ServerArgs::refuse(args.batched, "loop that is batched by hand: the plain one batches")?;
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
        loop {
            let incoming = server.accept().await?;
            tokio::spawn(async move {
                if let Err(error) = echo(incoming).await {
                    eprintln!("{error}");
                }
            });
        }
    })
}

async fn echo(incoming: Incoming) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut ws = incoming.accept().await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
