//! [`Typed`]: a connection with a codec on it.

use std::fmt;
use std::marker::PhantomData;

use sockeye_proto::close::CloseCode;
use sockeye_proto::message::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Codec, CodecError, Decode, Encode};
use crate::error::Error;
use crate::socket::WebSocket;
use crate::split::{Receiver, Sender};

/// A connection `W` that receives values of the type `In` and sends values of the type `Out`, by the codec `C`.
///
/// `W` is a [`WebSocket`] or one of its halves, or one of the blocking ones. What `Typed` does not have,
/// [`get_ref`](Self::get_ref) and [`get_mut`](Self::get_mut) do.
///
/// # Examples
///
/// See the [module](super).
pub struct Typed<W, C, In, Out = In> {
    ws: W,
    codec: C,
    values: PhantomData<fn(Out) -> In>,
}

impl<W, C, In, Out> Typed<W, C, In, Out> {
    /// Puts `codec` on a connection.
    pub fn new(ws: W, codec: C) -> Self {
        Self {
            ws,
            codec,
            values: PhantomData,
        }
    }

    /// The connection.
    #[must_use]
    pub fn get_ref(&self) -> &W {
        &self.ws
    }

    /// The connection, for messages that are no values.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.ws
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// The connection and the codec.
    #[must_use]
    pub fn into_parts(self) -> (W, C) {
        (self.ws, self.codec)
    }

    fn decode(&self, message: Option<Message>) -> Result<Option<In>, CodecError<C::Error>>
    where
        C: Decode<In>,
    {
        let decoded = message.map(|message| self.codec.decode(message));
        decoded.transpose().map_err(CodecError::Decode)
    }

    fn encode(&self, value: &Out) -> Result<Message, CodecError<C::Error>>
    where
        C: Encode<Out>,
    {
        self.codec.encode(value).map_err(CodecError::Encode)
    }
}

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
    /// The message is accepted, whole, when the future is first polled, and leaves also if the future is dropped then.
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

#[cfg(feature = "blocking")]
mod blocking {
    //! The same without futures.

    use super::{Codec, CodecError, Decode, Encode, Typed};
    use crate::blocking::{Receiver, Sender, Transport, TryClone, WebSocket};
    use crate::error::Error;
    use sockeye_proto::close::CloseCode;

    impl<S: Transport, C: Codec, In, Out> Typed<WebSocket<S>, C, In, Out> {
        /// The next value; `None` when the peer has closed the connection, or answered our Close.
        ///
        /// # Errors
        ///
        /// [`CodecError::Connection`], as [`WebSocket::recv`], or [`CodecError::Decode`].
        pub fn recv(&mut self) -> Result<Option<In>, CodecError<C::Error>>
        where
            C: Decode<In>,
        {
            let message = self.ws.recv()?;
            self.decode(message)
        }

        /// Sends a value, and waits until the transport has taken it.
        ///
        /// # Errors
        ///
        /// [`CodecError::Encode`], or [`CodecError::Connection`], as [`WebSocket::send`].
        pub fn send(&mut self, value: &Out) -> Result<(), CodecError<C::Error>>
        where
            C: Encode<Out>,
        {
            let message = self.encode(value)?;
            Ok(self.ws.send(message)?)
        }

        /// Closes the connection, as [`WebSocket::close`].
        ///
        /// # Errors
        ///
        /// As [`WebSocket::close`].
        pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
            self.ws.close(code, reason)
        }
    }

    impl<S: TryClone, C: Codec, In, Out> Typed<Receiver<S>, C, In, Out> {
        /// The next value; `None` when the peer has closed the connection, or answered our Close.
        ///
        /// # Errors
        ///
        /// [`CodecError::Connection`], as [`Receiver::recv`], or [`CodecError::Decode`].
        pub fn recv(&mut self) -> Result<Option<In>, CodecError<C::Error>>
        where
            C: Decode<In>,
        {
            let message = self.ws.recv()?;
            self.decode(message)
        }
    }

    impl<S: TryClone, C: Codec, In, Out> Typed<Sender<S>, C, In, Out> {
        /// Sends a value, and waits until the transport has taken it.
        ///
        /// # Errors
        ///
        /// [`CodecError::Encode`], or [`CodecError::Connection`], as [`Sender::send`].
        pub fn send(&self, value: &Out) -> Result<(), CodecError<C::Error>>
        where
            C: Encode<Out>,
        {
            let message = self.encode(value)?;
            Ok(self.ws.send(message)?)
        }
    }
}

impl<W: fmt::Debug, C, In, Out> fmt::Debug for Typed<W, C, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("ws", &self.ws).finish_non_exhaustive()
    }
}
