//! The Origin of a browser's page, and which of them a server lets in (RFC 6455 §10.2, RFC 6454).
//!
//! A browser sends cookies with every WebSocket handshake, whatever page asked for it; only the Origin header tells
//! a server's own pages from hostile ones.

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use crate::authority::Authority;

/// A scheme, host and port, for example `https://example.com:8443`. Two spellings of one origin are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    authority: Authority,
}

impl Origin {
    /// Reads an origin: `http` or `https`, a host, perhaps a port, nothing after it.
    ///
    /// # Errors
    ///
    /// [`OriginError`], also for `null` and for other schemes.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        let https = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err(OriginError),
        };
        let mut authority = Authority::parse(authority).map_err(|_| OriginError)?;
        authority.port.get_or_insert(default_port(https));
        Ok(Self { https, authority })
    }

    /// Whether a page of this origin was served by `host`, the value of a Host header.
    ///
    /// A Host without a port means the default port of the origin's scheme, since a server behind a proxy that
    /// ends TLS cannot know which scheme its clients see. A `secure` server knows, and takes `https` only.
    fn is_host(&self, host: &Authority, secure: bool) -> bool {
        let port = host.port.unwrap_or(default_port(self.https));
        (self.https || !secure) && self.authority.host == host.host && self.authority.port == Some(port)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        Self::parse(text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority.bracketed())?;
        match self.authority.port {
            Some(port) if port != default_port(self.https) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Which origins a server lets in. A request without an Origin comes from a program, not from a page, and always
/// passes: a program could send any Origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// All. Only for servers that do not look at cookies, client certificates or the network a client is in.
    Any,
    /// Pages from the host and port that the request is for. The default.
    #[default]
    SameHost,
    /// Pages of these origins.
    List(Vec<Origin>),
    /// Pages of these origins, and those from the host and port that the request is for.
    SameHostOrList(Vec<Origin>),
}

impl OriginPolicy {
    /// Whether a request for `host` with this Origin header passes.
    pub(super) fn allows(&self, origin: &[u8], host: &Authority, secure: bool) -> bool {
        let (same_host, list) = match self {
            Self::Any => return true,
            Self::SameHost => (true, [].as_slice()),
            Self::List(list) => (false, list.as_slice()),
            Self::SameHostOrList(list) => (true, list.as_slice()),
        };
        // An origin is compared by its parts, never as a text that might merely start or end like another. `null`
        // and lists of origins do not parse.
        let Some(origin) = core::str::from_utf8(origin)
            .ok()
            .and_then(|text| Origin::parse(text).ok())
        else {
            return false;
        };
        (same_host && origin.is_host(host, secure)) || list.contains(&origin)
    }
}

/// A text that is no origin of a web page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginError;

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin must be http:// or https:// with a host and perhaps a port, and nothing more")
    }
}

impl core::error::Error for OriginError {}
