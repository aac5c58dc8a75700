//! What a server decides about a well-formed handshake: origin, subprotocol, extra headers, refusal, and the same over
//! an extended CONNECT.

mod handshake_support;

use handshake_support::{parse, refused, rendered, request, run};
use sockeye_proto::handshake::{
    Headers, HttpVersion, OptionsError, Origin, OriginPolicy, Rejection, RejectionCause,
    server::{Request, ServerOptions, accept},
};

fn origin_status(policy: OriginPolicy, secure: bool, host: &str, origin: &str) -> u16 {
    let mut options = ServerOptions::new();
    options.set_origin_policy(policy);
    let (host, origin) = (format!("Host: {host}"), format!("Origin: {origin}"));
    let head = parse(&request("Host", &[&host, &origin])).unwrap().with_secure(secure);
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
        assert_eq!(origin_status(policy, false, "good.com", origin), or_same, "{origin}");
        assert_eq!(origin_status(OriginPolicy::Any, false, "good.com", origin), 101);
    }
    assert!(
        run(&request("", &[]), &ServerOptions::new()).is_ok(),
        "no Origin, no browser"
    );
    let twice = request("", &["Origin: http://example.com", "Origin: http://evil.com"]);
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
    for (supported, expected) in [(&["c", "b"][..], "b"), (&["c"], "c"), (&["B", "a", "b"], "a")] {
        let (name, response) = chosen(&offered, supported);
        assert_eq!(name.as_deref(), Some(expected));
        assert_eq!(response.matches("Sec-WebSocket-Protocol:").count(), 1);
        assert!(
            response.contains(&format!("\r\nSec-WebSocket-Protocol: {expected}\r\n")),
            "{response}"
        );
    }
    for (offered, supported) in [(&offered[..], &["d", "A"][..]), (&offered, &[]), (&[], &["a"])] {
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
    let mut accepted = run(&request("", &["Sec-WebSocket-Protocol: a, b"]), &ServerOptions::new()).unwrap();
    assert_eq!(accepted.offered_subprotocols().collect::<Vec<_>>(), ["a", "b"]);
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
            matches!(options.add_header(name, value), Err(OptionsError::Header(_))),
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
        assert_eq!(options.add_subprotocol(name), Err(OptionsError::SubprotocolNotToken));
    }
    options.add_subprotocol("a").unwrap();
    assert_eq!(options.add_subprotocol("a"), Err(OptionsError::SubprotocolRepeated));
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
    assert!(accepted.headers().is_empty(), "neither accept value nor Upgrade");
    for (request, status) in [
        (connect(Some("websocket"), "CONNECT", &[]), 400),
        (
            connect(Some("websocket"), "CONNECT", &[("sec-websocket-version", "8")]),
            426,
        ),
        (connect(Some("connect-udp"), "CONNECT", &[version]), 501),
        (connect(None, "CONNECT", &[version]), 501),
        (connect(None, "GET", &[]), 426),
        (connect(Some("websocket"), "POST", &[version]), 405),
        (
            connect(Some("websocket"), "CONNECT", &[version, ("origin", "https://evil.com")]),
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
        assert_eq!(accept(&request, &options).unwrap_err().status(), status, "{request:?}");
    }
}
