//! Peers that break the rules, by the names of `docs/threats.md`. Those about memory are in `tests/memory.rs`.

use std::time::Duration;

use sockeye::ServerOptions;
use sockeye_engine::{Cause, SlowSubscriber};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{
    BINARY, CLOSE, PING, PONG, Running, TEXT, ask, masked, pass_time, start, start_by_hand, start_with,
};

/// What a peer has for the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection's descriptor is free, though the peer keeps its own.
async fn is_freed(mut running: Running, cause: Cause) {
    assert_eq!(running.ended().await.cause, Some(cause));
    running.until("sockeye_engine_connections", 0).await;
    // Answers at once if nobody is left.
    let report = running.shutdown(Duration::from_secs(60)).await;
    assert_eq!((report.closed, report.dropped), (0, 0));
}

#[tokio::test]
async fn m3_fragments_adding_up_past_the_limit() {
    let options = ServerOptions::builder().max_message_size(1000).build().unwrap();
    let running = start_with(1, options, |builder| builder);
    let mut raw = running.raw().await;
    raw.send(&masked(0x02, &[0; 600])).await;
    raw.send(&masked(0x80, &[0; 400])).await;
    assert_eq!(raw.frame().await, Some((BINARY, vec![0; 1000])));
    raw.send(&masked(0x02, &[0; 600])).await;
    raw.send(&masked(0x80, &[0; 401])).await;
    assert_eq!(raw.close_code().await, Some(1009));
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn m5_an_inflation_bomb() {
    use sockeye::{Client, CloseCode, DeflateOptions};
    let options = ServerOptions::builder()
        .deflate(DeflateOptions::server())
        .build()
        .unwrap();
    let running = start_with(1, options, |builder| builder);
    let client = Client::builder().deflate(DeflateOptions::client()).build().unwrap();
    let mut ws = client.connect(&format!("ws://{}/", running.address())).await.unwrap();
    assert!(ws.is_compressed());
    assert_eq!(ask(&mut ws, vec![0; 1 << 20]).await, vec![0; 1 << 20].into());
    ws.send(vec![0; (1 << 20) + 1]).await.unwrap();
    assert!(ws.recv().await.is_ok_and(|message| message.is_none()));
    assert_eq!(ws.close_received(), Some(CloseCode::MESSAGE_TOO_BIG));
}

#[tokio::test]
async fn l1_the_peer_never_answers_close() {
    let (mut running, clock) = start_by_hand(ServerOptions::default());
    let mut raw = running.raw().await;
    let (_, handle) = running.opened().await;
    handle.close(sockeye::CloseCode::NORMAL, "");
    assert_eq!(raw.close_code().await, Some(1000));
    clock.advance(CLOSE_TIMEOUT);
    is_freed(running, Cause::CloseTimeout).await;
    assert_eq!(raw.frame().await, None);
}

#[tokio::test]
async fn l1_the_peer_goes_on_sending_after_close() {
    let (mut running, clock) = start_by_hand(ServerOptions::default());
    let mut raw = running.raw().await;
    let (_, handle) = running.opened().await;
    handle.close(sockeye::CloseCode::NORMAL, "");
    assert_eq!(raw.close_code().await, Some(1000));
    let (mut read, mut write) = raw.io.split();
    let sending = async {
        let frame = masked(BINARY, &[1; 1000]);
        let mut sent = 0;
        while write.write_all(&frame).await.is_ok() {
            sent += 1;
            // More than the system holds: the shard has read of it.
            if sent == 32_000 {
                clock.advance(CLOSE_TIMEOUT);
            }
        }
    };
    let reading = async {
        let mut rest = Vec::new();
        let _ = read.read_to_end(&mut rest).await;
        rest
    };
    let ((), rest, ()) = tokio::join!(sending, reading, is_freed(running, Cause::CloseTimeout));
    assert!(rest.is_empty(), "§5.5.1: no more data frames after a Close");
}

#[tokio::test]
async fn l1_the_peer_keeps_tcp_after_a_violation() {
    let (running, clock) = start_by_hand(ServerOptions::default());
    let mut raw = running.raw().await;
    raw.send(&masked(0x83, b"reserved")).await;
    assert_eq!(raw.close_code().await, Some(1002));
    clock.advance(CLOSE_TIMEOUT);
    is_freed(running, Cause::Violation).await;
}

#[tokio::test]
async fn l1_the_peer_keeps_tcp_after_both_closes() {
    let (mut running, clock) = start_by_hand(ServerOptions::default());
    let mut raw = running.raw().await;
    raw.send(&masked(CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(raw.close_code().await, Some(1000));
    assert_eq!(raw.frame().await, None, "the server ends its side");
    assert!(running.ended().await.clean);
    clock.advance(CLOSE_TIMEOUT);
    running.until("sockeye_engine_connections", 0).await;
    let report = running.shutdown(Duration::from_secs(60)).await;
    assert_eq!((report.closed, report.dropped), (0, 0));
}

/// L3: turns are bounded by what comes, and none is made while nothing does.
#[tokio::test]
async fn l3_bounded_turns_for_each_byte() {
    const BYTES: u64 = 2000;
    let options = ServerOptions::builder().ping_interval(None).build().unwrap();
    let running = start_with(1, options, |builder| builder);
    let mut raw = running.raw().await;
    let before = running.metric("sockeye_engine_turn_seconds_count");
    let frame = masked(BINARY, &vec![3; BYTES as usize - 8]);
    for byte in &frame {
        raw.send(&[*byte]).await;
    }
    assert_eq!(raw.frame().await, Some((BINARY, vec![3; BYTES as usize - 8])));
    let turns = running.metric("sockeye_engine_turn_seconds_count") - before;
    // Each byte may be told of twice: that it has come, and that its acknowledgement makes room. Some more for the timer.
    assert!(turns <= 2 * BYTES + 100, "{turns} turns");
}

/// L5: handles send while their connections close and others take the places. Each client gets its own only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_send_that_races_a_close() {
    let mut running = start(1);
    let (to_task, mut handles) = tokio::sync::mpsc::unbounded_channel::<(u64, sockeye_engine::Handle)>();
    let racing = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some((number, handle)) = handles.recv().await {
            all.push((number, handle));
            for (number, handle) in &all {
                let _ = handle.send(number.to_string());
            }
            tokio::task::yield_now().await;
        }
    });
    for number in 1..=300_u64 {
        let mut ws = running.connect(&format!("/{number}")).await;
        to_task.send(running.opened().await).unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(number.to_string().into()));
        if number % 3 == 0 {
            // Gone without a word, messages on their way.
            drop(ws);
            continue;
        }
        ws.send("last").await.unwrap();
        loop {
            let message = ws.recv().await.unwrap().unwrap();
            let text = message.as_text().unwrap();
            if text == "last" {
                break;
            }
            assert_eq!(text, number.to_string());
        }
    }
    drop(to_task);
    racing.await.unwrap();
}

