//! yawc: hyper's upgrade and an unconstrained task, as in its echo example, with UTF-8 checked (off by default) and the
//! limits raised. The batched mode takes the buffers that its README's own benchmark was tuned with.

use std::{process::ExitCode, sync::LazyLock, task::Poll};

use futures_util::{SinkExt as _, StreamExt as _, poll};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use peer_common::{BATCH_LIMIT, MESSAGE_LIMIT, Mode, Peer, Result, Stream, run};
use yawc::{CompressionLevel, DeflatePool, HttpStream, OpCode, Options, UpgradeFut, WebSocket};

/// Compressors of the whole server; one thread compresses one message at a time.
static POOL: LazyLock<DeflatePool> = LazyLock::new(|| DeflatePool::new(4));

struct Yawc;

impl Peer for Yawc {
    const NAME: &'static str = "yawc";
    const DEFLATE: bool = true;

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        let service = service_fn(move |request| accept(request, mode));
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await?;
        Ok(())
    }
}

fn options(mode: Mode) -> Options {
    let mut options = Options::default()
        .with_utf8()
        .with_limits(MESSAGE_LIMIT, 2 * MESSAGE_LIMIT);
    if mode.deflate {
        options = options
            .with_compression_level(CompressionLevel::default())
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(POOL.clone());
    }
    if mode.batched {
        options = options
            .with_read_buffer_capacity(128 << 10)
            .with_backpressure_boundary(BATCH_LIMIT);
    }
    options
}

async fn accept(mut request: Request<Incoming>, mode: Mode) -> yawc::Result<Response<Empty<Bytes>>> {
    let (response, upgraded) = WebSocket::<HttpStream>::upgrade_with_options(&mut request, options(mode))?;
    tokio::spawn(tokio::task::unconstrained(async move {
        if mode.batched {
            batched(upgraded).await
        } else {
            plain(upgraded).await
        }
    }));
    Ok(response)
}

async fn plain(upgraded: UpgradeFut) -> yawc::Result<()> {
    let mut ws = upgraded.await?;
    while let Some(frame) = ws.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            ws.send(frame).await?;
        }
    }
    Ok(())
}

/// `feed` while more is there, then `flush`.
async fn batched(upgraded: UpgradeFut) -> yawc::Result<()> {
    let mut ws = upgraded.await?;
    loop {
        let next = match poll!(ws.next()) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                ws.flush().await?;
                ws.next().await
            }
        };
        let Some(frame) = next else { return Ok(()) };
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            ws.feed(frame).await?;
        }
    }
}

fn main() -> ExitCode {
    run::<Yawc>()
}
