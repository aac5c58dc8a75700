//! The end of an engine.

use std::net::SocketAddr;
use std::time::Duration;

use sockeye::{CloseCode, ServerOptions};
use sockeye_engine::{ManualClock, ShutdownReport};
use tokio::net::TcpStream;

use crate::common::{CLOSE, figure, start, start_by_hand, start_with};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_get_1001_and_those_who_do_not_answer_are_dropped() {
    let clock = ManualClock::new();
    // No pings, for which there is time too.
    let options = ServerOptions::builder().ping_interval(None).build().unwrap();
    let running = start_with(2, options, |builder| builder.clock(&clock));
    let address = running.address();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(running.connect("/").await);
    }
    // These neither answer nor leave.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(running.raw().await);
    }
    let half = running.tcp().await;
    let reader = running.engine.metrics_reader();
    running.until("sockeye_engine_connections", 25).await;
    let ending = tokio::spawn(running.shutdown(2 * MINUTE));
    until_nobody_listens(address).await;
    // They are told over the first half of the time.
    clock.advance(MINUTE);
    for ws in &mut clients {
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_received(), Some(CloseCode::GOING_AWAY));
    }
    for raw in &mut silent {
        let (first, payload) = raw.frame().await.unwrap();
        assert_eq!((first, &payload[..2]), (CLOSE, &1001_u16.to_be_bytes()[..]));
    }
    while figure(&reader.render(), "sockeye_engine_connections") != 5 {
        tokio::task::yield_now().await;
    }
    clock.advance(MINUTE);
    for raw in &mut silent {
        assert_eq!(raw.frame().await, None);
    }
    let report = ending.await.unwrap();
    assert_eq!((report.closed, report.dropped), (20, 5));
    drop(half);
    assert!(reader.render().contains("sockeye_engine_connections 0\n"));
}

/// Waits until all shards have been told of the shutdown.
async fn until_nobody_listens(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_there() {
    let report = start(3).shutdown(Duration::from_secs(60)).await;
    assert_eq!(report, ShutdownReport::default());
}

/// R3: the deadline comes also where output is stuck.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_a_shutdown_while_output_is_blocked() {
    let options = ServerOptions::builder().send_queue(64 << 20).build().unwrap();
    let (mut running, clock) = start_by_hand(options);
    let address = running.address();
    let raw = running.raw().await;
    let (_, handle) = running.opened().await;
    let _ = handle.send(vec![0; 32 << 20]);
    while running.metric("sockeye_engine_queued_bytes") == 0 {
        tokio::task::yield_now().await;
    }
    let ending = tokio::spawn(running.shutdown(MINUTE));
    until_nobody_listens(address).await;
    clock.advance(MINUTE);
    let report = ending.await.unwrap();
    assert_eq!((report.closed, report.dropped), (0, 1));
    drop(raw);
}
