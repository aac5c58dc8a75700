//! The opening handshake of both roles (RFC 6455 §4), without I/O.
//!
//! - [`http1`] reads and writes HTTP/1.1 heads, cut anywhere, within [`HandshakeLimits`].
//! - [`server`] turns a [`Request`](server::Request) into a [`Rejection`] or an [`Accepted`](server::Accepted).
//! - [`client`] writes a request and checks the [`Response`](client::Response) to it.
//!
//! `server` and `client` also know the extended CONNECT of HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220), where the
//! driver carries [`Headers`] and there is neither key nor accept value. Not here: sockets, deadlines, redirects, proxies,
//! and the choice of a nonce, which the caller passes in.

mod body;
pub mod client;
#[cfg(feature = "deflate")]
mod deflate;
mod error;
mod headers;
pub mod http1;
mod key;
#[cfg(not(feature = "deflate"))]
mod no_deflate;
mod origin;
mod rejection;
mod request;
pub mod server;

use alloc::{string::String, vec::Vec};

#[cfg(feature = "deflate")]
use deflate as extensions;
#[cfg(not(feature = "deflate"))]
use no_deflate as extensions;

pub use body::{BodyReader, BodyState};
pub use error::{HandshakeError, HeadError, HeaderError, OptionsError};
pub use headers::Headers;
pub use key::{accept_key, encode_key};
pub use origin::{Origin, OriginError, OriginPolicy};
pub use rejection::{Rejection, RejectionCause};

use crate::token;

/// The version of HTTP that carries a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.0, which has no upgrade: servers answer 400.
    Http10,
    /// HTTP/1.1 with `Upgrade` (RFC 6455).
    Http11,
    /// HTTP/2 with extended CONNECT (RFC 8441).
    Http2,
    /// HTTP/3 with extended CONNECT (RFC 9220).
    Http3,
}

impl HttpVersion {
    /// Whether the handshake is an extended CONNECT rather than an upgrade.
    pub(crate) const fn is_extended_connect(self) -> bool {
        matches!(self, Self::Http2 | Self::Http3)
    }
}

/// How much of a head is read. What is larger is refused before it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// Bytes of the request line or status line, without its CRLF. Default: 8 KiB.
    pub first_line: usize,
    /// Bytes of one header line, name and value, without its CRLF. Default: 8 KiB.
    pub header: usize,
    /// Number of header lines. Default: 100.
    pub headers: usize,
    /// Bytes of the whole head. Default: 64 KiB. While it is incomplete it is in the caller's buffer
    /// only; a complete one is copied once, into [`Headers`].
    pub total: usize,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self {
            first_line: 8 * 1024,
            header: 8 * 1024,
            headers: 100,
            total: 64 * 1024,
        }
    }
}

/// Adds the name of a subprotocol to a list of them.
fn add_subprotocol(list: &mut Vec<String>, name: &str) -> Result<(), OptionsError> {
    // RFC 6455 §4.1: "The elements that comprise this value MUST be non-empty strings with characters in the range
    // U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all be unique strings."
    if !token::is_token(name.as_bytes()) {
        return Err(OptionsError::SubprotocolNotToken);
    }
    if list.iter().any(|other| other == name) {
        return Err(OptionsError::SubprotocolRepeated);
    }
    list.push(name.into());
    Ok(())
}

/// The only version of the protocol (RFC 6455 §4.1).
const WEBSOCKET_VERSION: &str = "13";
