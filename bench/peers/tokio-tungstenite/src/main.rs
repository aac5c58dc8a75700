//! tokio-tungstenite: the loop of its Autobahn server, with the default buffers of 128 KiB.
//!
//! Its `echo-server` example has `read.forward(write)` instead, and `forward` flushes only when nothing more can be read;
//! that is the batched mode here, without the lock that `split` puts between the halves.

use std::{process::ExitCode, task::Poll};

use futures_util::{SinkExt as _, StreamExt as _, poll};
use peer_common::{Mode, Peer, Result, Stream, run};
use tokio_tungstenite::{WebSocketStream, accept_async};

struct TokioTungstenite;

impl Peer for TokioTungstenite {
    const NAME: &'static str = "tokio-tungstenite";
    const DEFLATE: bool = false;

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        let ws = accept_async(stream).await?;
        if mode.batched {
            batched(ws).await
        } else {
            plain(ws).await
        }
    }
}

async fn plain<S: Stream>(mut ws: WebSocketStream<S>) -> Result {
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}

/// Writes while more is there, flushes when the read side would block.
async fn batched<S: Stream>(mut ws: WebSocketStream<S>) -> Result {
    loop {
        let next = match poll!(ws.next()) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                ws.flush().await?;
                ws.next().await
            }
        };
        let Some(message) = next.transpose()? else {
            return Ok(());
        };
        if message.is_text() || message.is_binary() {
            ws.feed(message).await?;
        }
    }
}

fn main() -> ExitCode {
    run::<TokioTungstenite>()
}
