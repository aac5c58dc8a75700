//! What is sent while there is no connection, or a slow one.

use std::sync::Arc;

use sockeye::reconnect::{Overflow, QueueError, Reconnecting};
use sockeye::{CloseCode, Message};
use tokio::time::advance;

use crate::common::{Server, StillClock, at_most, builder, deserted_url, settle, until_waiting};

async fn absent(overflow: Overflow, messages: usize, bytes: usize) -> Reconnecting {
    builder(deserted_url().await)
        .overflow(overflow)
        .queue_messages(messages)
        .queue_bytes(bytes)
        .start()
        .unwrap()
}

async fn left(client: &Reconnecting) -> Vec<Message> {
    client.close(CloseCode::NORMAL, "").await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_refused_at_the_limit_in_messages() {
    let _clock = StillClock::new();
    let client = absent(Overflow::Refuse, 3, 1000).await;
    for message in ["a", "b", "c"] {
        client.send(message).await.unwrap();
    }
    assert_eq!(client.send("d").await, Err(QueueError::Full("d".into())));
    assert_eq!(client.try_send(""), Err(QueueError::Full("".into())));
    assert_eq!(left(&client).await, ["a".into(), "b".into(), "c".into()]);
    assert_eq!(client.send("e").await, Err(QueueError::Closed("e".into())));
    assert_eq!(client.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_refused_at_the_limit_in_bytes() {
    let _clock = StillClock::new();
    let client = absent(Overflow::Refuse, 1000, 10).await;
    client.send("12345").await.unwrap();
    assert_eq!(client.send("123456").await, Err(QueueError::Full("123456".into())));
    client.send("67890").await.unwrap();
    assert_eq!(client.buffered_amount(), 10);
    assert_eq!(client.send("1").await, Err(QueueError::Full("1".into())));
    assert_eq!(left(&client).await.len(), 2);
    assert_eq!(client.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_dropped() {
    let _clock = StillClock::new();
    let client = absent(Overflow::DropOldest, 3, 10).await;
    for message in ["a", "b", "c", "d"] {
        client.send(message).await.unwrap();
    }
    assert_eq!(client.dropped(), 1);
    client.send("123456789").await.unwrap();
    assert_eq!(client.dropped(), 3);
    assert_eq!(left(&client).await, ["d".into(), "123456789".into()]);
}

#[tokio::test(start_paused = true)]
async fn the_stated_defaults() {
    let _clock = StillClock::new();
    let client = builder(deserted_url().await).start().unwrap();
    for _ in 0..1024 {
        client.try_send("").unwrap();
    }
    assert!(client.try_send("").is_err());
    assert!(at_most(5, client.send("")).await.is_none());

    let client = builder(deserted_url().await).start().unwrap();
    client.try_send(vec![0; 1024 * 1024 - 1]).unwrap();
    client.try_send("1").unwrap();
    assert!(client.try_send("1").is_err());

    let client = builder(deserted_url().await).start().unwrap();
    client.try_send(vec![0; 2 * 1024 * 1024]).unwrap();
    assert!(client.try_send("").is_err());
}

/// In the order in which they came, whoever sends; one that stops to wait lets the next one go.
#[tokio::test(start_paused = true)]
async fn senders_wait_in_line() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).queue_messages(1).start().unwrap();
    client.send("0").await.unwrap();
    let waiting: Vec<_> = (1..=4)
        .map(|number| {
            let sender = client.sender();
            tokio::spawn(async move { sender.send(number.to_string()).await })
        })
        .collect();
    settle().await;
    waiting[1].abort();
    // Nobody overtakes them.
    assert!(matches!(client.try_send("too early"), Err(QueueError::Full(_))));
    let mut ws = server.accept().await;
    for expected in ["0", "1", "3", "4"] {
        assert_eq!(ws.recv().await.unwrap(), Some(expected.into()));
    }
    for (number, waiting) in waiting.into_iter().enumerate() {
        match waiting.await {
            Ok(sent) => sent.unwrap(),
            Err(error) => assert!(error.is_cancelled() && number == 1),
        }
    }
}

/// The first in line leaves just when there is room for it.
#[tokio::test(start_paused = true)]
async fn a_sender_that_leaves_when_its_turn_has_come() {
    let _clock = StillClock::new();
    let client = Arc::new(absent(Overflow::Wait, 1, 1000).await);
    client.send("0").await.unwrap();
    let first = client.sender();
    let mut first = Box::pin(first.send("1"));
    assert!(at_most(1, &mut first).await.is_none());
    let second = tokio::spawn({
        let sender = client.sender();
        async move { sender.send("2").await }
    });
    settle().await;
    drop(first);
    // Room comes by no wake-up of the second alone: it is first in line now.
    assert!(!second.is_finished());
    let left = left(&client).await;
    assert_eq!(left, ["0".into()]);
    assert_eq!(second.await.unwrap(), Err(QueueError::Closed("2".into())));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_learn_of_the_end() {
    let _clock = StillClock::new();
    let client = absent(Overflow::Wait, 1, 1000).await;
    client.send("0").await.unwrap();
    let sender = client.sender();
    let waiting = tokio::spawn(async move { sender.send("1").await });
    settle().await;
    drop(client);
    assert_eq!(waiting.await.unwrap(), Err(QueueError::Closed("1".into())));
}

/// A cancelled send has sent nothing.
#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_has_not_queued() {
    let _clock = StillClock::new();
    let client = absent(Overflow::Wait, 1, 1000).await;
    client.send("0").await.unwrap();
    for polls in 0..5 {
        assert!(at_most(polls, client.send("never")).await.is_none());
    }
    assert_eq!(left(&client).await, ["0".into()]);
}

/// The limits hold for a connection that is slow as for one that is not there.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .overflow(Overflow::Refuse)
        .queue_bytes(100_000)
        .start()
        .unwrap();
    let mut ws = server.accept().await;
    let mut sent = 0_u32;
    let full = loop {
        let message = [sent.to_be_bytes().as_slice(), &[0; 10_000]].concat();
        match client.send(message).await {
            Ok(()) => sent += 1,
            Err(full) => break full,
        }
        settle().await;
    };
    assert!(matches!(full, QueueError::Full(_)));
    assert!(client.buffered_amount() <= 100_000);
    for expected in 0..sent {
        let message = ws.recv().await.unwrap().unwrap();
        assert_eq!(message.as_bytes()[..4], expected.to_be_bytes());
    }
    assert_eq!(client.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_survives_every_failed_attempt() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    for number in 0..3 {
        client.send(number.to_string()).await.unwrap();
        server.refuse(503, "").await;
        advance(until_waiting(&mut states).await.0).await;
    }
    let mut ws = server.accept().await;
    for number in 0..3 {
        assert_eq!(ws.recv().await.unwrap(), Some(number.to_string().into()));
    }
}
