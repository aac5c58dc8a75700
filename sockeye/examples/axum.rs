//! A page, and a WebSocket beside it, in an axum server:
//! `cargo run --example axum --features axum -- 127.0.0.1:9001`.
#![forbid(unsafe_code)]

use std::error::Error;

use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use sockeye::ServerOptions;
use sockeye::axum::WebSocketUpgrade;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    // For all routes; a mistake in them is told now, not when somebody connects.
    let options = ServerOptions::builder().max_message_size(64 * 1024).build()?;
    let app = Router::new().route("/", any(root)).layer(Extension(options));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on ws://{}/", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// An echo for those who ask for a WebSocket, and a page for all others.
async fn root(upgrade: Option<WebSocketUpgrade>) -> Response {
    let Some(upgrade) = upgrade else {
        return Html(PAGE).into_response();
    };
    let path = upgrade.request().path().to_owned();
    upgrade
        .on_failed_upgrade(move |error| eprintln!("{path}: {error}"))
        .on_upgrade(async |mut ws| {
            while let Ok(Some(message)) = ws.recv().await {
                if let Err(error) = ws.send(message).await {
                    eprintln!("{error}");
                    break;
                }
            }
        })
}

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>Echo</title>
<input id="line" placeholder="say something"><ul id="lines"></ul>
<script>
  const ws = new WebSocket(location.href.replace(/^http/, "ws"));
  ws.onmessage = ({ data }) => lines.append(Object.assign(document.createElement("li"), { textContent: data }));
  line.onchange = () => { ws.send(line.value); line.value = ""; };
</script>
"#;
