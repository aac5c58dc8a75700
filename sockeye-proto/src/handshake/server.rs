//! The server's side of the handshake (RFC 6455 §4.2, RFC 8441 §5).
//!
//! The order of calls: [`http1::RequestReader`] or an HTTP/2 or HTTP/3 stack makes a
//! [`Request`]; [`accept`] checks it and writes nothing; the application, if it wants, looks at the request and at
//! [`Accepted`], for as long as it likes, and keeps it, changes it or makes a [`Rejection`] instead; and
//! `write_http1` of either one writes the response. No frame may be read before that.
//!
//! ```
//! use sockeye_proto::handshake::{HandshakeLimits, http1, server};
//!
//! let received = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
//! let mut reader = http1::RequestReader::new(HandshakeLimits::default());
//! let mut out = Vec::new();
//! if let http1::Parsed::Complete { head, .. } = reader.read(received)? {
//!     match server::accept(&head, &server::ServerOptions::new()) {
//!         Ok(accepted) => accepted.write_http1(&mut out),
//!         Err(rejection) => rejection.write_http1(&mut out),
//!     }
//! }
//! assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok::<(), sockeye_proto::handshake::HeadError>(())
//! ```

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

pub use super::request::Request;
use super::{
    Headers, HttpVersion, OptionsError, OriginPolicy, Rejection, RejectionCause, WEBSOCKET_VERSION, extensions,
    headers::Only, http1, key,
};
use crate::{authority::Authority, extension, token};

/// What a server allows. One value serves all connections.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    subprotocols: Vec<String>,
    origin_policy: OriginPolicy,
    headers: Headers,
    pub(super) extensions: extensions::Wanted,
}

impl ServerOptions {
    /// No subprotocols, no extensions, pages from the same host only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subprotocol that the server speaks. Their order does not matter: the client's does.
    ///
    /// # Errors
    ///
    /// [`OptionsError::SubprotocolNotToken`] or [`OptionsError::SubprotocolRepeated`].
    pub fn add_subprotocol(&mut self, name: &str) -> Result<(), OptionsError> {
        super::add_subprotocol(&mut self.subprotocols, name)
    }

    /// The subprotocols that the server speaks.
    #[must_use]
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// Sets which pages may connect. Default: [`OriginPolicy::SameHost`].
    pub fn set_origin_policy(&mut self, policy: OriginPolicy) {
        self.origin_policy = policy;
    }

    /// Adds a header to every accepting response.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if it is malformed or belongs to the handshake.
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), OptionsError> {
        Ok(self.headers.append_extra(name, value.as_ref())?)
    }
}

/// Checks a request by RFC 6455 §4.2.1 or, in HTTP/2 and HTTP/3, RFC 8441 §5, and chooses subprotocol and extensions.
///
/// # Errors
///
/// A [`Rejection`], ready to be written; its [`cause`](Rejection::cause) says which clause was violated.
pub fn accept(request: &Request, options: &ServerOptions) -> Result<Accepted, Rejection> {
    Ok(check(request, options)?)
}

fn check(request: &Request, options: &ServerOptions) -> Result<Accepted, RejectionCause> {
    let accept = if request.version().is_extended_connect() {
        check_connect(request)?;
        None
    } else {
        Some(key::accept_key(check_upgrade(request)?))
    };
    check_version(request.headers())?;
    let host = check_target(request)?;
    check_origin(request, options, &host)?;

    let offered = offered_subprotocols(request.headers())?;
    // RFC 6455 §4.2.2: "if the server does not agree to any of the client's requested subprotocols, the only acceptable
    // value is null." The client's order counts: its list is "ordered by preference" (§4.1).
    let subprotocol = list(&offered)
        .find(|name| options.subprotocols.iter().any(|known| known == name))
        .map(ToString::to_string);
    let offers =
        extension::parse(request.headers().values("Sec-WebSocket-Extensions")).map_err(RejectionCause::Extensions)?;
    let (agreed, extensions_value) = extensions::answer(&options.extensions, &offers);
    Ok(Accepted {
        accept,
        offered,
        subprotocol,
        agreed,
        extensions_value,
        headers: options.headers.clone(),
    })
}

