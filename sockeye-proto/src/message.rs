//! Messages, and the buffer in which a message of several frames, or an inflated one, comes together (RFC 6455 §5.4).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::error::ProtocolError;
use crate::frame::Opcode;
use crate::simd::text::TextBuffer;
use crate::utf8::Utf8Bytes;

/// What a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of a message's first frame.
    pub(crate) fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// A whole message.
///
/// Cloning is cheap: clones share the payload.
///
/// ```
/// use sockeye_proto::message::{Message, MessageKind};
///
/// let message = Message::from("naïve");
/// assert_eq!(message.kind(), MessageKind::Text);
/// assert_eq!(message.len(), 6);
/// assert_eq!(message.as_text(), Some("naïve"));
/// ```
// A tag of a word leaves no gap, whose bytes would be moved one by one wherever a message is.
#[derive(Clone, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Message {
    /// UTF-8 text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The length of the payload in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Shows the kind, the length and the beginning: a megabyte does not belong in a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.as_bytes();
        let shown = &shown[..shown.len().min(SHOWN)];
        write!(f, "{:?}({} bytes: ", self.kind(), self.len())?;
        match self {
            Self::Text(_) => write!(f, "{:?}", String::from_utf8_lossy(shown))?,
            Self::Binary(_) => write!(f, "{shown:02x?}")?,
        }
        f.write_str(if self.len() > SHOWN { " …)" } else { ")" })
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    #[inline]
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<&[u8]> for Message {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::from(Box::<[u8]>::from(bytes)))
    }
}

/// A payload, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// Text or binary.
    #[must_use]
    pub fn kind(self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Message> for Payload<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text),
            Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

/// A message that comes together from several pieces.
///
/// It grows with what arrives, by doubling, and never past the limit: nothing is reserved for a length that was only
/// declared.
#[derive(Debug)]
pub(crate) enum Assembly {
    Text(TextBuffer),
    Binary(Vec<u8>),
}

impl Assembly {
    pub(crate) fn new(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text(TextBuffer::default()),
            MessageKind::Binary => Self::Binary(Vec::new()),
        }
    }

    /// Appends `piece`, and checks it if it is text.
    pub(crate) fn push(&mut self, piece: &[u8], limit: u64) -> Result<(), ProtocolError> {
        let length = self.len() + piece.len();
        if length as u64 > limit {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        if length > self.capacity() {
            let doubled = usize::try_from(limit).unwrap_or(usize::MAX).min(2 * self.capacity());
            let additional = length.max(doubled) - self.len();
            match self {
                Self::Text(text) => text.reserve(additional),
                Self::Binary(bytes) => bytes.reserve_exact(additional),
            }
        }
        match self {
            Self::Text(text) => text.push(piece).map_err(|_| ProtocolError::InvalidUtf8),
            Self::Binary(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// Whether the message may end here: text must not end inside a code point.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Text(text) => text.is_complete(),
            Self::Binary(_) => true,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Text(text) => text.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }
}

/// How much of a payload `Debug` shows, in bytes.
const SHOWN: usize = 32;