/// R2: both directions at once, each blocked by turns; nothing waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_big_messages_both_ways_at_once() {
    let options = ServerOptions::builder().send_queue(256 << 20).build().unwrap();
    let running = start_with(1, options, |builder| builder);
    let (sender, mut receiver) = running.connect("/").await.split();
    let message = vec![5_u8; 300 * 1024];
    let expected = sockeye::Message::from(message.clone());
    let sending = tokio::spawn(async move {
        for _ in 0..200 {
            sender.send(message.clone()).await.unwrap();
        }
        sender
    });
    for _ in 0..200 {
        assert!(receiver.recv().await.unwrap().unwrap() == expected);
    }
    sending.await.unwrap();
}

/// R3: a peer that does not read, and a Close behind what it does not read.
#[tokio::test]
async fn r3_a_close_while_output_is_blocked() {
    let options = ServerOptions::builder().ping_interval(None).build().unwrap();
    let (mut running, clock) = start_by_hand(options);
    let raw = running.raw().await;
    let (_, handle) = running.opened().await;
    let _ = handle.send(vec![0; 32 << 20]);
    handle.close(sockeye::CloseCode::NORMAL, "");
    // The deadline begins when the shard gets to it, of which nothing tells.
    pass_time(&clock, is_freed(running, Cause::CloseTimeout)).await;
    drop(raw);
}

#[tokio::test]
async fn r3_a_slow_subscriber_is_closed_where_the_policy_says_so() {
    let mut running = start_with(1, ServerOptions::default(), |builder| {
        builder.slow_subscriber(SlowSubscriber::Close)
    });
    let mut raw = running.raw().await;
    raw.send(&masked(TEXT, b"subscribe t")).await;
    assert_eq!(raw.frame().await.unwrap().1, b"subscribed");
    let publisher = running.engine.publisher();
    let message = vec![0; 1 << 20];
    for _ in 0..64 {
        let _ = publisher.publish("t", &*message).unwrap();
    }
    let ended = running.ended().await;
    assert_eq!((ended.cause, ended.sent), (Some(Cause::TooSlow), None));
}

#[tokio::test]
async fn r4_messages_before_a_malformed_frame_are_delivered() {
    let running = start(1);
    let mut raw = running.raw().await;
    let mut sent = Vec::new();
    for number in 0..10 {
        sent.extend(masked(TEXT, format!("{number}").as_bytes()));
    }
    // §5.1: a frame of a client has to be masked.
    sent.extend([TEXT, 1, b'x']);
    sent.extend(masked(TEXT, b"never seen"));
    raw.send(&sent).await;
    for number in 0..10 {
        assert_eq!(raw.frame().await, Some((TEXT, format!("{number}").into_bytes())));
    }
    let (first, payload) = raw.frame().await.unwrap();
    assert_eq!((first, &payload[..2]), (CLOSE, &1002_u16.to_be_bytes()[..]));
    assert_eq!(raw.frame().await, None);
}

/// M7: more pings in one read than answers are kept for. The last is answered, though nothing comes after it.
#[tokio::test]
async fn m7_the_last_of_many_pings_is_answered() {
    const PINGS: u32 = 400;
    let running = start(1);
    let mut raw = running.raw().await;
    let mut sent = Vec::new();
    for number in 0..PINGS {
        let mut payload = [0; 125];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        sent.extend(masked(PING, &payload));
    }
    raw.send(&sent).await;
    let last = (PINGS - 1).to_be_bytes();
    while let Some((first, payload)) = raw.frame().await {
        assert_eq!(first, PONG);
        if payload[..4] == last {
            return;
        }
    }
    panic!("the connection ended");
}

#[tokio::test]
async fn m9_unsolicited_pongs_are_told_and_not_answered() {
    let running = start(1);
    let mut raw = running.raw().await;
    let mut sent = Vec::new();
    for _ in 0..1000 {
        sent.extend(masked(PONG, b"nobody asked"));
    }
    sent.extend(masked(TEXT, b"after all"));
    raw.send(&sent).await;
    assert_eq!(raw.frame().await, Some((TEXT, b"after all".to_vec())));
}
