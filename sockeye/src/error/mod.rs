//! What can go wrong, one enum an operation. Nothing here depends on anything else of this crate.

mod proxy;
mod redirect;
mod refusal;

use std::error::Error as StdError;
use std::fmt;
use std::io;

use sockeye_proto::close::CloseCode;
use sockeye_proto::error::{ProtocolError, SendError};
use sockeye_proto::handshake::{HandshakeError, OptionsError, Rejection};
use sockeye_proto::keepalive::Timeout;
use sockeye_proto::uri::UriError;

pub use self::proxy::{ProxyError, ProxyUrlError, SocksReply};
pub use self::redirect::RedirectError;
#[cfg(any(feature = "tokio", feature = "blocking"))]
pub(crate) use self::refusal::BODY_MAX;
pub use self::refusal::Refusal;
#[cfg(feature = "tokio")]
pub(crate) use self::refusal::retry_after;

/// An open connection failed, or could not do what was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol or a limit. A Close with the code that belongs to it was sent.
    Protocol(ProtocolError),
    /// What was to be sent cannot be sent; nothing was, and the connection is as it was.
    Send(SendError),
    /// The transport ended without a Close: close code 1006.
    ConnectionLost,
    /// A deadline passed, or a limit was reached.
    Timeout(Timeout),
    /// The peer closed the connection within a message that was being read.
    MessageIncomplete,
    /// The transport failed: close code 1006.
    Io(io::Error),
}

impl Error {
    /// The close code that stands for the failure, by RFC 6455 §7.1.5: what the Close that was sent says, or 1006 if the
    /// connection just ended. `None` if it did not end.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Protocol(error) => Some(error.into()),
            Self::Send(_) | Self::MessageIncomplete => None,
            Self::Timeout(Timeout::Idle | Timeout::Lifetime) => Some(CloseCode::GOING_AWAY),
            Self::ConnectionLost | Self::Timeout(_) | Self::Io(_) => Some(CloseCode::ABNORMAL),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::Send(error) => error.fmt(f),
            Self::ConnectionLost => f.write_str("the connection ended without a Close"),
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::MessageIncomplete => f.write_str("the connection was closed within a message"),
            Self::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::Send(error) => Some(error),
            Self::Timeout(timeout) => Some(timeout),
            Self::Io(error) => Some(error),
            Self::ConnectionLost | Self::MessageIncomplete => None,
        }
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// For the readers and writers of `AsyncRead` and `AsyncWrite`: the transport's error, or one that holds this.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Io(error) => return error,
            Error::Protocol(_) => io::ErrorKind::InvalidData,
            Error::Send(_) => io::ErrorKind::BrokenPipe,
            Error::ConnectionLost | Error::MessageIncomplete => io::ErrorKind::UnexpectedEof,
            Error::Timeout(_) => io::ErrorKind::TimedOut,
        };
        Self::new(kind, error)
    }
}

/// A connection could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is no ws: or wss: URI.
    Uri(UriError),
    /// The options contradict the protocol.
    Options(OptionsError),
    /// The URL is wss: and the crate was built without the feature `tls`, or its TLS could not be set up.
    TlsUnavailable(String),
    /// The host's name could not be resolved.
    Resolve(io::Error),
    /// No address of the host took the connection.
    Connect(io::Error),
    /// The proxy made no tunnel to the server, or its URL is unusable.
    Proxy(ProxyError),
    /// TLS failed: an untrusted, expired or misnamed certificate, no common version, or a server that does not accept the
    /// client's certificate.
    Tls(io::Error),
    /// The server answered with another status than 101: a demand for credentials, a redirect, an error. An answer that does
    /// not say where its body ends is told when the connection ends, at the latest at the deadline.
    Refused(Box<Refusal>),
    /// The server redirects once too often, or to where the client must not go.
    Redirect(RedirectError),
    /// The server answered, and not with an upgrade that we can accept.
    Handshake(HandshakeError),
    /// The transport failed in the handshake.
    Io(io::Error),
    /// It took longer than the deadline over all of it.
    Timeout,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => error.fmt(f),
            Self::Options(error) => error.fmt(f),
            Self::TlsUnavailable(why) => write!(f, "TLS is not available: {why}"),
            Self::Resolve(error) => write!(f, "could not resolve the host's name: {error}"),
            Self::Connect(error) => write!(f, "could not connect: {error}"),
            Self::Proxy(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::Refused(refusal) => write!(f, "the server answered with status {}", refusal.status()),
            Self::Redirect(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the connection failed in the handshake: {error}"),
            Self::Timeout => f.write_str("the connection was not ready within the deadline"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Uri(error) => Some(error),
            Self::Options(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Proxy(error) => Some(error),
            Self::Redirect(error) => Some(error),
            Self::Resolve(error) | Self::Connect(error) | Self::Tls(error) | Self::Io(error) => Some(error),
            Self::TlsUnavailable(_) | Self::Refused(_) | Self::Timeout => None,
        }
    }
}

impl From<UriError> for ConnectError {
    fn from(error: UriError) -> Self {
        Self::Uri(error)
    }
}

impl From<OptionsError> for ConnectError {
    fn from(error: OptionsError) -> Self {
        Self::Options(error)
    }
}

impl From<ProxyError> for ConnectError {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

impl From<HandshakeError> for ConnectError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

/// A connection was not accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request was refused; the response has been sent.
    Rejected(Rejection),
    /// TLS failed.
    Tls(io::Error),
    /// The transport failed or ended in the handshake.
    Io(io::Error),
    /// The handshake took longer than its deadline.
    Timeout,
    /// The server has no room for the connection by its [`Limits`](crate::Limits); the client has been told by 503.
    Full(Full),
    /// The server shuts down; a client whose request had been read has been told by 503.
    ShuttingDown,
}

/// Which limit a connection was beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Full {
    /// The one on all connections of the server.
    Connections,
    /// The one on connections of one address.
    Address,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "the server has as many connections as it takes",
            Self::Address => "the address has as many connections as the server takes of one",
        })
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::Io(error) => write!(f, "the connection failed in the handshake: {error}"),
            Self::Timeout => f.write_str("the handshake was not finished within the deadline"),
            Self::Full(full) => full.fmt(f),
            Self::ShuttingDown => f.write_str("the server shuts down"),
        }
    }
}

impl StdError for AcceptError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Tls(error) | Self::Io(error) => Some(error),
            Self::Timeout | Self::Full(_) | Self::ShuttingDown => None,
        }
    }
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
