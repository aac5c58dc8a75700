//! An echo server with compression: `cargo run --example echo_server -- 127.0.0.1:9001`.
#![forbid(unsafe_code)]

use sockeye::{DeflateOptions, Error, Server, ServerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let options = ServerOptions::builder().deflate(DeflateOptions::server()).build()?;
    let server = Server::bind(address, options).await?;
    println!("listening on ws://{}/", server.local_addr()?);
    server
        .serve(|mut ws| async move {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok::<_, Error>(())
        })
        .await;
    Ok(())
}
