//! Sends what is typed and prints what comes, both at once: `cargo run --example client -- ws://127.0.0.1:9001/`.
#![forbid(unsafe_code)]

use std::io::BufRead;

use sockeye::CloseCode;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let (sender, mut receiver) = sockeye::connect(&url).await?.split();
    let mut lines = lines();
    let sending = tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            sender.send(line).await?;
        }
        sender.close(CloseCode::NORMAL, "end of input").await
    });
    while let Some(message) = receiver.recv().await? {
        println!("{}", message.as_text().unwrap_or("(binary)"));
    }
    sending.await??;
    Ok(())
}

/// Lines of standard input, which can only be read by a thread that waits for it.
fn lines() -> mpsc::Receiver<String> {
    let (lines, received) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    received
}
