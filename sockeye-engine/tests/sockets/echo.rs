//! Messages there and back, on several shards, and of any length.

use std::collections::HashSet;
use std::time::Duration;

use sockeye::{Client, CloseCode, Message, ServerOptions};
use tokio::io::AsyncWriteExt;

use crate::common::{BINARY, REQUEST, Raw, TEXT, ask, masked, start, start_with};

#[tokio::test]
async fn connections_are_spread_over_all_shards_and_each_echoes() {
    let running = start(3);
    let mut shards = HashSet::new();
    let mut clients = Vec::new();
    // The system's choice is a hash: 200 tries miss a shard once in 10^35.
    while shards.len() < 3 && clients.len() < 200 {
        let mut ws = running.connect("/").await;
        shards.insert(ask(&mut ws, "shard").await);
        clients.push(ws);
    }
    assert_eq!(shards.len(), 3, "{} connections", clients.len());
    for (number, ws) in clients.iter_mut().enumerate() {
        let text = Message::from(format!("message {number}"));
        assert_eq!(ask(ws, text.clone()).await, text);
        let bytes = Message::from(vec![number as u8; number]);
        assert_eq!(ask(ws, bytes.clone()).await, bytes);
    }
    running.until("sockeye_engine_connections", clients.len() as u64).await;
    for mut ws in clients {
        ws.close(CloseCode::NORMAL, "").await.unwrap();
    }
    running.until("sockeye_engine_connections", 0).await;
}

#[tokio::test]
async fn messages_of_16_mebibytes_both_ways() {
    const LENGTH: usize = 16 << 20;
    let options = ServerOptions::builder()
        .max_message_size(LENGTH as u64)
        .build()
        .unwrap();
    let running = start_with(1, options, |builder| builder);
    let client = Client::builder().max_message_size(LENGTH as u64).build().unwrap();
    let mut ws = client.connect(&format!("ws://{}/", running.address())).await.unwrap();
    let bytes: Vec<u8> = (0..LENGTH).map(|at| (at * 7 + at / 251) as u8).collect();
    let message = Message::from(bytes);
    for _ in 0..2 {
        assert!(ask(&mut ws, message.clone()).await == message);
    }
    // One more byte is too long.
    let _ = ws.send(vec![0; LENGTH + 1]).await;
    while let Ok(Some(_)) = ws.recv().await {}
    assert_eq!(ws.close_received(), Some(CloseCode::MESSAGE_TOO_BIG));
}

#[tokio::test]
async fn frames_in_the_same_segment_as_the_request_are_answered() {
    let running = start(1);
    let mut tcp = running.tcp().await;
    let mut sent = REQUEST.to_vec();
    sent.extend(masked(TEXT, b"early"));
    // And the start of another, whose end comes later.
    let large = masked(BINARY, &[9; 300]);
    sent.extend(&large[..100]);
    tcp.write_all(&sent).await.unwrap();
    let mut raw = Raw {
        head: crate::common::read_head(&mut tcp).await,
        io: tcp,
        masks: false,
    };
    assert_eq!(raw.frame().await, Some((TEXT, b"early".to_vec())));
    raw.send(&large[100..]).await;
    assert_eq!(raw.frame().await, Some((BINARY, vec![9; 300])));
}

/// More than a turn reads of one connection, and then the end of TCP: all of it is handled, and the end is noticed.
#[tokio::test]
async fn the_end_behind_more_than_a_turn_reads() {
    let mut running = start(1);
    let mut raw = running.raw().await;
    let mut sent = Vec::new();
    while sent.len() < 3 << 20 {
        sent.extend(masked(0x8a, &[1; 100]));
    }
    let frames = sent.len() as u64 / 106;
    raw.send(&sent).await;
    raw.io.shutdown().await.unwrap();
    let ended = running.ended().await;
    assert_eq!((ended.code, ended.clean), (1006, false));
    assert_eq!(raw.frame().await, None);
    running.until("sockeye_engine_connections", 0).await;
    assert_eq!(
        running.metric("sockeye_engine_bytes_total{direction=\"in\"}"),
        frames * 106
    );
}

#[tokio::test]
async fn a_panic_in_a_callback_ends_its_connection_and_no_other() {
    let mut running = start(1);
    let (mut one, mut other) = (running.connect("/1").await, running.connect("/2").await);
    one.send("panic").await.unwrap();
    while let Ok(Some(_)) = one.recv().await {}
    assert_eq!(one.close_received(), Some(CloseCode::INTERNAL_ERROR));
    let ended = running.ended().await;
    assert_eq!((ended.number, ended.cause), (1, Some(sockeye_engine::Cause::Panicked)));
    assert_eq!(ask(&mut other, "still here").await, "still here".into());
}

#[tokio::test]
async fn the_text_of_the_metrics() {
    let mut running = start(2);
    let mut ws = running.connect("/").await;
    assert_eq!(ask(&mut ws, "four").await, "four".into());
    assert_eq!(ask(&mut ws, "subscribe a/#").await, "subscribed".into());
    let refused = sockeye::connect(&format!("ws://{}/refused", running.address())).await;
    assert!(refused.is_err());
    let _ = running.engine.publisher().publish("a/b", "to one").unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("to one".into()));
    let _ = running.engine.publisher().publish("b", "to nobody").unwrap();
    ws.close(CloseCode::NORMAL, "done").await.unwrap();
    let ended = running.ended().await;
    assert_eq!((ended.code, ended.reason.as_str(), ended.clean), (1000, "done", true));
    running.until("sockeye_engine_closed_total{clean=\"true\"}", 1).await;
    running
        .until("sockeye_engine_handshakes_total{outcome=\"rejected\"}", 1)
        .await;
    for (name, value) in [
        ("sockeye_engine_connections", 0),
        ("sockeye_engine_handshakes_total{outcome=\"accepted\"}", 1),
        ("sockeye_engine_handshakes_total{outcome=\"rejected\"}", 1),
        ("sockeye_engine_closed_total{clean=\"false\"}", 0),
        ("sockeye_engine_messages_total{direction=\"in\"}", 2),
        ("sockeye_engine_messages_total{direction=\"out\"}", 3),
        ("sockeye_engine_dropped_total{where=\"mailbox\"}", 0),
        ("sockeye_engine_queued_bytes", 0),
        ("sockeye_engine_published_total", 1),
        ("sockeye_engine_delivered_total", 1),
        // Masked: a header of 6 bytes, and the Close has a code of two.
        (
            "sockeye_engine_bytes_total{direction=\"in\"}",
            (6 + 4) + (6 + 13) + (6 + 6),
        ),
    ] {
        assert_eq!(running.metric(name), value, "{name}");
    }
    // Whoever reads it counts on this form.
    let text = running.engine.metrics_reader().render();
    assert!(
        text.contains("# TYPE sockeye_engine_turn_seconds histogram\n"),
        "{text}"
    );
    assert!(
        text.contains("sockeye_engine_turn_seconds_bucket{le=\"+Inf\"} "),
        "{text}"
    );
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("sockeye_engine_"), "{line}");
        value.parse::<f64>().unwrap();
    }
    assert_eq!(running.shutdown(Duration::from_secs(5)).await, Default::default());
}
