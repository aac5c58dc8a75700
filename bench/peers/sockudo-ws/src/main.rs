//! sockudo-ws: `WebSocketServer::accept_raw`, then the echo loop of its README.
//!
//! Its heartbeat is off, since no other peer has one. Its optional mimalloc is left out: every server here has the system's
//! allocator.

use std::{process::ExitCode, task::Poll};

use bytes::BytesMut;
use futures_util::{Sink, SinkExt as _, StreamExt as _, poll};
use peer_common::{MESSAGE_LIMIT, Mode, Peer, Result, Stream, run};
use sockudo_ws::{
    CompressedWebSocketStream, Compression, Config, Error, Http1, Message, WebSocketStream,
    deflate::negotiate_server_deflate,
    handshake::{build_response, generate_accept_key, parse_request},
    init_clock,
    server::WebSocketServer,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

struct SockudoWs;

impl Peer for SockudoWs {
    const NAME: &'static str = "sockudo-ws";
    const DEFLATE: bool = true;

    fn prepare() {
        init_clock();
    }

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        let config = Config::builder()
            .max_payload_length(MESSAGE_LIMIT)
            .auto_ping(false)
            .idle_timeout(0)
            .build();
        if mode.deflate {
            messages(accept_deflate(stream, config).await?, mode).await
        } else {
            let (ws, _): (WebSocketStream<S>, _) = WebSocketServer::<Http1>::new(config).accept_raw(stream).await?;
            messages(ws, mode).await
        }
    }
}

/// The server's `accept` negotiates no extension over HTTP/1.1; as in the crate's Autobahn server, the handshake is put
/// together from its parts. `Compression::Shared` stands for level 6 and no context takeover.
async fn accept_deflate<S: Stream>(mut stream: S, config: Config) -> Result<CompressedWebSocketStream<S>> {
    let policy = Compression::Shared
        .to_deflate_config()
        .ok_or("no deflate configuration")?;
    let mut request = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(Error::ConnectionClosed.into());
        }
        let Some((parsed, consumed)) = parse_request(&request)? else {
            continue;
        };
        let negotiated = parsed
            .extensions
            .and_then(|offers| negotiate_server_deflate(offers, &policy));
        let Some(negotiated) = negotiated else {
            return Err("the client offers no permessage-deflate".into());
        };
        let extension = negotiated.to_response_header();
        let response = build_response(&generate_accept_key(parsed.key), None, Some(&extension));
        stream.write_all(&response).await?;
        stream.flush().await?;
        let rest = request.split_off(consumed).freeze();
        return Ok(CompressedWebSocketStream::server_with_leftover(
            stream,
            config,
            negotiated.config,
            Some(rest),
        ));
    }
}

/// The crate's two stream types, with and without compression, have no more in common than this.
trait Messages: futures_util::Stream<Item = sockudo_ws::Result<Message>> + Sink<Message, Error = Error> + Unpin {}

impl<W: futures_util::Stream<Item = sockudo_ws::Result<Message>> + Sink<Message, Error = Error> + Unpin> Messages
    for W
{
}

async fn messages<W: Messages>(ws: W, mode: Mode) -> Result {
    if mode.batched {
        batched(ws).await
    } else {
        plain(ws).await
    }
}

async fn plain<W: Messages>(mut ws: W) -> Result {
    while let Some(message) = ws.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => ws.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

/// `feed` while more is there, `flush` at the end of the batch, as the documentation of `write_coalescing` advises.
async fn batched<W: Messages>(mut ws: W) -> Result {
    loop {
        let next = match poll!(ws.next()) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                ws.flush().await?;
                ws.next().await
            }
        };
        match next.transpose()? {
            Some(message @ (Message::Text(_) | Message::Binary(_))) => ws.feed(message).await?,
            Some(Message::Close(_)) | None => return Ok(()),
            _ => {}
        }
    }
}

fn main() -> ExitCode {
    run::<SockudoWs>()
}
