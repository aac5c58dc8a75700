//! What the tests of several subjects need: a peer that speaks bytes rather than WebSocket, frames, and futures that are
//! polled a given number of times.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, yield_now};

/// Keeps a paused clock from jumping to the next timer whenever all tasks wait: they may wait for loopback.
///
/// tokio lets the clock stand while something runs on its blocking threads.
#[must_use]
pub(crate) struct StillClock {
    _held: mpsc::Sender<()>,
}

impl StillClock {
    pub(crate) fn new() -> Self {
        let (held, released) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv());
        Self { _held: held }
    }
}

/// Lets everything run that can run without time.
pub(crate) async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Polls `future` so often, and drops it if that did not finish it.
pub(crate) async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            Poll::Ready(output) => return Some(output),
            Poll::Pending => yield_now().await,
        }
    }
    None
}

/// Polls `future` once, in the task's own context.
pub(crate) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A peer that has done the opening handshake and sends and reads bytes of its own choice.
#[derive(Debug)]
pub(crate) struct Raw<T> {
    pub(crate) io: T,
    /// The peer's side of the handshake: the request or the response.
    pub(crate) head: String,
    /// Whether the peer is a client, whose frames are masked (RFC 6455 §5.1).
    pub(crate) masks: bool,
}

impl Raw<TcpStream> {
    /// The server of the next connection.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        Self::accept_with(listener, "").await
    }

    /// The same, whose response has these headers too, each with its CRLF.
    pub(crate) async fn accept_with(listener: &TcpListener, headers: &str) -> Self {
        let (io, _) = listener.accept().await.unwrap();
        Self::server_with(io, headers, &[]).await
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    /// Upgrades as a client; `extra` goes out in the same write as the request.
    pub(crate) async fn client(mut io: T, extra: &[u8]) -> Self {
        io.write_all(&[REQUEST, extra].concat()).await.unwrap();
        let head = read_head(&mut io).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { io, head, masks: false }
    }

    /// Upgrades as a server; `extra` goes out in the same write as the response.
    pub(crate) async fn server(io: T, extra: &[u8]) -> Self {
        Self::server_with(io, "", extra).await
    }

    async fn server_with(mut io: T, headers: &str, extra: &[u8]) -> Self {
        let head = read_head(&mut io).await;
        let key = header(&head, "Sec-WebSocket-Key").unwrap();
        let accept = String::from_utf8(sockeye::handshake::accept_key(key.as_bytes()).to_vec()).unwrap();
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
        );
        io.write_all(&[response.as_bytes(), extra].concat()).await.unwrap();
        Self { io, head, masks: true }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// The next frame: its first byte and its payload, unmasked. `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.io.read_exact(&mut head).await.ok()?;
        let length = match head[1] & 0x7f {
            126 => u64::from(self.io.read_u16().await.ok()?),
            127 => self.io.read_u64().await.ok()?,
            short => u64::from(short),
        };
        assert_eq!(head[1] & 0x80 != 0, self.masks, "a client masks, and a server does not");
        let mut key = [0; 4];
        if self.masks {
            self.io.read_exact(&mut key).await.ok()?;
        }
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload).await.ok()?;
        payload
            .iter_mut()
            .zip(key.iter().cycle())
            .for_each(|(byte, key)| *byte ^= key);
        Some((head[0], payload))
    }

    /// The next message, whole: its first byte with FIN, its payload, and in how many frames it came.
    pub(crate) async fn message(&mut self) -> Option<(u8, Vec<u8>, usize)> {
        let (first, mut payload) = self.frame().await?;
        let (mut last, mut frames) = (first, 1);
        while last & 0x80 == 0 {
            let (first, more) = self.frame().await?;
            assert_eq!(first & 0x7f, 0, "a continuation");
            payload.extend(more);
            (last, frames) = (first, frames + 1);
        }
        Some((first | 0x80, payload, frames))
    }

    /// Ends our side, and reads what is left: nothing.
    pub(crate) async fn finish(mut self) {
        self.io.shutdown().await.unwrap();
        assert_eq!(self.frame().await, None);
    }

    /// Reads to the end, and answers the code of the Close that came, if one did.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        while let Some((first, payload)) = self.frame().await {
            if first == 0x88 {
                return Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
            }
        }
        None
    }
}

/// Sends `bytes` bytes of messages of 1 KiB each, and then a Close, to somebody who reads nothing yet; answers with the
/// task that does, once it has come to a halt, and what it reads in the end.
pub(crate) async fn send_until_it_waits(mut peer: Raw<TcpStream>, bytes: usize) -> JoinHandle<Option<(u8, Vec<u8>)>> {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let sending = tokio::spawn(async move {
        let frame = if peer.masks { unmasked } else { masked };
        let message = frame(TEXT, &[b'x'; 1020]);
        while counted.fetch_add(1024, Ordering::Relaxed) < bytes {
            peer.io.write_all(&message).await.unwrap();
        }
        peer.send(&frame(CLOSE, &1000_u16.to_be_bytes())).await;
        peer.frame().await
    });
    // Until many turns of both tasks changed nothing.
    let (mut before, mut idle) = (0, 0);
    while idle < 10_000 {
        yield_now().await;
        let now = sent.load(Ordering::Relaxed);
        idle = if now == before { idle + 1 } else { 0 };
        before = now;
    }
    assert!(before < bytes, "the peer could send everything");
    sending
}

/// The value of a header.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Reads a request or a response to the empty line, and not a byte further.
pub(crate) async fn read_head<T: AsyncRead + Unpin>(io: &mut T) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A frame as a client sends it, masked with zeroes.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = unmasked(first, payload);
    frame[1] |= 0x80;
    let end = frame.len() - payload.len();
    frame.splice(end..end, [0; 4]);
    frame
}

/// A frame as a server sends it.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
