//! A good request, ways to spoil it, and the server's answer to it.

use sockeye_proto::handshake::{
    HandshakeLimits, HeadError, Rejection, RejectionCause,
    http1::{Parsed, RequestReader},
    server::{Accepted, Request, ServerOptions, accept},
};

pub(crate) const REQUEST: [&str; 6] = [
    "GET /chat?room=1 HTTP/1.1",
    "Host: example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// The good request with the lines that start like `without` removed and `with` added. A `with` that looks like a
/// request line replaces the first.
pub(crate) fn request(without: &str, with: &[&str]) -> Vec<u8> {
    let mut lines: Vec<&str> = REQUEST.to_vec();
    lines.retain(|line| without.is_empty() || !line.starts_with(without));
    for line in with {
        if line.contains(" HTTP/1.") {
            lines[0] = line;
        } else {
            lines.push(line);
        }
    }
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Request, HeadError> {
    match RequestReader::new(HandshakeLimits::default()).read(bytes)? {
        Parsed::Complete { head, consumed } => {
            assert_eq!(consumed, bytes.len());
            Ok(head)
        }
        Parsed::Partial => panic!("partial: {}", String::from_utf8_lossy(bytes)),
    }
}

pub(crate) fn run(bytes: &[u8], options: &ServerOptions) -> Result<Accepted, Rejection> {
    accept(&parse(bytes)?, options)
}

pub(crate) fn rendered(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[track_caller]
pub(crate) fn refused(bytes: &[u8], options: &ServerOptions, status: u16, cause: RejectionCause) -> String {
    let rejection = run(bytes, options).expect_err("accepted");
    assert_eq!((rejection.status(), rejection.cause()), (status, cause));
    let response = rendered(|out| rejection.write_http1(out));
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    response
}
