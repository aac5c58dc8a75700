//! MessagePack (msgpack.org) by serde, in binary messages.

use std::fmt;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;
use sockeye_proto::message::{Message, Payload};

use super::{Codec, Decode, Encode};

/// MessagePack in binary messages, for all that serde can serialize and deserialize. Values nest
/// 128 deep at most.
///
/// ```
/// use sockeye::codec::{Decode, Encode, MessagePack};
///
/// let point = (3, -4);
/// let message = MessagePack::new().encode(&point)?;
/// assert_eq!(message.as_bytes(), [0x92, 3, 0xfc]);
/// assert_eq!(point, MessagePack::new().decode(message)?);
/// # Ok::<_, sockeye::codec::MessagePackError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessagePack {
    compact: bool,
}

impl MessagePack {
    /// Writes structs as maps from the names of their fields, as other languages do.
    #[must_use]
    pub const fn new() -> Self {
        Self { compact: false }
    }

    /// Writes structs as arrays, without the names: shorter, for two ends that know the same struct.
    ///
    /// Both forms are read whichever is written.
    #[must_use]
    pub const fn compact() -> Self {
        Self { compact: true }
    }
}

/// A value cannot be written as MessagePack, or a message not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum MessagePackError {
    /// A text message, in which MessagePack cannot be sent.
    Text,
    /// A value that MessagePack has no form for.
    Encode(rmp_serde::encode::Error),
    /// No MessagePack, or none of such a value.
    Decode(rmp_serde::decode::Error),
    /// Bytes behind the value.
    Trailing,
}

impl Codec for MessagePack {
    type Error = MessagePackError;
}

impl<T: Serialize + ?Sized> Encode<T> for MessagePack {
    fn encode(&self, value: &T) -> Result<Message, MessagePackError> {
        let encoded = match self.compact {
            true => rmp_serde::to_vec(value),
            false => rmp_serde::to_vec_named(value),
        };
        Ok(encoded.map_err(MessagePackError::Encode)?.into())
    }
}

impl<T: DeserializeOwned> Decode<T> for MessagePack {
    fn decode(&self, message: Message) -> Result<T, MessagePackError> {
        let Payload::Binary(bytes) = message.payload() else {
            return Err(MessagePackError::Text);
        };
        let mut deserializer = rmp_serde::Deserializer::new(bytes);
        deserializer.set_max_depth(MAX_DEPTH);
        let value = T::deserialize(&mut deserializer).map_err(MessagePackError::Decode)?;
        match deserializer.get_ref().is_empty() {
            true => Ok(value),
            false => Err(MessagePackError::Trailing),
        }
    }
}

impl fmt::Display for MessagePackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("the message is text, not MessagePack"),
            Self::Encode(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
            Self::Trailing => f.write_str("something follows the value"),
        }
    }
}

impl std::error::Error for MessagePackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Text | Self::Trailing => None,
            Self::Encode(error) => Some(error),
            Self::Decode(error) => Some(error),
        }
    }
}

/// How deep values may nest: a stack is finite, and the peer decides how deep its message is.
const MAX_DEPTH: usize = 128;
