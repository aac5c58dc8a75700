//! The events, and what they carry.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sockeye_proto::close::CloseCode;
use sockeye_proto::message::Message;
use sockeye_proto::utf8::Utf8Bytes;

use crate::error::{ConnectError, Error};

/// `readyState`: how far a [`WebSocket`](super::WebSocket) has come, as its events have told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u16)]
pub enum ReadyState {
    /// `CONNECTING`: the connection is being made.
    #[default]
    Connecting = 0,
    /// `OPEN`: messages flow.
    Open = 1,
    /// `CLOSING`: `close` was called, or the peer has begun to close.
    Closing = 2,
    /// `CLOSED`: it is over, or could not be made.
    Closed = 3,
}

impl ReadyState {
    /// The standard's number, 0 to 3.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self as u16
    }
}

/// `binaryType`: in which form binary messages are handed over. It is read when a message is dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BinaryType {
    /// `"blob"`: as a [`Blob`], in pieces if it came in pieces.
    #[default]
    Blob,
    /// `"arraybuffer"`: as one piece of memory, which is copied together if need be.
    ArrayBuffer,
}

impl BinaryType {
    /// The standard's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::ArrayBuffer => "arraybuffer",
        }
    }
}

impl fmt::Display for BinaryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened. The order of a life is `Open`, then any number of `Message`s, then perhaps `Error`, then `Close`; an
/// attempt that fails has only the last two.
#[derive(Debug, Clone)]
pub enum Event {
    /// `open`: messages may be sent.
    Open,
    /// `message`: one came.
    Message(MessageEvent),
    /// `error`: the connection failed; `Close` follows.
    Error(ErrorEvent),
    /// `close`: the end, told once.
    Close(CloseEvent),
}

impl Event {
    /// The standard's name: `open`, `message`, `error` or `close`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Message(_) => "message",
            Self::Error(_) => "error",
            Self::Close(_) => "close",
        }
    }
}

/// `MessageEvent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageEvent {
    /// What came.
    pub data: Data,
}

/// The `data` of a message. All forms own their bytes, and clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message, with [`BinaryType::Blob`].
    Blob(Blob),
    /// A binary message, with [`BinaryType::ArrayBuffer`].
    ArrayBuffer(Bytes),
}

impl Data {
    /// The text of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As a message that can be sent.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Text(text) => text.into(),
            Self::Blob(blob) => blob.into_bytes().into(),
            Self::ArrayBuffer(bytes) => bytes.into(),
        }
    }

    /// Length of the payload in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Blob(blob) => blob.size(),
            Self::ArrayBuffer(bytes) => bytes.len(),
        }
    }
}

/// `Blob`: bytes, in one piece or several. A message has several where the [`Client`](crate::Client) was configured with
/// [`Receive::Chunks`](crate::Receive::Chunks): they are the pieces as they came, and none was copied.
#[derive(Clone, Default)]
pub struct Blob {
    first: Bytes,
    /// The pieces after the first: mostly there are none, and no memory is taken.
    rest: Vec<Bytes>,
}

impl Blob {
    /// `size`, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.chunks().map(Bytes::len).sum()
    }

    /// The pieces in order, none of them empty.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .filter(|chunk| !chunk.is_empty())
    }

    /// All in one piece; copied only if there are several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut bytes = BytesMut::with_capacity(self.size());
        self.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes.freeze()
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
        } else if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.push(chunk);
        }
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self {
            first: bytes,
            rest: Vec::new(),
        }
    }
}

impl From<Blob> for Message {
    fn from(blob: Blob) -> Self {
        blob.into_bytes().into()
    }
}

/// Equal when the bytes are, however they are cut.
impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.size() == other.size() && self.chunks().flatten().eq(other.chunks().flatten())
    }
}

impl Eq for Blob {}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.size())
    }
}

/// The event `error`. The standard tells nothing of the cause, lest a page look into a network; a program may know.
#[derive(Debug, Clone)]
pub struct ErrorEvent {
    /// Why the connection failed.
    pub cause: Arc<Failure>,
}

/// `CloseEvent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseEvent {
    /// `code`: what the peer's Close said; 1005 if it had no body, 1006 if there was none, or the connection failed.
    pub code: CloseCode,
    /// `reason`: what the peer's Close said; at most 123 bytes.
    pub reason: Utf8Bytes,
    /// `wasClean`: whether the closing handshake was completed.
    pub was_clean: bool,
}

impl CloseEvent {
    /// That of a connection that failed.
    pub(super) fn failed() -> Self {
        Self {
            code: CloseCode::ABNORMAL,
            reason: Utf8Bytes::default(),
            was_clean: false,
        }
    }
}

/// Why a connection failed, or could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No connection could be made: name resolution, TCP, a proxy, TLS, or a handshake that was refused.
    Connect(ConnectError),
    /// Subprotocols were offered and the server chose none.
    NoProtocol,
    /// `close` was called before the connection was open.
    Cancelled,
    /// The open connection failed: a protocol error, a deadline, or a transport that ended without a Close.
    Connection(Error),
    /// The runtime was shut down.
    Runtime,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::NoProtocol => f.write_str("the server chose none of the subprotocols that were offered"),
            Self::Cancelled => f.write_str("the connection was closed before it was open"),
            Self::Connection(error) => error.fmt(f),
            Self::Runtime => f.write_str("the runtime was shut down"),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Connection(error) => Some(error),
            Self::NoProtocol | Self::Cancelled | Self::Runtime => None,
        }
    }
}
