//! An echo server with compression: `cargo run --example echo_server -- 127.0.0.1:9001`.
#![forbid(unsafe_code)]

use sockeye::{DeflateOptions, Server, ServerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let options = ServerOptions::builder().deflate(DeflateOptions::server()).build()?;
    let server = Server::bind(address, options).await?;
    println!("listening on ws://{}/", server.local_addr()?);
    loop {
        let incoming = server.accept().await?;
        // The handshake is done in the task, so that a slow client holds up nobody else.
        tokio::spawn(async move {
            let peer = incoming.peer_addr();
            if let Err(error) = echo(incoming).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(incoming: sockeye::Incoming) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut ws = incoming.accept().await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
