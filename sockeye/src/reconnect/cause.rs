//! [`Cause`]: why there is no connection, and whether that is worth another attempt. A function of the failure alone,
//! without I/O.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::SystemTime;

use sockeye_proto::close::{CloseCode, CloseFrame};
use sockeye_proto::handshake::{HandshakeError, Headers, OptionsError};
use sockeye_proto::uri::UriError;

use super::policy::Retry;
use crate::error::{ConnectError, Error, ProxyError, SocksReply, retry_after};

/// What hooks fail with.
pub type HookError = Box<dyn StdError + Send + Sync>;

/// Why a [`Reconnecting`](super::Reconnecting) has no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The connection could not be made.
    Connect(ConnectError),
    /// The connection was open, and failed.
    Lost(Error),
    /// The peer closed the connection, with a code and a reason if its Close had them.
    Closed(Option<CloseFrame>),
    /// The hook before the attempt failed, or the one on the open connection.
    Hook(HookError),
    /// [`close`](super::Reconnecting::close) or [`finish`](super::Reconnecting::finish) was called.
    Requested,
    /// The time that [`finish`](super::Reconnecting::finish) was given was over before it was done.
    Expired,
    /// The `Reconnecting` was dropped, its runtime ended, or a hook or another function of the caller's panicked.
    Abandoned,
}

impl Cause {
    /// The close code by RFC 6455 §7.1.5 and §7.1.7: the one that the peer sent, 1005 if its Close had none, 1006 if none
    /// came, the one that we failed the connection with. `None` if there was no connection, or we ended it.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Lost(error) => error.close_code(),
            Self::Closed(frame) => Some(frame.as_ref().map_or(CloseCode::NO_STATUS, |frame| frame.code)),
            _ => None,
        }
    }

    /// Whether another attempt is worth it, unless [told otherwise](super::ReconnectingBuilder::retry).
    ///
    /// | failure | another attempt |
    /// |---|---|
    /// | name resolution, TCP, the transport in the handshake, the deadline over these | yes |
    /// | TLS: the transport under it failed | yes |
    /// | TLS: a certificate that is not trusted, or anything else that TLS itself objects to | no |
    /// | status 429 and 5xx | yes, after what `Retry-After` says |
    /// | any other status but 101: 401, 403, 404, redirects that are not followed | no |
    /// | a proxy: any of the above; SOCKS5's replies 1 and 3–6 | as above; yes |
    /// | a proxy: its credentials, its URL, its other replies | no |
    /// | a response that is no WebSocket's | no |
    /// | the URL, the options | no |
    /// | closed by 1001, 1006, 1011, 1012, 1013, 1014, by either side | yes |
    /// | closed by any other code: 1000, 1005 (none), 1002, 1003, 1007–1010, 3000–4999 | no |
    /// | a hook: an [`Error`], a [`ConnectError`], an [`OptionsError`], a [`UriError`] | as above |
    /// | a hook: anything else | yes |
    ///
    /// `now` is the time of day, which `Retry-After` may be relative to.
    #[must_use]
    pub fn retry(&self, now: SystemTime) -> Retry {
        match self {
            Self::Connect(error) => after_connect(error, now),
            Self::Lost(_) | Self::Closed(_) => after_close(self.close_code()),
            Self::Hook(error) => {
                if let Some(error) = error.downcast_ref::<ConnectError>() {
                    after_connect(error, now)
                } else if let Some(error) = error.downcast_ref::<Error>() {
                    after_close(error.close_code())
                } else if error.is::<OptionsError>() || error.is::<UriError>() {
                    Retry::Never
                } else {
                    Retry::Later
                }
            }
            Self::Requested | Self::Expired | Self::Abandoned => Retry::Never,
        }
    }

    /// Whether the connection was ended in good order, by us or by the peer with 1000 or no code.
    pub(super) fn is_clean(&self) -> bool {
        match self {
            Self::Requested => true,
            Self::Closed(_) => matches!(self.close_code(), Some(CloseCode::NORMAL | CloseCode::NO_STATUS)),
            _ => false,
        }
    }
}

fn after_close(code: Option<CloseCode>) -> Retry {
    // 1014 is the 502 of close codes, and as passing.
    match code.map(CloseCode::as_u16) {
        Some(1001 | 1006 | 1011..=1014) => Retry::Later,
        _ => Retry::Never,
    }
}

fn after_connect(error: &ConnectError, now: SystemTime) -> Retry {
    later_if(match error {
        ConnectError::Resolve(error) | ConnectError::Connect(error) => !is_misuse(error),
        ConnectError::Tls(error) => is_of_transport(error),
        ConnectError::Io(_) | ConnectError::Timeout => true,
        ConnectError::Refused(refusal) => return after_refusal(refusal.status(), refusal.headers(), now),
        ConnectError::Handshake(HandshakeError::Refused { status, headers }) => {
            return after_refusal(*status, headers, now);
        }
        ConnectError::Proxy(error) => return after_proxy(error, now),
        _ => false,
    })
}

