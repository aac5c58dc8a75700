//! Pairs of connections, transports that hesitate or fail, and a peer that speaks bytes rather than WebSocket.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use sockeye::{Client, ServerOptions, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

/// Options for both ends, with compression if the test asks for it and the feature is there.
pub(crate) fn options(deflate: bool) -> (Client, ServerOptions) {
    let (client, server) = (Client::builder(), ServerOptions::builder());
    #[cfg(feature = "deflate")]
    let (client, server) = if deflate {
        (
            client.deflate(sockeye::DeflateOptions::client()),
            server.deflate(sockeye::DeflateOptions::server()),
        )
    } else {
        (client, server)
    };
    let _ = deflate;
    (client.build().unwrap(), server.build().unwrap())
}

/// A client and a server over these transports.
pub(crate) async fn pair_over<A, B>(near: A, far: B, deflate: bool) -> (WebSocket<A>, WebSocket<B>)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (client, server) = options(deflate);
    let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, &server));
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!(near.is_compressed(), deflate && cfg!(feature = "deflate"));
    assert_eq!(far.is_compressed(), near.is_compressed());
    (near, far)
}

/// A client and a server over a pipe that holds `capacity` bytes each way.
pub(crate) async fn pair(capacity: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = tokio::io::duplex(capacity);
    pair_over(near, far, false).await
}

/// Polls `future` so often, and drops it if that did not finish it.
pub(crate) async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            Poll::Ready(output) => return Some(output),
            Poll::Pending => tokio::task::yield_now().await,
        }
    }
    None
}

/// A transport that answers Pending before each operation, with a wakeup, and then moves at most `step` bytes.
#[derive(Debug)]
pub(crate) struct Hesitant<T> {
    io: T,
    step: usize,
    asked: [bool; 4],
    /// How often it was polled for anything.
    pub(crate) polls: Arc<AtomicUsize>,
}

impl<T> Hesitant<T> {
    pub(crate) fn new(io: T, step: usize) -> Self {
        Self {
            io,
            step,
            asked: [false; 4],
            polls: Arc::default(),
        }
    }

    fn hesitate(&mut self, operation: usize, cx: &Context<'_>) -> Poll<()> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.asked[operation] = !self.asked[operation];
        if self.asked[operation] {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Hesitant<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.hesitate(0, cx));
        let mut bytes = [0; 64];
        let step = self.step.min(bytes.len()).min(buffer.remaining());
        let mut part = ReadBuf::new(&mut bytes[..step]);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut part);
        if read.is_pending() {
            // The hesitation is over; the wait that follows is the inner transport's.
            self.asked[0] = true;
        }
        buffer.put_slice(part.filled());
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Hesitant<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.hesitate(1, cx));
        let step = self.step.min(bytes.len());
        let written = Pin::new(&mut self.io).poll_write(cx, &bytes[..step]);
        if written.is_pending() {
            self.asked[1] = true;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.hesitate(2, cx));
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.hesitate(3, cx));
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A peer that has done the opening handshake and sends and reads bytes of its own choice.
#[derive(Debug)]
pub(crate) struct Raw<T> {
    pub(crate) io: T,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    /// Upgrades as a client; `extra` goes out in the same write as the request.
    pub(crate) async fn client(mut io: T, extra: &[u8]) -> Self {
        io.write_all(&[REQUEST, extra].concat()).await.unwrap();
        let head = read_head(&mut io).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { io }
    }

    /// Upgrades as a server; `extra` goes out in the same write as the response.
    pub(crate) async fn server(mut io: T, extra: &[u8]) -> Self {
        let head = read_head(&mut io).await;
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .unwrap();
        io.write_all(&[&upgraded(key), extra].concat()).await.unwrap();
        Self { io }
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
        let mut key = [0; 4];
        if head[1] & 0x80 != 0 {
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

/// The response that makes a WebSocket of a request with this key.
pub(crate) fn upgraded(key: &str) -> Vec<u8> {
    let accept = sockeye::handshake::accept_key(key.as_bytes());
    let head =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ";
    [&head[..], &accept, b"\r\n\r\n"].concat()
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
