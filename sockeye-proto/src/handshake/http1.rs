//! Reading and writing the heads of HTTP/1.1 requests and responses (RFC 9112), as far as a handshake needs them.
//!
//! A reader is shown all bytes received so far, as often as there are more, and answers [`Parsed::Partial`] or
//! [`Parsed::Complete`]. It remembers how far it has looked, so the work is linear in the bytes however they are
//! cut, and limits strike before a head is complete. Bodies are not read.
//!
//! Read strictly, because a lenient reader behind a strict one can be fooled: lines end with CRLF, none is folded,
//! no whitespace before a colon, no empty line before the first.

use alloc::{format, string::ToString, vec, vec::Vec};

use super::{
    HandshakeLimits, HttpVersion,
    client::Response,
    error::HeadError,
    headers::{Headers, is_value_byte},
    server::Request,
};
use crate::token;

/// The answer of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The head is not complete: call again with the same bytes and more behind them.
    Partial,
    /// The head is complete.
    Complete {
        /// The request or response.
        head: T,
        /// Its length in bytes. What follows is no longer HTTP.
        consumed: usize,
    },
}

/// Reads one request.
///
/// ```
/// use sockeye_proto::handshake::{HandshakeLimits, http1::{Parsed, RequestReader}};
///
/// let mut reader = RequestReader::new(HandshakeLimits::default());
/// let mut received = b"GET /chat HTTP/1.1\r\nHost: exam".to_vec();
/// assert_eq!(reader.read(&received), Ok(Parsed::Partial));
/// received.extend(b"ple.com\r\n\r\n");
/// let Ok(Parsed::Complete { head, consumed }) = reader.read(&received) else { panic!() };
/// assert_eq!((head.path(), consumed), ("/chat", received.len()));
/// ```
#[derive(Clone, Debug)]
pub struct RequestReader {
    scanner: Scanner,
}

impl RequestReader {
    /// A reader for one request.
    #[must_use]
    pub const fn new(limits: HandshakeLimits) -> Self {
        Self {
            scanner: Scanner::new(limits, 0),
        }
    }

    /// Looks at `received`, everything since the start of the request.
    ///
    /// # Errors
    ///
    /// [`HeadError`], as soon as it is certain; `Rejection::from` makes the response of it.
    pub fn read(&mut self, received: &[u8]) -> Result<Parsed<Request>, HeadError> {
        let Some(consumed) = self.scanner.scan(received)? else {
            return Ok(Parsed::Partial);
        };
        let mut fields = vec![httparse::EMPTY_HEADER; self.scanner.headers()];
        let mut request = httparse::Request::new(&mut fields);
        let complete = request.parse(&received[..consumed]).map_err(head_error)?.is_complete();
        let (Some(method), Some(target), Some(version), true) =
            (request.method, request.path, request.version, complete)
        else {
            return Err(HeadError::FirstLine);
        };
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HeadError::FirstLine);
        }
        let headers = collect(request.headers, consumed);
        let head = Request::new(method.to_string(), target.to_string(), http_version(version), headers);
        Ok(Parsed::Complete { head, consumed })
    }
}

/// Reads one response, past interim ones such as 103 (Early Hints).
#[derive(Clone, Debug)]
pub struct ResponseReader {
    scanner: Scanner,
}

impl ResponseReader {
    /// A reader for one response.
    #[must_use]
    pub const fn new(limits: HandshakeLimits) -> Self {
        Self {
            scanner: Scanner::new(limits, 0),
        }
    }

    /// Looks at `received`, everything since the start of the response.
    ///
    /// # Errors
    ///
    /// [`HeadError`], as soon as it is certain.
    pub fn read(&mut self, received: &[u8]) -> Result<Parsed<Response>, HeadError> {
        loop {
            let Some(consumed) = self.scanner.scan(received)? else {
                return Ok(Parsed::Partial);
            };
            let mut fields = vec![httparse::EMPTY_HEADER; self.scanner.headers()];
            let mut response = httparse::Response::new(&mut fields);
            let head = received.get(self.scanner.start..consumed).unwrap_or_default();
            let complete = response.parse(head).map_err(head_error)?.is_complete();
            let (Some(status), Some(version), true) = (response.code, response.version, complete) else {
                return Err(HeadError::FirstLine);
            };
            // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final
            // response, even if the client does not expect one." They count towards the limit of the whole.
            if (100..200).contains(&status) && status != 101 {
                self.scanner = Scanner::new(self.scanner.limits, consumed);
                continue;
            }
            let headers = collect(response.headers, head.len());
            return Ok(Parsed::Complete {
                head: Response::new(status, http_version(version), headers),
                consumed,
            });
        }
    }
}

/// Appends a whole HTTP/1.1 response, with a Content-Length: for a server that shows a page to those who ask for
/// no WebSocket. `headers` should not frame the body themselves.
pub fn write_response(status: u16, headers: &Headers, body: &[u8], out: &mut Vec<u8>) {
    write_status_line(status, out);
    headers.write_http1(out);
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
}

