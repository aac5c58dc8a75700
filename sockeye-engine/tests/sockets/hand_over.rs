//! Connections that are given away, with all that was read from them.

use sockeye::ServerOptions;
use sockeye_engine::{HandedOver, HandedStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::common::{Running, ask, read_head, start, start_with};

/// An engine that gives connections away, and who gets them.
fn giving() -> (Running, UnboundedReceiver<HandedOver>) {
    let (give, given) = unbounded_channel();
    let running = start_with(1, ServerOptions::default(), |builder| {
        builder.hand_over(move |handed| {
            let _ = give.send(handed);
        })
    });
    (running, given)
}

#[tokio::test]
async fn a_plain_request_goes_on_elsewhere() {
    let (running, mut given) = giving();
    let mut tcp = running.tcp().await;
    const REQUEST: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\nand what follows";
    tcp.write_all(REQUEST.as_bytes()).await.unwrap();
    let handed = given.recv().await.unwrap();
    assert_eq!(handed.received(), REQUEST.as_bytes());
    assert!(!handed.is_secure() && handed.alpn().is_none());
    assert_eq!(handed.peer_addr().unwrap(), tcp.local_addr().unwrap());
    let mut stream = handed.into_stream().unwrap();
    tcp.write_all(b", later").await.unwrap();
    let mut read = vec![0; REQUEST.len() + 7];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, [REQUEST.as_bytes(), b", later"].concat());
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 204 "));
    running
        .until("sockeye_engine_handshakes_total{outcome=\"http\"}", 1)
        .await;
    stays_away(&running, &mut tcp, &mut stream).await;
    // It takes no place among the connections, and a WebSocket beside it goes on.
    let mut ws = running.connect("/").await;
    assert_eq!(ask(&mut ws, "beside").await, "beside".into());
    drop(tcp);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

/// What passes on a connection that was given away wakes no shard.
async fn stays_away(running: &Running, tcp: &mut tokio::net::TcpStream, stream: &mut HandedStream) {
    let turns = || running.metric("sockeye_engine_turn_seconds_count");
    let before = turns();
    for _ in 0..500 {
        tcp.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        stream.read_exact(&mut read).await.unwrap();
        stream.write_all(&read).await.unwrap();
        tcp.read_exact(&mut read).await.unwrap();
    }
    assert!(turns() < before + 250, "{} turns", turns() - before);
}

#[tokio::test]
async fn without_anybody_who_takes_them_the_answer_is_426() {
    let running = start(1);
    let mut tcp = running.tcp().await;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).await.unwrap();
}

/// A request that is malformed is nobody else's either.
#[tokio::test]
async fn what_is_no_http_is_not_given_away() {
    let (running, mut given) = giving();
    let mut tcp = running.tcp().await;
    tcp.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 400 "));
    assert!(given.try_recv().is_err());
}
