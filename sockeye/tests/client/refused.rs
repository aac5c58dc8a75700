//! Handshakes that a server refuses: status, headers and body, in each form of a body, within limits and the deadline.

use std::time::Duration;

use sockeye::handshake::HeadError;
use sockeye::{Client, ConnectError, Refusal, handshake};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use crate::common::{Answer, Site, client, read_head};

/// What comes of an answer, whose connection then stays open.
async fn refusal(answer: impl AsRef<[u8]>) -> Box<Refusal> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    far.write_all(answer.as_ref()).await.unwrap();
    match client().connect_over(near, "ws://localhost/").await {
        Err(ConnectError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The same, after which the connection ends.
async fn refusal_and_end(answer: impl AsRef<[u8]>) -> Box<Refusal> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    far.write_all(answer.as_ref()).await.unwrap();
    far.shutdown().await.unwrap();
    match client().connect_over(near, "ws://localhost/").await {
        Err(ConnectError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_body_with_a_length() {
    let refusal = refusal(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 9\r\n\r\nwho's it?trailing",
    )
    .await;
    assert_eq!(refusal.status(), 401);
    assert_eq!(refusal.headers().text("www-authenticate"), Some("Basic realm=\"x\""));
    assert_eq!(refusal.body(), b"who's it?");
    assert!(refusal.is_complete());
}

#[tokio::test]
async fn a_body_in_chunks() {
    let refusal = refusal(
        "HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;x=y\r\ncome \r\n4\r\nback\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(
        (refusal.status(), refusal.body(), refusal.is_complete()),
        (503, &b"come back"[..], true)
    );
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn a_body_to_the_end() {
    let refusal =
        refusal_and_end("HTTP/1.0 500 Oops\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\nall there is").await;
    assert_eq!(
        (refusal.status(), refusal.body(), refusal.is_complete()),
        (500, &b"all there is"[..], true)
    );
    // That date is over.
    assert_eq!(refusal.retry_after(), Some(Duration::ZERO));
}

/// RFC 9110 §10.2.3: a number of seconds, or a date, which the response's own `Date` is the best measure of.
#[tokio::test]
async fn when_to_come_back() {
    for (headers, expected) in [
        ("", None),
        ("Retry-After: 0\r\n", Some(0)),
        ("Retry-After: -1\r\n", None),
        ("Retry-After: soon\r\n", None),
        ("Retry-After:\r\n", None),
        ("Retry-After: 99999999999999999999\r\n", Some(u64::MAX)),
        (
            "Date: Fri, 20 Nov 2026 12:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 12:02:00 GMT\r\n",
            Some(120),
        ),
        // RFC 9110 §5.6.7: the two obsolete forms.
        (
            "Date: Friday, 20-Nov-26 12:00:00 GMT\r\nRetry-After: Fri Nov 20 12:02:00 2026\r\n",
            Some(120),
        ),
        (
            "Date: Fri, 20 Nov 2026 12:02:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 12:00:00 GMT\r\n",
            Some(0),
        ),
    ] {
        let refusal = refusal(format!("HTTP/1.1 503 Busy\r\n{headers}Content-Length: 0\r\n\r\n")).await;
        assert_eq!(refusal.retry_after(), expected.map(Duration::from_secs), "{headers}");
    }
}

#[tokio::test]
async fn no_body() {
    for head in [
        "204 No Content",
        "304 Not Modified",
        "404 Not Found\r\nContent-Length: 0",
    ] {
        let refusal = refusal(format!("HTTP/1.1 {head}\r\n\r\n")).await;
        assert_eq!((refusal.body(), refusal.is_complete()), (&b""[..], true), "{head}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_malformed() {
    for (rest, body) in [
        ("Content-Length: 10\r\n\r\nhalf", &b"half"[..]),
        ("Content-Length: ten\r\n\r\nten bytes!", b""),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nha", b"halfha"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalfX", b"half"),
    ] {
        let refusal = refusal_and_end(format!("HTTP/1.1 403 No\r\n{rest}")).await;
        assert_eq!(
            (refusal.status(), refusal.body(), refusal.is_complete()),
            (403, body, false),
            "{rest}"
        );
    }
}

/// Sends `piece` for as long as anybody reads it; how many bytes of it left.
async fn for_ever(mut far: DuplexStream, head: &str, piece: &[u8]) -> usize {
    far.write_all(head.as_bytes()).await.unwrap();
    let mut sent = 0;
    while far.write_all(piece).await.is_ok() {
        sent += piece.len();
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn h2_a_body_without_end_is_cut_at_64_kib() {
    let chunk = [&b"400\r\n"[..], &[b'x'; 1024], b"\r\n"].concat();
    let endless_extension = "1;".to_owned() + &"x".repeat(1022);
    for (framing, piece, kept) in [
        ("", &[b'x'; 1024][..], 64 * 1024),
        ("Content-Length: 99999999999\r\n", &[b'x'; 1024], 64 * 1024),
        ("Transfer-Encoding: chunked\r\n", &chunk, 64 * 1024),
        ("Transfer-Encoding: chunked\r\n", endless_extension.as_bytes(), 0),
    ] {
        let (near, far) = tokio::io::duplex(4096);
        let start = Instant::now();
        let head = format!("HTTP/1.1 403 No\r\n{framing}\r\n");
        let client = client();
        let (connected, sent) = tokio::join!(
            // Dropped with its transport as soon as it is done.
            async { client.connect_over(near, "ws://localhost/").await },
            for_ever(far, &head, piece)
        );
        let Err(ConnectError::Refused(refusal)) = connected else {
            panic!("{connected:?}");
        };
        assert_eq!(
            (refusal.body().len(), refusal.is_complete()),
            (kept, false),
            "{framing}"
        );
        assert!(sent < 1024 * 1024, "{sent} bytes were read");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

/// The status that came is told at the deadline, with what came of the body.
#[tokio::test(start_paused = true)]
async fn h1_a_body_that_drips_ends_at_the_deadline() {
    let (near, mut far) = tokio::io::duplex(4096);
    let start = Instant::now();
    let dripping = tokio::spawn(async move {
        far.write_all(b"HTTP/1.1 429 Slow down\r\nContent-Length: 1000\r\n\r\n")
            .await
            .unwrap();
        while far.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
    });
    let connected = client().connect_over(near, "ws://localhost/").await;
    let Err(ConnectError::Refused(refusal)) = connected else {
        panic!("{connected:?}");
    };
    assert_eq!(
        (refusal.status(), refusal.body(), refusal.is_complete()),
        (429, &b"xxxxxxx"[..], false)
    );
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    dripping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn h1_a_head_that_drips_is_a_timeout() {
    let (near, mut far) = tokio::io::duplex(4096);
    let start = Instant::now();
    let dripping = tokio::spawn(async move {
        far.write_all(b"HTTP/1.1 429 Slow down\r\nX: ").await.unwrap();
        while far.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let connected = client().connect_over(near, "ws://localhost/").await;
    assert!(matches!(connected, Err(ConnectError::Timeout)), "{connected:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    dripping.await.unwrap();
}

/// A server that answers as soon as somebody connects, and reads nothing: what it says counts, not that it broke off.
#[tokio::test]
async fn an_answer_before_the_request_is_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")
            .await
            .unwrap();
    });
    let connected = client().connect(&url).await;
    assert!(
        matches!(&connected, Err(ConnectError::Refused(refusal)) if refusal.status() == 503),
        "{connected:?}"
    );
    serving.await.unwrap();
}

#[tokio::test]
async fn h2_a_head_past_the_limits() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    far.write_all(format!("HTTP/1.1 403 {}", "x".repeat(9000)).as_bytes())
        .await
        .unwrap();
    let connected = client().connect_over(near, "ws://localhost/").await;
    assert!(
        matches!(
            connected,
            Err(ConnectError::Handshake(handshake::HandshakeError::Head(
                HeadError::FirstLineTooLong
            )))
        ),
        "{connected:?}"
    );
}

/// H10: whoever answers with 101 must be a WebSocket server, and have heard this very request.
#[tokio::test]
async fn h10_a_101_that_is_none() {
    for (fields, expected) in [
        ("", handshake::HandshakeError::UpgradeMissing),
        ("Upgrade: websocket\r\n", handshake::HandshakeError::ConnectionMissing),
        (
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            handshake::HandshakeError::AcceptMissing,
        ),
        (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            handshake::HandshakeError::AcceptMismatch,
        ),
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
        let site = Site::new(move |_| Answer::Bytes(answer.clone().into_bytes())).await;
        match client().connect(&site.url("/")).await {
            Err(ConnectError::Handshake(error)) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn h10_what_was_not_offered() {
    for (field, client) in [
        ("Sec-WebSocket-Protocol: chat", Client::builder()),
        ("Sec-WebSocket-Protocol: Chat", Client::builder().subprotocol("chat")),
        ("Sec-WebSocket-Extensions: permessage-deflate", Client::builder()),
        ("Sec-WebSocket-Extensions: x-other", Client::builder()),
    ] {
        let (near, mut far) = tokio::io::duplex(4096);
        let client = client.build().unwrap();
        let (connected, ()) = tokio::join!(client.connect_over(near, "ws://localhost/"), async {
            let head = read_head(&mut far).await;
            let key = crate::common::header(&head, "Sec-WebSocket-Key").unwrap();
            let answer = String::from_utf8(crate::common::upgraded(&key)).unwrap();
            let answer = answer.replace("X-Who: me", field);
            far.write_all(answer.as_bytes()).await.unwrap();
        });
        assert!(
            matches!(connected, Err(ConnectError::Handshake(_))),
            "{field}: {connected:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_shows_no_secrets() {
    let refusal = refusal("HTTP/1.1 403 No\r\nSet-Cookie: id=s3cret\r\nContent-Length: 6\r\n\r\ns3cret").await;
    let shown = format!("{refusal:?} {}", ConnectError::Refused(refusal.clone()));
    assert!(!shown.contains("s3cret"), "{shown}");
}
