//! How a server says no (RFC 6455 §4.2.2): a status, headers and a body, and for the program the cause.

use alloc::vec::Vec;
use core::fmt;

use super::{
    WEBSOCKET_VERSION,
    error::{HeadError, OptionsError},
    headers::Headers,
};
use crate::extension::ExtensionError;

/// A refused handshake, ready to be written.
///
/// The default rendering is the status, a line of plain text and the headers that the status calls for; an
/// application changes what it likes before [`write_http1`](Self::write_http1). The connection ends afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    cause: RejectionCause,
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

impl Rejection {
    /// A rejection by the application. A status that does not refuse anything, below 300 or above 999, becomes 500.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = if (300..1000).contains(&status) { status } else { 500 };
        Self {
            cause: RejectionCause::Application,
            status,
            headers: Headers::new(),
            body: Vec::new(),
        }
    }

    /// What was wrong.
    #[must_use]
    pub const fn cause(&self) -> RejectionCause {
        self.cause
    }

    /// The status, for example 403.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The headers beside those that frame the response.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Adds a header, for example `WWW-Authenticate`.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if it is malformed or belongs to the framing of the response.
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, OptionsError> {
        self.headers.append_extra(name, value.as_ref())?;
        Ok(self)
    }

    /// Replaces the body. Without a `Content-Type` header among the others, it is sent as plain text in UTF-8.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Appends the response as HTTP/1.1, to be followed by the end of the connection.
    pub fn write_http1(&self, out: &mut Vec<u8>) {
        super::http1::write_status_line(self.status, out);
        self.headers.write_http1(out);
        // RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response to indicate the
        // required protocol(s)", and §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
        out.extend_from_slice(match self.status {
            426 => b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n".as_slice(),
            _ => b"Connection: close\r\n",
        });
        if !self.body.is_empty() && !self.headers.contains("Content-Type") {
            out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        }
        out.extend_from_slice(alloc::format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        out.extend_from_slice(&self.body);
    }
}

impl From<RejectionCause> for Rejection {
    fn from(cause: RejectionCause) -> Self {
        let mut rejection = Self::new(cause.status());
        rejection.cause = cause;
        match cause {
            RejectionCause::Method => rejection.headers.push(b"Allow", b"GET"),
            // RFC 6455 §4.4: "the server MUST respond with a |Sec-WebSocket-Version| header field (or multiple
            // |Sec-WebSocket-Version| header fields) containing all versions the server is willing to use."
            RejectionCause::WebSocketVersion | RejectionCause::WebSocketVersionMissing => {
                rejection
                    .headers
                    .push(b"Sec-WebSocket-Version", WEBSOCKET_VERSION.as_bytes());
            }
            _ => {}
        }
        rejection.with_body(alloc::format!("{cause}\n"))
    }
}

impl From<HeadError> for Rejection {
    fn from(error: HeadError) -> Self {
        RejectionCause::Head(error).into()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handshake refused with status {}: {}", self.status, self.cause)
    }
}

impl core::error::Error for Rejection {}

/// What was wrong with a client's handshake (RFC 6455 §4.2.1), or why it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionCause {
    /// The application refused. Status: its choice.
    Application,
    /// The head cannot be read. Status: 414 for a long request line, 431 for other limits, else 400.
    Head(HeadError),
    /// An ordinary request that asks for no WebSocket; a server with pages answers it with one. Status: 426.
    NotUpgrade,
    /// Another method than GET, or CONNECT in HTTP/2 and HTTP/3. Status: 405.
    Method,
    /// HTTP/1.0. Status: 400.
    HttpVersion,
    /// The request target is neither a path nor an absolute URI. Status: 400.
    Target,
    /// No Host header. Status: 400.
    HostMissing,
    /// More than one Host header. Status: 400.
    HostRepeated,
    /// Host is not a host with an optional port. Status: 400.
    HostMalformed,
    /// `Upgrade` does not name `websocket`, while other headers speak of a WebSocket. Status: 400.
    UpgradeMissing,
    /// `Connection` does not name `upgrade`. Status: 400.
    ConnectionMissing,
    /// Content-Length or Transfer-Encoding, so that a body could follow where frames are expected. Status: 400.
    Body,
    /// No Sec-WebSocket-Key. Status: 400.
    KeyMissing,
    /// More than one Sec-WebSocket-Key. Status: 400.
    KeyRepeated,
    /// Sec-WebSocket-Key is not 16 bytes in base64. Status: 400.
    KeyMalformed,
    /// No Sec-WebSocket-Version. Status: 400.
    WebSocketVersionMissing,
    /// More than one Sec-WebSocket-Version. Status: 400.
    WebSocketVersionRepeated,
    /// Another version than 13. Status: 426.
    WebSocketVersion,
    /// An extended CONNECT whose `:protocol` is not `websocket`. Status: 501.
    Protocol,
    /// The origin is not allowed. Status: 403.
    Origin,
    /// Sec-WebSocket-Protocol is not a list of tokens. Status: 400.
    Subprotocols,
    /// Sec-WebSocket-Extensions does not follow the grammar. Status: 400.
    Extensions(ExtensionError),
}

impl RejectionCause {
    /// The status of the default rendering.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Head(HeadError::FirstLineTooLong) => 414,
            Self::Head(HeadError::HeaderTooLong | HeadError::TooManyHeaders | HeadError::TooLong) => 431,
            Self::NotUpgrade | Self::WebSocketVersion => 426,
            Self::Method => 405,
            Self::Origin => 403,
            // RFC 9220 §3: "If a server receives an Extended CONNECT request with a :protocol value it does not
            // support, it SHOULD respond with 501".
            Self::Protocol => 501,
            Self::Application => 500,
            _ => 400,
        }
    }
}

impl fmt::Display for RejectionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "refused by the application",
            Self::Head(error) => return error.fmt(f),
            Self::NotUpgrade => "this is a WebSocket endpoint",
            Self::Method => "the method must be GET",
            Self::HttpVersion => "the version of HTTP must be 1.1",
            Self::Target => "the request target is malformed",
            Self::HostMissing => "the Host header is missing",
            Self::HostRepeated => "the Host header is repeated",
            Self::HostMalformed => "the Host header is malformed",
            Self::UpgradeMissing => "the Upgrade header does not name websocket",
            Self::ConnectionMissing => "the Connection header does not name upgrade",
            Self::Body => "an upgrade must not have a body",
            Self::KeyMissing => "the Sec-WebSocket-Key header is missing",
            Self::KeyRepeated => "the Sec-WebSocket-Key header is repeated",
            Self::KeyMalformed => "the Sec-WebSocket-Key header is not 16 bytes in base64",
            Self::WebSocketVersionMissing => "the Sec-WebSocket-Version header is missing",
            Self::WebSocketVersionRepeated => "the Sec-WebSocket-Version header is repeated",
            Self::WebSocketVersion => "the version of the WebSocket protocol must be 13",
            Self::Protocol => "the :protocol must be websocket",
            Self::Origin => "the origin is not allowed",
            Self::Subprotocols => "the Sec-WebSocket-Protocol header is not a list of tokens",
            Self::Extensions(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for RejectionCause {}
