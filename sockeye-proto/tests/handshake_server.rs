//! The server's side of the handshake, as bytes in and bytes out: exact statuses for every clause of RFC 6455 §4.2.1.

mod handshake_support;

use handshake_support::{REQUEST, parse, refused, rendered, request, run};
use sockeye_proto::{
    extension::ExtensionError,
    handshake::{
        HandshakeLimits, HeadError, Rejection, RejectionCause,
        http1::{Parsed, RequestReader},
        server::{ServerOptions, accept},
    },
};

#[test]
fn the_rfc_sample_is_answered() {
    let request = request(
        "Host",
        &["Host: server.example.com", "Origin: http://server.example.com"],
    );
    let accepted = run(&request, &ServerOptions::new()).unwrap();
    assert_eq!(
        rendered(|out| accepted.write_http1(out)),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn path_query_and_authority_are_told_apart() {
    let head = parse(&request("", &[])).unwrap();
    assert_eq!(
        (head.method(), head.path(), head.query()),
        ("GET", "/chat", Some("room=1"))
    );
    assert_eq!(head.authority(), Some("example.com"));
    let head = parse(&request("", &["GET http://other.com:81?x HTTP/1.1"])).unwrap();
    assert_eq!(
        (head.path(), head.query(), head.authority()),
        ("/", Some("x"), Some("other.com:81"))
    );
    assert!(accept(&head, &ServerOptions::new()).is_ok());
    for target in ["*", "chat", "/a#b", "ftp://h/"] {
        let line = format!("GET {target} HTTP/1.1");
        refused(
            &request("", &[&line]),
            &ServerOptions::new(),
            400,
            RejectionCause::Target,
        );
    }
}

#[test]
fn header_names_and_tokens_ignore_case_and_lists_are_searched() {
    let mut bytes = request("Connection", &["CONNECTION: keep-alive, , uPGRADE"]);
    assert!(run(&bytes, &ServerOptions::new()).is_ok());
    bytes = request("Upgrade", &["upgrade: h2c,", "upgrade: WebSocket"]);
    assert!(run(&bytes, &ServerOptions::new()).is_ok());
    // RFC 6455 §4.1 has this key, whose last bits are not zero.
    bytes = request(
        "Sec-WebSocket-Key",
        &["Sec-WebSocket-Key:\t AQIDBAUGBwgJCgsMDQ4PEC== \t"],
    );
    assert!(run(&bytes, &ServerOptions::new()).is_ok());
}

#[test]
fn a_plain_request_is_told_from_a_broken_handshake() {
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".as_slice(),
        b"GET / HTTP/1.0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let response = refused(bytes, &ServerOptions::new(), 426, RejectionCause::NotUpgrade);
        assert!(
            response.contains("\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"),
            "{response}"
        );
    }
    for (bytes, cause) in [
        (b"GET / HTTP/1.1\r\n\r\n".as_slice(), RejectionCause::HostMissing),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            RejectionCause::HostRepeated,
        ),
    ] {
        refused(bytes, &ServerOptions::new(), 400, cause);
    }
    refused(
        &request("Upgrade", &[]),
        &ServerOptions::new(),
        400,
        RejectionCause::UpgradeMissing,
    );
    let wrong = request("Upgrade", &["Upgrade: notwebsocket"]);
    refused(&wrong, &ServerOptions::new(), 400, RejectionCause::UpgradeMissing);
}

#[test]
fn h3_pathological_header_values() {
    // Longer than a header may be: refused at the limit.
    let spaces = " ".repeat(64 * 1024);
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Extensions: b{spaces}x\r\n\r\n");
    let error = RequestReader::new(HandshakeLimits::default())
        .read(long.as_bytes())
        .unwrap_err();
    assert_eq!(
        (error, Rejection::from(error).status()),
        (HeadError::HeaderTooLong, 431)
    );
    // With limits that let it pass: a malformed list.
    let limits = HandshakeLimits {
        header: 128 * 1024,
        total: 256 * 1024,
        ..HandshakeLimits::default()
    };
    for name in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        let header = format!("{name}: b{spaces}x");
        let bytes = request("", &[&header]);
        let Ok(Parsed::Complete { head, .. }) = RequestReader::new(limits).read(&bytes) else {
            panic!()
        };
        assert_eq!(accept(&head, &ServerOptions::new()).unwrap_err().status(), 400);
    }
    // As long as it may be by default: the same.
    let spaces = " ".repeat(7 * 1024);
    for (name, cause) in [
        (
            "Sec-WebSocket-Extensions",
            RejectionCause::Extensions(ExtensionError::UnexpectedByte(b'x')),
        ),
        ("Sec-WebSocket-Protocol", RejectionCause::Subprotocols),
    ] {
        let header = format!("{name}: b{spaces}x");
        refused(&request("", &[&header]), &ServerOptions::new(), 400, cause);
    }
    // The grammar itself, without the limits of a header, reads each byte once.
    let value = format!("b{}x", " ".repeat(64 * 1024));
    let read = sockeye_proto::extension::parse([value.as_bytes()]);
    assert_eq!(read, Err(ExtensionError::UnexpectedByte(b'x')));
}

