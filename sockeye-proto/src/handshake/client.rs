//! The client's side of the handshake (RFC 6455 §4.1, RFC 8441 §5).
//!
//! The order of calls: [`ClientOptions`] once; for each connection a [`ClientRequest`] with a fresh nonce, whose
//! bytes go to the server; [`http1::ResponseReader`](super::http1::ResponseReader) or an HTTP/2 or HTTP/3 stack makes
//! a [`Response`]; [`ClientRequest::verify`] checks it.
//!
//! ```
//! use sockeye_proto::{handshake::client::{ClientOptions, ClientRequest}, uri::WebSocketUri};
//!
//! let uri = WebSocketUri::parse("ws://example.com/chat").unwrap();
//! let mut options = ClientOptions::new();
//! options.add_subprotocol("chat.v1")?;
//! let nonce = *b"the sample nonce"; // 16 bytes from a random source
//! let mut out = Vec::new();
//! ClientRequest::new(&uri, &options, nonce).write_http1(&mut out);
//! assert!(out.starts_with(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n"));
//! # Ok::<(), sockeye_proto::handshake::OptionsError>(())
//! ```

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use super::{
    HandshakeError, Headers, HttpVersion, OptionsError, WEBSOCKET_VERSION, extensions,
    headers::{CREDENTIALS, Only},
    key,
};
use crate::{
    extension, token,
    uri::{self, WebSocketUri},
};

/// What a client asks for. One value serves many connections; it holds no nonce.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    subprotocols: Vec<String>,
    headers: Headers,
    pub(super) extensions: extensions::Wanted,
}

impl ClientOptions {
    /// No subprotocols, no extensions, no extra headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subprotocol, less liked than those before it.
    ///
    /// # Errors
    ///
    /// [`OptionsError::SubprotocolNotToken`] or [`OptionsError::SubprotocolRepeated`].
    pub fn add_subprotocol(&mut self, name: &str) -> Result<(), OptionsError> {
        super::add_subprotocol(&mut self.subprotocols, name)
    }

    /// The subprotocols, the best liked first.
    #[must_use]
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// Adds a header to the request.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if it is malformed or belongs to the handshake.
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), OptionsError> {
        Ok(self.headers.append_extra(name, value.as_ref())?)
    }

    /// Sets the Origin header, which browsers send and other programs need not.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if the value cannot be sent.
    pub fn set_origin(&mut self, origin: &str) -> Result<(), OptionsError> {
        Ok(self.headers.set("Origin", origin)?)
    }

    /// Sets the Cookie header, `name=value; name=value`.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if the value cannot be sent.
    pub fn set_cookie(&mut self, cookies: &str) -> Result<(), OptionsError> {
        Ok(self.headers.set("Cookie", cookies)?)
    }

    /// Sets the Authorization header for Basic authentication (RFC 7617), before what the URI may contain.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Credentials`], if the name has a colon or either has a control character.
    pub fn set_basic_auth(&mut self, username: &str, password: &str) -> Result<(), OptionsError> {
        if username.contains(':') || username.chars().chain(password.chars()).any(char::is_control) {
            return Err(OptionsError::Credentials);
        }
        Ok(self
            .headers
            .set("Authorization", uri::basic_authorization(username, password))?)
    }

    /// Sets the Authorization header to a bearer token (RFC 6750), before what the URI may contain.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Credentials`], if the token is empty or has a character that RFC 6750 §2.1 does not allow.
    pub fn set_bearer_auth(&mut self, token: &str) -> Result<(), OptionsError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(allowed) {
            return Err(OptionsError::Credentials);
        }
        Ok(self.headers.set("Authorization", format!("Bearer {token}"))?)
    }

    /// Removes Authorization, Cookie and Proxy-Authorization: for a redirect to another origin (see
    /// [`WebSocketUri::same_origin`]). Headers with secrets under other names are the application's to remove.
    pub fn remove_credentials(&mut self) {
        for name in CREDENTIALS {
            self.headers.remove(name);
        }
    }
}

/// The request for one connection.
#[derive(Clone)]
pub struct ClientRequest<'a> {
    uri: &'a WebSocketUri,
    options: &'a ClientOptions,
    key: [u8; 24],
}

impl<'a> ClientRequest<'a> {
    /// A request with a nonce of 16 random bytes, which no other request may have.
    #[must_use]
    pub fn new(uri: &'a WebSocketUri, options: &'a ClientOptions, nonce: [u8; 16]) -> Self {
        Self {
            uri,
            options,
            key: key::encode_key(nonce),
        }
    }

