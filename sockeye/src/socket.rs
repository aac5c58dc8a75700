//! [`WebSocket`]: an open connection over any transport.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::{Compress, Connection, Event};
use sockeye_proto::error::SendError;
use sockeye_proto::handshake::Headers;
use sockeye_proto::message::{Message, Payload};
use sockeye_proto::prepared::Prepared;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::driver::{Driver, Queued, Wakers};
use crate::error::Error;
use crate::split::{self, Receiver, Sender};

/// An open WebSocket over a transport `T`, client or server.
///
/// [`recv`](Self::recv) and [`send`](Self::send) are all that most programs need. Pings are answered and the closing
/// handshake is completed while `recv` is awaited, so a task that holds a `WebSocket` awaits `recv` most of the time,
/// also when it expects no messages; or it [splits](Self::split) the connection and gives each half to a task.
///
/// It is also a [`Stream`] of messages and a [`Sink`] for them.
///
/// # Backpressure
///
/// [`send`](Self::send) is done when the transport has taken the whole message (or will, with up to 64 KiB of answers that
/// leave together), and so waits while the peer does not read. Nothing is read from the transport while `recv` is not awaited, so a peer is held up in turn.
///
/// # Dropping
///
/// Dropping a `WebSocket` ends the transport without a Close, which the peer sees as close code 1006. Call
/// [`close`](Self::close) to end it properly.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (near, far) = tokio::io::duplex(1024);
/// let server = tokio::spawn(async move {
///     let mut ws = sockeye::accept(far, &sockeye::ServerOptions::default()).await?;
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
/// });
///
/// let client = sockeye::Client::builder().build()?;
/// let mut ws = client.connect_over(near, "ws://localhost/").await?;
/// ws.send("swim").await?;
/// assert_eq!(ws.recv().await?, Some("swim".into()));
/// ws.close(sockeye::CloseCode::NORMAL, "done").await?;
/// # server.await?.unwrap();
/// # Ok(())
/// # }
/// ```
pub struct WebSocket<T> {
    driver: Driver<T>,
    handshake: Handshake,
}

/// What the opening handshake left to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshake {
    pub(crate) subprotocol: Option<Box<str>>,
    /// The peer's headers: a client has those of the response, a server those of the request.
    pub(crate) headers: Headers,
}

impl<T> WebSocket<T> {
    pub(crate) fn new(mut driver: Driver<T>, handshake: Handshake) -> Self {
        driver.watch().opened();
        Self { driver, handshake }
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.handshake.subprotocol.as_deref()
    }

