//! The body of a response that refuses (RFC 9112 §6 and §7), which says why.
//!
//! Read up to a limit, in whatever pieces it comes, each byte once. Not read: trailers, and whatever follows the body,
//! since a connection that was refused is not used again; transfer codings other than chunked are not undone.

use alloc::vec::Vec;

use super::client::Response;
use crate::token;

/// How far a [`BodyReader`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyState {
    /// There is more to come.
    Partial,
    /// The body is complete.
    Complete,
    /// The body is longer than the limit; its beginning has been read.
    Truncated,
    /// What frames the body is malformed; what came before that has been read.
    Malformed,
}

/// Reads the body of a response to a GET or CONNECT request.
///
/// ```
/// use sockeye_proto::handshake::{BodyReader, BodyState, HandshakeLimits};
/// use sockeye_proto::handshake::http1::{Parsed, ResponseReader};
///
/// let received = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n6\r\nentry.\r\n0\r\n\r\n";
/// let Ok(Parsed::Complete { head, consumed }) = ResponseReader::new(HandshakeLimits::default()).read(received) else {
///     panic!();
/// };
/// let mut body = Vec::new();
/// let mut reader = BodyReader::new(&head, 64 * 1024);
/// assert_eq!(reader.read(&received[consumed..], &mut body), BodyState::Complete);
/// assert_eq!(body, b"no entry.");
/// ```
#[derive(Clone, Debug)]
pub struct BodyReader {
    framing: Framing,
    /// Bytes of the body that may still be read.
    room: usize,
    /// Bytes that frame chunks and may still come: a body of nothing but extensions has no end either.
    overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// The body ends where the connection ends.
    ToEnd,
    Chunked(Chunk),
    Over(BodyState),
}

/// What comes next of a chunk: `1*HEXDIG [ chunk-ext ] CRLF chunk-data CRLF` (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// A digit of the size, the first or another.
    Size {
        size: u64,
        digits: u8,
    },
    /// An extension, which nobody needs, up to its CR.
    Extension {
        size: u64,
    },
    /// The LF behind the size.
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
}

impl BodyReader {
    /// A reader for the body of `response`, up to `limit` bytes of it.
    #[must_use]
    pub fn new(response: &Response, limit: usize) -> Self {
        Self {
            framing: Framing::of(response),
            room: limit,
            overhead: limit.saturating_mul(OVERHEAD).saturating_add(CHUNK_LINE),
        }
    }

    /// Where the body stands; before the first byte, a body of length 0 is complete.
    #[must_use]
    pub const fn state(&self) -> BodyState {
        match self.framing {
            Framing::Over(state) => state,
            _ => BodyState::Partial,
        }
    }

    /// Reads the next bytes that came and appends what they hold of the body to `body`.
    pub fn read(&mut self, input: &[u8], body: &mut Vec<u8>) -> BodyState {
        let mut rest = input;
        while !rest.is_empty() {
            rest = match self.framing {
                Framing::Over(_) => break,
                Framing::Length(left) => {
                    let (taken, rest) = self.take(left, rest, body);
                    self.advance(match left - taken {
                        0 => Framing::Over(BodyState::Complete),
                        left => Framing::Length(left),
                    });
                    rest
                }
                Framing::ToEnd => self.take(u64::MAX, rest, body).1,
                Framing::Chunked(Chunk::Data { left }) => {
                    let (taken, rest) = self.take(left, rest, body);
                    self.advance(Framing::Chunked(match left - taken {
                        0 => Chunk::DataCr,
                        left => Chunk::Data { left },
                    }));
                    rest
                }
                Framing::Chunked(chunk) => {
                    let next = match self.overhead.checked_sub(1) {
                        Some(overhead) => {
                            self.overhead = overhead;
                            chunk.next(rest[0])
                        }
                        None => Framing::Over(BodyState::Truncated),
                    };
                    self.advance(next);
                    &rest[1..]
                }
            };
        }
        self.state()
    }

