//! The client's side of the handshake.

use sockeye_proto::{
    extension::NegotiationError,
    handshake::{
        HandshakeError, HandshakeLimits, HeadError, HeaderError, Headers, HttpVersion, OptionsError,
        client::{ClientOptions, ClientRequest, Established, Response},
        http1::{Parsed, RequestReader, ResponseReader},
        server::{ServerOptions, accept},
    },
    uri::WebSocketUri,
};

/// "the sample nonce", the key of RFC 6455 §1.3.
const NONCE: [u8; 16] = *b"the sample nonce";

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

fn uri(text: &str) -> WebSocketUri {
    WebSocketUri::parse(text).unwrap()
}

fn options() -> ClientOptions {
    ClientOptions::new()
}

fn written(text: &str, options: &ClientOptions) -> String {
    let mut out = Vec::new();
    ClientRequest::new(&uri(text), options, NONCE).write_http1(&mut out);
    String::from_utf8(out).unwrap()
}

fn response(text: &str) -> Response {
    match ResponseReader::new(HandshakeLimits::default()).read(text.as_bytes()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn verify(options: &ClientOptions, text: &str) -> Result<Established, HandshakeError> {
    ClientRequest::new(&uri("ws://example.com/"), options, NONCE).verify(&response(text))
}

fn with(lines: &str) -> String {
    format!("{RESPONSE}{lines}\r\n")
}

#[test]
fn the_request_is_exactly_this() {
    let mut options = options();
    options.add_subprotocol("chat.v2").unwrap();
    options.add_subprotocol("chat.v1").unwrap();
    options.set_origin("http://example.com").unwrap();
    options.add_header("X-Room", "1").unwrap();
    assert_eq!(
        written("ws://example.com:8080/chat?x", &options),
        "GET /chat?x HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat.v2, chat.v1\r\nOrigin: http://example.com\r\nX-Room: 1\r\n\r\n"
    );
}

#[test]
fn both_roles_understand_each_other() {
    let mut client = options();
    client.add_subprotocol("a").unwrap();
    client.add_subprotocol("b").unwrap();
    let mut server = ServerOptions::new();
    server.add_subprotocol("b").unwrap();
    let bytes = written("ws://example.com/chat", &client);
    let mut reader = RequestReader::new(HandshakeLimits::default());
    let Ok(Parsed::Complete { head, .. }) = reader.read(bytes.as_bytes()) else {
        panic!()
    };
    let mut out = Vec::new();
    accept(&head, &server).unwrap().write_http1(&mut out);
    let established = verify(&client, core::str::from_utf8(&out).unwrap()).unwrap();
    assert_eq!(established.subprotocol(), Some("b"));
}

#[test]
fn user_information_is_sent_unless_authorization_is_set() {
    let from_uri = written("ws://Aladdin:open%20sesame@h/", &options());
    assert!(
        from_uri.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"),
        "{from_uri}"
    );
    assert!(from_uri.starts_with("GET / HTTP/1.1\r\nHost: h\r\n"));
    let mut bearer = options();
    bearer.set_basic_auth("a", "b").unwrap();
    bearer.set_bearer_auth("abc.def-_~+/=").unwrap();
    let request = written("ws://Aladdin:open%20sesame@h/", &bearer);
    assert_eq!(request.matches("Authorization").count(), 1);
    assert!(request.contains("\r\nAuthorization: Bearer abc.def-_~+/=\r\n"));
    bearer.set_cookie("id=1").unwrap();
    let printed = format!("{bearer:?}");
    assert!(!printed.contains("abc.def") && !printed.contains("id=1"), "{printed}");
}

#[test]
fn h6_cr_lf_and_nul_are_errors_of_the_builder() {
    let mut options = options();
    for value in ["a\r\nX: y", "a\n", "\ra", "a\0b", "\u{7f}"] {
        let error = Err(OptionsError::Header(HeaderError::Value));
        assert_eq!(options.add_header("X", value), error, "{value:?}");
        assert_eq!(options.set_origin(value), error, "{value:?}");
        assert_eq!(options.set_cookie(value), error, "{value:?}");
        assert_eq!(
            options.add_subprotocol(value),
            Err(OptionsError::SubprotocolNotToken),
            "{value:?}"
        );
        assert_eq!(
            options.set_bearer_auth(value),
            Err(OptionsError::Credentials),
            "{value:?}"
        );
        assert_eq!(
            options.set_basic_auth("user", value),
            Err(OptionsError::Credentials),
            "{value:?}"
        );
    }
    for name in ["", "X Y", "X:", "X\r\nY", "é", "X\0"] {
        assert_eq!(
            options.add_header(name, "a"),
            Err(OptionsError::Header(HeaderError::Name)),
            "{name:?}"
        );
    }
    for name in [
        "Host",
        "upgrade",
        "CONNECTION",
        "Sec-WebSocket-Key",
        "sec-websocket-anything",
        "Content-Length",
    ] {
        assert_eq!(
            options.add_header(name, "a"),
            Err(OptionsError::Header(HeaderError::Reserved)),
            "{name}"
        );
    }
    for name in ["", "a b", "a,b", "a/b", "\"a\""] {
        assert_eq!(
            options.add_subprotocol(name),
            Err(OptionsError::SubprotocolNotToken),
            "{name}"
        );
    }
    options.add_subprotocol("a").unwrap();
    assert_eq!(options.add_subprotocol("a"), Err(OptionsError::SubprotocolRepeated));
    assert_eq!(options.set_basic_auth("a:b", "c"), Err(OptionsError::Credentials));
    assert_eq!(options.set_bearer_auth(""), Err(OptionsError::Credentials));
    assert_eq!(
        written("ws://h/", &options)
            .lines()
            .filter(|line| line.starts_with('X'))
            .count(),
        0
    );
}

#[test]
fn h10_a_wrong_accept_value() {
    assert!(verify(&options(), &with("")).is_ok());
    let wrong = with("").replace("s3pP", "S3pP");
    assert_eq!(verify(&options(), &wrong).unwrap_err(), HandshakeError::AcceptMismatch);
    let none = with("").replace("Sec-WebSocket-Accept", "X");
    assert_eq!(verify(&options(), &none).unwrap_err(), HandshakeError::AcceptMissing);
    let twice = with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    assert_eq!(verify(&options(), &twice).unwrap_err(), HandshakeError::AcceptRepeated);
    let empty = with("").replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "");
    assert_eq!(verify(&options(), &empty).unwrap_err(), HandshakeError::AcceptMismatch);
}

#[test]
fn h10_upgrade_and_connection_must_be_there() {
    for upgrade in ["X: y", "Upgrade: notwebsocket", "Upgrade: h2c, websocket", "Upgrade:"] {
        let text = with("").replace("Upgrade: websocket", upgrade);
        assert_eq!(
            verify(&options(), &text).unwrap_err(),
            HandshakeError::UpgradeMissing,
            "{upgrade}"
        );
    }
    for connection in ["X: y", "Connection: notupgrade", "Connection: close"] {
        let text = with("").replace("Connection: Upgrade", connection);
        assert_eq!(
            verify(&options(), &text).unwrap_err(),
            HandshakeError::ConnectionMissing,
            "{connection}"
        );
    }
    let case = with("")
        .replace("websocket\r\n", "WebSocket\r\n")
        .replace("Connection: Upgrade", "connection: x, UPGRADE");
    assert!(verify(&options(), &case).is_ok());
    let old = with("").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(verify(&options(), &old).unwrap_err(), HandshakeError::Version);
}

#[test]
fn h10_a_subprotocol_that_was_not_offered() {
    let mut offering = options();
    offering.add_subprotocol("a").unwrap();
    offering.add_subprotocol("b").unwrap();
    assert_eq!(verify(&offering, &with("")).unwrap().subprotocol(), None);
    let chosen = verify(&offering, &with("Sec-WebSocket-Protocol: b\r\n")).unwrap();
    assert_eq!(chosen.subprotocol(), Some("b"));
    for value in ["c", "", "B", "a, b", "a b"] {
        let text = with(&format!("Sec-WebSocket-Protocol: {value}\r\n"));
        assert_eq!(
            verify(&offering, &text).unwrap_err(),
            HandshakeError::SubprotocolNotOffered,
            "{value}"
        );
    }
    let none = verify(&options(), &with("Sec-WebSocket-Protocol: a\r\n"));
    assert_eq!(none.unwrap_err(), HandshakeError::SubprotocolNotOffered);
    let twice = verify(
        &offering,
        &with("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n"),
    );
    assert_eq!(twice.unwrap_err(), HandshakeError::SubprotocolRepeated);
}

#[test]
fn h10_an_extension_that_was_not_offered() {
    for value in ["permessage-deflate", "x-webkit-deflate-frame", "x; a=1"] {
        let text = with(&format!("Sec-WebSocket-Extensions: {value}\r\n"));
        let error = verify(&options(), &text).unwrap_err();
        assert_eq!(
            error,
            HandshakeError::Extensions(NegotiationError::NotOffered),
            "{value}"
        );
    }
    let malformed = verify(&options(), &with("Sec-WebSocket-Extensions: x;;\r\n")).unwrap_err();
    assert!(matches!(
        malformed,
        HandshakeError::Extensions(NegotiationError::Malformed(_))
    ));
}

#[test]
fn h10_credentials_are_removed_for_another_origin() {
    let mut options = options();
    options.set_bearer_auth("token").unwrap();
    options.set_cookie("id=1").unwrap();
    options.add_header("proxy-authorization", "Basic eA==").unwrap();
    options.add_header("X-Room", "1").unwrap();
    options.remove_credentials();
    let request = written("ws://h/", &options);
    assert!(request.contains("X-Room: 1\r\n"));
    for secret in ["uthorization", "Cookie"] {
        assert!(!request.contains(secret), "{request}");
    }
}

#[test]
fn another_status_is_a_typed_refusal() {
    let text = "HTTP/1.1 302 Found\r\nLocation: ws://other.com/\r\nContent-Length: 0\r\n\r\n";
    let Err(HandshakeError::Refused { status, headers }) = verify(&options(), text) else {
        panic!()
    };
    assert_eq!((status, headers.text("location")), (302, Some("ws://other.com/")));
    for status in [200, 201, 400, 426, 503] {
        let text = with("").replace("101 Switching Protocols", &format!("{status} X"));
        assert!(
            matches!(verify(&options(), &text), Err(HandshakeError::Refused { status: other, .. }) if other == status)
        );
    }
}

#[test]
fn interim_responses_are_passed_over() {
    let text = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}",
        with("")
    );
    let mut reader = ResponseReader::new(HandshakeLimits::default());
    let Ok(Parsed::Complete { head, consumed }) = reader.read(text.as_bytes()) else {
        panic!()
    };
    assert_eq!((head.status(), consumed, head.headers().len()), (101, text.len(), 3));
    let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    let error = ResponseReader::new(HandshakeLimits::default())
        .read(flood.as_bytes())
        .unwrap_err();
    assert_eq!(error, HeadError::TooLong);
}

#[test]
fn an_extended_connect_is_verified_without_key_and_accept() {
    let uri = uri("wss://user:pw@example.com/chat");
    let options = options();
    let request = ClientRequest::new(&uri, &options, NONCE);
    let names: Vec<_> = request.headers().iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["Sec-WebSocket-Version", "Authorization"]);
    let mut stray = Headers::new();
    stray.append("sec-websocket-accept", "nonsense").unwrap();
    assert!(
        request
            .verify(&Response::new(200, HttpVersion::Http2, stray.clone()))
            .is_ok()
    );
    for status in [101, 301, 403, 500] {
        let refused = request.verify(&Response::new(status, HttpVersion::Http3, Headers::new()));
        assert!(matches!(refused, Err(HandshakeError::Refused { status: other, .. }) if other == status));
    }
    stray.append("sec-websocket-protocol", "x").unwrap();
    let error = request
        .verify(&Response::new(200, HttpVersion::Http2, stray))
        .unwrap_err();
    assert_eq!(error, HandshakeError::SubprotocolNotOffered);
}