pub(super) fn write_status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)).as_bytes());
}

/// Finds the end of a head and the violations that a line shows, each byte once.
#[derive(Clone, Debug)]
struct Scanner {
    limits: HandshakeLimits,
    /// Where the head starts.
    start: usize,
    /// Where the first incomplete line starts.
    line: usize,
    /// Up to where no line end was found.
    scanned: usize,
    /// Complete lines.
    lines: usize,
}

impl Scanner {
    const fn new(limits: HandshakeLimits, start: usize) -> Self {
        Self {
            limits,
            start,
            line: start,
            scanned: start,
            lines: 0,
        }
    }

    /// Where the head ends, once its empty line is there.
    fn scan(&mut self, received: &[u8]) -> Result<Option<usize>, HeadError> {
        loop {
            let limit = if self.lines == 0 {
                self.limits.first_line
            } else {
                self.limits.header
            };
            // One line of full length with its CRLF, and one byte past the whole: a flood is refused without looking
            // at all of it, and in the same way however it is cut.
            let longest = self.line.saturating_add(limit).saturating_add(2);
            let window = received.len().min(longest).min(self.limits.total.saturating_add(1));
            let fresh = received.get(self.scanned..window).unwrap_or_default();
            let Some(found) = fresh.iter().position(|&byte| byte == b'\n') else {
                self.scanned = self.scanned.max(window);
                return if window == longest {
                    Err(if self.lines == 0 {
                        HeadError::FirstLineTooLong
                    } else {
                        HeadError::HeaderTooLong
                    })
                } else if window > self.limits.total {
                    Err(HeadError::TooLong)
                } else {
                    Ok(None)
                };
            };
            let end = self.scanned + found;
            let Some(line) = received[self.line..end].strip_suffix(b"\r") else {
                return Err(HeadError::BareLf);
            };
            self.line = end + 1;
            self.scanned = end + 1;
            if end >= self.limits.total {
                return Err(HeadError::TooLong);
            }
            if line.is_empty() {
                return if self.lines == 0 {
                    Err(HeadError::FirstLine)
                } else {
                    Ok(Some(end + 1))
                };
            }
            self.check(line)?;
            self.lines += 1;
        }
    }

    /// What no line may contain, and what no header line may start with.
    fn check(&self, line: &[u8]) -> Result<(), HeadError> {
        // RFC 9112 §2.2: "A recipient of such a bare CR MUST consider that element to be invalid or replace each bare
        // CR with SP".
        if let Some(&bad) = line.iter().find(|&&byte| !is_value_byte(byte)) {
            return Err(if bad == b'\r' {
                HeadError::BareCr
            } else {
                HeadError::ControlCharacter
            });
        }
        if self.lines == 0 {
            return Ok(());
        }
        // RFC 9112 §5.2: "A server that receives an obs-fold in a request message that is not within a
        // "message/http" container MUST either reject the message by sending a 400 (Bad Request)" or unfold it.
        if line.first().is_some_and(|&byte| token::is_space(byte)) {
            return Err(HeadError::FoldedLine);
        }
        if self.lines > self.limits.headers {
            return Err(HeadError::TooManyHeaders);
        }
        // RFC 9112 §5.1: "No whitespace is allowed between the field name and colon. [...] A server MUST reject, with
        // a response status code of 400 (Bad Request), any received request message that contains whitespace between
        // a header field name and colon."
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if name.len() == line.len() || !token::is_token(name) {
            return Err(HeadError::Header);
        }
        Ok(())
    }

    /// The number of header lines of a complete head.
    fn headers(&self) -> usize {
        self.lines.saturating_sub(1)
    }
}

fn collect(fields: &[httparse::Header<'_>], bytes: usize) -> Headers {
    let mut headers = Headers::with_capacity(bytes, fields.len());
    for field in fields {
        headers.push(field.name.as_bytes(), token::trim(field.value));
    }
    headers
}

/// `httparse` accepts minor versions 0 and 1 only.
fn http_version(minor: u8) -> HttpVersion {
    if minor == 0 {
        HttpVersion::Http10
    } else {
        HttpVersion::Http11
    }
}

fn head_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::Version => HeadError::Version,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadError::Header,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        _ => HeadError::FirstLine,
    }
}

/// The reason phrase of a status, which programs ignore (RFC 9112 §4) and people read; empty for those without one here.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// THREATS H2, by counting: a search starts where the last one ended, so no byte is searched twice.
    #[test]
    fn h2_each_byte_is_searched_once_however_it_comes() {
        let head = format!("GET / HTTP/1.1\r\n{}\r\n", "a: bcdef\r\n".repeat(50));
        let mut scanner = Scanner::new(HandshakeLimits::default(), 0);
        for end in 0..head.len() {
            assert_eq!(scanner.scan(&head.as_bytes()[..end]), Ok(None));
            assert_eq!(scanner.scanned, end);
        }
        assert_eq!(scanner.scan(head.as_bytes()), Ok(Some(head.len())));
        assert_eq!((scanner.scanned, scanner.headers()), (head.len(), 50));
    }
}
