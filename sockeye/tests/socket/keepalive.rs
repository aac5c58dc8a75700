//! Keepalive, latency, and limits on a connection's life, on a clock that the tests move.

use std::time::Duration;

use sockeye::{Client, CloseCode, ClosedBy, Error, ServerOptions, ServerOptionsBuilder, Timeout, WebSocket, accept};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{CLOSE, PING, PONG, Raw, TEXT, masked};

const S: Duration = Duration::from_secs(1);

async fn served(options: ServerOptionsBuilder) -> (WebSocket<DuplexStream>, Raw<DuplexStream>) {
    let (near, far) = tokio::io::duplex(1024);
    let options = options.build().unwrap();
    let (ws, peer) = tokio::join!(accept(near, &options), Raw::client(far, b""));
    (ws.unwrap(), peer)
}

/// The next frame, which must be a ping: its payload.
async fn ping(peer: &mut Raw<DuplexStream>) -> Vec<u8> {
    let (first, payload) = peer.frame().await.unwrap();
    assert_eq!(first, PING);
    payload
}

#[tokio::test(start_paused = true)]
async fn pings_go_out_while_nothing_comes_and_an_unanswered_one_ends_the_connection() {
    let (mut ws, mut peer) = served(ServerOptions::builder()).await;
    let start = Instant::now();
    let receiving = tokio::spawn(async move { (ws.recv().await, ws) });
    for n in 1..=3 {
        let nonce = ping(&mut peer).await;
        assert_eq!(start.elapsed().as_secs(), 20 * n);
        peer.send(&masked(PONG, &nonce)).await;
    }
    ping(&mut peer).await;
    assert_eq!(start.elapsed().as_secs(), 80);
    let (received, mut ws) = receiving.await.unwrap();
    assert!(matches!(received, Err(Error::Timeout(Timeout::Pong))), "{received:?}");
    assert_eq!(start.elapsed().as_secs(), 100);
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.latency(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_client_pings_too() {
    let (near, far) = tokio::io::duplex(1024);
    let client = Client::builder()
        .ping_interval(7 * S)
        .ping_timeout(3 * S)
        .build()
        .unwrap();
    let (ws, mut peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, b""));
    let mut ws = ws.unwrap();
    let start = Instant::now();
    let received = ws.recv().await;
    assert!(matches!(received, Err(Error::Timeout(Timeout::Pong))), "{received:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(ping(&mut peer).await.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_holds_off_pings_and_timeouts() {
    let (mut ws, mut peer) = served(ServerOptions::builder()).await;
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        let mut count = 0;
        while let Ok(Some(_)) = ws.recv().await {
            count += 1;
        }
        count
    });
    // It never answers a ping, and need not while it sends.
    for _ in 0..100 {
        sleep(9 * S).await;
        peer.send(&masked(TEXT, b"busy")).await;
    }
    // No clock is looked at for a message, so silence shows after 1 to 1.5 intervals.
    ping(&mut peer).await;
    let silent = start.elapsed().as_secs() - 900;
    assert!((20..=30).contains(&silent), "{silent} s");
    assert_eq!(receiving.await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn keepalive_can_be_switched_off() {
    let (mut ws, mut peer) = served(ServerOptions::builder().ping_interval(None)).await;
    let receiving = tokio::spawn(async move { ws.recv().await });
    assert!(timeout(100_000 * S, peer.frame()).await.is_err());
    peer.send(&masked(TEXT, b"still here")).await;
    assert_eq!(receiving.await.unwrap().unwrap(), Some("still here".into()));
}

#[tokio::test(start_paused = true)]
async fn without_a_ping_timeout_pings_go_on() {
    let (mut ws, mut peer) = served(ServerOptions::builder().ping_timeout(None)).await;
    let receiving = tokio::spawn(async move { ws.recv().await });
    let start = Instant::now();
    for n in 1..=10 {
        ping(&mut peer).await;
        assert_eq!(start.elapsed().as_secs(), 20 * n);
    }
    assert!(!receiving.is_finished());
}

/// R1: the time goes on over calls of `recv` that are dropped.
#[tokio::test(start_paused = true)]
async fn r1_recv_that_is_cancelled_again_and_again_still_pings() {
    let (mut ws, mut peer) = served(ServerOptions::builder()).await;
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        loop {
            if let Ok(received) = timeout(S, ws.recv()).await {
                return received;
            }
        }
    });
    ping(&mut peer).await;
    assert_eq!(start.elapsed().as_secs(), 20);
    let received = receiving.await.unwrap();
    assert!(matches!(received, Err(Error::Timeout(Timeout::Pong))), "{received:?}");
    assert_eq!(start.elapsed().as_secs(), 40);
}

/// R2: a connection that goes to another task takes its timer along.
#[tokio::test(start_paused = true)]
async fn r2_the_timer_wakes_the_task_that_waits_now() {
    let (mut ws, mut peer) = served(ServerOptions::builder()).await;
    let start = Instant::now();
    let first = tokio::spawn(async move {
        assert!(timeout(S, ws.recv()).await.is_err());
        ws
    });
    let mut ws = first.await.unwrap();
    let second = tokio::spawn(async move { ws.recv().await });
    ping(&mut peer).await;
    assert_eq!(start.elapsed().as_secs(), 20);
    assert!(matches!(second.await.unwrap(), Err(Error::Timeout(Timeout::Pong))));
}

/// R3: whoever waits for room to write finds out as well that the peer is gone.
#[tokio::test(start_paused = true)]
async fn r3_a_blocked_send_ends_when_the_peer_is_gone() {
    let (mut ws, _peer) = served(ServerOptions::builder()).await;
    let start = Instant::now();
    let sent = ws.send(vec![0; 200_000]).await;
    assert!(matches!(sent, Err(Error::Timeout(Timeout::Pong))), "{sent:?}");
    assert_eq!(start.elapsed().as_secs(), 40);
}

