//! A clock that answers in its own time: each connection is a task, which waits where it likes.
//!
//! `cargo run --release -p sockeye-engine --example bridge -- 127.0.0.1:9001`, and then `sockeye connect ws://127.0.0.1:9001/`:
//! what is said comes back after a second, and what is said meanwhile waits.

use std::env;
use std::error::Error;
use std::time::Duration;

use sockeye_engine::{Bridge, Engine, ServerOptions, Session};

async fn answer(mut session: Session) {
    let ended = loop {
        match session.recv().await {
            Ok(message) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                // That it cannot be sent any more is told by the next `recv`, with the reason.
                let _ = session.send(message).await;
            }
            Err(ended) => break ended,
        }
    };
    println!("{ended}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let runtime = tokio::runtime::Runtime::new()?;
    let tasks = runtime.handle().clone();
    let engine = Engine::builder(ServerOptions::default())
        .listen(address)?
        .start(move |_shard| Bridge::new(tasks.clone(), answer))?;
    println!("listening on {}", engine.local_addrs()[0]);
    Ok(engine.join()?)
}
