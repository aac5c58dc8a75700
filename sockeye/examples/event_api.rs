//! The browser's API, against an echo server: `cargo run --example event_api -- http://127.0.0.1:9001/`.
#![forbid(unsafe_code)]

use sockeye::events::{Opened, WebSocket, WebSocketStream};

type Result = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result {
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "http://127.0.0.1:9001/".into());
    with_callbacks(&url).await?;
    with_streams(&url).await
}

/// As a page would do it: three messages, and then the end.
async fn with_callbacks(url: &str) -> Result {
    let ws = WebSocket::new(url, ())?;
    ws.on_open(|ws| {
        println!("open: {}", ws.url());
        let sent = ws.send("message 1");
        sent.expect("an open connection takes messages");
    });
    let mut count = 1;
    ws.on_message(move |ws, event| {
        println!("message: {}", event.data.as_text().unwrap_or("(binary)"));
        count += 1;
        let done = match count {
            ..=3 => ws.send(format!("message {count}")),
            _ => ws.close(1000, "three are enough"),
        };
        done.expect("it is still open, and the arguments are valid");
    });
    ws.on_error(|_, event| println!("error: {}", event.cause));
    ws.on_close(|_, event| println!("close: {} {:?}, clean: {}", event.code, event.reason, event.was_clean));
    // Here a page would return to its event loop.
    let close = ws.run().await;
    if close.was_clean {
        Ok(())
    } else {
        Err(close.code.to_string().into())
    }
}

/// The same with streams, which make the faster side wait.
async fn with_streams(url: &str) -> Result {
    let wss = WebSocketStream::new(url, ())?;
    let Opened { readable, writable, .. } = wss.opened().await?;
    for count in 1..=3 {
        writable.write(format!("message {count}")).await?;
        println!("read: {:?}", readable.read().await?);
    }
    wss.close(1000, "three are enough")?;
    println!("closed: {}", wss.closed().await?.close_code);
    Ok(())
}