/// The clauses that only an HTTP/1.1 upgrade has. Returns the key.
fn check_upgrade(request: &Request) -> Result<&[u8], RejectionCause> {
    let headers = request.headers();
    // RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    // lacks a Host header field and to any request message that contains more than one Host header field line".
    match headers.only("Host") {
        Only::Missing if request.version() == HttpVersion::Http11 => {
            return Err(RejectionCause::HostMissing);
        }
        Only::Repeated => return Err(RejectionCause::HostRepeated),
        Only::Missing | Only::One(_) => {}
    }
    let upgrade = token::contains(headers.values("Upgrade"), "websocket");
    let get = request.method() == "GET";
    // Not a malformed handshake but none at all: this one gets a page, where a server has pages.
    if !upgrade && !headers.contains("Sec-WebSocket-Key") && (get || request.method() == "HEAD") {
        return Err(RejectionCause::NotUpgrade);
    }
    // RFC 6455 §4.2.1: "An HTTP/1.1 or higher GET request".
    if !get {
        return Err(RejectionCause::Method);
    }
    if request.version() != HttpVersion::Http11 {
        return Err(RejectionCause::HttpVersion);
    }
    // RFC 6455 §4.2.1: "An |Upgrade| header field containing the value "websocket", treated as an ASCII
    // case-insensitive value."
    if !upgrade {
        return Err(RejectionCause::UpgradeMissing);
    }
    // RFC 6455 §4.2.1: "A |Connection| header field that includes the token "Upgrade", treated as an ASCII
    // case-insensitive value."
    if !token::contains(headers.values("Connection"), "upgrade") {
        return Err(RejectionCause::ConnectionMissing);
    }
    // A body would have to be read before the frames, and two readers may disagree on its length (RFC 9112 §11.2).
    if headers.contains("Transfer-Encoding") || headers.contains("Content-Length") {
        return Err(RejectionCause::Body);
    }
    // RFC 6455 §4.2.1: "A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4 of [RFC4648]) value
    // that, when decoded, is 16 bytes in length." §11.3.1: it "MUST NOT appear more than once in an HTTP request."
    match headers.only("Sec-WebSocket-Key") {
        Only::Missing => Err(RejectionCause::KeyMissing),
        Only::Repeated => Err(RejectionCause::KeyRepeated),
        Only::One(key) if !key::is_key(key) => Err(RejectionCause::KeyMalformed),
        Only::One(key) => Ok(key),
    }
}

/// The clauses that only an extended CONNECT has.
fn check_connect(request: &Request) -> Result<(), RejectionCause> {
    if request.method() != "CONNECT" {
        return Err(if request.method() == "GET" {
            RejectionCause::NotUpgrade
        } else {
            RejectionCause::Method
        });
    }
    // RFC 8441 §5: "The :protocol pseudo-header field MUST be included in the CONNECT request, and it MUST have a value
    // of "websocket" to initiate a WebSocket connection on an HTTP/2 stream."
    if request.protocol() != Some("websocket") {
        return Err(RejectionCause::Protocol);
    }
    Ok(())
}

fn check_version(headers: &Headers) -> Result<(), RejectionCause> {
    // RFC 6455 §4.2.1: "A |Sec-WebSocket-Version| header field, with a value of 13." §11.3.5: it "MUST NOT appear more
    // than once in an HTTP request."
    match headers.only("Sec-WebSocket-Version") {
        Only::Missing => Err(RejectionCause::WebSocketVersionMissing),
        Only::Repeated => Err(RejectionCause::WebSocketVersionRepeated),
        Only::One(version) if version != WEBSOCKET_VERSION.as_bytes() => Err(RejectionCause::WebSocketVersion),
        Only::One(_) => Ok(()),
    }
}

fn check_target(request: &Request) -> Result<Authority, RejectionCause> {
    if request.path().is_empty() || request.target().contains('#') {
        return Err(RejectionCause::Target);
    }
    let authority = request.authority().ok_or(RejectionCause::HostMissing)?;
    Authority::parse(authority).map_err(|_| RejectionCause::HostMalformed)
}

