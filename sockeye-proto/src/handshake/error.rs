//! What can go wrong in a handshake, other than a server's [`Rejection`](super::Rejection).

use core::fmt;

use super::headers::Headers;
use crate::extension::{ExtensionError, NegotiationError};

/// Why the head of a request or response cannot be read (RFC 9112).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The request line or status line is longer than the limit.
    FirstLineTooLong,
    /// A header line is longer than the limit.
    HeaderTooLong,
    /// There are more headers than the limit.
    TooManyHeaders,
    /// The head as a whole is longer than the limit.
    TooLong,
    /// The request line or status line does not follow the grammar.
    FirstLine,
    /// A header line does not follow the grammar, for example by whitespace before its colon.
    Header,
    /// A header line that starts with whitespace, the obsolete folding of RFC 9112 §5.2.
    FoldedLine,
    /// A NUL or other control character.
    ControlCharacter,
    /// A CR that no LF follows.
    BareCr,
    /// An LF that no CR precedes.
    BareLf,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstLineTooLong => "the first line of the head is too long",
            Self::HeaderTooLong => "a header is too long",
            Self::TooManyHeaders => "there are too many headers",
            Self::TooLong => "the head is too long",
            Self::FirstLine => "the first line of the head is malformed",
            Self::Header => "a header line is malformed",
            Self::FoldedLine => "a header line is folded",
            Self::ControlCharacter => "the head contains a control character",
            Self::BareCr => "the head contains a CR without LF",
            Self::BareLf => "the head contains an LF without CR",
            Self::Version => "the version of HTTP is not supported",
        })
    }
}

impl core::error::Error for HeadError {}

/// Why a header cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is not a token (RFC 9110 §5.1).
    Name,
    /// The value contains CR, LF, NUL or another control character (RFC 9110 §5.5).
    Value,
    /// The handshake writes this header itself: Host, Upgrade, Connection, Sec-WebSocket-* and what frames a body.
    Reserved,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the name of a header is not a token",
            Self::Value => "the value of a header contains a control character",
            Self::Reserved => "the header is written by the handshake itself",
        })
    }
}

impl core::error::Error for HeaderError {}

/// Why the options of a client or a server, or an accepted handshake, cannot hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionsError {
    /// A header that cannot be sent.
    Header(HeaderError),
    /// A subprotocol whose name is not a token (RFC 6455 §4.1).
    SubprotocolNotToken,
    /// A subprotocol that is there already (RFC 6455 §4.1: "MUST all be unique strings").
    SubprotocolRepeated,
    /// A server cannot choose a subprotocol that the client did not offer (RFC 6455 §4.2.2).
    SubprotocolNotOffered,
    /// Credentials that Basic or Bearer authentication cannot carry (RFC 7617 §2, RFC 6750 §2.1).
    Credentials,
}

impl From<HeaderError> for OptionsError {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header(error) => return error.fmt(f),
            Self::SubprotocolNotToken => "the name of a subprotocol is not a token",
            Self::SubprotocolRepeated => "a subprotocol is named twice",
            Self::SubprotocolNotOffered => "the client did not offer this subprotocol",
            Self::Credentials => "the credentials contain a character that cannot be sent",
        })
    }
}

impl core::error::Error for OptionsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Header(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a client does not accept a server's response (RFC 6455 §4.1). The connection must then be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The head of the response cannot be read.
    Head(HeadError),
    /// The server answered with another status than 101, or 2xx for an extended CONNECT: a redirect, a demand for
    /// credentials, a refusal.
    Refused {
        /// The status, for example 403.
        status: u16,
        /// The headers, for example `Location` or `WWW-Authenticate`.
        headers: Headers,
    },
    /// The response is not HTTP/1.1, so it cannot switch protocols.
    Version,
    /// No `Upgrade: websocket`.
    UpgradeMissing,
    /// No `Connection: Upgrade`.
    ConnectionMissing,
    /// No `Sec-WebSocket-Accept`.
    AcceptMissing,
    /// `Sec-WebSocket-Accept` twice.
    AcceptRepeated,
    /// `Sec-WebSocket-Accept` does not belong to the key that was sent.
    AcceptMismatch,
    /// `Sec-WebSocket-Protocol` twice.
    SubprotocolRepeated,
    /// A subprotocol that was not offered.
    SubprotocolNotOffered,
    /// Extensions that were not offered like this.
    Extensions(NegotiationError),
}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<NegotiationError> for HandshakeError {
    fn from(error: NegotiationError) -> Self {
        Self::Extensions(error)
    }
}

impl From<ExtensionError> for HandshakeError {
    fn from(error: ExtensionError) -> Self {
        Self::Extensions(NegotiationError::Malformed(error))
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(error) => return error.fmt(f),
            Self::Extensions(error) => return error.fmt(f),
            Self::Refused { status, .. } => {
                return write!(f, "the server answered with status {status}");
            }
            Self::Version => "the response is not HTTP/1.1",
            Self::UpgradeMissing => "the response has no Upgrade: websocket",
            Self::ConnectionMissing => "the response has no Connection: Upgrade",
            Self::AcceptMissing => "the response has no Sec-WebSocket-Accept",
            Self::AcceptRepeated => "the response has Sec-WebSocket-Accept twice",
            Self::AcceptMismatch => "Sec-WebSocket-Accept does not match the key",
            Self::SubprotocolRepeated => "the response has Sec-WebSocket-Protocol twice",
            Self::SubprotocolNotOffered => "the server chose a subprotocol that was not offered",
        })
    }
}

impl core::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Head(error) => Some(error),
            Self::Extensions(error) => Some(error),
            _ => None,
        }
    }
}
