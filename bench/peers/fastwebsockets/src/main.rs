//! fastwebsockets: hyper's upgrade, `FragmentCollector`, an unconstrained task, as its echo example has it.

use std::process::ExitCode;

use fastwebsockets::{
    FragmentCollector, OpCode, WebSocketError,
    upgrade::{UpgradeFut, upgrade},
};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use peer_common::{Mode, Peer, Result, Stream, coalesce, run};
use tokio::io::AsyncWriteExt as _;

struct FastWebSockets;

impl Peer for FastWebSockets {
    const NAME: &'static str = "fastwebsockets";
    const DEFLATE: bool = false;

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        // The crate writes each frame to its stream at once, and a read that was begun cannot be given up to flush; only
        // the stream beneath can batch.
        if mode.batched {
            serve(coalesce(stream)).await
        } else {
            serve(stream).await
        }
    }
}

async fn serve<S: Stream>(stream: S) -> Result {
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(accept))
        .with_upgrades()
        .await?;
    Ok(())
}

async fn accept(mut request: Request<Incoming>) -> std::result::Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(tokio::task::unconstrained(messages(upgraded)));
    Ok(response)
}

async fn messages(upgraded: UpgradeFut) -> std::result::Result<(), WebSocketError> {
    let mut ws = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            // The stream may hold the answer to the Close frame back, TLS and the batched one do.
            OpCode::Close => return Ok(ws.into_inner().flush().await?),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

fn main() -> ExitCode {
    run::<FastWebSockets>()
}
