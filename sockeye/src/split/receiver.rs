//! The receiving half, and the way back.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use sockeye_proto::connection::Event;
use sockeye_proto::message::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Sender, Shared};
use crate::error::Error;
use crate::handle::Handle;
use crate::reader::MessageReader;
use crate::socket::WebSocket;

/// The half that receives. See [`WebSocket::split`](crate::WebSocket::split).
///
/// It also answers pings and completes the closing handshake while it is awaited.
pub struct Receiver<T> {
    pub(super) shared: Arc<Shared<T>>,
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
        self.shared
            .poll_read(cx, |driver, wakers| driver.poll_next(wakers, take))
    }

    /// The next message as a reader of its bytes; see [`WebSocket::read_message`](crate::WebSocket::read_message).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`WebSocket::recv`](crate::WebSocket::recv).
    pub async fn read_message(&mut self) -> Result<Option<MessageReader<'_, T>>, Error> {
        MessageReader::open(Handle::Half(&self.shared)).await
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

impl<T> Receiver<T> {
    /// The whole again, if `sender` is of the same connection and has no clones.
    ///
    /// # Errors
    ///
    /// Both halves, if it is not so.
    pub fn reunite(self, sender: Sender<T>) -> Result<WebSocket<T>, ReuniteError<T>> {
        if !Arc::ptr_eq(&self.shared, &sender.shared) || Arc::strong_count(&self.shared) > 2 {
            return Err(ReuniteError(sender, self));
        }
        drop(sender);
        match Arc::try_unwrap(self.shared) {
            Ok(shared) => Ok(WebSocket {
                driver: shared.driver.into_inner().unwrap_or_else(PoisonError::into_inner),
                handshake: shared.handshake,
            }),
            Err(shared) => {
                let sender = Sender { shared: shared.clone() };
                Err(ReuniteError(sender, Self { shared }))
            }
        }
    }
}

/// Two halves that are not the only ones of the same connection.
pub struct ReuniteError<T>(pub Sender<T>, pub Receiver<T>);

impl<T> fmt::Debug for ReuniteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for ReuniteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these halves are not the only ones of the same connection")
    }
}

impl<T> std::error::Error for ReuniteError<T> {}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
