//! What can go wrong with a proxy.

use std::error::Error;
use std::fmt;
use std::io;

use sockeye_proto::handshake::HeadError;
use sockeye_proto::uri::UriError;

use super::Refusal;

/// A proxy did not make a tunnel to the server.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// The URL of the proxy is none that can be used.
    Url(ProxyUrlError),
    /// An environment variable holds no such URL.
    Environment {
        /// Its name, for example `HTTPS_PROXY`.
        variable: &'static str,
        /// What is wrong with its value, which may hold a password and is not shown.
        error: ProxyUrlError,
    },
    /// The proxy's name could not be resolved, or no address of it took the connection.
    Connect(io::Error),
    /// TLS to the proxy could not be set up.
    TlsUnavailable(String),
    /// TLS to the proxy failed.
    Tls(io::Error),
    /// The connection to the proxy failed.
    Io(io::Error),
    /// The proxy ended the connection in place of an answer.
    Closed,
    /// An HTTP proxy demands credentials, or others than it got: status 407.
    AuthenticationRequired(Box<Refusal>),
    /// An HTTP proxy refused by another status: 403 for a place that it does not go to, 502 for one that it cannot reach.
    Refused(Box<Refusal>),
    /// The answer of an HTTP proxy cannot be read.
    Head(HeadError),
    /// The proxy sent bytes behind its answer, before there was anything to answer.
    EarlyData,
    /// The answer is not that of a SOCKS5 proxy (RFC 1928).
    NotSocks5,
    /// The SOCKS5 proxy takes none of the methods of authentication that it was offered (RFC 1928 §3): it wants
    /// credentials and the URL has none, or other ones than a user name and a password.
    NoAcceptableMethod,
    /// The SOCKS5 proxy does not accept the user name and the password (RFC 1929 §2).
    Credentials,
    /// The SOCKS5 proxy could not connect (RFC 1928 §6).
    Socks(SocksReply),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "the proxy's URL is unusable: {error}"),
            Self::Environment { variable, error } => write!(f, "the proxy's URL in {variable} is unusable: {error}"),
            Self::Connect(error) => write!(f, "could not connect to the proxy: {error}"),
            Self::TlsUnavailable(why) => write!(f, "TLS to the proxy is not available: {why}"),
            Self::Tls(error) => write!(f, "TLS to the proxy failed: {error}"),
            Self::Io(error) => write!(f, "the connection to the proxy failed: {error}"),
            Self::Closed => f.write_str("the proxy ended the connection"),
            Self::AuthenticationRequired(_) => f.write_str("the proxy demands credentials (status 407)"),
            Self::Refused(refusal) => write!(f, "the proxy answered with status {}", refusal.status()),
            Self::Head(error) => write!(f, "the proxy's answer is unreadable: {error}"),
            Self::EarlyData => f.write_str("the proxy sent more than an answer"),
            Self::NotSocks5 => f.write_str("the proxy does not speak SOCKS5"),
            Self::NoAcceptableMethod => f.write_str("the proxy demands another authentication"),
            Self::Credentials => f.write_str("the proxy does not accept the credentials"),
            Self::Socks(reply) => write!(f, "the proxy could not connect: {reply}"),
        }
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Url(error) | Self::Environment { error, .. } => Some(error),
            Self::Connect(error) | Self::Tls(error) | Self::Io(error) => Some(error),
            Self::Head(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// Why a text is no URL of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// The scheme is none of `http`, `https` (with the feature `tls`), `socks5` and `socks5h`.
    Scheme,
    /// Host, port or credentials are malformed, or hold a byte that must be percent-encoded, such as CR and LF.
    Uri(UriError),
    /// There is a path or a query, which a proxy has no use for.
    Path,
    /// A user name or password for SOCKS5 of more than 255 bytes (RFC 1929 §2).
    CredentialsTooLong,
}

impl fmt::Display for ProxyUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("the scheme is none of http, https, socks5 and socks5h"),
            // The words of the core speak of ws: and wss:, and the scheme is never what it minds here.
            Self::Uri(error) => error.fmt(f),
            Self::Path => f.write_str("there is a path or a query"),
            Self::CredentialsTooLong => f.write_str("the user name or the password is longer than 255 bytes"),
        }
    }
}

impl Error for ProxyUrlError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Uri(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a SOCKS5 proxy could not connect (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocksReply {
    /// 1: general SOCKS server failure.
    GeneralFailure,
    /// 2: connection not allowed by ruleset.
    NotAllowed,
    /// 3: network unreachable.
    NetworkUnreachable,
    /// 4: host unreachable; a name that the proxy cannot resolve, too.
    HostUnreachable,
    /// 5: connection refused.
    ConnectionRefused,
    /// 6: TTL expired.
    TtlExpired,
    /// 7: command not supported.
    CommandNotSupported,
    /// 8: address type not supported.
    AddressTypeNotSupported,
    /// A number that RFC 1928 does not assign.
    Unassigned(u8),
}

impl fmt::Display for SocksReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GeneralFailure => "general failure",
            Self::NotAllowed => "not allowed by its rules",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::ConnectionRefused => "connection refused",
            Self::TtlExpired => "TTL expired",
            Self::CommandNotSupported => "it does not connect for others",
            Self::AddressTypeNotSupported => "it does not know this type of address",
            Self::Unassigned(code) => return write!(f, "for the unassigned reason {code}"),
        })
    }
}
