//! The send queue: what waits, what is dropped, and what is never held up.

use std::time::Duration;

use sockeye::{
    Client, CloseCode, Delivery, Error, Message, MessageKind, SendError, ServerOptions, Timeout, WebSocket, accept,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use crate::common::{CLOSE, PING, PONG, Raw, at_most, masked, options, pair, unmasked};
use crate::support::send_until_it_waits;

const QUEUE: usize = 64 * 1024;

async fn served(pipe: usize) -> (WebSocket<DuplexStream>, Raw<DuplexStream>) {
    let (near, far) = tokio::io::duplex(pipe);
    let (_, options) = options(false);
    let (ws, peer) = tokio::join!(accept(near, &options), Raw::client(far, b""));
    (ws.unwrap(), peer)
}

/// M8, R1: futures of `send` that are dropped do not add up.
#[tokio::test]
async fn r1_m8_sends_that_are_cancelled_do_not_grow_the_queue() {
    let (mut ws, mut peer) = served(1024).await;
    for n in 0..1000_u32 {
        let message = n.to_be_bytes().repeat(250);
        assert!(at_most((n % 3) as usize, ws.send(message)).await.is_none());
        assert!(ws.buffered_amount() <= QUEUE + 1004);
    }
    assert!(ws.buffered_amount() > QUEUE - 1004);
    let sending = tokio::spawn(async move {
        ws.send("last").await.unwrap();
        ws
    });
    // What was accepted arrives, whole and in order; what was not does not in part.
    let mut count = 0_u32;
    loop {
        let (_, payload) = peer.frame().await.unwrap();
        if payload == b"last" {
            break;
        }
        assert_eq!(payload, count.to_be_bytes().repeat(250));
        count += 1;
    }
    assert!((64..=67).contains(&count), "{count}");
    assert_eq!(sending.await.unwrap().buffered_amount(), 0);
}

/// The same for everything else that is sent.
#[tokio::test]
async fn r1_m8_other_sends_that_are_cancelled_do_not_grow_the_queue() {
    let (mut ws, _peer) = served(1024).await;
    let prepared = sockeye::Prepared::new(&[7; 1000]);
    for _ in 0..1000 {
        let _ = at_most(1, ws.ping(&[7; 100])).await;
        let _ = at_most(1, ws.pong(&[7; 100])).await;
        let _ = at_most(1, ws.send_prepared(&prepared)).await;
        let _ = at_most(1, ws.send_with("text", sockeye::Compress::Never)).await;
        let _ = at_most(1, ws.send_fragment(&[7; 1000], true)).await;
        assert!(ws.buffered_amount() <= QUEUE + 4 * 1024);
    }
    let (sender, _receiver) = ws.split();
    for _ in 0..1000 {
        assert!(at_most(1, sender.send(vec![7; 1000])).await.is_none());
        assert!(at_most(1, sender.ping(&[7; 100])).await.is_none());
        let _ = at_most(1, sender.measure_latency()).await;
        assert!(sender.buffered_amount() <= QUEUE + 4 * 1024);
    }
}

#[tokio::test]
async fn try_send_tells_what_became_of_the_message() {
    let (mut ws, mut peer) = served(8 * 1024).await;
    assert_eq!(ws.try_send("small").unwrap(), Delivery::Sent);
    // One message may always be queued, however long it is.
    assert_eq!(ws.try_send(vec![7; 300_000]).unwrap(), Delivery::Queued);
    assert_eq!(ws.try_send("more").unwrap(), Delivery::Dropped);
    let draining = tokio::spawn(async move {
        ws.drained().await.unwrap();
        assert!(ws.buffered_amount() <= QUEUE / 2);
        assert_ne!(ws.try_send("again").unwrap(), Delivery::Dropped);
        ws
    });
    yield_now().await;
    assert!(!draining.is_finished());
    assert_eq!(peer.frame().await.unwrap().1, b"small");
    assert_eq!(peer.frame().await.unwrap().1.len(), 300_000);
    assert_eq!(peer.frame().await.unwrap().1, b"again");
    let mut ws = draining.await.unwrap();
    peer.send(&masked(CLOSE, b"")).await;
    assert_eq!(ws.recv().await.unwrap(), None);
    assert!(matches!(ws.try_send("late"), Err(Error::Send(SendError::Closed))));
}

/// Inbound: a connection that is not read stops TCP, so that the peer cannot send on, nothing piles up, and nothing is lost.
#[tokio::test]
async fn a_connection_that_is_not_read_makes_the_peer_wait() {
    const ALL: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let options = ServerOptions::default();
    let (ws, peer) = tokio::join!(accept(tcp, &options), Raw::client(client, b""));
    let mut ws = ws.unwrap();
    let sending = send_until_it_waits(peer, ALL).await;
    let mut messages = 0;
    while let Some(message) = ws.recv().await.unwrap() {
        assert_eq!(message.len(), 1020);
        messages += 1;
    }
    assert_eq!(messages, ALL / 1024);
    assert_eq!(sending.await.unwrap().unwrap().0, CLOSE);
}

/// What was queued leaves by itself, though nobody calls again.
#[tokio::test]
async fn what_try_send_queued_leaves() {
    let (near, far) = served(64).await;
    let (sender, receiver) = near.split();
    let mut far = far;
    assert_eq!(sender.try_send(vec![7; 50_000]).unwrap(), Delivery::Queued);
    assert_eq!(far.frame().await.unwrap().1.len(), 50_000);
    drop((sender, receiver));
}

#[tokio::test]
async fn the_limit_is_the_option() {
    let (near, _far) = tokio::io::duplex(100);
    let client = Client::builder().send_queue(10).build().unwrap();
    let (ws, _peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(_far, b""));
    let mut ws = ws.unwrap();
    assert_eq!(ws.try_send(vec![7; 200]).unwrap(), Delivery::Queued);
    assert_eq!(ws.try_send("").unwrap(), Delivery::Dropped);
}

/// R3: a Close does not wait for room, and ends whoever does.
#[tokio::test(start_paused = true)]
async fn r3_a_full_queue_does_not_hold_up_a_close() {
    let (ws, _peer) = served(1024).await;
    let (sender, mut receiver) = ws.split();
    assert_eq!(sender.try_send(vec![7; 100_000]).unwrap(), Delivery::Queued);
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send("no room").await }
    });
    yield_now().await;
    let closing = tokio::spawn(async move { sender.close(CloseCode::NORMAL, "").await });
    assert!(matches!(receiver.recv().await, Err(Error::Timeout(Timeout::Close))));
    assert!(matches!(waiting.await.unwrap(), Err(Error::Send(SendError::Closed))));
    assert!(closing.await.unwrap().is_err());
}

