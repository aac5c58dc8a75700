//! Pairs of connections, and transports that hesitate.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use sockeye::{Client, ServerOptions, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

pub(crate) use crate::support::{
    BINARY, CLOSE, PING, PONG, REQUEST, Raw, StillClock, TEXT, at_most, masked, read_head, settle, unmasked,
};

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
