//! Says hello through a proxy: `cargo run --example proxy -- wss://example.com/ socks5h://alice:s3cret@127.0.0.1:1080`.
//! Without the second argument it takes the proxies of the environment (`HTTPS_PROXY`, `NO_PROXY` and so on).
#![forbid(unsafe_code)]

use std::process::ExitCode;

use sockeye::transport::Stream;
use sockeye::{Client, CloseCode, ConnectError, ProxyError};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let builder = match arguments.next() {
        Some(proxy) => Client::builder().proxy(&proxy),
        None => Client::builder().proxy_from_env(),
    };
    let client = builder.follow_redirects(5).build()?;
    let mut ws = match client.connect(&url).await {
        Ok(ws) => ws,
        Err(ConnectError::Proxy(ProxyError::AuthenticationRequired(_) | ProxyError::Credentials)) => {
            eprintln!("the proxy wants other credentials");
            return Ok(ExitCode::FAILURE);
        }
        Err(ConnectError::Refused(refusal)) => {
            // Whoever wrote it does not get to write to the terminal.
            let body = String::from_utf8_lossy(refusal.body());
            eprintln!("the server answered {}: {}", refusal.status(), body.escape_debug());
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    println!("connected by way of {}", ws.with_transport(Stream::peer_addr)?);
    ws.send("hello").await?;
    if let Some(message) = ws.recv().await? {
        println!("{}", message.as_text().unwrap_or("(binary)"));
    }
    ws.close(CloseCode::NORMAL, "").await?;
    Ok(ExitCode::SUCCESS)
}
