//! An echo server under TLS: `cargo run --example tls_reload -- 127.0.0.1:9443 chain.pem key.pem [clients.pem]`. With a third
//! file, clients need a certificate that was issued by one in it. After `kill -HUP` it uses the files as they are then.
#![forbid(unsafe_code)]

use std::error::Error;

use sockeye::transport::Stream;
use sockeye::{Server, ServerOptions, ServerTls, WebSocket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9443".into());
    let files: Vec<String> = arguments.collect();
    let tls = load(&files)?;
    let server = Server::bind(address, ServerOptions::default())
        .await?
        .with_tls(tls.clone());
    println!("listening on wss://{}/", server.local_addr()?);
    #[cfg(unix)]
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangups = signal(SignalKind::hangup())?;
        while hangups.recv().await.is_some() {
            match load(&files) {
                Ok(renewed) => {
                    tls.replace(renewed);
                    println!("the new certificate is in use");
                }
                Err(error) => eprintln!("the old certificate stays: {error}"),
            }
        }
        Ok::<_, std::io::Error>(())
    });
    server.serve(echo).await;
    Ok(())
}

fn load(files: &[String]) -> Result<ServerTls, Box<dyn Error>> {
    let [chain, key, clients @ ..] = files else {
        return Err("two files are needed: a certificate chain and its key".into());
    };
    let mut tls = ServerTls::builder().certificate(&std::fs::read(chain)?, &std::fs::read(key)?);
    if let Some(clients) = clients.first() {
        tls = tls.require_client_certificate(&std::fs::read(clients)?);
    }
    Ok(tls.build()?)
}

async fn echo(mut ws: WebSocket<Stream>) -> Result<(), sockeye::Error> {
    let clients = ws.peer_certificates().map_or(0, |chain| chain.len());
    println!("a client with {clients} certificates");
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
