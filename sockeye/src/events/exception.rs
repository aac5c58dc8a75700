//! What the browser's API throws, by the standard's names.

use std::error::Error as StdError;
use std::fmt;

use sockeye_proto::handshake::OptionsError;
use sockeye_proto::uri::UriError;

/// A call that the standard answers with an exception. Nothing was done.
///
/// What becomes of a connection is never told like this: failures are events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exception {
    /// `SyntaxError`: an argument is malformed.
    SyntaxError(SyntaxError),
    /// `InvalidAccessError`: a close code that applications must not use.
    InvalidAccessError {
        /// The code; 1000 and 3000 to 4999 may be used.
        code: u16,
    },
    /// `InvalidStateError`: something was to be sent while the state was still
    /// [`Connecting`](super::ReadyState::Connecting).
    InvalidStateError,
    /// Not in the standard: the constructor was called outside a tokio runtime, where nothing can run.
    NoRuntime,
}

/// Which argument is malformed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxError {
    /// The URL cannot be read, its scheme is none of ws, wss, http and https, or it has a fragment.
    Url(UriError),
    /// A subprotocol is not a token.
    Protocol(String),
    /// A subprotocol is named twice; letter case does not tell them apart.
    ProtocolRepeated(String),
    /// The reason of a Close is longer than 123 bytes of UTF-8.
    ReasonTooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl Exception {
    /// The standard's name, such as `SyntaxError`; [`NoRuntime`](Self::NoRuntime) has none there.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SyntaxError(_) => "SyntaxError",
            Self::InvalidAccessError { .. } => "InvalidAccessError",
            Self::InvalidStateError => "InvalidStateError",
            Self::NoRuntime => "NoRuntime",
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SyntaxError(error) => error.fmt(f),
            Self::InvalidAccessError { code } => {
                write!(f, "the close code {code} is neither 1000 nor from 3000 to 4999")
            }
            Self::InvalidStateError => f.write_str("nothing can be sent before the connection is open"),
            Self::NoRuntime => f.write_str("a WebSocket needs a tokio runtime to run in"),
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Protocol(name) => write!(f, "the subprotocol {name:?} is not a token"),
            Self::ProtocolRepeated(name) => write!(f, "the subprotocol {name:?} is named twice"),
            Self::ReasonTooLong { length } => write!(f, "the reason has {length} bytes, and 123 are allowed"),
        }
    }
}

impl StdError for Exception {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::SyntaxError(error) => error.source(),
            _ => None,
        }
    }
}

impl StdError for SyntaxError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Url(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SyntaxError> for Exception {
    fn from(error: SyntaxError) -> Self {
        Self::SyntaxError(error)
    }
}

impl SyntaxError {
    pub(super) fn protocol(name: &str, error: OptionsError) -> Self {
        match error {
            OptionsError::SubprotocolRepeated => Self::ProtocolRepeated(name.into()),
            _ => Self::Protocol(name.into()),
        }
    }
}
