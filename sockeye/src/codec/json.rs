//! JSON (RFC 8259) by serde, in text messages.

use std::fmt;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;
use sockeye_proto::message::Message;

use super::{Codec, Decode, Encode};

/// JSON in text messages, for all that serde can serialize and deserialize. Values nest 128 deep at most.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sockeye::codec::{Decode, Encode, Json};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(tag = "type", rename_all = "snake_case")]
/// enum Chat {
///     Join { room: String },
///     Say { room: String, text: String },
/// }
///
/// let join = Chat::Join { room: "salmon".into() };
/// let message = Json.encode(&join)?;
/// assert_eq!(message.as_text(), Some(r#"{"type":"join","room":"salmon"}"#));
/// assert_eq!(join, Json.decode(message)?);
/// # Ok::<_, sockeye::codec::JsonError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

/// A value cannot be written as JSON, or a message not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum JsonError {
    /// A binary message, in which nobody sends JSON.
    Binary,
    /// No JSON, or JSON that is no such value; or a value that JSON has no form for.
    Json(serde_json::Error),
}

impl Codec for Json {
    type Error = JsonError;
}

impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(&self, value: &T) -> Result<Message, JsonError> {
        Ok(serde_json::to_string(value).map_err(JsonError::Json)?.into())
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(&self, message: Message) -> Result<T, JsonError> {
        let text = message.as_text().ok_or(JsonError::Binary)?;
        serde_json::from_str(text).map_err(JsonError::Json)
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary => f.write_str("the message is binary, not JSON"),
            Self::Json(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Binary => None,
            Self::Json(error) => Some(error),
        }
    }
}