#[test]
fn h4_duplicates_of_key_version_and_host() {
    let options = ServerOptions::new();
    for (line, cause) in [
        (REQUEST[1], RejectionCause::HostRepeated),
        (REQUEST[4], RejectionCause::KeyRepeated),
        (REQUEST[5], RejectionCause::WebSocketVersionRepeated),
    ] {
        refused(&request("", &[line]), &options, 400, cause);
        refused(&request("", &[&line.to_ascii_lowercase()]), &options, 400, cause);
    }
    for (name, cause) in [
        ("Host", RejectionCause::HostMissing),
        ("Sec-WebSocket-Key", RejectionCause::KeyMissing),
        ("Sec-WebSocket-Version", RejectionCause::WebSocketVersionMissing),
    ] {
        refused(&request(name, &[]), &options, 400, cause);
    }
    for host in ["Host:", "Host: a b", "Host: user@h", "Host: h:99999", "Host: h/path"] {
        refused(&request("Host", &[host]), &options, 400, RejectionCause::HostMalformed);
    }
}

#[test]
fn h4_a_key_that_is_not_16_bytes() {
    for key in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZTEy",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "c2hvcnQ=",
        "dGhlIHNhbXBsZSBub25j*Q==",
        "dGhlIHNhbXBsZSBub25jZQ==, x",
        "dGhlIHNhbXBsZSBub25jZWRHaGxJSE5oYlhCc1pTQnViMjVqWlE9PQ==",
    ] {
        let header = format!("Sec-WebSocket-Key: {key}");
        let bytes = request("Sec-WebSocket-Key", &[&header]);
        refused(&bytes, &ServerOptions::new(), 400, RejectionCause::KeyMalformed);
    }
}

#[test]
fn h4_another_version_gets_426_with_13() {
    for version in ["12", "8", "0", "013", "13, 8", "thirteen", ""] {
        let header = format!("Sec-WebSocket-Version: {version}");
        let bytes = request("Sec-WebSocket-Version", &[&header]);
        let response = refused(&bytes, &ServerOptions::new(), 426, RejectionCause::WebSocketVersion);
        assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{response}");
    }
}

#[test]
fn h4_connection_must_name_upgrade() {
    for connection in [
        "Connection: notupgrade",
        "Connection: close",
        "Connection: upgrade2, up grade",
        "X: y",
    ] {
        let bytes = request("Connection", &[connection]);
        refused(&bytes, &ServerOptions::new(), 400, RejectionCause::ConnectionMissing);
    }
}

#[test]
fn h4_another_method_gets_405_and_another_version_of_http_400() {
    let options = ServerOptions::new();
    for method in ["POST", "get", "CONNECT", "HEAD"] {
        let line = format!("{method} / HTTP/1.1");
        let response = refused(&request("", &[&line]), &options, 405, RejectionCause::Method);
        assert!(response.contains("\r\nAllow: GET\r\n"), "{response}");
    }
    refused(
        &request("", &["GET / HTTP/1.0"]),
        &options,
        400,
        RejectionCause::HttpVersion,
    );
    let newer = parse(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n").unwrap_err();
    assert_eq!((newer, Rejection::from(newer).status()), (HeadError::Version, 505));
}

#[test]
fn h4_a_body_on_the_upgrade() {
    let options = ServerOptions::new();
    for header in [
        "Content-Length: 0",
        "Content-Length: 1",
        "Content-Length: x",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
    ] {
        refused(&request("", &[header]), &options, 400, RejectionCause::Body);
    }
    refused(
        &request("", &["Content-Length: 0", "Content-Length: 5"]),
        &options,
        400,
        RejectionCause::Body,
    );
}

#[test]
fn h4_nul_bare_cr_bare_lf_and_folded_lines() {
    for (bytes, error) in [
        (
            b"GET / HTTP/1.1\r\nHost: h\0\r\n\r\n".as_slice(),
            HeadError::ControlCharacter,
        ),
        (b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::ControlCharacter),
        (b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", HeadError::BareCr),
        (b"GET / HTTP/1.1\rHost: h\r\n\r\n", HeadError::BareCr),
        (b"GET / HTTP/1.1\nHost: h\n\n", HeadError::BareLf),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", HeadError::BareLf),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
            HeadError::FoldedLine,
        ),
        (b"GET / HTTP/1.1\r\n\tHost: h\r\n\r\n", HeadError::FoldedLine),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", HeadError::Header),
        (b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n", HeadError::Header),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", HeadError::Header),
        (b"GET / HTTP/1.1\r\n: h\r\n\r\n", HeadError::Header),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::FirstLine),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::FirstLine),
        (b"GET /\r\n\r\n", HeadError::FirstLine),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", HeadError::FirstLine),
    ] {
        assert_eq!(
            parse(bytes),
            Err(error),
            "{}",
            String::from_utf8_lossy(bytes).escape_debug()
        );
        assert_eq!(Rejection::from(error).status(), 400);
    }
}

#[test]
fn malformed_extensions_get_400() {
    for (value, error) in [
        ("permessage-deflate; ", ExtensionError::UnexpectedEnd),
        ("permessage-deflate; a=", ExtensionError::UnexpectedEnd),
        ("permessage-deflate a", ExtensionError::UnexpectedByte(b'a')),
        ("; a", ExtensionError::UnexpectedByte(b';')),
    ] {
        let header = format!("Sec-WebSocket-Extensions: {value}");
        refused(
            &request("", &[&header]),
            &ServerOptions::new(),
            400,
            RejectionCause::Extensions(error),
        );
    }
    let unknown = run(
        &request("", &["Sec-WebSocket-Extensions: x-unknown; a=1"]),
        &ServerOptions::new(),
    )
    .unwrap();
    assert!(!unknown.headers().contains("Sec-WebSocket-Extensions"));
}
