//! The arguments of constructors and of `close`, and what makes them valid.

use sockeye_proto::close::CloseCode;
use sockeye_proto::handshake::client::ClientOptions;
use sockeye_proto::uri::{UriError, WebSocketUri};

use super::exception::{Exception, SyntaxError};

/// The subprotocols that a constructor offers: `()` for none, a string for one, an array, slice or `Vec` of strings for
/// several, the best liked first.
///
/// ```
/// use sockeye::events::Protocols;
///
/// let none = Protocols::from(());
/// let one = Protocols::from("chat");
/// let several = Protocols::from(["chat.v2", "chat"]);
/// # let _ = (none, one, several);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protocols(Vec<String>);

impl Protocols {
    /// The names, if they can be offered.
    pub(super) fn validate(self) -> Result<Vec<String>, SyntaxError> {
        let mut checked = ClientOptions::new();
        for (index, name) in self.0.iter().enumerate() {
            // WHATWG: "If any of the values in protocols occur more than once or otherwise fail to match the requirements
            // for elements that comprise the value of `Sec-WebSocket-Protocol` fields as defined by The WebSocket protocol,
            // then throw a "SyntaxError" DOMException." Letter case tells names apart on the wire; browsers take names that
            // differ in nothing else for one.
            if self.0[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(SyntaxError::ProtocolRepeated(name.clone()));
            }
            checked
                .add_subprotocol(name)
                .map_err(|error| SyntaxError::protocol(name, error))?;
        }
        Ok(self.0)
    }
}

impl From<()> for Protocols {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<&str> for Protocols {
    fn from(name: &str) -> Self {
        Self(vec![name.into()])
    }
}

impl From<String> for Protocols {
    fn from(name: String) -> Self {
        Self(vec![name])
    }
}

impl<S: Into<String>> From<Vec<S>> for Protocols {
    fn from(names: Vec<S>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for Protocols {
    fn from(names: [S; N]) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

impl<S: AsRef<str>, const N: usize> From<&[S; N]> for Protocols {
    fn from(names: &[S; N]) -> Self {
        names.as_slice().into()
    }
}

impl<S: AsRef<str>> From<&[S]> for Protocols {
    fn from(names: &[S]) -> Self {
        Self(names.iter().map(|name| name.as_ref().into()).collect())
    }
}

/// The serialised ws: or wss: form of `url`.
///
/// Nothing else is repaired: a URL parser in a browser would also trim spaces, encode what is not ASCII, and resolve dots.
pub(super) fn socket_url(url: &str) -> Result<String, SyntaxError> {
    // WHATWG: "If urlRecord's scheme is "http", then set urlRecord's scheme to "ws". Otherwise, if urlRecord's scheme is
    // "https", set urlRecord's scheme to "wss". If urlRecord's scheme is not "ws" or "wss", then throw a "SyntaxError"
    // DOMException. If urlRecord's fragment is non-null, then throw a "SyntaxError" DOMException."
    let (scheme, rest) = url.split_once("://").ok_or(SyntaxError::Url(UriError::Scheme))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(SyntaxError::Url(UriError::Scheme)),
    };
    let uri = WebSocketUri::parse(&format!("{scheme}://{rest}")).map_err(SyntaxError::Url)?;
    // A URI shows itself without credentials, so that it can be logged; the attribute `url` has them.
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let userinfo = match authority.rsplit_once('@') {
        Some((userinfo, _)) if !userinfo.is_empty() => format!("{userinfo}@"),
        _ => String::new(),
    };
    let (host, resource) = (uri.host_header(), uri.resource());
    Ok(format!("{scheme}://{userinfo}{host}{resource}"))
}

/// What a Close is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) code: CloseCode,
    pub(super) reason: String,
}

impl Closing {
    /// A Close that says nothing.
    pub(super) fn without_body() -> Self {
        Self {
            code: CloseCode::NO_STATUS,
            reason: String::new(),
        }
    }

    /// The arguments of `close`.
    pub(super) fn new(code: Option<u16>, reason: &str) -> Result<Self, Exception> {
        // WHATWG: "If code is present, but is neither an integer equal to 1000 nor an integer in the range 3000 to 4999,
        // inclusive, throw an "InvalidAccessError" DOMException."
        if let Some(code) = code
            && !matches!(code, 1000 | 3000..=4999)
        {
            return Err(Exception::InvalidAccessError { code });
        }
        // WHATWG: "If reasonBytes is longer than 123 bytes, then throw a "SyntaxError" DOMException."
        if reason.len() > MAX_REASON {
            return Err(SyntaxError::ReasonTooLong { length: reason.len() }.into());
        }
        let code = match code {
            Some(code) => CloseCode::new(code),
            None if reason.is_empty() => CloseCode::NO_STATUS,
            // A reason stands behind a code, or it cannot be sent at all.
            None => CloseCode::NORMAL,
        };
        Ok(Self {
            code,
            reason: reason.into(),
        })
    }
}

/// RFC 6455 §5.5: a control frame has at most 125 bytes, and two of them are the code.
const MAX_REASON: usize = 123;
