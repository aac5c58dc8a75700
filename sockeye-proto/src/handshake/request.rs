//! What a client asks of a server, in whatever version of HTTP.

use alloc::string::String;

use super::{Headers, HttpVersion};

/// A request for a WebSocket, or for something else: only [`accept`](super::server::accept) knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    method: String,
    target: String,
    version: HttpVersion,
    headers: Headers,
    secure: bool,
    authority: Option<String>,
    protocol: Option<String>,
}

impl Request {
    /// A request with the method and the target of its first line. An extended CONNECT has `:path` as its target and
    /// needs [`with_authority`](Self::with_authority) and [`with_protocol`](Self::with_protocol).
    #[must_use]
    pub const fn new(method: String, target: String, version: HttpVersion, headers: Headers) -> Self {
        Self {
            method,
            target,
            version,
            headers,
            secure: false,
            authority: None,
            protocol: None,
        }
    }

    /// Whether the client is known to have come by TLS. Default: false. It decides whether an `http:` page may count
    /// as the same host.
    #[must_use]
    pub const fn with_secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// The pseudo-header `:authority` of HTTP/2 and HTTP/3.
    #[must_use]
    pub fn with_authority(mut self, authority: String) -> Self {
        self.authority = Some(authority);
        self
    }

    /// The pseudo-header `:protocol` of an extended CONNECT (RFC 8441 §4).
    #[must_use]
    pub fn with_protocol(mut self, protocol: String) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// The method, for example `GET`.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
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

    /// Whether the client is known to have come by TLS.
    #[must_use]
    pub const fn secure(&self) -> bool {
        self.secure
    }

    /// The pseudo-header `:protocol`, if there is one.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The target as it came: a path with a query or an absolute URI.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path, not decoded, for example `/chat`; empty if the target is neither a path nor an absolute URI.
    #[must_use]
    pub fn path(&self) -> &str {
        match self.parts().path_and_query.split_once('?') {
            Some((path, _)) => path,
            None => self.parts().path_and_query,
        }
    }

    /// The query, not decoded, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.parts().path_and_query.split_once('?').map(|(_, query)| query)
    }

    /// Whom the request is for: the authority of an absolute target, `:authority`, or the first Host header.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        // RFC 9112 §3.2.2: "When an origin server receives a request with an absolute-form of request-target, the
        // origin server MUST ignore the received Host header field (if any) and instead use the host information of
        // the request-target."
        self.parts()
            .authority
            .or(self.authority.as_deref())
            .or_else(|| self.headers.text("Host"))
    }

    /// RFC 6455 §4.1: "The "Request-URI" part of the request MUST match the /resource name/ [...] or be an absolute
    /// http/https URI that, when parsed, has a /resource name/, /host/, and /port/ that match the corresponding ws/wss
    /// URI."
    fn parts(&self) -> Target<'_> {
        if self.target.starts_with('/') {
            return Target {
                authority: None,
                path_and_query: &self.target,
            };
        }
        let absolute = self.target.split_once("://").filter(|(scheme, _)| {
            ["http", "https", "ws", "wss"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
        });
        let Some((_, rest)) = absolute else {
            return Target {
                authority: None,
                path_and_query: "",
            };
        };
        match rest.find(['/', '?']) {
            Some(end) if rest[end..].starts_with('/') => Target {
                authority: Some(&rest[..end]),
                path_and_query: &rest[end..],
            },
            Some(end) => Target {
                authority: Some(&rest[..end]),
                path_and_query: "/",
            },
            None => Target {
                authority: Some(rest),
                path_and_query: "/",
            },
        }
    }
}

struct Target<'a> {
    authority: Option<&'a str>,
    path_and_query: &'a str,
}
