//! A server that looks at each request, and takes leave of its clients on Ctrl-C:
//! `cargo run --example server -- 127.0.0.1:9001`, then `curl http://127.0.0.1:9001/healthz`.
#![forbid(unsafe_code)]

use std::time::Duration;

use sockeye::handshake::{Headers, Rejection};
use sockeye::transport::Stream;
use sockeye::{Limits, Listener, Server, ServerOptions, Upgrade};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let server = server(&address).await?;
    println!("listening on ws://{}/echo", server.local_addr()?);
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve_requests(answer).await }
    });
    tokio::signal::ctrl_c().await?;
    let report = server.shutdown(Duration::from_secs(10)).await;
    println!("closed {} connections, dropped {}", report.closed, report.dropped);
    serving.await?;
    Ok(())
}

/// Many connections, but few of one address; those beyond are told to come back later.
async fn server(address: &str) -> std::io::Result<Server> {
    let limits = Limits::new().connections_per_address(100).refuse_when_full(true);
    let listener = Listener::bind(address).await?;
    Ok(Server::builder().listener(listener).limits(limits).build())
}

/// Runs in a task of its own for each request.
async fn answer(request: Upgrade<Stream>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match request.request().path() {
        "/healthz" => request.respond(200, &Headers::new(), b"ok\n").await?,
        "/echo" if request.cookie("session").is_none() => {
            let rejection = Rejection::new(401).with_body("log in first\n");
            request.reject(rejection).await?;
        }
        "/echo" => {
            let mut ws = request.accept(&ServerOptions::default()).await?;
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
        }
        _ => request.reject(Rejection::new(404)).await?,
    }
    Ok(())
}