    /// The headers of the peer's side of the handshake: a client's are those of the response, a server's those of the
    /// request.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.handshake.headers
    }

    /// Whether permessage-deflate was agreed on.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.driver.connection().deflate().is_some()
    }

    /// Where the closing handshake stands.
    #[must_use]
    pub fn state(&self) -> CloseState {
        self.driver.state()
    }

    /// The code of the Close that the peer sent: [`CloseCode::NO_STATUS`] if it had none, `None` if no Close came.
    #[must_use]
    pub fn close_received(&self) -> Option<CloseCode> {
        self.driver.connection().close_received()
    }

    /// Bytes of frames that were accepted for sending and not yet given to the transport.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.driver.unwritten()
    }

    /// Looks at the transport: its addresses, its TLS session. Nothing is written meanwhile, so look briefly.
    pub fn with_transport<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.driver.outlet().io)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> WebSocket<T> {
    /// The next message; `None` when the peer has closed the connection, or answered our Close.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] when the peer broke the protocol or a limit: it has been told by a Close, and messages before
    /// that were delivered. [`Error::ConnectionLost`] or [`Error::Io`] when the transport ended without a Close. An error
    /// is the end; after it comes `None`.
    ///
    /// # Cancel safety
    ///
    /// Safe: a `recv` that is dropped loses nothing, and the next one goes on where it was.
    ///
    /// # Examples
    ///
    /// See [`WebSocket`].
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// The next event of any kind: messages, chunks of them with
    /// [`Receive::Chunks`](sockeye_proto::connection::Receive::Chunks), pings and pongs, which need no reaction, and the
    /// peer's Close; then `None`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`recv`](Self::recv).
    pub async fn next_event(&mut self) -> Result<Option<Event<Bytes>>, Error> {
        poll_fn(|cx| with_wakers(cx, |wakers| self.driver.poll_next(wakers, Some))).await
    }

    /// Writes what was queued by calls whose futures were dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the transport failed, [`Error::ConnectionLost`] and [`Error::Timeout`] when the connection, or
    /// its close deadline, ended before the transport took everything.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let end = self.driver.output_end();
        poll_fn(|cx| self.driver.poll_send(cx, end)).await
    }

    /// Closes the connection: sends a Close, waits for the peer's, and ends the transport. What still arrives before the
    /// peer's Close is discarded. With [`CloseCode::NO_STATUS`] the Close has no body.
    ///
    /// If a Close was sent before, this waits for the rest of the closing handshake; if the connection is over, it does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code that must not be sent or a reason of more than 123 bytes, and nothing happened.
    /// [`Error::Timeout`] when the peer does not finish within the deadline (5 s by default), and
    /// [`Error::ConnectionLost`] or [`Error::Io`] when the transport ends without a Close; drop the `WebSocket` then.
    ///
    /// # Cancel safety
    ///
    /// The Close is queued when the future is first polled; call `close` or `recv` again to go on waiting.
    ///
    /// # Examples
    ///
    /// See [`WebSocket`].
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.driver.begin_close(code, reason)?;
        while self.next_event().await?.is_some() {}
        Ok(())
    }

    /// Two halves for two tasks, which run at the same time: neither waits for what the other waits for.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let (near, far) = tokio::io::duplex(1024);
    /// # let server = tokio::spawn(async move {
    /// #     let mut ws = sockeye::accept(far, &sockeye::ServerOptions::default()).await.unwrap();
    /// #     while let Some(message) = ws.recv().await.unwrap() { ws.send(message).await.unwrap(); }
    /// # });
    /// # let ws = sockeye::Client::builder().build()?.connect_over(near, "ws://localhost/").await?;
    /// let (sender, mut receiver) = ws.split();
    /// let sending = tokio::spawn(async move {
    ///     for n in 0..3 {
    ///         sender.send(format!("message {n}")).await?;
    ///     }
    ///     sender.close(sockeye::CloseCode::NORMAL, "").await
    /// });
    /// let mut count = 0;
    /// while let Some(message) = receiver.recv().await? {
    ///     assert_eq!(message.as_text(), Some(format!("message {count}").as_str()));
    ///     count += 1;
    /// }
    /// assert_eq!(count, 3);
    /// sending.await??;
    /// # server.await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn split(self) -> (Sender<T>, Receiver<T>) {
        split::split(self.driver)
    }

    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        with_wakers(cx, |wakers| self.driver.poll_message(wakers))
    }
}