fn after_proxy(error: &ProxyError, now: SystemTime) -> Retry {
    later_if(match error {
        ProxyError::Connect(error) => !is_misuse(error),
        ProxyError::Tls(error) => is_of_transport(error),
        ProxyError::Io(_) | ProxyError::Closed => true,
        ProxyError::Refused(refusal) => return after_refusal(refusal.status(), refusal.headers(), now),
        ProxyError::Socks(reply) => matches!(
            reply,
            SocksReply::GeneralFailure
                | SocksReply::NetworkUnreachable
                | SocksReply::HostUnreachable
                | SocksReply::ConnectionRefused
                | SocksReply::TtlExpired
        ),
        _ => false,
    })
}

fn later_if(transient: bool) -> Retry {
    if transient { Retry::Later } else { Retry::Never }
}

/// The transport under TLS failed: TLS's own objections are InvalidData, a name that no certificate can have is Other.
fn is_of_transport(error: &io::Error) -> bool {
    !is_misuse(error) && !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other)
}

/// The system did not try, and would not the next time.
fn is_misuse(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

fn after_refusal(status: u16, headers: &Headers, now: SystemTime) -> Retry {
    match status {
        429 | 500..=599 => retry_after(headers, now).map_or(Retry::Later, Retry::After),
        _ => Retry::Never,
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Lost(error) => error.fmt(f),
            Self::Closed(Some(frame)) => write!(f, "the peer closed the connection: {frame}"),
            Self::Closed(None) => f.write_str("the peer closed the connection"),
            Self::Hook(error) => write!(f, "a hook failed: {error}"),
            Self::Requested => f.write_str("the connection was closed"),
            Self::Expired => f.write_str("there was no time left"),
            Self::Abandoned => f.write_str("the client was dropped"),
        }
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Lost(error) => Some(error),
            Self::Hook(error) => Some(&**error),
            Self::Closed(_) | Self::Requested | Self::Expired | Self::Abandoned => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use sockeye_proto::error::{ProtocolError, SendError};
    use sockeye_proto::keepalive::Timeout;
    use sockeye_proto::utf8::Utf8Bytes;

    use super::*;
    use crate::error::RedirectError;

    fn noon() -> SystemTime {
        httpdate::parse_http_date("Fri, 20 Nov 2026 12:00:00 GMT").unwrap()
    }

    fn closed(code: u16) -> Cause {
        Cause::Closed(Some(CloseFrame {
            code: CloseCode::new(code),
            reason: Utf8Bytes::from(""),
        }))
    }

    fn refused(status: u16, fields: &[(&str, &str)]) -> Cause {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append(name, value).unwrap();
        }
        Cause::Connect(HandshakeError::Refused { status, headers }.into())
    }

    fn retry(cause: &Cause) -> Retry {
        cause.retry(noon())
    }

    #[test]
    fn close_codes() {
        for code in [1001, 1006, 1011, 1012, 1013, 1014] {
            assert_eq!(retry(&closed(code)), Retry::Later, "{code}");
        }
        for code in [
            1000, 1002, 1003, 1004, 1005, 1007, 1008, 1009, 1010, 1015, 3000, 3003, 4000, 4999, 0, 65535,
        ] {
            assert_eq!(retry(&closed(code)), Retry::Never, "{code}");
        }
        assert_eq!(retry(&Cause::Closed(None)), Retry::Never);
    }

    #[test]
    fn statuses() {
        for status in 100..=999 {
            let expected = if status == 429 || status / 100 == 5 {
                Retry::Later
            } else {
                Retry::Never
            };
            assert_eq!(retry(&refused(status, &[])), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_in_every_form() {
        let after = |fields: &[(&str, &str)]| match retry(&refused(503, fields)) {
            Retry::After(delay) => Some(delay.as_secs()),
            _ => None,
        };
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("00120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            // RFC 9110 §5.6.7: the form to send, and the two old ones that a recipient also has to take.
            ("Fri, 20 Nov 2026 12:01:30 GMT", Some(90)),
            ("Friday, 20-Nov-26 12:01:30 GMT", Some(90)),
            ("Fri Nov 20 12:01:30 2026", Some(90)),
            ("Fri, 20 Nov 2026 11:59:59 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 s", None),
            ("soon", None),
            ("Fri, 32 Nov 2026 12:00:00 GMT", None),
        ] {
            assert_eq!(after(&[("Retry-After", value)]), expected, "{value}");
        }
        // By the server's own clock, an hour behind ours.
        let late = ("Retry-After", "Fri, 20 Nov 2026 11:00:10 GMT");
        assert_eq!(after(&[late, ("Date", "Fri, 20 Nov 2026 11:00:00 GMT")]), Some(10));
        assert_eq!(after(&[late, ("Date", "today")]), Some(0));
    }

    #[test]
    fn retry_after_needs_a_status_that_is_retried() {
        let fields = [("Retry-After", "1")];
        assert_eq!(retry(&refused(429, &fields)), Retry::After(Duration::from_secs(1)));
        for status in [401, 403, 404, 301, 408] {
            assert_eq!(retry(&refused(status, &fields)), Retry::Never);
        }
    }

    #[test]
    fn errors_of_connecting() {
        let kind = |kind: io::ErrorKind| io::Error::new(kind, "for the test");
        for error in [
            ConnectError::Connect(kind(io::ErrorKind::ConnectionRefused)),
            ConnectError::Connect(kind(io::ErrorKind::HostUnreachable)),
            ConnectError::Io(kind(io::ErrorKind::ConnectionReset)),
            ConnectError::Io(kind(io::ErrorKind::UnexpectedEof)),
            ConnectError::Tls(kind(io::ErrorKind::UnexpectedEof)),
            ConnectError::Tls(kind(io::ErrorKind::ConnectionReset)),
            ConnectError::Resolve(kind(io::ErrorKind::NotFound)),
            ConnectError::Proxy(ProxyError::Connect(kind(io::ErrorKind::ConnectionRefused))),
            ConnectError::Proxy(ProxyError::Tls(kind(io::ErrorKind::UnexpectedEof))),
            ConnectError::Proxy(ProxyError::Closed),
            ConnectError::Proxy(ProxyError::Socks(SocksReply::HostUnreachable)),
            ConnectError::Timeout,
        ] {
            assert_eq!(after_connect(&error, noon()), Retry::Later, "{error:?}");
        }
        for error in [
            ConnectError::Connect(kind(io::ErrorKind::InvalidInput)),
            ConnectError::Tls(kind(io::ErrorKind::InvalidData)),
            ConnectError::Tls(io::Error::other("not a name")),
            ConnectError::TlsUnavailable("no roots".into()),
            ConnectError::Options(OptionsError::SubprotocolRepeated),
            ConnectError::Uri(sockeye_proto::uri::WebSocketUri::parse("http://localhost/").unwrap_err()),
            ConnectError::Handshake(HandshakeError::AcceptMismatch),
            ConnectError::Handshake(HandshakeError::UpgradeMissing),
            ConnectError::Redirect(RedirectError::TooMany),
            ConnectError::Proxy(ProxyError::Tls(kind(io::ErrorKind::InvalidData))),
            ConnectError::Proxy(ProxyError::Credentials),
            ConnectError::Proxy(ProxyError::Socks(SocksReply::NotAllowed)),
        ] {
            assert_eq!(after_connect(&error, noon()), Retry::Never, "{error:?}");
        }
    }

    #[test]
    fn errors_of_connections() {
        assert_eq!(retry(&Cause::Lost(Error::ConnectionLost)), Retry::Later);
        assert_eq!(retry(&Cause::Lost(Error::Timeout(Timeout::Close))), Retry::Later);
        assert_eq!(retry(&Cause::Lost(io::Error::other("cable").into())), Retry::Later);
        assert_eq!(retry(&Cause::Lost(ProtocolError::InvalidUtf8.into())), Retry::Never);
        assert_eq!(retry(&Cause::Lost(ProtocolError::MaskedFrame.into())), Retry::Never);
        assert_eq!(retry(&Cause::Lost(SendError::Closed.into())), Retry::Never);
    }

    #[test]
    fn errors_of_hooks_are_those_that_they_pass_on() {
        assert_eq!(retry(&Cause::Hook("no token server".into())), Retry::Later);
        assert_eq!(retry(&Cause::Hook(Box::new(Error::ConnectionLost))), Retry::Later);
        assert_eq!(
            retry(&Cause::Hook(Box::new(Error::from(ProtocolError::InvalidUtf8)))),
            Retry::Never
        );
        assert_eq!(
            retry(&Cause::Hook(Box::new(OptionsError::SubprotocolRepeated))),
            Retry::Never
        );
        let refused = HandshakeError::Refused {
            status: 401,
            headers: Headers::new(),
        };
        assert_eq!(retry(&Cause::Hook(Box::new(ConnectError::from(refused)))), Retry::Never);
    }

    #[test]
    fn our_own_ends_are_ends() {
        for cause in [Cause::Requested, Cause::Expired, Cause::Abandoned] {
            assert_eq!(retry(&cause), Retry::Never);
            assert_eq!(cause.close_code(), None);
        }
        assert!(Cause::Requested.is_clean() && closed(1000).is_clean() && Cause::Closed(None).is_clean());
        assert!(!Cause::Abandoned.is_clean() && !Cause::Expired.is_clean() && !closed(1001).is_clean());
    }

    proptest! {
        /// Whatever a server writes there.
        #[test]
        fn retry_after_is_any_text(value in "[ -~]{0,40}", date in "[ -~]{0,40}", seconds in 0..u64::MAX / 2) {
            let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(noon());
            let cause = refused(503, &[("Retry-After", &value), ("Date", &date)]);
            prop_assert!(cause.retry(now) != Retry::Never);
        }

        #[test]
        fn retry_after_is_any_date(then in 0..253_402_300_800_u64, date in 0..253_402_300_800_u64) {
            let text = |seconds| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let cause = refused(503, &[("Retry-After", &text(then)), ("Date", &text(date))]);
            prop_assert_eq!(retry(&cause), Retry::After(Duration::from_secs(then.saturating_sub(date))));
        }
    }
}