/// R2: many tasks wait for room at once, and all get it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_every_task_that_waits_for_room_gets_it() {
    let (near, far) = tokio::io::duplex(512);
    let (client, _) = options(false);
    let options = ServerOptions::builder().send_queue(1000).build().unwrap();
    let (far, near) = tokio::join!(client.connect_over(far, "ws://localhost/"), accept(near, &options));
    let (sender, mut receiver) = near.unwrap().split();
    let tasks: Vec<_> = (0..20_u8)
        .map(|n| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    sender.send(vec![n; 700]).await.unwrap();
                    assert!(sender.buffered_amount() <= 2000);
                }
            })
        })
        .collect();
    let mut far = far.unwrap();
    for _ in 0..400 {
        assert_eq!(far.recv().await.unwrap().unwrap().len(), 700);
    }
    for task in tasks {
        task.await.unwrap();
    }
    let closing = tokio::spawn(async move { far.close(CloseCode::NORMAL, "").await });
    assert_eq!(receiver.recv().await.unwrap(), None);
    closing.await.unwrap().unwrap();
}

fn large() -> Vec<u8> {
    (0..3 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect()
}

/// A client, whose send queue holds much more than a frame, and a peer that sends and reads by hand.
async fn connected(pipe: usize) -> (WebSocket<DuplexStream>, Raw<DuplexStream>) {
    let (near, far) = tokio::io::duplex(pipe);
    let client = Client::builder().build().unwrap();
    let (ws, peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, b""));
    (ws.unwrap(), peer)
}

/// A pong does not wait for the rest of a large message, nor do a ping and a Close, whatever the queue would hold.
#[tokio::test]
async fn control_frames_go_between_the_frames_of_a_large_message() {
    for (ws, mut peer) in [served(16 * 1024).await, connected(16 * 1024).await] {
        let frame = if peer.masks { unmasked } else { masked };
        let (sender, mut receiver) = ws.split();
        let sending = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(large()).await }
        });
        let receiving = tokio::spawn(async move { receiver.recv().await });
        let (first, mut message) = peer.frame().await.unwrap();
        assert_eq!((first, message.len()), (0x02, 256 * 1024));
        peer.send(&frame(PING, b"there?")).await;
        let pinging = tokio::spawn({
            let sender = sender.clone();
            async move { sender.ping(b"and you?").await }
        });
        // A message of another task waits for the end of this one.
        let other = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send("other").await }
        });
        let (mut pong, mut ping) = (None, None);
        loop {
            let (first, payload) = peer.frame().await.unwrap();
            match first {
                PONG => pong = Some(message.len()),
                PING => ping = Some(message.len()),
                _ => {
                    assert_eq!(first & 0x7f, 0);
                    message.extend(payload);
                }
            }
            if first == 0x80 {
                break;
            }
        }
        assert_eq!(message, large());
        // Each behind the frame that was on its way: the second.
        assert!(pong.is_some_and(|after| after <= 2 * 256 * 1024), "{pong:?}");
        assert!(ping.is_some_and(|after| after <= 2 * 256 * 1024), "{ping:?}");
        assert_eq!(peer.frame().await.unwrap(), (0x81, b"other".to_vec()));
        sending.await.unwrap().unwrap();
        pinging.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        peer.send(&frame(CLOSE, b"")).await;
        assert_eq!(receiving.await.unwrap().unwrap(), None);
    }
}

