//! [`WebSocket`]: an open connection over any transport.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::Event;
use sockeye_proto::handshake::Headers;
use sockeye_proto::message::{Message, MessageKind};
use sockeye_proto::uri::WebSocketUri;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::byte_stream::ByteStream;
use crate::driver::{ClosedBy, Driver};
use crate::error::Error;
use crate::handle::{Handle, with_wakers};
use crate::opened::Handshake;
use crate::reader::MessageReader;
use crate::split::{self, Receiver, Sender};
use crate::writer::MessageWriter;

/// An open WebSocket over a transport `T`, client or server.
///
/// [`recv`](Self::recv) and [`send`](Self::send) are all that most programs need. Pings are answered and the closing
/// handshake is completed while `recv` is awaited, so a task that holds a `WebSocket` awaits `recv` most of the time,
/// also when it expects no messages; or it [splits](Self::split) the connection and gives each half to a task.
///
/// It is also a [`Stream`] of messages and a [`Sink`](futures_sink::Sink) for them.
///
/// # Backpressure
///
/// [`send`](Self::send) is done when the transport has taken the whole message (or will, with up to 64 KiB of answers that
/// leave together), and so waits while the peer does not read. When the send queue is full (64 KiB for a server, 1 MiB for
/// a client), it waits for room before it accepts the message; [`try_send`](Self::try_send) drops it then. Nothing is
/// read from the transport while `recv` is not awaited, so a peer is held up in turn.
///
/// A message longer than 1 MiB is sent in fragments of 256 KiB, so that a pong, ping or Close waits for the frame on its way
/// at most. A [`Prepared`](crate::Prepared), and what goes through the [`Sink`](futures_sink::Sink), is one frame however
/// long it is.
///
/// # Keepalive
///
/// While `recv` is awaited, a ping goes out when nothing was received for 20 s, and when nothing at all follows within
/// another 20 s, `recv` answers [`Error::Timeout`]. So does a `send` that waits for a peer that is gone. See
/// [`ping_interval`](crate::ServerOptionsBuilder::ping_interval).
///
/// # Dropping
///
/// Dropping a `WebSocket` ends the transport at once and without a Close, which the peer sees as close code 1006; output
/// that the transport has not taken is lost. Call [`close`](Self::close) to end it properly. When the peer ends its side
/// of the transport without a Close, the connection is lost, also for sending: WebSocket knows no half-closed state.
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
    pub(crate) driver: Driver<T>,
    pub(crate) handshake: Handshake,
}

impl<T> WebSocket<T> {
    pub(crate) fn new(mut driver: Driver<T>, handshake: Handshake) -> Self {
        driver.watch().opened();
        Self { driver, handshake }
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.handshake.subprotocol()
    }

    /// The headers of the response that a client got. Its status is always 101: with any other there is no connection, but
    /// [`ConnectError::Refused`](crate::ConnectError::Refused), which has it.
    ///
    /// A server's are empty: a browser's request has about 700 bytes of them, which would stay for as long as the connection
    /// does. It reads them before it accepts, in [`Upgrade::request`](crate::Upgrade::request), and keeps what it needs.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        self.handshake.headers()
    }

    /// Where a client's connection leads: the URI that it asked for, or the last one to which it was
    /// [redirected](crate::ClientBuilder::follow_redirects). A server's end has none; its request is in
    /// [`Upgrade::request`](crate::Upgrade::request).
    ///
    /// It shows neither user name nor password in `Debug` and `Display`.
    #[must_use]
    pub fn uri(&self) -> Option<&WebSocketUri> {
        self.handshake.uri()
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

    /// The reason that the peer's Close gave, for people who read logs: often empty.
    #[must_use]
    pub fn close_reason_received(&self) -> &str {
        self.driver.close_reasons().1
    }

    /// The code of the Close that was sent, be it by [`close`](Self::close), in answer to the peer's, or because the peer
    /// broke the protocol: [`CloseCode::NO_STATUS`] if it had none, `None` if none was sent.
    #[must_use]
    pub fn close_sent(&self) -> Option<CloseCode> {
        self.driver.close_sent()
    }

    /// The reason that it gave: empty in an answer.
    #[must_use]
    pub fn close_reason_sent(&self) -> &str {
        self.driver.close_reasons().0
    }

    /// Which end closed first; `None` without a Close.
    #[must_use]
    pub fn closed_by(&self) -> Option<ClosedBy> {
        self.driver.closed_by()
    }

    /// The round-trip time that was measured last, by a keepalive ping or [`measure_latency`](Self::measure_latency).
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.driver.latency()
    }

    /// Bytes of frames that were accepted for sending and not yet given to the transport.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.driver.unwritten()
    }

    /// Looks at the transport: its addresses, its TLS session. Nothing is written meanwhile, so look briefly.
    pub fn with_transport<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.driver.look(|outlet| look(&outlet.io))
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

    /// The next message as a reader of its bytes as they arrive, in constant memory however long it is; `None` as
    /// [`recv`](Self::recv). What is not read of a message is passed over by whatever receives next.
    ///
    /// The limit is [`max_chunked_size`](crate::ServerOptionsBuilder::max_chunked_size).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// See [`MessageReader`].
    pub async fn read_message(&mut self) -> Result<Option<MessageReader<'_, T>>, Error> {
        MessageReader::open(Handle::Whole(&mut self.driver)).await
    }

    /// Begins a message whose length need not be known, to be written piece by piece (RFC 6455 §5.4). Call
    /// [`finish`](MessageWriter::finish) to end it.
    ///
    /// # Examples
    ///
    /// See [`MessageWriter`].
    pub fn write_message(&mut self, kind: MessageKind) -> MessageWriter<'_, T> {
        MessageWriter::new(Handle::Whole(&mut self.driver), kind)
    }

    /// The connection as a stream of bytes, which go as binary messages: for protocols that know no messages.
    ///
    /// # Examples
    ///
    /// See [`ByteStream`].
    #[must_use]
    pub fn into_byte_stream(self) -> ByteStream<T> {
        ByteStream::new(self)
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
        split::split(self)
    }

    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        match self.driver.small_message() {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None => self.poll_recv_other(cx),
        }
    }

    /// Apart, so that a small message does not pay for what all this keeps on the stack.
    #[inline(never)]
    fn poll_recv_other(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        with_wakers(cx, |wakers| self.driver.poll_message(wakers))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<T> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
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
