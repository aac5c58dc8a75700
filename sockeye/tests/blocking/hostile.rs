//! Peers that break the rules: each is told why, and nothing hangs or panics.

use std::io::{Read, Write};

use sockeye::handshake::{HandshakeError, HeadError, RejectionCause};
use sockeye::{AcceptError, CloseCode, ConnectError, Error, ProtocolError, ServerOptions, blocking};

use crate::common::{BINARY, CLOSE, PING, PONG, REQUEST, Raw, TEXT, masked, serve, tcp_pair};

/// Why the request is refused, and by which status. The peer ends its side, which the server waits for.
fn status(request: &[u8]) -> (RejectionCause, String) {
    let (mut near, far) = tcp_pair();
    near.write_all(request).unwrap();
    near.shutdown(std::net::Shutdown::Write).unwrap();
    let Err(AcceptError::Rejected(rejection)) = blocking::accept(far, &ServerOptions::default()) else {
        panic!("accepted {:?}", String::from_utf8_lossy(request));
    };
    let mut response = String::new();
    near.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).unwrap_or_default().to_owned();
    (rejection.cause(), status)
}

#[test]
fn h4_requests_that_are_none() {
    let head = |replace: &str, with: &str| {
        let request = String::from_utf8(REQUEST.to_vec()).unwrap();
        assert!(request.contains(replace));
        request.replacen(replace, with, 1).into_bytes()
    };
    for (request, code) in [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "426"),
        (head("GET", "POST"), "405"),
        (head("HTTP/1.1", "HTTP/1.0"), "400"),
        (head("Version: 13", "Version: 12"), "426"),
        (head("Host: localhost\r\n", ""), "400"),
        (head("Upgrade\r\n", "notupgrade\r\n"), "400"),
        (head("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\n"), "400"),
        (head("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n"), "403"),
        (head("\r\n\r\n", "\r\n folded: yes\r\n\r\n"), "400"),
        (head("\r\n\r\n", "\nbare: yes\r\n\r\n"), "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), "400"),
        (b"\0\0\0\0\r\n\r\n".to_vec(), "400"),
    ] {
        assert_eq!(status(&request).1, code, "{:?}", String::from_utf8_lossy(&request));
    }
}

/// H2: a header without end, and headers without number.
#[test]
fn h2_endless_heads() {
    let (address, server) = serve(|tcp| blocking::accept(tcp, &ServerOptions::default()).map(drop));
    let mut peer = std::net::TcpStream::connect(address).unwrap();
    let mut writing = peer.try_clone().unwrap();
    let flooding = std::thread::spawn(move || {
        let _ = writing.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
        while writing.write_all(&[b'a'; 4096]).is_ok() {}
    });
    let mut response = [0; 12];
    peer.read_exact(&mut response).unwrap();
    assert_eq!(&response, b"HTTP/1.1 431");
    // The server reads what still comes, for as long as its deadline allows.
    peer.shutdown(std::net::Shutdown::Both).unwrap();
    flooding.join().unwrap();
    let rejected = server.join().unwrap();
    let Err(AcceptError::Rejected(rejection)) = rejected else {
        panic!("{rejected:?}");
    };
    assert_eq!(rejection.cause(), RejectionCause::Head(HeadError::HeaderTooLong));

    let many = ["GET / HTTP/1.1\r\n", &"a: b\r\n".repeat(10_000), "\r\n"].concat();
    assert_eq!(
        status(many.as_bytes()).0,
        RejectionCause::Head(HeadError::TooManyHeaders)
    );
}

/// A client that ends in the middle of its request, or before it.
#[test]
fn half_a_request() {
    for bytes in [&REQUEST[..40], b""] {
        let (mut near, far) = tcp_pair();
        near.write_all(bytes).unwrap();
        drop(near);
        let accepted = blocking::accept(far, &ServerOptions::default());
        assert!(matches!(accepted, Err(AcceptError::Io(_))));
    }
}

