//! The server's side of the handshake, as bytes in and bytes out: exact statuses for every clause.

use sockeye_proto::{
    extension::ExtensionError,
    handshake::{
        HandshakeLimits, HeadError, Headers, HttpVersion, OptionsError, Origin, OriginPolicy,
        Rejection, RejectionCause,
        http1::{Parsed, RequestReader},
        server::{Accepted, Request, ServerOptions, accept},
    },
};

const REQUEST: [&str; 6] = [
    "GET /chat?room=1 HTTP/1.1",
    "Host: example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// The good request with the lines that start like `without` removed and `with` added. A `with` that looks like a
/// request line replaces the first.
fn request(without: &str, with: &[&str]) -> Vec<u8> {
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

fn parse(bytes: &[u8]) -> Result<Request, HeadError> {
    match RequestReader::new(HandshakeLimits::default()).read(bytes)? {
        Parsed::Complete { head, consumed } => {
            assert_eq!(consumed, bytes.len());
            Ok(head)
        }
        Parsed::Partial => panic!("partial: {}", String::from_utf8_lossy(bytes)),
    }
}

fn run(bytes: &[u8], options: &ServerOptions) -> Result<Accepted, Rejection> {
    accept(&parse(bytes)?, options)
}

fn rendered(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn refused(bytes: &[u8], options: &ServerOptions, status: u16, cause: RejectionCause) -> String {
    let rejection = run(bytes, options).expect_err("accepted");
    assert_eq!((rejection.status(), rejection.cause()), (status, cause));
    let response = rendered(|out| rejection.write_http1(out));
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status} ")),
        "{response}"
    );
    response
}

#[test]
fn the_rfc_sample_is_answered() {
    let request = request(
        "Host",
        &[
            "Host: server.example.com",
            "Origin: http://server.example.com",
        ],
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
        let response = refused(
            bytes,
            &ServerOptions::new(),
            426,
            RejectionCause::NotUpgrade,
        );
        assert!(
            response.contains("\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"),
            "{response}"
        );
    }
    refused(
        &request("Upgrade", &[]),
        &ServerOptions::new(),
        400,
        RejectionCause::UpgradeMissing,
    );
    let wrong = request("Upgrade", &["Upgrade: notwebsocket"]);
    refused(
        &wrong,
        &ServerOptions::new(),
        400,
        RejectionCause::UpgradeMissing,
    );
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
    // As long as it may be: a malformed list.
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
        refused(
            &request("", &[&line.to_ascii_lowercase()]),
            &options,
            400,
            cause,
        );
    }
    for (name, cause) in [
        ("Host", RejectionCause::HostMissing),
        ("Sec-WebSocket-Key", RejectionCause::KeyMissing),
        (
            "Sec-WebSocket-Version",
            RejectionCause::WebSocketVersionMissing,
        ),
    ] {
        refused(&request(name, &[]), &options, 400, cause);
    }
    for host in [
        "Host:",
        "Host: a b",
        "Host: user@h",
        "Host: h:99999",
        "Host: h/path",
    ] {
        refused(
            &request("Host", &[host]),
            &options,
            400,
            RejectionCause::HostMalformed,
        );
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
        refused(
            &bytes,
            &ServerOptions::new(),
            400,
            RejectionCause::KeyMalformed,
        );
    }
}

#[test]
fn h4_another_version_gets_426_with_13() {
    for version in ["12", "8", "0", "013", "13, 8", "thirteen", ""] {
        let header = format!("Sec-WebSocket-Version: {version}");
        let bytes = request("Sec-WebSocket-Version", &[&header]);
        let response = refused(
            &bytes,
            &ServerOptions::new(),
            426,
            RejectionCause::WebSocketVersion,
        );
        assert!(
            response.contains("\r\nSec-WebSocket-Version: 13\r\n"),
            "{response}"
        );
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
        refused(
            &bytes,
            &ServerOptions::new(),
            400,
            RejectionCause::ConnectionMissing,
        );
    }
}

