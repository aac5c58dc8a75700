//! Typed messages over tokio's connections.

use ::tokio::io::{AsyncRead, AsyncWrite};
use sockeye_proto::close::CloseCode;

use super::Typed;
use crate::codec::{Codec, CodecError, Decode, Encode};
use crate::error::Error;
use crate::socket::WebSocket;
use crate::split::{Receiver, Sender};

impl<T, C: Codec, In, Out> Typed<WebSocket<T>, C, In, Out>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// The next value; `None` when the peer has closed the connection, or answered our Close.
    ///
    /// # Errors
    ///
    /// [`CodecError::Connection`], as [`WebSocket::recv`], or [`CodecError::Decode`].
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<In>, CodecError<C::Error>>
    where
        C: Decode<In>,
    {
        let message = self.ws.recv().await?;
        self.decode(message)
    }

    /// Sends a value, and waits until the transport has taken it.
    ///
    /// # Errors
    ///
    /// [`CodecError::Encode`], or [`CodecError::Connection`], as [`WebSocket::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`], but that nothing happens before the future is first polled: with room in the send queue the
    /// message is accepted, whole, by that poll and leaves also if the future is dropped then. Without room it is accepted
    /// when there is, and a future that is dropped before takes it along.
    pub async fn send(&mut self, value: &Out) -> Result<(), CodecError<C::Error>>
    where
        C: Encode<Out>,
    {
        let message = self.encode(value)?;
        Ok(self.ws.send(message).await?)
    }

    /// Closes the connection, as [`WebSocket::close`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::close`].
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.ws.close(code, reason).await
    }

    /// Two halves for two tasks, as [`WebSocket::split`].
    #[must_use]
    #[expect(clippy::type_complexity, reason = "both halves are of the caller's types")]
    pub fn split(self) -> (Typed<Sender<T>, C, In, Out>, Typed<Receiver<T>, C, In, Out>)
    where
        C: Clone,
    {
        let (sender, receiver) = self.ws.split();
        (Typed::new(sender, self.codec.clone()), Typed::new(receiver, self.codec))
    }
}

impl<T, C: Codec, In, Out> Typed<Receiver<T>, C, In, Out>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// The next value; `None` when the peer has closed the connection, or answered our Close.
    ///
    /// # Errors
    ///
    /// [`CodecError::Connection`], as [`Receiver::recv`], or [`CodecError::Decode`].
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<In>, CodecError<C::Error>>
    where
        C: Decode<In>,
    {
        let message = self.ws.recv().await?;
        self.decode(message)
    }
}

impl<T, C: Codec, In, Out> Typed<Sender<T>, C, In, Out>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Sends a value, and waits until the transport has taken it.
    ///
    /// # Errors
    ///
    /// [`CodecError::Encode`], or [`CodecError::Connection`], as [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send`].
    pub async fn send(&self, value: &Out) -> Result<(), CodecError<C::Error>>
    where
        C: Encode<Out>,
    {
        let message = self.encode(value)?;
        Ok(self.ws.send(message).await?)
    }
}
