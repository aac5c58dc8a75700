//! Requests that are looked at before they are answered.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use sockeye::blocking::{self, Upgrade};
use sockeye::handshake::{Headers, Rejection};
use sockeye::{AcceptError, ConnectError, ServerOptions};

use crate::common::{PING, REQUEST, TEXT, masked, read_head, serve, tcp_pair};

#[test]
fn a_request_is_refused() {
    let (address, server) = serve(|tcp| {
        let upgrade = Upgrade::read(tcp, &ServerOptions::default()).unwrap();
        assert!(upgrade.is_websocket());
        assert_eq!(
            (upgrade.request().path(), upgrade.request().query()),
            ("/secret", Some("a=b"))
        );
        assert_eq!(upgrade.request().headers().text("Authorization"), Some("Bearer fish"));
        let rejection = Rejection::new(401).with_header("WWW-Authenticate", "Bearer").unwrap();
        upgrade.reject(rejection.with_body("who are you?")).unwrap();
    });
    let client = blocking::Client::builder().bearer_auth("fish").build().unwrap();
    let error = client.connect(&format!("ws://{address}/secret?a=b")).unwrap_err();
    let ConnectError::Refused(refusal) = error else {
        panic!("{error:?}");
    };
    assert_eq!(refusal.status(), 401);
    assert_eq!(refusal.headers().text("WWW-Authenticate"), Some("Bearer"));
    assert_eq!(
        (refusal.body(), refusal.is_complete()),
        (b"who are you?".as_slice(), true)
    );
    server.join().unwrap();
}

#[test]
fn a_request_that_is_no_upgrade_gets_a_page() {
    for (method, body) in [("GET", "a page"), ("HEAD", "")] {
        let (mut near, far) = tcp_pair();
        write!(near, "{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let upgrade = Upgrade::read(far, &ServerOptions::default()).unwrap();
        assert!(!upgrade.is_websocket());
        let mut headers = Headers::new();
        headers.append("Connection", "close").unwrap();
        upgrade.respond(200, &headers, b"a page").unwrap();
        let mut response = String::new();
        near.read_to_string(&mut response).unwrap();
        let (head, content) = response.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6"),
            "{head}"
        );
        assert_eq!(content, body);
    }
}

#[test]
fn the_last_word_on_the_response_is_the_applications() {
    let (address, server) = serve(|tcp| {
        let options = ServerOptions::default();
        let upgrade = Upgrade::read(tcp, &options).unwrap();
        let ws = upgrade.accept_with(&options, |accepted| {
            let chosen = accepted.offered_subprotocols().last().map(str::to_owned);
            accepted.set_subprotocol(chosen.as_deref()).unwrap();
            accepted.add_header("Set-Cookie", "id=1").unwrap();
        });
        assert_eq!(ws.unwrap().subprotocol(), Some("b"));
    });
    let client = blocking::Client::builder()
        .subprotocol("a")
        .subprotocol("b")
        .build()
        .unwrap();
    let ws = client.connect(&format!("ws://{address}/")).unwrap();
    assert_eq!(ws.subprotocol(), Some("b"));
    assert_eq!(ws.headers().text("Set-Cookie"), Some("id=1"));
    assert_eq!(ws.uri().map(ToString::to_string), Some(format!("ws://{address}/")));
    server.join().unwrap();
}

#[test]
fn a_subprotocol_by_function() {
    for (chosen, expected) in [("b", Some("b")), ("made up", None)] {
        let (address, server) = serve(move |tcp| {
            let options = ServerOptions::builder().choose_subprotocol(move |_, _| Some(chosen));
            blocking::accept(tcp, &options.build().unwrap()).map(drop)
        });
        let client = blocking::Client::builder().subprotocol("a").subprotocol("b");
        let connected = client.build().unwrap().connect(&format!("ws://{address}/"));
        match (connected, expected) {
            (Ok(ws), Some(expected)) => assert_eq!(ws.subprotocol(), Some(expected)),
            (Err(ConnectError::Refused(refusal)), None) => assert_eq!(refusal.status(), 500),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.join().unwrap().is_ok(), expected.is_some());
    }
}

/// Header values beyond ASCII are bytes, not a reason to panic.
#[test]
fn headers_beyond_ascii() {
    let (mut near, far) = tcp_pair();
    let request = [&REQUEST[..REQUEST.len() - 2], b"X-Name: \xe9\xff\x80\r\n\r\n"].concat();
    near.write_all(&request).unwrap();
    let upgrade = Upgrade::read(far, &ServerOptions::default()).unwrap();
    let headers = upgrade.request().headers();
    assert_eq!(headers.value("X-Name"), Some(b"\xe9\xff\x80".as_slice()));
    assert_eq!(headers.text("X-Name"), None);
    upgrade.accept(&ServerOptions::default()).unwrap();
}

#[test]
fn options_that_cannot_be_sent() {
    assert!(matches!(
        blocking::Client::builder().header("X", "a\r\nb").build(),
        Err(ConnectError::Options(_))
    ));
    assert!(matches!(
        blocking::Client::builder().subprotocol("not a token").build(),
        Err(ConnectError::Options(_))
    ));
}

/// H8: frames that came with the request wait for the application's decision, and are not looked at if it is a refusal.
#[test]
fn h8_nothing_is_read_before_the_decision() {
    let early = [masked(PING, b"early"), masked(TEXT, b"first"), masked(TEXT, b"second")].concat();
    for accepted in [true, false] {
        let (mut near, far) = tcp_pair();
        near.write_all(&[REQUEST, &early].concat()).unwrap();
        let upgrade = Upgrade::read(far, &ServerOptions::default()).unwrap();
        assert_eq!(upgrade.request().path(), "/");
        // Nothing has been answered, the ping neither.
        near.set_nonblocking(true).unwrap();
        assert_eq!(near.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        near.set_nonblocking(false).unwrap();
        if accepted {
            let mut ws = upgrade.accept(&ServerOptions::default()).unwrap();
            assert_eq!(ws.recv().unwrap(), Some("first".into()));
            assert_eq!(ws.recv().unwrap(), Some("second".into()));
            assert!(read_head(&mut near).starts_with("HTTP/1.1 101 "));
        } else {
            near.shutdown(Shutdown::Write).unwrap();
            upgrade.reject(Rejection::new(401)).unwrap();
            let mut answer = String::new();
            near.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            assert!(!answer.contains("early"), "{answer}");
        }
    }
}

#[test]
fn h7_a_page_of_another_host() {
    let (address, server) = serve(|tcp| blocking::accept(tcp, &ServerOptions::default()).map(drop));
    let client = blocking::Client::builder()
        .origin("https://evil.example")
        .build()
        .unwrap();
    let error = client.connect(&format!("ws://{address}/")).unwrap_err();
    assert!(matches!(error, ConnectError::Refused(refusal) if refusal.status() == 403));
    assert!(matches!(server.join().unwrap(), Err(AcceptError::Rejected(_))));
}
