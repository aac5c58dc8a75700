//! The sending half.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sockeye_proto::close::CloseCode;
use sockeye_proto::connection::{Compress, Connection};
use sockeye_proto::error::SendError;
use sockeye_proto::message::{Message, MessageKind, Payload};
use sockeye_proto::prepared::Prepared;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Shared;
use crate::driver::{Delivery, Driver, LARGEST_FRAME, RoundTrip, piece, rest};
use crate::error::Error;
use crate::handle::Handle;
use crate::outlet::Inner;
use crate::writer::MessageWriter;

/// The half that sends. See [`WebSocket::split`](crate::WebSocket::split).
///
/// It is cheap to clone, for as many tasks as want to send. What its methods queue leaves at once if the transport takes
/// it. The closing handshake is completed by the [`Receiver`](crate::Receiver), which is to be polled to its end. The transport ends when
/// the receiver and all senders are dropped.
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Sender<T> {
    /// Sends a message, and waits until the transport has taken it.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send), but that the message is accepted by the first poll, or when there is
    /// room and no other task writes a message in pieces.
    ///
    /// # Examples
    ///
    /// See [`WebSocket::split`](crate::WebSocket::split).
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_payload(Payload::from(&message.into()), Compress::Auto).await
    }

    /// Sends a message that is borrowed, with a say in its compression.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send_with<'a>(&self, payload: impl Into<Payload<'a>>, compress: Compress) -> Result<(), Error> {
        self.send_payload(payload.into(), compress).await
    }

    /// Sends one fragment of a message whose length is not known yet; the one with `fin` ends it. Tasks that share a
    /// sender must not send another message in between.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_fragment`](crate::WebSocket::send_fragment).
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send_fragment<'a>(&self, payload: impl Into<Payload<'a>>, fin: bool) -> Result<(), Error> {
        let payload = payload.into();
        self.send_by(|connection, output| connection.send_fragment(payload, fin, Compress::Auto, output))
            .await
    }

    /// Sends a message that was encoded once for many connections.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        self.send_by(|connection, output| connection.send_prepared(prepared, output))
            .await
    }

    /// Sends a ping of at most 125 bytes.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`](crate::WebSocket::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.send_control(|connection, output| connection.ping(payload, output))
            .await
    }

    /// Sends a pong that nobody asked for, at most 125 bytes.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::pong`](crate::WebSocket::pong).
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn pong(&self, payload: &[u8]) -> Result<(), Error> {
        self.send_control(|connection, output| connection.pong(payload, output))
            .await
    }

    /// Sends a Close, after which nothing can be sent. The [`Receiver`](crate::Receiver) ends when the peer has answered, or after the
    /// close deadline.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] if a Close was sent or received before, for a code that must not be sent, and for a reason of more
    /// than 123 bytes; [`Error::Io`] when the transport failed; [`Error::Timeout`] when the peer does not let it be
    /// written before the close deadline.
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.shared.driver().queue_close(code, reason)?;
        // It has a deadline to wait for now.
        self.shared.wake_receiver();
        self.flush().await
    }

    /// Sends a message if there is room, and waits for nothing; see [`WebSocket::try_send`](crate::WebSocket::try_send).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Delivery, Error> {
        self.shared.driver().try_send(message.into())
    }

    /// Waits until at most half of the send queue is in use; see [`WebSocket::drained`](crate::WebSocket::drained).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn drained(&self) -> Result<(), Error> {
        poll_fn(|cx| self.shared.poll_write(cx, Driver::poll_drained)).await
    }

    /// Begins a message whose length need not be known; see
    /// [`WebSocket::write_message`](crate::WebSocket::write_message). Messages of other tasks wait until it is finished or
    /// given up; pings, pongs and a Close do not.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been sent.
    pub async fn write_message(&self, kind: MessageKind) -> Result<MessageWriter<'_, T>, Error> {
        self.when_room(Driver::begin_streaming).await?;
        Ok(MessageWriter::new(Handle::Half(&self.shared), kind))
    }

    /// Sends a ping, and answers the future of its round-trip time, which is ready while the [`Receiver`](crate::Receiver) is awaited; see
    /// [`WebSocket::measure_latency`](crate::WebSocket::measure_latency).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Cancel safety
    ///
    /// Safe: the ping may or may not have been sent.
    pub async fn measure_latency(&self) -> Result<RoundTrip, Error> {
        self.when_room_for_control(Driver::send_measuring).await
    }

    /// Writes what was queued by calls whose futures were dropped.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`](crate::WebSocket::flush).
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn flush(&self) -> Result<(), Error> {
        let cancelled = Cancelled(&self.shared);
        let end = self.shared.driver().output_end();
        let sent = poll_fn(|cx| self.shared.poll_write(cx, |driver, cx| driver.poll_send(cx, end))).await;
        std::mem::forget(cancelled);
        sent
    }

    /// Encodes something into the output, and answers where that ends with it; [`flush`](Self::flush) sees to it that it leaves.
    pub(crate) fn queue(
        &self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<u64, Error> {
        let mut driver = self.shared.driver();
        driver.queue(encode)?;
        Ok(driver.output_end())
    }

    /// How much of the output the transport has taken, in bytes since the beginning.
    pub(crate) fn taken(&self) -> u64 {
        self.shared.driver().look(Inner::taken)
    }

    async fn send_payload(&self, payload: Payload<'_>, compress: Compress) -> Result<(), Error> {
        if payload.as_bytes().len() <= LARGEST_FRAME {
            return self
                .send_by(|connection, output| connection.send_with(payload, compress, output))
                .await;
        }
        self.when_room(Driver::begin_streaming).await?;
        let mut pieces = Pieces {
            shared: &self.shared,
            payload,
            compress,
            at: 0,
        };
        while pieces.at < payload.as_bytes().len() {
            poll_fn(|cx| pieces.poll_next(cx)).await?;
        }
        drop(pieces);
        self.flush().await
    }

    async fn send_by(
        &self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.when_room(|driver| driver.queue(encode)).await?;
        self.flush().await
    }

    async fn send_control(
        &self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.when_room_for_control(|driver| driver.queue_control(encode))
            .await?;
        self.flush().await
    }

    /// Does something when there is room, and no other task sends a message in pieces.
    async fn when_room<R>(&self, work: impl FnOnce(&mut Driver<T>) -> Result<R, Error>) -> Result<R, Error> {
        self.when(|driver| !driver.streaming && driver.has_room(), work).await
    }

    /// Does something when there is room for a ping or a pong, which may go between the pieces of a message.
    async fn when_room_for_control<R>(
        &self,
        work: impl FnOnce(&mut Driver<T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.when(Driver::has_room_for_control, work).await
    }

    async fn when<R>(
        &self,
        may: impl Fn(&Driver<T>) -> bool,
        work: impl FnOnce(&mut Driver<T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut work = Some(work);
        let mut at_once = |driver: &mut Driver<T>| {
            let work = if may(driver) { work.take() } else { None };
            work.map(|work| work(driver))
        };
        poll_fn(|cx| {
            if let Some(done) = at_once(&mut self.shared.driver()) {
                return Poll::Ready(done);
            }
            self.shared.poll_write(cx, |driver, cx| {
                ready!(driver.poll_room(cx))?;
                at_once(driver).map_or(Poll::Pending, Poll::Ready)
            })
        })
        .await
    }
}

/// A large message that a task sends in fragments. If that is given up the rest of it is sent at once, since its beginning
/// cannot be taken back.
struct Pieces<'a, T: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    shared: &'a Shared<T>,
    payload: Payload<'a>,
    compress: Compress,
    at: usize,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Pieces<'_, T> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (payload, end) = piece(self.payload, self.at);
        let (fin, compress) = (end == self.payload.as_bytes().len(), self.compress);
        ready!(self.shared.poll_write(cx, |driver, cx| {
            ready!(driver.poll_next_frame(cx))?;
            Poll::Ready(driver.queue(|connection, output| connection.send_fragment(payload, fin, compress, output)))
        }))?;
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Pieces<'_, T> {
    fn drop(&mut self) {
        let mut driver = self.shared.driver();
        if self.at > 0 && self.at < self.payload.as_bytes().len() {
            let (rest, compress) = (rest(self.payload, self.at), self.compress);
            // If it cannot be sent, neither can anything else: that is told then.
            let _ = driver.queue(|connection, output| connection.send_fragment(rest, true, compress, output));
            driver.leave();
        }
        driver.streaming = false;
        drop(driver);
        self.shared.wake_senders();
    }
}

/// Is dropped with a future that nobody waits for any more: what it was to send leaves all the same.
struct Cancelled<'a, T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&'a Shared<T>);

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Cancelled<'_, T> {
    fn drop(&mut self) {
        self.0.driver().leave();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
