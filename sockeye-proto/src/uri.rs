//! WebSocket URIs, `ws:` and `wss:` (RFC 6455 §3).
//!
//! [`WebSocketUri`] holds what a client needs of one: whom to connect to, what to ask for, with which
//! credentials. It does not resolve names, and it takes paths as they are, but for the target of a redirect; an `http:` or
//! `https:` URI is refused.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::authority::{Authority, AuthorityError};

/// A valid `ws:` or `wss:` URI.
///
/// `Debug` and `Display` leave the credentials out, so a URI may be logged.
///
/// ```
/// use sockeye_proto::uri::WebSocketUri;
///
/// let uri: WebSocketUri = "wss://[2001:db8::1]:8443/chat?room=1".parse()?;
/// assert!(uri.secure());
/// assert_eq!(uri.host(), "2001:db8::1");
/// assert_eq!(uri.host_header(), "[2001:db8::1]:8443");
/// assert_eq!(uri.resource(), "/chat?room=1");
/// # Ok::<(), sockeye_proto::uri::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebSocketUri {
    secure: bool,
    authority: Authority,
    resource: String,
    credentials: Option<Credentials>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Credentials {
    username: String,
    password: String,
}

impl WebSocketUri {
    /// Bytes of the longest URI that is read, 8 KiB: what fits a request line of the default limits.
    pub const MAX_LENGTH: usize = 8 * 1024;

    /// Reads a URI.
    ///
    /// # Errors
    ///
    /// [`UriError`] names the part that is wrong. Nothing is repaired: a space, a control character or a
    /// character beyond ASCII must come percent-encoded (a host: as punycode).
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.len() > Self::MAX_LENGTH {
            return Err(UriError::TooLong);
        }
        // CR and LF here would end the request line (THREATS H6), a space would cut it.
        if let Some(bad) = text.bytes().find(|byte| !byte.is_ascii_graphic()) {
            return Err(UriError::IllegalByte(bad));
        }
        // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used
        // on these URIs. As with any URI scheme, the character "#", when not indicating the start of a fragment,
        // MUST be escaped as %23."
        if text.contains('#') {
            return Err(UriError::Fragment);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UriError::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at(end);
        // The last `@`, or `ws://good.com@evil.com@host` would name another host to another reader.
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Credentials::parse(userinfo)?, authority),
            None => (None, authority),
        };
        let authority = Authority::parse(authority).map_err(|error| match error {
            AuthorityError::Host => UriError::Host,
            AuthorityError::Port => UriError::Port,
        })?;
        Ok(Self {
            secure,
            authority,
            resource: resource_name(resource),
            credentials,
        })
    }

    /// `ws` or `wss`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "wss" } else { "ws" }
    }

    /// Whether the scheme is `wss`: the connection must be TLS.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// The host to connect to, in lower case; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.authority.host
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        // RFC 6455 §3: "The port component is OPTIONAL; the default for "ws" is port 80, while the default for
        // "wss" is port 443."
        self.authority.port.unwrap_or(self.default_port())
    }

    /// The value of the Host header: an IPv6 address in brackets, the port only when it is not the default.
    #[must_use]
    pub fn host_header(&self) -> String {
        // RFC 6455 §4.1: "The request MUST contain a |Host| header field whose value contains /host/ plus
        // optionally ":" followed by /port/ (when not using the default port)."
        let host = self.authority.bracketed();
        if self.port() == self.default_port() {
            host
        } else {
            format!("{host}:{}", self.port())
        }
    }

    /// The resource name of the request line: path and query, at least `/`.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The name of the user, percent-decoded, if the URI has one.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.credentials
            .as_ref()
            .map(|credentials| credentials.username.as_str())
    }

    /// The password, percent-decoded; empty if the URI names a user only.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.credentials
            .as_ref()
            .map(|credentials| credentials.password.as_str())
    }

    /// The value of an Authorization header, `Basic …`, if the URI has credentials.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        let Credentials { username, password } = self.credentials.as_ref()?;
        Some(basic_authorization(username, password))
    }

    /// Whether both URIs have one scheme, host and port, so that credentials for one may go to the other.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.secure == other.secure && self.host() == other.host() && self.port() == other.port()
    }

    /// Where a redirect leads: `location`, the value of a Location header, seen from this URI (RFC 9110 §10.2.2).
    ///
    /// `http:` and `https:` mean `ws:` and `wss:`; a fragment is dropped; `.` and `..` are resolved (RFC 3986 §5.2). The
    /// credentials of this URI go along only to the same origin. Those in headers are removed with
    /// `ClientOptions::remove_credentials`.
    ///
    /// # Errors
    ///
    /// [`UriError::Downgrade`], if it leads from `wss:` to `ws:`; else what is wrong with the location.
    pub fn redirect(&self, location: &str) -> Result<Self, UriError> {
        let location = location.split('#').next().unwrap_or_default();
        let base = format!("{}://{}", self.scheme(), self.host_header());
        let absolute = match location.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
            Some((scheme, _)) if !scheme.contains(['/', '?']) => location.to_string(),
            _ if location.starts_with("//") => format!("{}:{location}", self.scheme()),
            _ if location.starts_with('/') => format!("{base}{location}"),
            // RFC 3986 §4.2: "A path segment that contains a colon character (e.g., "this:that") cannot be used as the
            // first segment of a relative-path reference, as it would be mistaken for a scheme name."
            _ if location
                .split(['/', '?'])
                .next()
                .is_some_and(|first| first.contains(':')) =>
            {
                return Err(UriError::Scheme);
            }
            _ => {
                let path = self.resource.split('?').next().unwrap_or_default();
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                match location {
                    "" => format!("{base}{}", self.resource),
                    _ if location.starts_with('?') => format!("{base}{path}{location}"),
                    _ => format!("{base}{folder}/{location}"),
                }
            }
        };
        let mut target = Self::parse(&absolute)?;
        // A reference without a path of its own keeps this URI's path as it is.
        if !location.is_empty() && !location.starts_with('?') {
            target.resource = remove_dot_segments(&target.resource);
        }
        if self.secure && !target.secure {
            return Err(UriError::Downgrade);
        }
        if target.credentials.is_none() && self.same_origin(&target) {
            target.credentials.clone_from(&self.credentials);
        }
        Ok(target)
    }

    fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

