//! What happens between the messages of a burst, while their answers wait to leave in one write: the order of what is sent
//! stays, and nothing is left behind.

use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use sockeye::{CloseCode, Error, Message};

use crate::common::{CLOSE, PING, PONG, TEXT, masked};
use crate::corking::{assert_answers, burst, served};

#[tokio::test]
async fn to_look_at_the_output_between_answers_changes_nothing() {
    let (mut ws, writes, mut peer) = served(1 << 16).await;
    peer.send(&burst(10)).await;
    let mut waiting = 0;
    for n in 0..9 {
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
        if n % 2 == 0 {
            assert!(ws.buffered_amount() > waiting);
            waiting = ws.buffered_amount();
        }
    }
    assert_eq!(writes.load(Ordering::Relaxed), 0);
    let message = ws.recv().await.unwrap().unwrap();
    ws.send(message).await.unwrap();
    assert_eq!((writes.load(Ordering::Relaxed), ws.buffered_amount()), (1, 0));
    assert_answers(&mut peer, 0..10).await;
}

#[tokio::test]
async fn a_pong_stands_where_its_ping_stood() {
    let (mut ws, writes, mut peer) = served(1 << 16).await;
    let mut bytes = burst(3);
    bytes.extend(masked(PING, b"?"));
    bytes.extend(masked(TEXT, b"message 3"));
    bytes.extend(masked(TEXT, b"message 4"));
    peer.send(&bytes).await;
    for _ in 0..5 {
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
    }
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    assert_answers(&mut peer, 0..3).await;
    assert_eq!(peer.frame().await, Some((PONG, b"?".to_vec())));
    assert_answers(&mut peer, 3..5).await;
}

#[tokio::test]
async fn other_things_that_are_sent_stand_behind_the_answers_before_them() {
    let (mut ws, _, mut peer) = served(1 << 17).await;
    let large = "x".repeat(20_000);
    peer.send(&burst(8)).await;
    for n in 0..8 {
        let message = ws.recv().await.unwrap().unwrap();
        match n {
            2 => ws.ping(b"ping").await.unwrap(),
            3 => ws.send(large.as_str()).await.unwrap(),
            4 => ws.flush().await.unwrap(),
            5 => ws.send_fragment("frag", false).await.unwrap(),
            6 => ws.send_fragment("ment", true).await.unwrap(),
            _ => ws.send(message).await.unwrap(),
        }
    }
    assert_answers(&mut peer, 0..2).await;
    assert_eq!(peer.frame().await, Some((PING, b"ping".to_vec())));
    assert_eq!(peer.frame().await, Some((TEXT, large.into_bytes())));
    assert_eq!(peer.frame().await, Some((0x01, b"frag".to_vec())));
    assert_eq!(peer.frame().await, Some((0x80, b"ment".to_vec())));
    assert_answers(&mut peer, 7..8).await;
}

/// What waits for the end of a burst is bounded, however long the burst.
#[tokio::test]
async fn much_output_does_not_wait_for_the_burst_to_end() {
    let (mut ws, writes, mut peer) = served(1 << 20).await;
    peer.send(&burst(2)).await;
    assert!(ws.recv().await.unwrap().is_some());
    let message = "y".repeat(2_000);
    for n in 1..200 {
        ws.send(message.as_str()).await.unwrap();
        assert!(ws.buffered_amount() <= 64 * 1024 + 2_004, "{}", ws.buffered_amount());
        assert!(writes.load(Ordering::Relaxed) >= n * 2_004 / (64 * 1024 + 2_004));
    }
    drop(ws);
    for _ in 1..190 {
        assert_eq!(peer.frame().await, Some((TEXT, message.clone().into_bytes())));
    }
}

#[tokio::test]
async fn nothing_follows_a_close_that_ends_a_burst() {
    let (mut ws, _, mut peer) = served(1 << 16).await;
    peer.send(&burst(4)).await;
    for _ in 0..2 {
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
    }
    // It waits for the peer's.
    assert!(ws.close(CloseCode::NORMAL, "enough").now_or_never().is_none());
    assert!(matches!(ws.send("more").await, Err(Error::Send(_))));
    assert_answers(&mut peer, 0..2).await;
    assert_eq!(peer.frame().await, Some((CLOSE, b"\x03\xe8enough".to_vec())));
}

/// One task with two connections, the answers of both corked at once.
#[tokio::test]
async fn bursts_of_two_connections_in_one_task() {
    let (mut one, writes_of_one, mut peer_of_one) = served(1 << 16).await;
    let (mut other, writes_of_other, mut peer_of_other) = served(1 << 16).await;
    for round in 0..20 {
        peer_of_one.send(&burst(6)).await;
        peer_of_other.send(&burst(6)).await;
        for _ in 0..6 {
            let message: Message = one.recv().await.unwrap().unwrap();
            one.send(message).await.unwrap();
            let message = other.recv().await.unwrap().unwrap();
            other.send(message).await.unwrap();
        }
        assert_answers(&mut peer_of_one, 0..6).await;
        assert_answers(&mut peer_of_other, 0..6).await;
        let writes = (
            writes_of_one.load(Ordering::Relaxed),
            writes_of_other.load(Ordering::Relaxed),
        );
        assert_eq!(writes, (round + 1, round + 1));
    }
}

/// The task that writes in the sender's absence runs on another thread, while the sender goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_yields_in_the_middle_of_bursts_keeps_their_order() {
    let (mut ws, _, mut peer) = served(1 << 12).await;
    const ROUNDS: usize = 500;
    let echo = tokio::spawn(async move {
        let mut count = 0_usize;
        while let Ok(Some(message)) = ws.recv().await {
            ws.send(message).await.unwrap();
            count += 1;
            if count % 5 == 3 {
                tokio::task::yield_now().await;
            }
        }
        count
    });
    for round in 0..ROUNDS {
        let messages = round % 23 + 1;
        peer.send(&burst(messages)).await;
        assert_answers(&mut peer, 0..messages).await;
    }
    drop(peer);
    assert_eq!(
        echo.await.unwrap(),
        (0..ROUNDS).map(|round| round % 23 + 1).sum::<usize>()
    );
}