    /// The headers that every version of HTTP carries. An extended CONNECT sends these with the method CONNECT,
    /// `:protocol` websocket, `:scheme` http or https, and `:authority` and `:path` from the URI.
    #[must_use]
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        headers.push(b"Sec-WebSocket-Version", WEBSOCKET_VERSION.as_bytes());
        if !self.options.subprotocols.is_empty() {
            headers.push(
                b"Sec-WebSocket-Protocol",
                self.options.subprotocols.join(", ").as_bytes(),
            );
        }
        if let Some(offers) = extensions::offers(&self.options.extensions) {
            headers.push(b"Sec-WebSocket-Extensions", offers.as_bytes());
        }
        if !self.options.headers.contains("Authorization")
            && let Some(authorization) = self.uri.authorization()
        {
            headers.push(b"Authorization", authorization.as_bytes());
        }
        headers.extend(&self.options.headers);
        headers
    }

    /// Appends the request as HTTP/1.1.
    pub fn write_http1(&self, out: &mut Vec<u8>) {
        // RFC 6455 §4.1: "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1."
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.uri.resource().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let mut headers = Headers::new();
        headers.push(b"Host", self.uri.host_header().as_bytes());
        headers.push(b"Upgrade", b"websocket");
        headers.push(b"Connection", b"Upgrade");
        headers.push(b"Sec-WebSocket-Key", &self.key);
        headers.extend(&self.headers());
        headers.write_http1(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Checks the response.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]: [`Refused`](HandshakeError::Refused) for another status, else the clause of RFC 6455 §4.1
    /// that the server violated. The connection must then be dropped.
    pub fn verify(&self, response: &Response) -> Result<Established, HandshakeError> {
        let Response {
            status,
            version,
            headers,
        } = response;
        let extended_connect = version.is_extended_connect();
        // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the response per
        // HTTP [RFC2616] procedures." RFC 8441 §4: "A 2xx response indicates success".
        let success = if extended_connect {
            (200..300).contains(status)
        } else {
            *status == 101
        };
        if !success {
            return Err(HandshakeError::Refused {
                status: *status,
                headers: headers.clone(),
            });
        }
        if !extended_connect {
            self.verify_upgrade(*version, headers)?;
        }
        let subprotocol = self.verify_subprotocol(headers)?;
        let answer = extension::parse(headers.values("Sec-WebSocket-Extensions"))?;
        let agreed = extensions::accept_response(&self.options.extensions, &answer)?;
        Ok(Established {
            subprotocol,
            agreed,
            headers: headers.clone(),
        })
    }

    fn verify_upgrade(&self, version: HttpVersion, headers: &Headers) -> Result<(), HandshakeError> {
        if version != HttpVersion::Http11 {
            return Err(HandshakeError::Version);
        }
        // RFC 6455 §4.1: "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a
        // value that is not an ASCII case-insensitive match for the value "websocket", the client MUST _Fail the
        // WebSocket Connection_."
        let mut upgrades = headers.values("Upgrade").flat_map(token::elements).peekable();
        if upgrades.peek().is_none() || !upgrades.all(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(HandshakeError::UpgradeMissing);
        }
        // RFC 6455 §4.1: "If the response lacks a |Connection| header field or the |Connection| header field doesn't
        // contain a token that is an ASCII case-insensitive match for the value "Upgrade", the client MUST _Fail the
        // WebSocket Connection_."
        if !token::contains(headers.values("Connection"), "upgrade") {
            return Err(HandshakeError::ConnectionMissing);
        }
        // RFC 6455 §4.1: "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept|
        // contains a value other than the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| [...]
        // but ignoring any leading and trailing whitespace, the client MUST _Fail the WebSocket Connection_."
        match headers.only("Sec-WebSocket-Accept") {
            Only::Missing => Err(HandshakeError::AcceptMissing),
            Only::Repeated => Err(HandshakeError::AcceptRepeated),
            Only::One(accept) if accept != key::accept_key(&self.key) => Err(HandshakeError::AcceptMismatch),
            Only::One(_) => Ok(()),
        }
    }

    fn verify_subprotocol(&self, headers: &Headers) -> Result<Option<String>, HandshakeError> {
        // RFC 6455 §4.1: "If the response includes a |Sec-WebSocket-Protocol| header field and this header field
        // indicates the use of a subprotocol that was not present in the client's handshake (the server has indicated a
        // subprotocol not requested by the client), the client MUST _Fail the WebSocket Connection_."
        match headers.only("Sec-WebSocket-Protocol") {
            Only::Missing => Ok(None),
            Only::Repeated => Err(HandshakeError::SubprotocolRepeated),
            Only::One(chosen) => {
                let offered = self.options.subprotocols.iter().find(|name| name.as_bytes() == chosen);
                Ok(Some(offered.ok_or(HandshakeError::SubprotocolNotOffered)?.to_string()))
            }
        }
    }
}

impl fmt::Debug for ClientRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest")
            .field("uri", self.uri)
            .field("options", self.options)
            .finish_non_exhaustive()
    }
}

/// What a server answered: a status with headers, without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    version: HttpVersion,
    headers: Headers,
}

impl Response {
    /// A response, in whatever version of HTTP.
    #[must_use]
    pub const fn new(status: u16, version: HttpVersion, headers: Headers) -> Self {
        Self {
            status,
            version,
            headers,
        }
    }

    /// The status, for example 101.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The version of HTTP.
    #[must_use]
    pub const fn version(&self) -> HttpVersion {
        self.version
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }
}

/// What was agreed in a handshake that succeeded.
#[derive(Clone, Debug)]
pub struct Established {
    subprotocol: Option<String>,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code, reason = "nothing can be agreed on"))]
    pub(super) agreed: extensions::Agreed,
    headers: Headers,
}

impl Established {
    /// The subprotocol of the connection, if there is one.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// All headers of the response, for example `Set-Cookie`.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }
}
