//! The halves of a connection, for two tasks.
//!
//! Both share one driver behind a lock that is held for the length of one poll and never while anything is awaited, so
//! neither half waits for what the other waits for. A transport remembers one task for reading and one for writing;
//! since both halves may wait for room to write (the receiver for its pongs), that one wakes both.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_core::Stream;
use sockeye_proto::close::CloseCode;
use sockeye_proto::connection::{Compress, Connection, Event};
use sockeye_proto::error::SendError;
use sockeye_proto::message::{Message, Payload};
use sockeye_proto::prepared::Prepared;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::driver::{Driver, Wakers};
use crate::error::Error;

/// The half that sends. See [`WebSocket::split`](crate::WebSocket::split).
///
/// Several tasks may share it, in an [`Arc`]. What its methods queue leaves at once if the transport takes it. The closing
/// handshake is completed by the [`Receiver`], which is to be polled to its end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The half that receives. See [`WebSocket::split`](crate::WebSocket::split).
///
/// It also answers pings and completes the closing handshake while it is awaited.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

pub(crate) fn split<T>(driver: Driver<T>) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        driver: Mutex::new(driver),
        tasks: Arc::default(),
    });
    let sender = Sender { shared: shared.clone() };
    (sender, Receiver { shared })
}

struct Shared<T> {
    driver: Mutex<Driver<T>>,
    tasks: Arc<Tasks>,
}

/// The tasks that poll the halves, if they wait. Several may share a [`Sender`].
#[derive(Default)]
struct Tasks {
    senders: Mutex<Vec<Waker>>,
    receiver: Mutex<Option<Waker>>,
}

impl Tasks {
    fn wake_senders(&self) {
        let senders = std::mem::take(&mut *lock(&self.senders));
        senders.into_iter().for_each(Waker::wake);
    }

    fn wake_receiver(&self) {
        let receiver = lock(&self.receiver).take();
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    fn wait_to_send(&self, cx: &Context<'_>) {
        let mut senders = lock(&self.senders);
        if !senders.iter().any(|sender| sender.will_wake(cx.waker())) {
            senders.push(cx.waker().clone());
        }
    }

    fn wait_to_receive(&self, cx: &Context<'_>) {
        match &mut *lock(&self.receiver) {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

impl<T> Shared<T> {
    fn driver(&self) -> MutexGuard<'_, Driver<T>> {
        lock(&self.driver)
    }
}

/// A lock is never held across anything that can panic and leave what it guards in between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be woken when there is room to write: both.
impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_senders();
        self.wake_receiver();
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
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Examples
    ///
    /// See [`WebSocket::split`](crate::WebSocket::split).
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_with(&message.into(), Compress::Auto).await
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
        let payload = payload.into();
        self.send_by(|connection, output| connection.send_with(payload, compress, output))
            .await
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
        self.send_by(|connection, output| connection.ping(payload, output))
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
        self.send_by(|connection, output| connection.pong(payload, output))
            .await
    }

    /// Sends a Close, after which nothing can be sent. The [`Receiver`] ends when the peer has answered, or after the
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
        self.shared.tasks.wake_receiver();
        self.flush().await
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
        let write = Waker::from(self.shared.tasks.clone());
        let cancelled = Cancelled(&self.shared);
        let end = self.shared.driver().output_end();
        let sent = poll_fn(|cx| {
            self.shared.tasks.wait_to_send(cx);
            self.shared.driver().poll_send(&mut Context::from_waker(&write), end)
        })
        .await;
        std::mem::forget(cancelled);
        sent
    }

    /// Bytes of frames that were accepted for sending and not yet given to the transport.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shared.driver().unwritten()
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
        self.shared.driver().outlet().taken()
    }

    async fn send_by(
        &self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.shared.driver().queue(encode)?;
        self.flush().await
    }
}

/// Is dropped with a future that nobody waits for any more: what it was to send leaves all the same.
struct Cancelled<'a, T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&'a Shared<T>);

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Cancelled<'_, T> {
    fn drop(&mut self) {
        self.0.driver().leave();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Receiver<T> {
    /// The next message; `None` when the peer has closed the connection, or answered our Close.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`WebSocket::recv`](crate::WebSocket::recv).
    ///
    /// # Examples
    ///
    /// See [`WebSocket::split`](crate::WebSocket::split).
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event of any kind; see [`WebSocket::next_event`](crate::WebSocket::next_event).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`WebSocket::recv`](crate::WebSocket::recv).
    pub async fn next_event(&mut self) -> Result<Option<Event<Bytes>>, Error> {
        poll_fn(|cx| self.poll_next(cx, Some)).await
    }

    fn poll_next<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Event<Bytes>) -> Option<R>,
    ) -> Poll<Result<Option<R>, Error>> {
        self.shared.tasks.wait_to_receive(cx);
        let write = Waker::from(self.shared.tasks.clone());
        let mut wakers = Wakers {
            read: cx,
            write: &mut Context::from_waker(&write),
        };
        let event = self.shared.driver().poll_next(&mut wakers, take);
        if let Poll::Ready(Ok(None) | Err(_)) = event {
            // No room to write will come any more for those who wait for it.
            self.shared.tasks.wake_senders();
        }
        event
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_next(cx, Event::into_message)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for Receiver<T> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
