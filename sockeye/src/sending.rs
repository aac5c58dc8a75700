//! The sending side of a [`WebSocket`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use sockeye_proto::close::CloseCode;
use sockeye_proto::connection::{Compress, Connection};
use sockeye_proto::error::SendError;
use sockeye_proto::message::{Message, Payload};
use sockeye_proto::prepared::Prepared;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::driver::{Deferred, Delivery, Driver, LARGEST_FRAME, Queued, RoundTrip};
use crate::error::Error;
use crate::handle::with_wakers;
use crate::socket::WebSocket;

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
    /// If there is room in the [send queue](crate::ServerOptionsBuilder::send_queue), the message is accepted, whole, by the
    /// call itself; the future only waits for the transport, and dropping it loses nothing: what was accepted leaves all
    /// the same. If there is none, the future waits for room first, and dropping it before that drops the message, of which
    /// nothing was sent; so it is with a message of more than 1 MiB, which is accepted when the future is first polled with
    /// room. So the queue does not grow past its limit and one message, however often a future is dropped.
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
        if payload.as_bytes().len() > LARGEST_FRAME || self.driver.must_wait() {
            return self.defer(Deferred::Message(owned(payload), compress));
        }
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
        if self.driver.must_wait() {
            return self.defer(Deferred::Fragment(owned(payload), fin));
        }
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
        if self.driver.must_wait() {
            return self.defer(Deferred::Prepared(prepared.clone()));
        }
        self.send_by(|connection, output| connection.send_prepared(prepared, output))
    }

    /// Sends a ping of at most 125 bytes. Its pong shows as [`Event::Pong`](crate::Event::Pong) in
    /// [`next_event`](Self::next_event). See [`measure_latency`](Self::measure_latency) for one whose answer is awaited.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::ControlFrameTooLong`].
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> Sending<'_, T> {
        let queued = self.driver.send_control(false, payload);
        Sending::new(&mut self.driver, queued)
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
        let queued = self.driver.send_control(true, payload);
        Sending::new(&mut self.driver, queued)
    }

    /// Sends a message if there is room in the [send queue](crate::ServerOptionsBuilder::send_queue), and waits for
    /// nothing: for those who rather drop what is stale than wait for a slow reader. After
    /// [`Delivery::Dropped`], [`drained`](Self::drained) tells when to go on.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(mut ws: sockeye::WebSocket<sockeye::transport::Stream>) -> Result<(), sockeye::Error> {
    /// use sockeye::Delivery;
    ///
    /// let mut latest = 0_u64;
    /// loop {
    ///     latest += 1;
    ///     if ws.try_send(latest.to_string())? == Delivery::Dropped {
    ///         ws.drained().await?;
    ///     }
    ///     # break Ok(());
    /// }
    /// # }
    /// ```
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<Delivery, Error> {
        self.driver.try_send(message.into())
    }

    /// Waits until at most half of the [send queue](crate::ServerOptionsBuilder::send_queue) is in use.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn drained(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.driver.poll_drained(cx)).await
    }

    /// Sends a ping of eight unpredictable bytes, and answers the future of its round-trip time, which is ready while
    /// [`recv`](Self::recv) is awaited: give it to another task, or join the two.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Safe: the ping may or may not have been sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (near, far) = tokio::io::duplex(1024);
    /// # let server = tokio::spawn(async move {
    /// #     let mut ws = sockeye::accept(far, &sockeye::ServerOptions::default()).await.unwrap();
    /// #     while let Some(message) = ws.recv().await.unwrap() { ws.send(message).await.unwrap(); }
    /// # });
    /// # let mut ws = sockeye::Client::builder().build()?.connect_over(near, "ws://localhost/").await?;
    /// let round_trip = ws.measure_latency().await?;
    /// tokio::select! {
    ///     message = ws.recv() => println!("{:?}", message?),
    ///     time = round_trip => println!("{:?}", time?),
    /// }
    /// assert!(ws.latency().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn measure_latency(&mut self) -> Result<RoundTrip, Error> {
        if !self.driver.has_room_for_control() {
            poll_fn(|cx| self.driver.poll_room(cx)).await?;
        }
        self.driver.send_measuring()
    }

    fn defer(&mut self, deferred: Deferred) -> Sending<'_, T> {
        let queued = self.driver.defer(deferred);
        Sending::new(&mut self.driver, queued)
    }

    fn send_by(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Sending<'_, T> {
        let queued = self.driver.send(encode);
        Sending::new(&mut self.driver, queued)
    }
}

/// What has to wait for room is kept.
#[cold]
fn owned(payload: Payload<'_>) -> Message {
    match payload {
        Payload::Text(text) => text.into(),
        Payload::Binary(bytes) => bytes.into(),
    }
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
        self.poll_waiting(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Sending<'_, T> {
    #[inline(never)]
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.queued == Queued::DEFERRED {
            self.queued = ready!(self.driver.poll_deferred(cx));
        }
        let sent = match self.queued.until() {
            Some(end) => ready!(self.driver.poll_send(cx, end)),
            None if self.queued == Queued::LEFT => Ok(()),
            None => self.driver.refused(),
        };
        self.queued = Queued::LEFT;
        Poll::Ready(sent)
    }

    #[cold]
    fn cancel(&mut self) {
        if self.queued == Queued::DEFERRED {
            self.driver.cancel_deferred();
        } else if self.queued.until().is_some() {
            self.driver.leave();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Sending<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.queued != Queued::LEFT {
            self.cancel();
        }
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
        driver.poll_flush_all(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let driver = &mut self.get_mut().driver;
        driver.queue(|connection, output| connection.send(&message, output))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let driver = &mut self.get_mut().driver;
        driver.poll_flush_all(cx)
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

/// How much a sink queues before it writes, in bytes.
const SINK_BATCH: usize = 16 * 1024;