/// The same for a message that is written piece by piece, whose frames are of 16 KiB.
#[tokio::test]
async fn control_frames_go_between_the_frames_of_a_written_message() {
    for (ws, mut peer) in [served(1024).await, connected(1024).await] {
        let frame = if peer.masks { unmasked } else { masked };
        let (sender, mut receiver) = ws.split();
        let sending = tokio::spawn(async move {
            let mut message = sender.write_message(MessageKind::Binary).await?;
            message.write_all(&large()).await?;
            message.finish().await
        });
        let receiving = tokio::spawn(async move { receiver.recv().await });
        let (first, mut message) = peer.frame().await.unwrap();
        assert_eq!((first, message.len()), (0x02, 16 * 1024));
        peer.send(&frame(PING, b"there?")).await;
        let mut pong = None;
        loop {
            let (first, payload) = peer.frame().await.unwrap();
            match first {
                PONG => pong = Some(message.len()),
                _ => message.extend(payload),
            }
            if first == 0x80 {
                break;
            }
        }
        assert_eq!(message, large());
        assert!(pong.is_some_and(|after| after <= 2 * 16 * 1024), "{pong:?}");
        sending.await.unwrap().unwrap();
        peer.send(&frame(CLOSE, b"")).await;
        assert_eq!(receiving.await.unwrap().unwrap(), None);
    }
}

/// R1: a large message of which the beginning has left arrives whole, wherever its future is dropped.
#[tokio::test]
async fn r1_a_large_message_is_sent_whole_or_not_at_all() {
    for polls in [0, 1, 2, 5, 20] {
        let (near, far) = tokio::io::duplex(300_000);
        let server = ServerOptions::builder().max_chunked_size(4 << 20).build().unwrap();
        let (client, _) = options(false);
        let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, &server));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let client = async {
            let cancelled = at_most(polls, near.send(large())).await;
            near.send("next").await.unwrap();
            cancelled
        };
        let server = async {
            let mut received = Vec::new();
            while received.last() != Some(&Message::from("next")) {
                let mut reader = far.read_message().await.unwrap().unwrap();
                let mut message = Vec::new();
                reader.read_to_end(&mut message).await.unwrap();
                received.push(match reader.kind() {
                    MessageKind::Text => String::from_utf8(message).unwrap().into(),
                    MessageKind::Binary => message.into(),
                });
            }
            received
        };
        let (_, received) = tokio::join!(client, server);
        let expected = [Message::from(large()), "next".into()];
        assert!(received == expected || (polls == 0 && received == expected[1..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_halves_send_a_large_message_whole_or_not_at_all() {
    for polls in [0, 1, 2, 5, 20] {
        let (near, far) = tokio::io::duplex(300_000);
        let server = ServerOptions::builder().max_message_size(4 << 20).build().unwrap();
        let (client, _) = options(false);
        let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, &server));
        let (sender, _receiver) = near.unwrap().split();
        let mut far = far.unwrap();
        let receiving = tokio::spawn(async move {
            let mut received = Vec::new();
            while received.last() != Some(&Message::from("next")) {
                received.push(far.recv().await.unwrap().unwrap());
            }
            received
        });
        let text = "ä".repeat(1_000_000);
        let _ = at_most(polls, sender.send(text.clone())).await;
        sender.send("next").await.unwrap();
        let received = receiving.await.unwrap();
        let expected = [Message::from(text), "next".into()];
        assert!(received == expected || (polls == 0 && received == expected[1..]));
    }
}

/// Inbound: a reader that stops reading stops the peer.
#[tokio::test(start_paused = true)]
async fn a_peer_is_held_up_while_nothing_is_received() {
    let (mut near, far) = pair(1024).await;
    let sent = tokio::time::timeout(Duration::from_secs(10), async {
        for _ in 0..1000 {
            near.send(vec![7; 1000]).await.unwrap();
        }
    });
    assert!(sent.await.is_err());
    drop(far);
}