#[test]
fn h4_another_method_gets_405_and_another_version_of_http_400() {
    let options = ServerOptions::new();
    for method in ["POST", "get", "CONNECT", "HEAD"] {
        let line = format!("{method} / HTTP/1.1");
        let response = refused(
            &request("", &[&line]),
            &options,
            405,
            RejectionCause::Method,
        );
        assert!(response.contains("\r\nAllow: GET\r\n"), "{response}");
    }
    refused(
        &request("", &["GET / HTTP/1.0"]),
        &options,
        400,
        RejectionCause::HttpVersion,
    );
    let newer = parse(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n").unwrap_err();
    assert_eq!(
        (newer, Rejection::from(newer).status()),
        (HeadError::Version, 505)
    );
}

#[test]
fn h4_a_body_on_the_upgrade() {
    let options = ServerOptions::new();
    for header in [
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
    assert!(run(&request("", &["Content-Length: 0"]), &options).is_ok());
}

#[test]
fn h4_nul_bare_cr_bare_lf_and_folded_lines() {
    for (bytes, error) in [
        (
            b"GET / HTTP/1.1\r\nHost: h\0\r\n\r\n".as_slice(),
            HeadError::ControlCharacter,
        ),
        (
            b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
            HeadError::ControlCharacter,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
            HeadError::BareCr,
        ),
        (b"GET / HTTP/1.1\rHost: h\r\n\r\n", HeadError::BareCr),
        (b"GET / HTTP/1.1\nHost: h\n\n", HeadError::BareLf),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", HeadError::BareLf),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
            HeadError::FoldedLine,
        ),
        (
            b"GET / HTTP/1.1\r\n\tHost: h\r\n\r\n",
            HeadError::FoldedLine,
        ),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", HeadError::Header),
        (b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n", HeadError::Header),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", HeadError::Header),
        (b"GET / HTTP/1.1\r\n: h\r\n\r\n", HeadError::Header),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::FirstLine),
        (
            b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
            HeadError::FirstLine,
        ),
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

fn origin_status(policy: OriginPolicy, secure: bool, host: &str, origin: &str) -> u16 {
    let mut options = ServerOptions::new();
    options.set_origin_policy(policy);
    let (host, origin) = (format!("Host: {host}"), format!("Origin: {origin}"));
    let head = parse(&request("Host", &[&host, &origin]))
        .unwrap()
        .with_secure(secure);
    match accept(&head, &options) {
        Ok(accepted) => accepted.status(),
        Err(rejection) => {
            assert_eq!(rejection.cause(), RejectionCause::Origin);
            rejection.status()
        }
    }
}

#[test]
fn h7_only_pages_of_the_same_host_by_default() {
    for (host, origin) in [
        ("good.com", "http://evil.com"),
        ("good.com", "null"),
        ("good.com", ""),
        ("good.com", "http://good.com.evil.com"),
        ("good.com", "http://evilgood.com"),
        ("good.com", "http://good.com@evil.com"),
        ("good.com", "http://good.com:8080"),
        ("good.com:8080", "http://good.com"),
        ("good.com:8080", "http://good.com:80801"),
        ("good.com:443", "http://good.com"),
        ("good.com", "good.com"),
        ("good.com", "file://good.com"),
        ("good.com", "chrome-extension://good.com"),
        ("good.com", "http://good.com/"),
        ("good.com", "http://good.com http://evil.com"),
        ("good.com", "http://evil.com#good.com"),
        ("[::1]:80", "http://[::2]"),
    ] {
        assert_eq!(
            origin_status(OriginPolicy::SameHost, false, host, origin),
            403,
            "{origin} to {host}"
        );
    }
    for (host, origin) in [
        ("good.com", "http://good.com"),
        ("GOOD.com", "HTTP://good.COM:80"),
        ("good.com:80", "http://good.com"),
        ("good.com", "https://good.com"),
        ("good.com:443", "https://good.com"),
        ("good.com:8080", "http://good.com:8080"),
        ("[::1]:80", "http://[0:0:0:0:0:0:0:1]"),
    ] {
        assert_eq!(
            origin_status(OriginPolicy::SameHost, false, host, origin),
            101,
            "{origin} to {host}"
        );
    }
    // Where the server knows that it speaks TLS, a page that came without is another origin.
    assert_eq!(
        origin_status(OriginPolicy::SameHost, true, "good.com", "http://good.com"),
        403
    );
    assert_eq!(
        origin_status(OriginPolicy::SameHost, true, "good.com", "https://good.com"),
        101
    );
}

#[test]
fn h7_lists_absence_and_repetition() {
    let list = || {
        vec![
            Origin::parse("https://app.example:8443").unwrap(),
            "http://b.example".parse().unwrap(),
        ]
    };
    for (origin, listed, or_same) in [
        ("https://app.example:8443", 101, 101),
        ("HTTPS://APP.example:8443", 101, 101),
        ("http://b.example:80", 101, 101),
        ("http://app.example:8443", 403, 403),
        ("https://app.example", 403, 403),
        ("https://app.example:8443.evil.com", 403, 403),
        ("http://good.com", 403, 101),
        ("null", 403, 403),
    ] {
        assert_eq!(
            origin_status(OriginPolicy::List(list()), false, "good.com", origin),
            listed,
            "{origin}"
        );
        let policy = OriginPolicy::SameHostOrList(list());
        assert_eq!(
            origin_status(policy, false, "good.com", origin),
            or_same,
            "{origin}"
        );
        assert_eq!(
            origin_status(OriginPolicy::Any, false, "good.com", origin),
            101
        );
    }
    assert!(
        run(&request("", &[]), &ServerOptions::new()).is_ok(),
        "no Origin, no browser"
    );
    let twice = request(
        "",
        &["Origin: http://example.com", "Origin: http://evil.com"],
    );
    refused(&twice, &ServerOptions::new(), 403, RejectionCause::Origin);
    for text in [
        "null",
        "https://",
        "https://a/",
        "https://a:0",
        "app://a",
        "https://u@a",
    ] {
        assert!(Origin::parse(text).is_err(), "{text}");
    }
    assert_eq!(list()[0].to_string(), "https://app.example:8443");
}

fn chosen(offered: &[&str], supported: &[&str]) -> (Option<String>, String) {
    let mut options = ServerOptions::new();
    for name in supported {
        options.add_subprotocol(name).unwrap();
    }
    let accepted = run(&request("", offered), &options).unwrap();
    (
        accepted.subprotocol().map(Into::into),
        rendered(|out| accepted.write_http1(out)),
    )
}

#[test]
fn the_first_of_the_clients_subprotocols_that_the_server_supports() {
    let offered = ["Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: ,c"];
    for (supported, expected) in [
        (&["c", "b"][..], "b"),
        (&["c"], "c"),
        (&["B", "a", "b"], "a"),
    ] {
        let (name, response) = chosen(&offered, supported);
        assert_eq!(name.as_deref(), Some(expected));
        assert_eq!(response.matches("Sec-WebSocket-Protocol:").count(), 1);
        assert!(
            response.contains(&format!("\r\nSec-WebSocket-Protocol: {expected}\r\n")),
            "{response}"
        );
    }
    for (offered, supported) in [
        (&offered[..], &["d", "A"][..]),
        (&offered, &[]),
        (&[], &["a"]),
    ] {
        let (name, response) = chosen(offered, supported);
        assert_eq!(name, None);
        assert!(!response.contains("Sec-WebSocket-Protocol"), "{response}");
    }
    for bad in ["a b", "a;b", "\"a\"", "a, (b)", "é"] {
        let header = format!("Sec-WebSocket-Protocol: {bad}");
        refused(
            &request("", &[&header]),
            &ServerOptions::new(),
            400,
            RejectionCause::Subprotocols,
        );
    }
}

#[test]
fn an_application_may_choose_among_the_offered_subprotocols() {
    let mut accepted = run(
        &request("", &["Sec-WebSocket-Protocol: a, b"]),
        &ServerOptions::new(),
    )
    .unwrap();
    assert_eq!(
        accepted.offered_subprotocols().collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(
        accepted.set_subprotocol(Some("c")),
        Err(OptionsError::SubprotocolNotOffered)
    );
    assert_eq!(
        accepted.set_subprotocol(Some("")),
        Err(OptionsError::SubprotocolNotOffered)
    );
    accepted.set_subprotocol(Some("b")).unwrap();
    assert_eq!(accepted.headers().text("sec-websocket-protocol"), Some("b"));
    accepted.set_subprotocol(None).unwrap();
    assert!(!accepted.headers().contains("Sec-WebSocket-Protocol"));
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

#[test]
fn h6_the_server_cannot_be_made_to_split_a_response() {
    let mut options = ServerOptions::new();
    let mut accepted = run(&request("", &[]), &options).unwrap();
    for (name, value) in [
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\0"),
        ("X\r\nY", "a"),
        ("", "a"),
        ("X Y", "a"),
    ] {
        assert!(
            matches!(
                options.add_header(name, value),
                Err(OptionsError::Header(_))
            ),
            "{name:?}: {value:?}"
        );
        assert!(accepted.add_header(name, value).is_err());
        assert!(Rejection::new(403).with_header(name, value).is_err());
    }
    for name in [
        "Upgrade",
        "connection",
        "SEC-WEBSOCKET-ACCEPT",
        "Sec-WebSocket-Extensions",
        "Content-Length",
    ] {
        assert!(accepted.add_header(name, "x").is_err(), "{name}");
    }
    for name in ["", "a b", "a,b", "a\r\nb", "é"] {
        assert_eq!(
            options.add_subprotocol(name),
            Err(OptionsError::SubprotocolNotToken)
        );
    }
    options.add_subprotocol("a").unwrap();
    assert_eq!(
        options.add_subprotocol("a"),
        Err(OptionsError::SubprotocolRepeated)
    );
    accepted.add_header("Set-Cookie", "a=1").unwrap();
    accepted.add_header("Set-Cookie", "b=2").unwrap();
    let response = rendered(|out| accepted.write_http1(out));
    assert!(
        response.ends_with("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"),
        "{response}"
    );
}

#[test]
fn an_application_rejects_with_status_headers_and_body() {
    let rejection = Rejection::new(401)
        .with_header("WWW-Authenticate", "Basic realm=\"chat\"")
        .unwrap()
        .with_body("who are you?");
    assert_eq!(rejection.cause(), RejectionCause::Application);
    assert_eq!(
        rendered(|out| rejection.write_http1(out)),
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"chat\"\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 12\r\n\r\nwho are you?"
    );
    assert_eq!(Rejection::new(101).status(), 500);
}

fn connect(protocol: Option<&str>, method: &str, headers: &[(&str, &str)]) -> Request {
    let mut fields = Headers::new();
    for (name, value) in headers {
        fields.append(name, value).unwrap();
    }
    let request = Request::new(method.into(), "/chat".into(), HttpVersion::Http2, fields)
        .with_authority("example.com".into())
        .with_secure(true);
    match protocol {
        Some(protocol) => request.with_protocol(protocol.into()),
        None => request,
    }
}

#[test]
fn an_extended_connect_needs_no_key() {
    let version = ("sec-websocket-version", "13");
    let options = ServerOptions::new();
    let request = connect(
        Some("websocket"),
        "CONNECT",
        &[version, ("origin", "https://example.com")],
    );
    let accepted = accept(&request, &options).unwrap();
    assert_eq!(accepted.status(), 200);
    assert!(
        accepted.headers().is_empty(),
        "neither accept value nor Upgrade"
    );
    for (request, status) in [
        (connect(Some("websocket"), "CONNECT", &[]), 400),
        (
            connect(
                Some("websocket"),
                "CONNECT",
                &[("sec-websocket-version", "8")],
            ),
            426,
        ),
        (connect(Some("connect-udp"), "CONNECT", &[version]), 501),
        (connect(None, "CONNECT", &[version]), 501),
        (connect(None, "GET", &[]), 426),
        (connect(Some("websocket"), "POST", &[version]), 405),
        (
            connect(
                Some("websocket"),
                "CONNECT",
                &[version, ("origin", "https://evil.com")],
            ),
            403,
        ),
        (
            connect(
                Some("websocket"),
                "CONNECT",
                &[version, ("origin", "http://example.com")],
            ),
            403,
        ),
    ] {
        assert_eq!(
            accept(&request, &options).unwrap_err().status(),
            status,
            "{request:?}"
        );
    }
}
