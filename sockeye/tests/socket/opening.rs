//! H1, H2, H8 and the opening handshake's deadline, over memory and over sockets.

use std::io::{Read, Write};
use std::time::Duration;

use sockeye::handshake::{OriginPolicy, Rejection};
use sockeye::{AcceptError, Client, CloseCode, ConnectError, Server, ServerOptions, Upgrade, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance};

use crate::common::{PING, REQUEST, Raw, StillClock, TEXT, masked, options, read_head, settle, unmasked};

#[tokio::test(start_paused = true)]
async fn h1_a_byte_a_second_is_closed_after_ten() {
    let (near, mut far) = tokio::io::duplex(1024);
    let start = Instant::now();
    let accepting = tokio::spawn(async move { accept(near, &ServerOptions::default()).await });
    let mut sent = 0;
    for byte in REQUEST {
        if far.write_all(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(matches!(accepting.await.unwrap(), Err(AcceptError::Timeout)));
    assert!((10..=12).contains(&sent), "{sent}");
    assert!((10..=12).contains(&start.elapsed().as_secs()));
}

/// The peer sends a bad request and never reads the answer.
#[tokio::test(start_paused = true)]
async fn h1_a_response_that_is_not_read() {
    let (near, mut far) = tokio::io::duplex(16);
    let start = Instant::now();
    let accepting = tokio::spawn(async move { accept(near, &ServerOptions::default()).await });
    far.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(accepting.await.unwrap(), Err(AcceptError::Timeout)));
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// The peer reads its rejection and stays: it is dropped at the deadline too.
#[tokio::test(start_paused = true)]
async fn h1_a_rejected_client_that_stays() {
    let (near, mut far) = tokio::io::duplex(1024);
    let start = Instant::now();
    let accepting = tokio::spawn(async move { accept(near, &ServerOptions::default()).await });
    far.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 405 "));
    assert!(matches!(accepting.await.unwrap(), Err(AcceptError::Rejected(_))));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn h1_a_server_that_never_answers() {
    let (near, mut far) = tokio::io::duplex(4096);
    let client = Client::builder().build().unwrap();
    let start = Instant::now();
    let connected = client.connect_over(near, "ws://localhost/").await;
    assert!(matches!(connected, Err(ConnectError::Timeout)));
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(read_head(&mut far).await.starts_with("GET / HTTP/1.1\r\n"));
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn h1_a_server_that_answers_a_byte_a_second() {
    let (near, mut far) = tokio::io::duplex(4096);
    let client = Client::builder()
        .handshake_timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let dripping = tokio::spawn(async move {
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n".iter() {
            if far.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let start = Instant::now();
    assert!(matches!(
        client.connect_over(near, "ws://localhost/").await,
        Err(ConnectError::Timeout)
    ));
    assert_eq!(start.elapsed().as_secs(), 3);
    dripping.await.unwrap();
}

/// A timeout that means none is no timeout, and no panic.
#[tokio::test]
async fn h1_without_a_deadline() {
    let options = ServerOptions::builder()
        .handshake_timeout(Duration::MAX)
        .close_timeout(Duration::MAX)
        .build()
        .unwrap();
    let client = Client::builder()
        .handshake_timeout(Duration::MAX)
        .close_timeout(Duration::MAX)
        .build()
        .unwrap();
    let server = Server::bind("127.0.0.1:0", options).await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (near, far) = tokio::join!(client.connect(&url), async {
        server.accept().await.unwrap().accept().await
    });
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    let (closed, received) = tokio::join!(near.close(CloseCode::NORMAL, ""), far.recv());
    closed.unwrap();
    assert_eq!(received.unwrap(), None);
}

/// The deadline of a real server, with the client's bytes still on their way.
#[tokio::test(start_paused = true)]
async fn h1_over_a_socket() {
    let _clock = StillClock::new();
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let (sent, has_sent) = tokio::sync::oneshot::channel();
    let client = std::thread::spawn(move || {
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
        sent.send(()).unwrap();
        // The end, by whatever means.
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let accepting = tokio::spawn(server.accept().await.unwrap().accept());
    has_sent.await.unwrap();
    settle().await;
    advance(Duration::from_secs(10) - Duration::from_millis(1)).await;
    settle().await;
    assert!(!accepting.is_finished());
    advance(Duration::from_millis(1)).await;
    assert!(matches!(accepting.await.unwrap(), Err(AcceptError::Timeout)));
    client.join().unwrap();
}

/// H2: the client gets to read the 431, though it sent much that nobody read.
#[tokio::test]
async fn h2_ten_thousand_headers() {
    let mut request = b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    for n in 0..10_000 {
        request.extend(format!("X-Header-{n}: {n}\r\n").into_bytes());
    }
    request.extend(b"\r\n");
    h2(request).await;
}

#[tokio::test]
async fn h2_a_value_of_ten_megabytes() {
    let mut request = b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: ".to_vec();
    request.resize(10 << 20, b'x');
    request.extend(b"\r\n\r\n");
    h2(request).await;
}

async fn h2(request: Vec<u8>) {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        tcp.write_all(&request).unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    });
    let accepted = server.accept().await.unwrap().accept().await;
    assert!(matches!(&accepted, Err(AcceptError::Rejected(rejection)) if rejection.status() == 431));
    assert!(client.join().unwrap().starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn h2_a_response_with_ten_thousand_headers() {
    let (near, mut far) = tokio::io::duplex(4096);
    let (client, _) = options(false);
    let serving = tokio::spawn(async move {
        read_head(&mut far).await;
        let mut response = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
        for n in 0..10_000 {
            response.extend(format!("X-Header-{n}: {n}\r\n").into_bytes());
        }
        far.write_all(&response).await
    });
    let connected = client.connect_over(near, "ws://localhost/").await;
    assert!(matches!(connected, Err(ConnectError::Handshake(_))), "{connected:?}");
    assert!(serving.await.unwrap().is_err());
}

/// H8: frames that came with the request are delivered after the handshake, and not before.
#[tokio::test]
async fn h8_frames_with_the_request_wait_for_the_response() {
    let (near, mut far) = tokio::io::duplex(4096);
    let early = [masked(PING, b"early"), masked(TEXT, b"first"), masked(TEXT, b"second")].concat();
    far.write_all(&[REQUEST, &early].concat()).await.unwrap();
    let upgrade = Upgrade::read(near, &ServerOptions::default()).await.unwrap();
    assert_eq!(upgrade.request().path(), "/");
    // Nothing has been answered, the ping neither.
    assert!(crate::common::at_most(3, far.read_u8()).await.is_none());
    let mut ws = upgrade.accept(&ServerOptions::default()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("first".into()));
    assert_eq!(ws.recv().await.unwrap(), Some("second".into()));
    drop(ws);
    assert!(read_head(&mut far).await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test(start_paused = true)]
async fn h8_frames_with_a_rejected_request_are_never_looked_at() {
    let (near, mut far) = tokio::io::duplex(4096);
    let early = [masked(PING, b"early"), masked(TEXT, b"first")].concat();
    far.write_all(&[REQUEST, &early].concat()).await.unwrap();
    let upgrade = Upgrade::read(near, &ServerOptions::default()).await.unwrap();
    let rejecting = tokio::spawn(upgrade.reject(Rejection::new(401)));
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    drop(far);
    rejecting.await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(!answer.contains("early"));
}

/// H8: the ten seconds include the application's decision. One that comes later finds the connection gone.
#[tokio::test(start_paused = true)]
async fn h8_a_decision_after_ten_seconds_is_too_late() {
    for (seconds, in_time) in [(9, true), (11, false)] {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(&[REQUEST, &masked(TEXT, b"first")].concat())
            .await
            .unwrap();
        let upgrade = Upgrade::read(near, &ServerOptions::default()).await.unwrap();
        advance(Duration::from_secs(seconds)).await;
        let accepted = upgrade.accept(&ServerOptions::default()).await;
        assert_eq!(accepted.is_ok(), in_time);
        if let Err(error) = accepted {
            assert!(matches!(error, AcceptError::Timeout), "{error:?}");
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn h8_frames_with_the_response_are_received() {
    let (near, far) = tokio::io::duplex(4096);
    let (client, _) = options(false);
    let early = [unmasked(TEXT, b"welcome"), unmasked(0x01, b"in two ")].concat();
    let (ws, mut peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, &early));
    let mut ws = ws.unwrap();
    peer.send(&unmasked(0x80, b"parts")).await;
    assert_eq!(ws.recv().await.unwrap(), Some("welcome".into()));
    assert_eq!(ws.recv().await.unwrap(), Some("in two parts".into()));
}

#[tokio::test]
async fn h7_an_origin_of_another_host_gets_403() {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let origin = format!("http://{}", server.local_addr().unwrap());
    for (origin, allowed) in [
        (origin.as_str(), true),
        ("http://evil.example", false),
        ("null", false),
        (&format!("{origin}.evil.example"), false),
        ("http://127.0.0.1:1", false),
    ] {
        let Ok(client) = Client::builder().origin(origin).build() else {
            assert!(!allowed, "{origin}");
            continue;
        };
        let (near, far) = tokio::join!(client.connect(&url), async {
            server.accept().await.unwrap().accept().await
        });
        assert_eq!(near.is_ok(), allowed, "{origin}");
        match far {
            Ok(_) => assert!(allowed),
            Err(AcceptError::Rejected(rejection)) => assert_eq!((rejection.status(), allowed), (403, false)),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn h7_any_origin_where_the_server_says_so() {
    let options = ServerOptions::builder().origin(OriginPolicy::Any).build().unwrap();
    let client = Client::builder().origin("http://other.example").build().unwrap();
    let (near, far) = tokio::io::duplex(1024);
    let (near, origin) = tokio::join!(client.connect_over(near, "ws://localhost/"), async {
        let upgrade = Upgrade::read(far, &options).await.unwrap();
        let origin = upgrade.request().headers().text("origin").map(str::to_owned);
        upgrade.accept(&options).await.unwrap();
        origin
    });
    near.unwrap();
    assert_eq!(origin.as_deref(), Some("http://other.example"));
}