/// R3: a peer that reads, however slowly, lives.
#[tokio::test(start_paused = true)]
async fn r3_a_slow_reader_is_not_taken_for_a_dead_one() {
    let (mut ws, mut peer) = served(ServerOptions::builder()).await;
    let sending = tokio::spawn(async move { ws.send(vec![0; 20_000]).await });
    let mut read = vec![0; 1024];
    for _ in 0..19 {
        sleep(15 * S).await;
        tokio::io::AsyncReadExt::read_exact(&mut peer.io, &mut read)
            .await
            .unwrap();
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn halves_ping_while_the_receiver_waits() {
    let (ws, mut peer) = served(ServerOptions::builder()).await;
    let (sender, mut receiver) = ws.split();
    let start = Instant::now();
    let receiving = tokio::spawn(async move { receiver.recv().await });
    let nonce = ping(&mut peer).await;
    sleep(Duration::from_millis(80)).await;
    peer.send(&masked(PONG, &nonce)).await;
    ping(&mut peer).await;
    assert_eq!(sender.latency(), Some(Duration::from_millis(80)));
    assert!(matches!(receiving.await.unwrap(), Err(Error::Timeout(Timeout::Pong))));
    assert_eq!(start.elapsed().as_secs(), 60);
}

/// Pongs are no messages: an idle connection is closed although its pings are answered.
#[tokio::test(start_paused = true)]
async fn a_connection_without_messages_is_closed_by_the_idle_timeout() {
    let (mut ws, mut peer) = served(ServerOptions::builder().idle_timeout(50 * S)).await;
    let start = Instant::now();
    let receiving = tokio::spawn(async move { (ws.recv().await, ws) });
    for _ in 0..2 {
        let nonce = ping(&mut peer).await;
        peer.send(&masked(PONG, &nonce)).await;
    }
    assert_eq!(
        peer.frame().await.unwrap(),
        (CLOSE, b"\x03\xe9idle for too long".to_vec())
    );
    assert_eq!(start.elapsed().as_secs(), 50);
    peer.send(&masked(CLOSE, &1001_u16.to_be_bytes())).await;
    let (received, ws) = receiving.await.unwrap();
    let error = received.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Idle)), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::GOING_AWAY));
    assert_eq!(ws.closed_by(), Some(ClosedBy::Us));
    assert_eq!(ws.close_sent(), Some(CloseCode::GOING_AWAY));
    assert_eq!(ws.close_received(), Some(CloseCode::GOING_AWAY));
}

/// The peer does not answer the Close: the limit is told all the same, after the close timeout.
#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_lifetime_whatever_is_sent() {
    let (mut ws, mut peer) = served(ServerOptions::builder().max_lifetime(100 * S)).await;
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        loop {
            match ws.recv().await {
                Ok(Some(message)) => ws.send(message).await.unwrap(),
                end => return end,
            }
        }
    });
    for _ in 0..99 {
        sleep(S).await;
        peer.send(&masked(TEXT, b"busy")).await;
        assert_eq!(peer.frame().await.unwrap().0, TEXT);
    }
    assert_eq!(peer.close_code().await, Some(1001));
    assert_eq!(start.elapsed().as_secs(), 100);
    let received = receiving.await.unwrap();
    assert!(
        matches!(received, Err(Error::Timeout(Timeout::Lifetime))),
        "{received:?}"
    );
    assert_eq!(start.elapsed().as_secs(), 105);
}

#[tokio::test(start_paused = true)]
async fn a_ping_tells_its_round_trip_time() {
    let (mut ws, mut peer) = served(ServerOptions::builder()).await;
    let round_trip = ws.measure_latency().await.unwrap();
    let receiving = tokio::spawn(async move { (ws.recv().await, ws) });
    let nonce = ping(&mut peer).await;
    assert_eq!(nonce.len(), 8);
    sleep(Duration::from_millis(70)).await;
    // A pong that answers nothing (RFC 6455 §5.5.3).
    peer.send(&masked(PONG, b"heartbeat")).await;
    sleep(Duration::from_millis(30)).await;
    peer.send(&masked(PONG, &nonce)).await;
    assert_eq!(round_trip.await.unwrap(), Duration::from_millis(100));
    peer.send(&masked(CLOSE, b"")).await;
    let (received, ws) = receiving.await.unwrap();
    assert_eq!(received.unwrap(), None);
    assert_eq!(ws.latency(), Some(Duration::from_millis(100)));
}

/// RFC 6455 §5.5.3: a peer may answer the latest ping only, and so those before it.
#[tokio::test(start_paused = true)]
async fn a_pong_answers_the_pings_before_it() {
    let (ws, mut peer) = served(ServerOptions::builder()).await;
    let (sender, mut receiver) = ws.split();
    let receiving = tokio::spawn(async move { receiver.recv().await });
    let mut round_trips = Vec::new();
    let mut nonce = Vec::new();
    for _ in 0..3 {
        round_trips.push(sender.clone().measure_latency().await.unwrap());
        nonce = ping(&mut peer).await;
        sleep(S).await;
    }
    peer.send(&masked(PONG, &nonce)).await;
    for (round_trip, seconds) in round_trips.into_iter().zip([3, 2, 1]) {
        assert_eq!(round_trip.await.unwrap(), seconds * S);
    }
    let unanswered = sender.measure_latency().await.unwrap();
    drop(peer);
    assert!(receiving.await.unwrap().is_err());
    drop(sender);
    assert!(matches!(unanswered.await, Err(Error::ConnectionLost)));
}