fn check_origin(request: &Request, options: &ServerOptions, host: &Authority) -> Result<(), RejectionCause> {
    let origin = match request.headers().only("Origin") {
        Only::Missing => return Ok(()),
        Only::One(origin) => Some(origin),
        Only::Repeated => None,
    };
    // RFC 6455 §10.2: "If the origin indicated is unacceptable to the server, then it SHOULD respond to the WebSocket
    // handshake with a reply containing HTTP 403 Forbidden status code."
    let allowed = match origin {
        Some(origin) => options.origin_policy.allows(origin, host, request.secure()),
        None => options.origin_policy == OriginPolicy::Any,
    };
    if allowed { Ok(()) } else { Err(RejectionCause::Origin) }
}

/// The client's list, over all headers, as one list: it takes no more memory than it took in the request.
fn offered_subprotocols(headers: &Headers) -> Result<String, RejectionCause> {
    let bytes = headers
        .values("Sec-WebSocket-Protocol")
        .map(|value| value.len() + 1)
        .sum();
    let mut offered = String::with_capacity(bytes);
    // RFC 6455 §11.3.4: it "MAY appear multiple times in an HTTP request (which is logically the same as a single
    // |Sec-WebSocket-Protocol| header field that contains all values)."
    for name in headers.values("Sec-WebSocket-Protocol").flat_map(token::elements) {
        let name = token::as_token(name).ok_or(RejectionCause::Subprotocols)?;
        if !offered.is_empty() {
            offered.push(',');
        }
        offered.push_str(name);
    }
    Ok(offered)
}

fn list(offered: &str) -> impl Iterator<Item = &str> {
    offered.split(',').filter(|name| !name.is_empty())
}

/// A request that passed, and the response to it, not yet written.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// `None` for an extended CONNECT.
    accept: Option<[u8; 28]>,
    offered: String,
    subprotocol: Option<String>,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code, reason = "nothing can be agreed on"))]
    pub(super) agreed: extensions::Agreed,
    pub(super) extensions_value: Option<String>,
    headers: Headers,
}

impl Accepted {
    /// The subprotocol of the connection, if there is one.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The subprotocols that the client offered, in its order.
    pub fn offered_subprotocols(&self) -> impl Iterator<Item = &str> {
        list(&self.offered)
    }

    /// Chooses another subprotocol, or none.
    ///
    /// # Errors
    ///
    /// [`OptionsError::SubprotocolNotOffered`], for the client would drop the connection.
    pub fn set_subprotocol(&mut self, name: Option<&str>) -> Result<(), OptionsError> {
        if name.is_some_and(|name| !list(&self.offered).any(|offered| offered == name)) {
            return Err(OptionsError::SubprotocolNotOffered);
        }
        self.subprotocol = name.map(ToString::to_string);
        Ok(())
    }

    /// Adds a header to the response, for example `Set-Cookie`.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if it is malformed or belongs to the handshake.
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), OptionsError> {
        Ok(self.headers.append_extra(name, value.as_ref())?)
    }

    /// The status of the response: 101, or 200 for an extended CONNECT.
    #[must_use]
    pub const fn status(&self) -> u16 {
        if self.accept.is_some() { 101 } else { 200 }
    }

    /// All headers of the response.
    #[must_use]
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        // RFC 8441 §5: an extended CONNECT has neither Connection and Upgrade nor key and accept value.
        if let Some(accept) = &self.accept {
            headers.push(b"Upgrade", b"websocket");
            headers.push(b"Connection", b"Upgrade");
            headers.push(b"Sec-WebSocket-Accept", accept);
        }
        if let Some(subprotocol) = &self.subprotocol {
            headers.push(b"Sec-WebSocket-Protocol", subprotocol.as_bytes());
        }
        if let Some(value) = &self.extensions_value {
            headers.push(b"Sec-WebSocket-Extensions", value.as_bytes());
        }
        headers.extend(&self.headers);
        headers
    }

    /// Appends the response as HTTP/1.1.
    pub fn write_http1(&self, out: &mut Vec<u8>) {
        http1::write_status_line(self.status(), out);
        self.headers().write_http1(out);
        out.extend_from_slice(b"\r\n");
    }
}
