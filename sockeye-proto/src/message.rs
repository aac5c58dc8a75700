//! Messages, and the buffer in which a message of several frames, or an inflated one, comes together (RFC 6455 §5.4).

mod packet;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

pub(crate) use self::packet::Packet;
use crate::error::ProtocolError;
use crate::frame::Opcode;
use crate::simd::text::{TextBuffer, TextPacket};
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

/// A whole message, which owns its payload.
///
/// It is two words long. A payload of up to 127 bytes is its own, and copied by a clone; clones share a longer one.
/// Look at it by [`payload`](Self::payload), or take it by [`into_bytes`](Self::into_bytes) and
/// [`into_text`](Self::into_text).
///
/// ```
/// use sockeye_proto::message::{Message, MessageKind, Payload};
///
/// let message = Message::from("naïve");
/// assert_eq!(message.kind(), MessageKind::Text);
/// assert_eq!(message.len(), 6);
/// assert_eq!(message.as_text(), Some("naïve"));
/// match message.payload() {
///     Payload::Text(text) => assert_eq!(text, "naïve"),
///     Payload::Binary(_) => unreachable!(),
/// }
/// ```
#[derive(Clone)]
pub struct Message(Repr);

#[derive(Clone)]
enum Repr {
    Text(TextPacket),
    Binary(Packet),
}

// In registers, not in memory: `packet.rs` says what that is worth.
const _: () = assert!(size_of::<Message>() == 2 * size_of::<usize>());
const _: () = assert!(size_of::<Option<Message>>() == size_of::<Message>());

impl Message {
    /// A short message that was masked by `key`. `None` if it is too long, or text that is no UTF-8.
    #[inline]
    pub(crate) fn unmask(kind: MessageKind, payload: &[u8], key: Option<[u8; 4]>) -> Option<Self> {
        let packet = Packet::unmask(payload, key)?;
        Some(Self(match kind {
            MessageKind::Text => Repr::Text(TextPacket::try_from(packet).ok()?),
            MessageKind::Binary => Repr::Binary(packet),
        }))
    }

    /// Text or binary.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self.0 {
            Repr::Text(_) => MessageKind::Text,
            Repr::Binary(_) => MessageKind::Binary,
        }
    }

    /// The payload, by kind.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> Payload<'_> {
        match &self.0 {
            Repr::Text(text) => Payload::Text(text.as_str()),
            Repr::Binary(packet) => Payload::Binary(packet.as_bytes()),
        }
    }

    /// The payload.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Text(text) => text.as_bytes(),
            Repr::Binary(packet) => packet.as_bytes(),
        }
    }

    /// The text of a text message.
    #[inline]
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(text) => Some(text.as_str()),
            Repr::Binary(_) => None,
        }
    }

    /// The payload on its own. One of up to 127 bytes is copied, a longer one is not.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Text(text) => text.into_packet().into_bytes(),
            Repr::Binary(packet) => packet.into_bytes(),
        }
    }

    /// The text of a text message on its own, as [`into_bytes`](Self::into_bytes).
    ///
    /// # Errors
    ///
    /// A binary message is given back.
    pub fn into_text(self) -> Result<Utf8Bytes, Self> {
        match self.0 {
            Repr::Text(text) => Ok(text.into_utf8_bytes()),
            binary @ Repr::Binary(_) => Err(Self(binary)),
        }
    }

    /// The length of the payload in bytes.
    #[inline]
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

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Message {}

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        self.as_bytes().hash(state);
    }
}

/// Shows the kind, the length and the beginning: a megabyte does not belong in a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.as_bytes();
        let shown = &shown[..shown.len().min(SHOWN)];
        write!(f, "{:?}({} bytes: ", self.kind(), self.len())?;
        match self.kind() {
            MessageKind::Text => write!(f, "{:?}", String::from_utf8_lossy(shown))?,
            MessageKind::Binary => write!(f, "{shown:02x?}")?,
        }
        f.write_str(if self.len() > SHOWN { " …)" } else { ")" })
    }
}

impl From<Utf8Bytes> for Message {
    /// Takes part in the text's buffer.
    fn from(text: Utf8Bytes) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<&str> for Message {
    /// Copies the text.
    #[inline]
    fn from(text: &str) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<String> for Message {
    /// Takes the string's buffer over.
    fn from(text: String) -> Self {
        Utf8Bytes::from(text).into()
    }
}

impl From<Bytes> for Message {
    /// Takes part in the buffer.
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Binary(Packet::share(bytes)))
    }
}

impl From<Vec<u8>> for Message {
    /// Takes the buffer over.
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&[u8]> for Message {
    /// Copies the bytes.
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self(Repr::Binary(bytes.into()))
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
    #[inline]
    fn from(message: &'a Message) -> Self {
        message.payload()
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