impl FromStr for WebSocketUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for WebSocketUri {
    type Error = UriError;

    fn try_from(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl fmt::Display for WebSocketUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.host_header(), self.resource)
    }
}

impl fmt::Debug for WebSocketUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = if self.credentials.is_some() {
            " with credentials"
        } else {
            ""
        };
        write!(f, "WebSocketUri({self}{credentials})")
    }
}

impl Credentials {
    /// RFC 3986 §3.2.1: the user, then after the first colon the password.
    fn parse(userinfo: &str) -> Result<Option<Self>, UriError> {
        if userinfo.is_empty() {
            return Ok(None);
        }
        // RFC 3986 §3.2.1: userinfo = *( unreserved / pct-encoded / sub-delims / ":" ). A browser reads
        // `ws://good.com\@evil.com` as a URI of good.com; here it is none at all.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(&byte);
        if !userinfo.bytes().all(allowed) {
            return Err(UriError::UserInfo);
        }
        let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let username = percent_decode(username)?;
        let password = percent_decode(password)?;
        // RFC 7617 §2: "a user-id containing a colon character is invalid"; "The user-id and password MUST NOT
        // contain any control characters".
        if username.contains(':') || username.chars().chain(password.chars()).any(char::is_control) {
            return Err(UriError::UserInfo);
        }
        Ok(Some(Self { username, password }))
    }
}

/// The value of an Authorization header by RFC 7617 §2.
pub(crate) fn basic_authorization(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The resource name for what follows the authority.
fn resource_name(rest: &str) -> String {
    // RFC 6455 §3: the resource name is the concatenation of "/" if the path component is empty, the path component,
    // "?" if the query component is non-empty, and the query component.
    let rest = match rest.split_once('?') {
        Some((path, "")) => path,
        _ => rest,
    };
    if rest.starts_with('/') {
        rest.to_string()
    } else {
        format!("/{rest}")
    }
}

/// RFC 3986 §5.2.4: removes `.`, and `..` with the segment before it, from the path of a resource name. The query stays as it
/// is; so do dots that are percent-encoded, which are the server's to understand.
fn remove_dot_segments(resource: &str) -> String {
    let (path, query) = match resource.find('?') {
        Some(start) => resource.split_at(start),
        None => (resource, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    // The path begins with a slash, so what is before it is empty and no segment.
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let dots = matches!(segment, "." | "..");
        if segment == ".." {
            kept.pop();
        }
        // `/a/..` is `/` and not nothing: what ends in dots ends in a slash.
        if !dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// Decodes `%XX`; the result must be UTF-8.
fn percent_decode(text: &str) -> Result<String, UriError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(UriError::UserInfo);
            };
            decoded.push((high << 4 | low) as u8);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).map_err(|_| UriError::UserInfo)
}

/// Why a text is no WebSocket URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// Longer than [`WebSocketUri::MAX_LENGTH`].
    TooLong,
    /// A space, a control character such as CR, LF or NUL, or a byte beyond ASCII.
    IllegalByte(u8),
    /// The scheme is neither `ws` nor `wss`.
    Scheme,
    /// The user information is not percent-encoded UTF-8, or unfit for Basic authentication (RFC 7617 §2).
    UserInfo,
    /// The host is missing or neither a name nor an IPv4 nor a bracketed IPv6 address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// There is a fragment, which RFC 6455 §3 forbids even when it is empty.
    Fragment,
    /// A redirect from `wss` to `ws`, which would give up the secrecy that was asked for.
    Downgrade,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the URI is longer than {} bytes", WebSocketUri::MAX_LENGTH),
            Self::IllegalByte(byte) => write!(
                f,
                "the URI contains the byte {byte:#04x}, which must be percent-encoded"
            ),
            Self::Scheme => f.write_str("the scheme of the URI is neither ws:// nor wss://"),
            Self::UserInfo => f.write_str("the user information of the URI is malformed"),
            Self::Host => f.write_str("the host of the URI is missing or malformed"),
            Self::Port => f.write_str("the port of the URI is not a number from 1 to 65535"),
            Self::Downgrade => f.write_str("the redirect leads from wss:// to ws://"),
            Self::Fragment => f.write_str("the URI has a fragment, write %23 for a #"),
        }
    }
}

impl core::error::Error for UriError {}
