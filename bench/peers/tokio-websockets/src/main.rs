//! tokio-websockets: its echo example, which has no limits, splits no messages and runs in an unconstrained task.

use std::{process::ExitCode, task::Poll};

use futures_util::{SinkExt as _, StreamExt as _, poll};
use peer_common::{BATCH_LIMIT, Mode, Peer, Result, Stream, run};
use tokio::task::unconstrained;
use tokio_websockets::{Config, Limits, ServerBuilder, WebSocketStream};

/// How many messages the batched mode gathers at most.
const BATCH_MESSAGES: usize = 128;

struct TokioWebSockets;

impl Peer for TokioWebSockets {
    const NAME: &'static str = "tokio-websockets";
    const DEFLATE: bool = false;

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        let mut config = Config::default().frame_size(usize::MAX);
        if mode.batched {
            config = config.flush_threshold(BATCH_LIMIT);
        }
        let (_, ws) = ServerBuilder::new()
            .config(config)
            .limits(Limits::unlimited())
            .accept(stream)
            .await?;
        if mode.batched {
            unconstrained(batched(ws)).await
        } else {
            unconstrained(plain(ws)).await
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

/// Receives all that is there before it answers: this crate's `next` flushes what `feed` has queued, so that feeding
/// between two receptions would batch nothing.
async fn batched<S: Stream>(mut ws: WebSocketStream<S>) -> Result {
    let mut messages = Vec::with_capacity(BATCH_MESSAGES);
    while let Some(message) = ws.next().await {
        messages.push(message?);
        while messages.len() < BATCH_MESSAGES
            && let Poll::Ready(Some(message)) = poll!(ws.next())
        {
            messages.push(message?);
        }
        for message in messages
            .drain(..)
            .filter(|message| message.is_text() || message.is_binary())
        {
            ws.feed(message).await?;
        }
        ws.flush().await?;
    }
    Ok(())
}

fn main() -> ExitCode {
    run::<TokioWebSockets>()
}
