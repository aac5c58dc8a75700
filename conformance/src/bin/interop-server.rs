//! A server that begins what clients of the browser's interface cannot: `interop-server`.
//!
//! It listens on a free port, which its first line tells, and does what a text message asks for:
//!
//! - `ping`: it sends a ping, and the text `pong` once that is answered,
//! - `fragments`: it sends the text `fragment` in two fragments, with a ping between them,
//! - `close`: it closes with code 4001 and the reason `bye`,
//! - `last`: it says which code and reason the last Close had that came, on any connection: `4001 bye`.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use sockeye::handshake::OriginPolicy;
use sockeye::transport::Stream;
use sockeye::{CloseCode, DeflateOptions, Error, Event, Server, ServerOptions, WebSocket};
use tokio::task::LocalSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = ServerOptions::builder()
        .subprotocol("chat")
        .deflate(DeflateOptions::server())
        .origin(OriginPolicy::Any)
        .build()?;
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0), options).await?;
    println!("listening on ws://{}/", server.local_addr()?);
    let last = Rc::<RefCell<String>>::default();
    let serve = async {
        loop {
            let incoming = server.accept().await?;
            let last = last.clone();
            tokio::task::spawn_local(async move {
                match incoming.accept().await {
                    Ok(ws) => match converse(ws, &last).await {
                        Ok(()) => {}
                        Err(error) => eprintln!("{error}"),
                    },
                    Err(error) => eprintln!("{error}"),
                }
            });
        }
    };
    LocalSet::new().run_until(serve).await
}

async fn converse(mut ws: WebSocket<Stream>, last: &RefCell<String>) -> Result<(), Error> {
    while let Some(event) = ws.next_event().await? {
        match event {
            Event::Text(text) if &*text == "ping" => ws.ping(ASKED).await?,
            Event::Pong(payload) if *payload == *ASKED => ws.send("pong").await?,
            Event::Text(text) if &*text == "fragments" => {
                ws.send_fragment("fra", false).await?;
                ws.ping(b"between").await?;
                ws.send_fragment("gment", true).await?;
            }
            Event::Text(text) if &*text == "close" => ws.close(CloseCode::new(4001), "bye").await?,
            Event::Text(text) if &*text == "last" => {
                let told = last.borrow().clone();
                ws.send(told).await?;
            }
            // Before it is answered: who has the answer finds it here.
            Event::Close(_) => {
                let code = ws.close_received().map_or(0, CloseCode::as_u16);
                *last.borrow_mut() = format!("{code} {}", ws.close_reason_received());
            }
            _ => {}
        }
    }
    Ok(())
}

/// What the ping carries that was asked for.
const ASKED: &[u8] = b"asked";
