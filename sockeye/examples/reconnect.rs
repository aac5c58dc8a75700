//! Follows a server through its restarts, and takes up where it left off: `cargo run --example reconnect -- ws://127.0.0.1:9001/`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye::Client;
use sockeye::reconnect::{Reconnecting, State, States};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    run(url, |message| println!("{message}")).await
}

/// Until the server closes the connection for good.
pub(crate) async fn run(url: String, mut print: impl FnMut(String)) -> Result<(), Box<dyn Error + Send + Sync>> {
    let seen = Arc::new(AtomicU64::new(0));
    let mut news = Reconnecting::builder(Client::builder().build()?, url)
        .before_attempt(|mut attempt| async move {
            attempt.set_bearer_auth(&fresh_token().await)?;
            Ok(attempt)
        })
        .on_open({
            let seen = seen.clone();
            move |mut ws| {
                let seen = seen.load(Ordering::Relaxed);
                async move {
                    ws.send(format!("subscribe from {seen}")).await?;
                    Ok(ws)
                }
            }
        })
        .start()?;
    tokio::spawn(report(news.states()));
    while let Some(message) = news.recv().await? {
        seen.fetch_add(1, Ordering::Relaxed);
        print(message.as_text().unwrap_or("(binary)").to_owned());
    }
    Ok(())
}

/// Stands for a call to whoever hands out tokens.
async fn fresh_token() -> String {
    "secret".into()
}

async fn report(mut states: States) {
    while let Some(state) = states.next().await {
        match state {
            State::Connecting { attempt } => eprintln!("connecting, attempt {attempt}"),
            State::Open => eprintln!("open"),
            State::Waiting { delay, cause } => eprintln!("{cause}; again in {delay:.1?}"),
            State::Closed { cause } => eprintln!("closed: {cause}"),
            _ => {}
        }
    }
}
