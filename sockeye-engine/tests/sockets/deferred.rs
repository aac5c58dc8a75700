//! Decisions that come later.

use std::time::Duration;

use sockeye::{ConnectError, ServerOptions};
use sockeye_engine::{Deferred, Rejection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Raw, Running, TEXT, ask, header, masked, read_head, start, start_by_hand};

const REQUEST: &[u8] = b"GET /later HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client of `/later`, and what decides about it.
async fn asking(running: &mut Running) -> (tokio::net::TcpStream, Deferred<u64>) {
    let mut tcp = running.tcp().await;
    tcp.write_all(REQUEST).await.unwrap();
    (tcp, running.asked().await)
}

#[tokio::test]
async fn accepted_with_headers_and_data() {
    let mut running = start(1);
    let (mut tcp, mut deferred) = asking(&mut running).await;
    assert_eq!(deferred.request().path(), "/later");
    deferred.response().add_header("X-Room", "7").unwrap();
    // H8: what comes meanwhile waits for the decision, and is not lost.
    tcp.write_all(&masked(TEXT, b"early")).await.unwrap();
    deferred.accept(99);
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(header(&head, "X-Room"), Some("7"));
    let mut raw = Raw {
        io: tcp,
        head,
        masks: false,
    };
    assert_eq!(raw.frame().await, Some((TEXT, b"early".to_vec())));
    raw.finish().await;
    assert_eq!(running.ended().await.number, 99);
}

#[tokio::test]
async fn rejected_and_dropped() {
    let mut running = start(1);
    let (mut tcp, deferred) = asking(&mut running).await;
    deferred.reject(Rejection::new(403));
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 403 "));
    let (mut tcp, deferred) = asking(&mut running).await;
    drop(deferred);
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 500 "));
    running
        .until("sockeye_engine_handshakes_total{outcome=\"rejected\"}", 2)
        .await;
    // The client of the workspace reads the same.
    let url = format!("ws://{}/later", running.address());
    let connecting = tokio::spawn(async move { sockeye::connect(&url).await });
    running.asked().await.reject(Rejection::new(401));
    let refused = connecting.await.unwrap();
    assert!(matches!(&refused, Err(ConnectError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn the_client_leaves_meanwhile() {
    let mut running = start(1);
    let (tcp, mut deferred) = asking(&mut running).await;
    drop(tcp);
    deferred.gone().await;
    // Nobody is there to open.
    deferred.accept(1);
    running
        .until("sockeye_engine_handshakes_total{outcome=\"failed\"}", 1)
        .await;
    // The place is somebody else's by now.
    let mut ws = running.connect("/2").await;
    assert_eq!(running.opened().await.0, 2);
    assert_eq!(ask(&mut ws, "alone").await, "alone".into());
    assert_eq!(
        running.metric("sockeye_engine_handshakes_total{outcome=\"accepted\"}"),
        1
    );
}

#[tokio::test]
async fn h8_a_decision_after_the_deadline_is_too_late() {
    let (mut running, clock) = start_by_hand(ServerOptions::default());
    let (mut tcp, mut deferred) = asking(&mut running).await;
    clock.advance(Duration::from_secs(10));
    deferred.gone().await;
    deferred.accept(1);
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8(rest).unwrap(), "");
}