    /// Notes that the connection has ended.
    pub const fn end(&mut self) -> BodyState {
        self.framing = match self.framing {
            // RFC 9112 §8: "A message body that uses the chunked transfer coding is incomplete if the zero-sized chunk
            // that terminates the encoding has not been received."
            Framing::Chunked(_) | Framing::Length(_) => Framing::Over(BodyState::Malformed),
            Framing::ToEnd => Framing::Over(BodyState::Complete),
            over @ Framing::Over(_) => over,
        };
        self.state()
    }

    /// Moves at most `left` bytes to `body`; says how many, and what is behind them.
    fn take<'a>(&mut self, left: u64, input: &'a [u8], body: &mut Vec<u8>) -> (u64, &'a [u8]) {
        let wanted = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let taken = wanted.min(self.room);
        let (part, rest) = input.split_at(taken);
        body.extend_from_slice(part);
        self.room -= taken;
        if taken < wanted {
            self.framing = Framing::Over(BodyState::Truncated);
        }
        (taken as u64, rest)
    }

    /// Goes on, unless the limit was reached.
    fn advance(&mut self, next: Framing) {
        if !matches!(self.framing, Framing::Over(_)) {
            self.framing = next;
        }
    }
}

impl Framing {
    fn of(response: &Response) -> Self {
        let headers = response.headers();
        // RFC 9112 §6.3: "any response with a 1xx (Informational), 204 (No Content), or 304 (Not Modified) status code is
        // always terminated by the first empty line after the header fields, regardless of the header fields present in
        // the message".
        if matches!(response.status(), 100..200 | 204 | 304) {
            return Self::Over(BodyState::Complete);
        }
        // RFC 9112 §6.3: "If a message is received with both a Transfer-Encoding and a Content-Length header field, the
        // Transfer-Encoding overrides the Content-Length."
        if headers.contains("Transfer-Encoding") {
            // "If a Transfer-Encoding header field is present in a response and the chunked transfer coding is not the
            // final encoding, the message body length is determined by reading the connection until it is closed by the
            // server."
            let last = headers.values("Transfer-Encoding").flat_map(token::elements).last();
            return match last {
                Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => Self::Chunked(Chunk::START),
                _ => Self::ToEnd,
            };
        }
        // A list of equal lengths is one length (RFC 9112 §6.3); anything else frames nothing.
        let mut lengths = headers
            .values("Content-Length")
            .flat_map(token::elements)
            .map(content_length);
        let Some(length) = lengths.next() else {
            return Self::ToEnd;
        };
        match length {
            Some(_) if lengths.any(|other| other != length) => Self::Over(BodyState::Malformed),
            Some(0) => Self::Over(BodyState::Complete),
            Some(length) => Self::Length(length),
            None => Self::Over(BodyState::Malformed),
        }
    }
}

impl Chunk {
    const START: Self = Self::Size { size: 0, digits: 0 };

    fn next(self, byte: u8) -> Framing {
        Framing::Chunked(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < u8::MAX => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let Some(size) = size.checked_mul(16).and_then(|size| size.checked_add(digit.into())) else {
                    return Framing::Over(BodyState::Malformed);
                };
                Self::Size {
                    size,
                    digits: digits + 1,
                }
            }
            (Self::Size { size, digits: 1.. }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => Self::Extension { size },
            (Self::Extension { size }, b'\r') => Self::SizeLf { size },
            (Self::Extension { size }, _) if byte != b'\n' => Self::Extension { size },
            // RFC 9112 §7.1: a chunk of size 0 is the last.
            (Self::SizeLf { size: 0 }, b'\n') => return Framing::Over(BodyState::Complete),
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::START,
            _ => return Framing::Over(BodyState::Malformed),
        })
    }
}

/// RFC 9110 §8.6: `Content-Length = 1*DIGIT`.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(value).ok()?.parse().ok()
}

/// Bytes of framing for each byte of a body that comes in chunks of one byte, `1 CR LF x CR LF`, and some more.
const OVERHEAD: usize = 8;

/// Bytes of framing that any body may have.
const CHUNK_LINE: usize = 1024;
