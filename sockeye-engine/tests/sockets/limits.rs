//! How many, from where, and for how long.

use std::time::Duration;

use sockeye::{CloseCode, ServerOptions};
use sockeye_engine::{Cause, Engine, ManualClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{REQUEST, Raw, TEXT, ask, header, masked, pass_time, read_head, run, start_by_hand, start_with};

#[tokio::test]
async fn more_connections_than_the_limit_are_answered_with_503() {
    let mut running = start_with(2, ServerOptions::default(), |builder| builder.max_connections(3));
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(running.connect("/").await);
    }
    let mut tcp = running.tcp().await;
    tcp.write_all(REQUEST).await.unwrap();
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(header(&head, "Retry-After"), Some("5"));
    let mut body = Vec::new();
    tcp.read_to_end(&mut body).await.unwrap();
    running
        .until("sockeye_engine_handshakes_total{outcome=\"rejected\"}", 1)
        .await;
    // One goes, and there is room again.
    clients.pop().unwrap().close(CloseCode::NORMAL, "").await.unwrap();
    running.ended().await;
    drop(clients.pop());
    running.ended().await;
    running.until("sockeye_engine_connections", 1).await;
    let mut ws = running.connect("/").await;
    assert_eq!(ask(&mut ws, "in").await, "in".into());
}

#[tokio::test]
async fn listeners_that_are_handed_in() {
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    // Another process, or the next version of this one, goes on listening where this one stops.
    let heir = first.try_clone().unwrap();
    let builder = Engine::builder(ServerOptions::default());
    let running = run(builder.listener(first).listen("127.0.0.1:0").unwrap().threads(2));
    assert_eq!(running.engine.local_addrs()[0], address);
    assert_eq!(running.engine.local_addrs().len(), 2);
    let mut old = running.connect("/").await;
    assert_eq!(ask(&mut old, "old").await, "old".into());
    let mut beside = sockeye::connect(&format!("ws://{}/", running.engine.local_addrs()[1]))
        .await
        .unwrap();
    assert_eq!(ask(&mut beside, "beside").await, "beside".into());

    let next = run(Engine::builder(ServerOptions::default()).listener(heir).threads(2));
    let ending = tokio::spawn(running.shutdown(Duration::from_secs(10)));
    for ws in [&mut old, &mut beside] {
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_received(), Some(CloseCode::GOING_AWAY));
    }
    assert_eq!(ending.await.unwrap().closed, 2);
    let mut new = sockeye::connect(&format!("ws://{address}/")).await.unwrap();
    assert_eq!(ask(&mut new, "new").await, "new".into());
    drop(next);
}

#[test]
fn an_engine_without_a_listener_does_not_start() {
    struct Nothing;
    impl sockeye_engine::Handler for Nothing {
        type Data = ();
        fn upgrade(&mut self, _: &mut sockeye_engine::Upgrade<'_, ()>) -> sockeye_engine::Decision<()> {
            sockeye_engine::Decision::Accept(())
        }
        fn message(&mut self, _: &mut sockeye_engine::Socket<'_, ()>, _: sockeye_engine::Payload<'_>) {}
    }
    let started = Engine::builder(ServerOptions::default()).start(|_| Nothing);
    assert_eq!(started.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

/// One place for a handshake: who is slow holds up the others, until the deadline.
#[tokio::test]
async fn h1_requests_that_do_not_end_are_given_up() {
    let clock = ManualClock::new();
    let running = start_with(1, ServerOptions::default(), |builder| {
        builder.max_handshakes(1).clock(&clock)
    });
    let mut slow = running.tcp().await;
    AsyncWriteExt::write_all(&mut slow, b"GET / HT").await.unwrap();
    let behind = running.tcp().await;
    let mut rest = Vec::new();
    pass_time(&clock, slow.read_to_end(&mut rest)).await.unwrap();
    running
        .until("sockeye_engine_handshakes_total{outcome=\"failed\"}", 1)
        .await;
    // Whether there is room again is looked at now and then.
    clock.advance(Duration::from_secs(1));
    let mut raw = Raw::client(behind, &[]).await;
    raw.send(&masked(TEXT, b"after all")).await;
    assert_eq!(raw.frame().await, Some((TEXT, b"after all".to_vec())));
}

/// Pings go out after 20 to 22 s of silence, so that not all connections are pinged at once.
const LATEST_PING: Duration = Duration::from_secs(22);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_connection_that_says_nothing_is_pinged_and_given_up() {
    let (mut running, clock) = start_by_hand(ServerOptions::default());
    let mut raw: Raw<_> = running.raw().await;
    running.opened().await;
    clock.advance(LATEST_PING);
    let (first, payload) = raw.frame().await.unwrap();
    assert_eq!((first, payload.len()), (crate::common::PING, 8));
    // Answered, it goes on; unanswered, it ends.
    raw.send(&masked(crate::common::PONG, &payload)).await;
    raw.send(&masked(TEXT, b"behind it")).await;
    assert_eq!(raw.frame().await, Some((TEXT, b"behind it".to_vec())));
    clock.advance(LATEST_PING);
    assert_eq!(raw.frame().await.unwrap().0, crate::common::PING);
    clock.advance(PING_TIMEOUT);
    assert_eq!(raw.frame().await, None);
    assert_eq!(running.ended().await.cause, Some(Cause::PongTimeout));
}
