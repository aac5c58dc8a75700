//! At most once and in order, over connections that are lost at any point; and what was received is delivered.

use sockeye::reconnect::{Backoff, Reconnecting};
use sockeye::{Client, CloseCode, Payload};
use tokio::time::advance;

use crate::common::{Server, StillClock, builder, settle, until_open, until_waiting};

/// Each connection is lost after a few messages, without a Close, with more of them under way.
async fn lossy_server(server: Server) -> Vec<u32> {
    let mut received = Vec::new();
    for connection in 0.. {
        let mut ws = server.accept().await;
        for _ in 0..connection * 7 % 90 {
            match ws.recv().await.unwrap().expect("closed").payload() {
                Payload::Binary(bytes) => received.push(u32::from_be_bytes(bytes[..4].try_into().unwrap())),
                Payload::Text(_) => {
                    ws.close(CloseCode::NORMAL, "").await.unwrap();
                    return received;
                }
            }
        }
    }
    received
}

async fn at_most_once(messages: u32, size: usize) {
    let server = Server::bind().await;
    // No time passes between attempts, since this is not about it.
    let client = Client::builder().build().unwrap();
    let mut client = Reconnecting::builder(client, server.url())
        .backoff(Backoff::new().base(std::time::Duration::ZERO))
        .queue_messages(50)
        .start()
        .unwrap();
    let serving = tokio::spawn(lossy_server(server));
    let sender = client.sender();
    let sending = tokio::spawn(async move {
        for number in 0..messages {
            let mut message = number.to_be_bytes().to_vec();
            message.resize(size, 0);
            sender.send(message).await.unwrap();
            // Otherwise the first connections take it all, and most of it to the grave.
            tokio::task::yield_now().await;
        }
        // Some connection lives long enough for this one to arrive.
        while sender.send("the end").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    while client.recv().await.unwrap().is_some() {}
    sending.await.unwrap();
    let received = serving.await.unwrap();
    assert!(received.is_sorted_by(|one, next| one < next), "{received:?}");
    assert!(received.len() > 100);
}

#[tokio::test]
async fn at_most_once_in_order_with_small_messages() {
    at_most_once(3000, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_once_in_order_with_large_messages() {
    at_most_once(500, 20_000).await;
}

/// A message that a connection has not accepted is for the next one.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_while_there_is_no_connection() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut sent = 0;
    let mut expected = 0;
    for _ in 0..5 {
        let mut ws = server.accept().await;
        until_open(&mut states).await;
        for _ in 0..3 {
            client.send(sent.to_string()).await.unwrap();
            sent += 1;
        }
        while expected < sent {
            assert_eq!(ws.recv().await.unwrap(), Some(expected.to_string().into()));
            expected += 1;
        }
        drop(ws);
        let (delay, _) = until_waiting(&mut states).await;
        for _ in 0..3 {
            client.send(sent.to_string()).await.unwrap();
            sent += 1;
        }
        advance(delay).await;
    }
    let mut ws = server.accept().await;
    while expected < sent {
        assert_eq!(ws.recv().await.unwrap(), Some(expected.to_string().into()));
        expected += 1;
    }
}

/// What had arrived before the connection was lost is received after it, before what the next one brings.
#[tokio::test(start_paused = true)]
async fn what_was_received_is_delivered_over_a_loss() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut number = 0;
    for _ in 0..3 {
        let mut ws = server.accept().await;
        for _ in 0..4 {
            ws.send(number.to_string()).await.unwrap();
            number += 1;
        }
        drop(ws);
        advance(until_waiting(&mut states).await.0).await;
    }
    for expected in 0..number {
        assert_eq!(client.recv().await.unwrap(), Some(expected.to_string().into()));
    }
}

/// A reader that stops holds up the server: what waits here is bounded.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_receive() {
    let _clock = StillClock::new();
    for length in [5000, 300_000] {
        let server = Server::bind().await;
        let mut client = builder(server.url()).start().unwrap();
        let mut ws = server.accept().await;
        let sending = tokio::spawn(async move {
            let mut sent = 0_usize;
            // Far more than the buffers of the system hold.
            for _ in 0..(64 << 20) / length {
                if crate::common::at_most(100, ws.send(vec![0; length])).await.is_none() {
                    break;
                }
                sent += 1;
            }
            (ws, sent)
        });
        let (ws, sent) = sending.await.unwrap();
        assert!(sent < (64 << 20) / length, "{sent} of {length} bytes");
        // All that was accepted arrives, and the connection works on.
        let mut received = 0;
        while received < sent {
            assert_eq!(client.recv().await.unwrap().unwrap().len(), length);
            received += 1;
        }
        drop(ws);
        settle().await;
    }
}
