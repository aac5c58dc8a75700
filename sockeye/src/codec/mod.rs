//! Typed messages: values in place of text and bytes.
//!
//! A [`Codec`] makes a message of a value ([`Encode`]) and a value of a message ([`Decode`]). [`Typed`] puts one on a
//! connection, whole or split, async or blocking. `Json` (feature `json`) and `MessagePack` (feature `msgpack`) take
//! everything that serde does; a codec of your own is two methods. [`Codecs`] chooses by the subprotocol that was agreed
//! on.
//!
//! RFC 6455 leaves to subprotocols what messages mean (§1.9); nothing here is part of the protocol. A message that cannot
//! be decoded leaves the connection as it was: go on, or close it with
//! [`CloseCode::INVALID_PAYLOAD`](crate::CloseCode::INVALID_PAYLOAD).
//!
//! ```
//! use sockeye::codec::{Codec, CodecError, Decode, Encode, Typed};
//! use sockeye::{Message, WebSocket};
//!
//! /// Numbers, in decimal.
//! struct Decimal;
//!
//! impl Codec for Decimal {
//!     type Error = std::num::ParseIntError;
//! }
//!
//! impl Encode<i64> for Decimal {
//!     fn encode(&self, value: &i64) -> Result<Message, Self::Error> {
//!         Ok(value.to_string().into())
//!     }
//! }
//!
//! impl Decode<i64> for Decimal {
//!     fn decode(&self, message: Message) -> Result<i64, Self::Error> {
//!         message.as_text().unwrap_or_default().parse()
//!     }
//! }
//!
//! # async fn example(ws: WebSocket<tokio::io::DuplexStream>) -> Result<(), Box<dyn std::error::Error>> {
//! let mut ws: Typed<_, _, i64> = Typed::new(ws, Decimal);
//! ws.send(&6).await?;
//! match ws.recv().await {
//!     Ok(answer) => println!("{answer:?}"),
//!     Err(CodecError::Decode(error)) => println!("that is no number: {error}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "json")]
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
mod subprotocol;
mod typed;

use std::error::Error as StdError;
use std::fmt;

#[cfg(feature = "json")]
pub use self::json::{Json, JsonError};
#[cfg(feature = "msgpack")]
pub use self::msgpack::{MessagePack, MessagePackError};
pub use self::subprotocol::{AnyCodec, AnyError, Codecs};
pub use self::typed::Typed;

use crate::error::Error;
use sockeye_proto::message::Message;

/// A way to write values as messages.
pub trait Codec {
    /// Why a value cannot be written, or a message not be read.
    type Error: StdError + Send + Sync + 'static;
}

/// A codec that writes values of the type `T`.
pub trait Encode<T: ?Sized>: Codec {
    /// The message for a value.
    ///
    /// # Errors
    ///
    /// When the value has no such form.
    fn encode(&self, value: &T) -> Result<Message, Self::Error>;
}

/// A codec that reads values of the type `T`. What it reads was sent by the peer: it must not panic on anything, nor take
/// much more memory than the message has.
pub trait Decode<T>: Codec {
    /// The value of a message.
    ///
    /// # Errors
    ///
    /// When the message is none of such a value.
    fn decode(&self, message: Message) -> Result<T, Self::Error>;
}

/// A typed message was not sent or received.
#[derive(Debug)]
#[non_exhaustive]
pub enum CodecError<E> {
    /// The connection failed, or cannot do what was asked.
    Connection(Error),
    /// The value cannot be encoded. Nothing was sent.
    Encode(E),
    /// The message cannot be decoded. It is gone; the connection is as it was.
    Decode(E),
}

impl<E: fmt::Display> fmt::Display for CodecError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Encode(error) => write!(f, "the value cannot be encoded: {error}"),
            Self::Decode(error) => write!(f, "the message cannot be decoded: {error}"),
        }
    }
}

impl<E: StdError + 'static> StdError for CodecError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::Encode(error) | Self::Decode(error) => Some(error),
        }
    }
}

impl<E> From<Error> for CodecError<E> {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}
