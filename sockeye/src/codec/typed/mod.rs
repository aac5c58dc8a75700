//! [`Typed`]: a connection with a codec on it.

#[cfg(feature = "blocking")]
mod blocking;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::marker::PhantomData;

use sockeye_proto::message::Message;

use super::{CodecError, Decode, Encode};

/// A connection `W` that receives values of the type `In` and sends values of the type `Out`, by the codec `C`.
///
/// `W` is a `WebSocket` or one of its halves, or one of the blocking ones. What `Typed` does not have,
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

impl<W: fmt::Debug, C, In, Out> fmt::Debug for Typed<W, C, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("ws", &self.ws).finish_non_exhaustive()
    }
}
