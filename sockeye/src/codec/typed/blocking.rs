//! Typed messages over the blocking connections.

use sockeye_proto::close::CloseCode;

use super::Typed;
use crate::blocking::{Receiver, Sender, Transport, TryClone, WebSocket};
use crate::codec::{Codec, CodecError, Decode, Encode};
use crate::error::Error;

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