/// Sending. The transport is one that another task of the runtime can write to: what is sent must leave also if the sender
/// yields and does not come back.
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocket<T> {
    /// Sends a message, and waits until the transport has taken it.
    ///
    /// While more of what arrived is left to be received, the message waits for the answers to that, to leave in one write
    /// with them, and this is done at once. It leaves at the latest when the task next waits for anything.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] when a Close has been sent or received, or the connection is over; nothing was sent then.
    /// [`Error::Io`] when the transport failed, [`Error::ConnectionLost`] and [`Error::Timeout`] when the connection, or
    /// its close deadline, ended before the transport took the message.
    ///
    /// # Cancel safety
    ///
    /// The message is accepted, whole, by the call itself; the future only waits for the transport. Dropping it loses
    /// nothing: what was accepted leaves all the same.
    ///
    /// # Examples
    ///
    /// See [`WebSocket`].
    pub fn send(&mut self, message: impl Into<Message>) -> Sending<'_, T> {
        let queued = self.driver.send_message(message.into());
        Sending::new(&mut self.driver, queued)
    }

    /// Sends a message that is borrowed, with a say in its compression.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn send_with<'a>(&mut self, payload: impl Into<Payload<'a>>, compress: Compress) -> Sending<'_, T> {
        let payload = payload.into();
        self.send_by(|connection, output| connection.send_with(payload, compress, output))
    }

    /// Sends one fragment of a message whose length is not known yet; the one with `fin` ends it (RFC 6455 §5.4).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::MessageInProgress`] for a fragment of another kind than the first.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn send_fragment<'a>(&mut self, payload: impl Into<Payload<'a>>, fin: bool) -> Sending<'_, T> {
        let payload = payload.into();
        self.send_by(|connection, output| connection.send_fragment(payload, fin, Compress::Auto, output))
    }

    /// Sends a message that was encoded once for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Sending<'_, T> {
        self.send_by(|connection, output| connection.send_prepared(prepared, output))
    }

    /// Sends a ping of at most 125 bytes. Its pong shows as [`Event::Pong`] in [`next_event`](Self::next_event).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::ControlFrameTooLong`].
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> Sending<'_, T> {
        self.send_by(|connection, output| connection.ping(payload, output))
    }

    /// Sends a pong that nobody asked for, at most 125 bytes: a heartbeat without an answer (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn pong(&mut self, payload: &[u8]) -> Sending<'_, T> {
        self.send_by(|connection, output| connection.pong(payload, output))
    }

    fn send_by(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Sending<'_, T> {
        let queued = self.driver.send(encode);
        Sending::new(&mut self.driver, queued)
    }
}

/// The wakers of a task that owns both directions.
#[inline]
fn with_wakers<R>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Wakers<'_, '_, '_>) -> R) -> R {
    let mut write = Context::from_waker(cx.waker());
    poll(&mut Wakers {
        write: &mut write,
        read: &mut Context::from_waker(cx.waker()),
    })
}

/// The future of [`WebSocket::send`] and its like: the message has been accepted, and waits for the transport.
#[must_use = "the message may wait for room, and errors are told here"]
pub struct Sending<'a, T: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    driver: &'a mut Driver<T>,
    queued: Queued,
}

impl<'a, T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Sending<'a, T> {
    #[inline]
    fn new(driver: &'a mut Driver<T>, queued: Queued) -> Self {
        Self { driver, queued }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Future for Sending<'_, T> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.queued == Queued::LEFT {
            return Poll::Ready(Ok(()));
        }
        let sent = match self.queued.until() {
            Some(end) => ready!(self.driver.poll_send(cx, end)),
            None => self.driver.refused(),
        };
        self.queued = Queued::LEFT;
        Poll::Ready(sent)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if self.queued.until().is_some() {
            self.driver.leave();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<T> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

/// `start_send` queues; the transport takes what is queued when the sink is flushed, and before it is ready again.
impl<T: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<T> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let driver = &mut self.get_mut().driver;
        if driver.unwritten() < SINK_BATCH {
            return Poll::Ready(Ok(()));
        }
        let end = driver.output_end();
        driver.poll_send(cx, end)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let driver = &mut self.get_mut().driver;
        driver.queue(|connection, output| connection.send(&message, output))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let driver = &mut self.get_mut().driver;
        let end = driver.output_end();
        driver.poll_send(cx, end)
    }

    /// Sends a Close with code 1000 and finishes the closing handshake, discarding messages that still arrive.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let driver = &mut self.get_mut().driver;
        driver.begin_close(CloseCode::NORMAL, "")?;
        while ready!(with_wakers(cx, |wakers| driver.poll_next(wakers, Some)))?.is_some() {}
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for WebSocket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("connection", self.driver.connection())
            .field("subprotocol", &self.subprotocol())
            .finish_non_exhaustive()
    }
}

/// How much a sink queues before it writes, in bytes.
const SINK_BATCH: usize = 16 * 1024;