/// H10, and servers that speak something else.
#[test]
fn h10_responses_that_are_none() {
    type Check = fn(&ConnectError) -> bool;
    let cases: [(&[u8], Check); 6] = [
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            |error| matches!(error, ConnectError::Refused(refusal) if refusal.status() == 403),
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            |error| matches!(error, ConnectError::Handshake(HandshakeError::AcceptMismatch)),
        ),
        (b"220 mail.example.com ESMTP\r\n\r\n", |error| {
            matches!(error, ConnectError::Handshake(HandshakeError::Head(_)))
        }),
        (&[b'a'; 10_000], |error| {
            matches!(
                error,
                ConnectError::Handshake(HandshakeError::Head(HeadError::FirstLineTooLong))
            )
        }),
        (b"HTTP/1.1 101 Swi", |error| matches!(error, ConnectError::Io(_))),
        (b"", |error| matches!(error, ConnectError::Io(_))),
    ];
    for (response, expected) in cases {
        let (address, server) = serve(move |mut tcp| {
            crate::common::read_head(&mut tcp);
            tcp.write_all(response).unwrap();
        });
        let error = blocking::connect(&format!("ws://{address}/")).unwrap_err();
        assert!(expected(&error), "{error:?}");
        server.join().unwrap();
    }
}

#[test]
fn nobody_listens() {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = blocking::connect(&format!("ws://{address}/")).unwrap_err();
    assert!(matches!(error, ConnectError::Connect(_)));
    assert!(matches!(
        blocking::connect("http://localhost/"),
        Err(ConnectError::Uri(_))
    ));
}

#[test]
fn violations_reach_the_peer_with_their_codes() {
    let continuation = [masked(0x01, b"a"), masked(TEXT, b"b")].concat();
    for (frames, code) in [
        (masked(TEXT, b"\xff"), 1007),
        (masked(TEXT, &[0xff; 70_000])[..200].to_vec(), 1007),
        (masked(CLOSE, b"\x03\xe8\xff"), 1007),
        (masked(CLOSE, b"\x03"), 1002),
        (masked(0x80, b"orphan"), 1002),
        (continuation, 1002),
        (masked(PING, &[0; 126]), 1002),
        (masked(0xc1, b"rsv1"), 1002),
        (masked(0x83, b"reserved"), 1002),
        (vec![0x81, 0x01, b'a'], 1002),
        (masked(BINARY, &vec![0; (1 << 20) + 1])[..14].to_vec(), 1009),
        ([masked(0x02, b""), masked(0x00, b"").repeat(5000)].concat(), 1008),
    ] {
        let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
        let serving = std::thread::spawn(move || {
            let error = ws.recv().unwrap_err();
            assert_eq!(ws.recv().unwrap(), None);
            error
        });
        peer.send(&frames);
        assert_eq!(peer.close_code(), Some(code), "{:02x?}", &frames[..2]);
        drop(peer);
        assert_eq!(serving.join().unwrap().close_code(), Some(CloseCode::new(code)));
    }
}

/// R4, and the Close is read when much stands behind it: without care the system would answer that with a reset.
#[test]
fn r4_valid_messages_before_a_bad_frame_are_delivered() {
    let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
    let mut frames = [masked(TEXT, b"one"), masked(PING, b"two"), masked(0x83, b"reserved")].concat();
    frames.resize(4 << 20, 0xff);
    let mut writing = peer.0.try_clone().unwrap();
    let sending = std::thread::spawn(move || writing.write_all(&frames));
    let serving = std::thread::spawn(move || {
        assert_eq!(ws.recv().unwrap(), Some("one".into()));
        ws.recv().unwrap_err()
    });
    assert_eq!(peer.frame(), Some((PONG, b"two".to_vec())));
    assert_eq!(peer.close_code(), Some(1002));
    sending.join().unwrap().unwrap();
    drop(peer);
    let error = serving.join().unwrap();
    assert!(matches!(error, Error::Protocol(ProtocolError::ReservedOpcode(3))));
}

/// A peer that is gone without a Close, between messages and within one.
#[test]
fn a_connection_that_is_lost() {
    for sent in [b"".as_slice(), &masked(TEXT, b"half")[..8]] {
        let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
        peer.send(sent);
        drop(peer);
        let error = ws.recv().unwrap_err();
        assert!(matches!(error, Error::ConnectionLost | Error::Io(_)), "{error:?}");
        assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
        assert_eq!(ws.recv().unwrap(), None);
        assert!(matches!(ws.send("late"), Err(Error::Send(_))));
    }
}

/// What the peer sent before it ceased to read is delivered, its Close too.
#[test]
fn a_peer_that_sends_its_last_and_reads_no_more() {
    let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
    peer.send(&[masked(TEXT, b"last"), masked(CLOSE, &1001_u16.to_be_bytes())].concat());
    peer.0.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(ws.recv().unwrap(), Some("last".into()));
    // A write may fail now, or a later one; nothing is lost by it.
    let _ = ws.send("to nobody");
    assert_eq!(ws.recv().unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::GOING_AWAY));
}
