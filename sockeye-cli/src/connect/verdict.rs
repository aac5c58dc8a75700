//! How a connection ended, or why there was none: a sentence, and the exit code.
//!
//! What a server says is shown, and may be anything: its control characters are not.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;

use sockeye::handshake::http1::reason_phrase;
use sockeye::transport::tls::rustls;
use sockeye::uri::WebSocketUri;
use sockeye::{CloseCode, CloseFrame, ConnectError, Error, ProtocolError, ProxyError, Refusal};

use crate::report::{self, Failure};

/// Which credentials the command line, or the environment, gave: what is there already is no way out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Given {
    /// For the server.
    pub(crate) credentials: bool,
    /// For the proxy.
    pub(crate) proxy_credentials: bool,
}

/// Tells the close code, and whether it is a good end.
pub(super) fn closed(frame: Option<&CloseFrame>, ours: bool) -> Result<(), Failure> {
    let code = frame.map_or(CloseCode::NO_STATUS, |frame| frame.code);
    let shown = frame.map_or_else(|| code.to_string(), ToString::to_string);
    let sentence = if ours {
        format!("closed: {shown}")
    } else {
        format!("the peer closed: {shown}")
    };
    match code {
        CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS => {
            report::talk(sentence);
            Ok(())
        }
        _ => Err(Failure::abnormal(sentence)),
    }
}

/// The connection failed.
pub(super) fn lost(error: &Error) -> Failure {
    let mut sentence = match error.close_code() {
        Some(code) => format!("{error}; close code {code}"),
        None => error.to_string(),
    };
    if let Error::Protocol(ProtocolError::MessageTooBig { .. }) = error {
        sentence += "; take longer messages by --max-message SIZE";
    }
    Failure::abnormal(sentence)
}

/// Why there is no connection: exit code 1 when a server answered and it was no good, 2 when none was reached.
pub(super) fn not_connected(uri: &WebSocketUri, given: Given, error: &ConnectError) -> Failure {
    match error {
        ConnectError::Refused(refusal) => {
            let way_out = match refusal.status() {
                401 if !given.credentials => "; say who you are by --user USER:PASSWORD or --bearer TOKEN",
                _ => "",
            };
            Failure::abnormal(format!("refused: {}", refused(error, refusal, way_out)))
        }
        ConnectError::Redirect(_) => Failure::abnormal(format!("redirected in vain: {error}")),
        ConnectError::Handshake(_) => Failure::abnormal(format!("this is no WebSocket handshake: {error}")),
        ConnectError::Connect(cause) | ConnectError::Resolve(cause) => {
            Failure::usage(format!("could not connect to {}: {cause}", uri.host_header()))
        }
        ConnectError::Proxy(ProxyError::Refused(refusal) | ProxyError::AuthenticationRequired(refusal)) => {
            let way_out = match error {
                ConnectError::Proxy(ProxyError::AuthenticationRequired(_)) if !given.proxy_credentials => PROXY_WANTS,
                _ => "",
            };
            Failure::usage(refused(error, refusal, way_out))
        }
        ConnectError::Proxy(ProxyError::NoAcceptableMethod) if !given.proxy_credentials => {
            Failure::usage(format!("{error}{PROXY_WANTS}"))
        }
        ConnectError::Tls(cause) if is_certificate(cause) => Failure::usage(format!(
            "{error}; trust a certificate by --ca FILE, or take any by --insecure"
        )),
        ConnectError::Tls(cause) if wants_certificate(cause) => Failure::usage(format!(
            "{error}; the server wants to know who you are: show a certificate by --cert FILE --key FILE"
        )),
        ConnectError::Timeout => Failure::usage(format!("{error}; give it longer by --timeout SECONDS")),
        _ => Failure::usage(error),
    }
}

/// Whether TLS failed because of whom the server says to be.
fn is_certificate(error: &io::Error) -> bool {
    matches!(tls(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// Whether TLS failed because the client did not say who it is.
fn wants_certificate(error: &io::Error) -> bool {
    use rustls::AlertDescription::CertificateRequired;
    matches!(tls(error), Some(rustls::Error::AlertReceived(CertificateRequired)))
}

fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref())
}

/// The status, its name, where else to go, when to come back, what to do, and the first lines of the body.
fn refused(error: &ConnectError, refusal: &Refusal, way_out: &str) -> String {
    let mut shown = error.to_string();
    let reason = reason_phrase(refusal.status());
    if !reason.is_empty() {
        // Writing to a `String` cannot fail.
        let _ = write!(shown, " {reason}");
    }
    if let Some(location) = refusal.headers().text("Location") {
        let _ = write!(
            shown,
            " and names {} instead",
            without_user_information(location).escape_debug()
        );
        if matches!(refusal.status(), 301 | 302 | 303 | 307 | 308) {
            shown += "; --follow goes there";
        }
    }
    if let Some(after) = refusal.retry_after() {
        let _ = write!(shown, "; it asks to come back in {} s", after.as_secs());
    }
    shown + way_out + &excerpt(refusal.body())
}

/// A URL of a server's without the credentials in it. An `@` behind the authority is none of theirs.
fn without_user_information(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("//") else {
        return url.into();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}//…{}", &rest[at..]).into(),
        None => url.into(),
    }
}

/// The first lines of a body that is text, each on a line of its own.
fn excerpt(body: &[u8]) -> String {
    // The limit on what is kept of a body may fall within a character.
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or(""),
        Err(_) => return format!("\n  ({} bytes that are no text)", body.len()),
    };
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut shown = String::new();
    for line in lines.by_ref().take(LINES) {
        shown += "\n  ";
        let mut characters = line.chars();
        for c in characters.by_ref().take(WIDTH) {
            if c.is_control() && c != '\t' {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        if characters.next().is_some() {
            shown.push('…');
        }
    }
    if lines.next().is_some() {
        shown += "\n  …";
    }
    shown
}

/// What a proxy wants that was told no credentials.
const PROXY_WANTS: &str = "; say who you are by --proxy SCHEME://USER:PASSWORD@HOST";

/// Lines of a body that are shown, and characters of each.
const LINES: usize = 5;
const WIDTH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_shown_without_credentials() {
        for (location, shown) in [
            ("wss://alice:s3cret@host/@me", "wss://…@host/@me"),
            ("//alice:s3cret@host", "//…@host"),
            ("wss://host/?next=a@b", "wss://host/?next=a@b"),
            ("/login?next=a@b", "/login?next=a@b"),
        ] {
            assert_eq!(without_user_information(location), shown);
        }
    }

    #[test]
    fn the_first_lines_of_a_body_are_shown_and_harmless() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt(b"no\r\n\r\n  entry \n"), "\n  no\n    entry");
        assert_eq!(excerpt(b"1\n2\n3\n4\n5\n6\n"), "\n  1\n  2\n  3\n  4\n  5\n  …");
        assert_eq!(excerpt(b"a\tb\x1b[2J\x07"), "\n  a\tb\\u{1b}[2J\\u{7}");
        assert_eq!(excerpt(&[b'x'; 201]), format!("\n  {}…", "x".repeat(200)));
        assert_eq!(excerpt(b"\xff\x00"), "\n  (2 bytes that are no text)");
        assert_eq!(excerpt(b"sm\xc3"), "\n  sm");
    }
}
