//! web-socket: the match over `Event` of its README on a `BufReader`, as in its examples.
//!
//! The crate has no handshake, assembles no fragments and checks no UTF-8; its examples do that themselves, and so does
//! this.

use std::process::ExitCode;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use peer_common::{MESSAGE_LIMIT, Mode, Peer, Result, Stream, coalesce, run};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use web_socket::{CloseCode, DataType, Event, MessageType, Stream as Fragment, WebSocket};

/// The longest line of a request that is read, in bytes.
const LINE_LIMIT: u64 = 8 << 10;

struct WebSocketCrate;

impl Peer for WebSocketCrate {
    const NAME: &'static str = "web-socket";
    const DEFLATE: bool = false;

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        // The crate writes each frame to its stream at once; only the stream beneath can batch.
        if mode.batched {
            serve(coalesce(stream)).await
        } else {
            serve(stream).await
        }
    }
}

async fn serve<S: Stream>(stream: S) -> Result {
    let mut ws = WebSocket::server(handshake(BufReader::new(stream)).await?);
    ws.max_payload_len = MESSAGE_LIMIT;
    let mut message = Vec::new();
    loop {
        match ws.recv().await? {
            Event::Data {
                ty: DataType::Complete(kind),
                data,
            } => send(&mut ws, kind, &data).await?,
            Event::Data { data, .. } if message.len() + data.len() > MESSAGE_LIMIT => {
                return Ok(ws.close(CloseCode::MessageTooBig).await?);
            }
            Event::Data {
                ty: DataType::Stream(fragment),
                data,
            } => {
                message.extend_from_slice(&data);
                if let Fragment::End(kind) = fragment {
                    send(&mut ws, kind, &message).await?;
                    message.clear();
                }
            }
            Event::Ping(data) => ws.send_pong(data).await?,
            Event::Pong(_) => {}
            Event::Error(_) => return Ok(ws.close(CloseCode::ProtocolError).await?),
            Event::Close { .. } => return Ok(ws.close(()).await?),
        }
    }
}

async fn send<S: Stream>(ws: &mut WebSocket<BufReader<S>>, kind: MessageType, data: &[u8]) -> Result {
    match kind {
        MessageType::Text => ws.send(std::str::from_utf8(data)?).await?,
        MessageType::Binary => ws.send(data).await?,
    }
    Ok(())
}

/// The least of an opening handshake: enough for a load generator, not for the open internet.
async fn handshake<S: Stream>(mut stream: BufReader<S>) -> Result<BufReader<S>> {
    let mut key = None;
    let mut line = String::new();
    loop {
        line.clear();
        (&mut stream).take(LINE_LIMIT).read_line(&mut line).await?;
        if line == "\r\n" {
            break;
        }
        if !line.ends_with("\r\n") {
            return Err("the request ends early or has too long a line".into());
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("Sec-WebSocket-Key")
        {
            key = Some(value.trim().to_owned());
        }
    }
    let key = key.ok_or("the request has no Sec-WebSocket-Key")?;
    // RFC 6455, section 4.2.2.
    let digest = Sha1::new_with_prefix(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        BASE64_STANDARD.encode(digest)
    );
    stream.write_all(response.as_bytes()).await?;
    stream.flush().await?;
    Ok(stream)
}

fn main() -> ExitCode {
    run::<WebSocketCrate>()
}
