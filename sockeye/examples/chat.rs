//! A chat room: who sends a message sends it to all. `cargo run --example chat -- 127.0.0.1:9001`
#![forbid(unsafe_code)]

use sockeye::transport::Stream;
use sockeye::{Error, Prepared, Server, ServerOptions, WebSocket};
use tokio::sync::broadcast;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let server = Server::bind(address, ServerOptions::default()).await?;
    println!("listening on ws://{}/", server.local_addr()?);
    run(&server).await;
    Ok(())
}

async fn run(server: &Server) {
    // Whoever lags behind by more than 64 messages misses the oldest.
    let room = broadcast::Sender::new(64);
    server.serve(move |ws| converse(ws, room.clone())).await;
}

async fn converse(mut ws: WebSocket<Stream>, room: broadcast::Sender<Prepared>) -> Result<(), Error> {
    let mut said = room.subscribe();
    loop {
        // Neither loses anything when the other is ready first.
        tokio::select! {
            message = ws.recv() => match message? {
                // Encoded once for all.
                Some(message) => if let Some(text) = message.as_text() { let _ = room.send(Prepared::new(text)); },
                None => return Ok(()),
            },
            Ok(message) = said.recv() => ws.send_prepared(&message).await?,
        }
    }
}
