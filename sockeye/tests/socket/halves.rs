//! R2: halves polled by different tasks miss no wakeup, and neither waits for what the other waits for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sockeye::{CloseCode, Error, Event, Message, SendError, Timeout};
use tokio::io::AsyncReadExt;
use tokio::sync::Barrier;
use tokio::time::Instant;

use crate::common::{CLOSE, Raw, TEXT, masked, options, pair};

/// One end of a conversation in which both send all the time.
async fn flood<T>(ws: sockeye::WebSocket<T>, messages: usize, size: usize, pings: bool, done: Arc<Barrier>) -> usize
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut receiver) = ws.split();
    let sending = tokio::spawn(async move {
        for n in 0..messages {
            let mut message = vec![0; size.max(8)];
            message[..8].copy_from_slice(&n.to_be_bytes());
            sender.send(message).await.unwrap();
            if pings {
                sender.ping(&n.to_be_bytes()).await.unwrap();
            }
        }
        sender
    });
    let (mut received, mut pongs) = (0, 0);
    let last = (messages - 1).to_be_bytes();
    let mut last_pong = !pings;
    // The latest ping is always answered; older ones may not be, when pongs back up.
    while received < messages || !last_pong {
        match receiver.next_event().await.unwrap().unwrap() {
            Event::Binary(message) => {
                assert_eq!(message[..8], received.to_be_bytes());
                received += 1;
            }
            Event::Pong(pong) => {
                pongs += 1;
                last_pong = pong[..] == last;
            }
            Event::Ping(_) => {}
            event => panic!("{event:?}"),
        }
    }
    let sender = sending.await.unwrap();
    // The other end may still wait for a pong.
    let mut done = pin!(done.wait());
    loop {
        tokio::select! {
            _ = &mut done => break,
            event = receiver.next_event() => {
                if !matches!(event.unwrap(), Some(Event::Ping(_) | Event::Pong(_))) {
                    break;
                }
            }
        }
    }
    assert!(matches!(
        sender.close(CloseCode::NORMAL, "").await,
        Ok(()) | Err(Error::Send(SendError::Closed))
    ));
    assert_eq!(receiver.recv().await.unwrap(), None);
    pongs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_big_messages_both_ways_over_a_small_pipe() {
    let (near, far) = pair(512).await;
    let done = Arc::new(Barrier::new(2));
    let far = tokio::spawn(flood(far, 3, 300_000, false, done.clone()));
    flood(near, 3, 300_000, false, done).await;
    far.await.unwrap();
}

#[tokio::test]
async fn r2_big_messages_both_ways_on_one_thread() {
    let (near, far) = pair(4096).await;
    let done = Arc::new(Barrier::new(2));
    let far = tokio::spawn(flood(far, 3, 1 << 20, false, done.clone()));
    flood(near, 3, 1 << 20, false, done).await;
    far.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_small_messages_and_pings_both_ways() {
    let (near, far) = pair(256).await;
    let done = Arc::new(Barrier::new(2));
    let far = tokio::spawn(flood(far, 5_000, 16, true, done.clone()));
    assert!(flood(near, 5_000, 16, true, done).await > 0);
    far.await.unwrap();
}

/// A ping a message and both ends blocked by each other, over sockets with all that the system buffers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_messages_and_pings_both_ways_over_tcp() {
    let (client, options) = options(false);
    let server = sockeye::Server::bind("127.0.0.1:0", options).await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (near, far) = tokio::join!(client.connect(&url), async {
        server.accept().await.unwrap().accept().await
    });
    let done = Arc::new(Barrier::new(2));
    let far = tokio::spawn(flood(far.unwrap(), 3_000, 2_000, true, done.clone()));
    flood(near.unwrap(), 3_000, 2_000, true, done).await;
    far.await.unwrap();
}

/// The sender is blocked by a peer that does not read; the receiver goes on.
#[tokio::test]
async fn r2_a_blocked_sender_does_not_block_the_receiver() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(sockeye::accept(near, &server), Raw::client(far, b""));
    let (sender, mut receiver) = ws.unwrap().split();
    let sending = tokio::spawn(async move { sender.send(vec![7; 1 << 20]).await });
    tokio::task::yield_now().await;
    for n in 0..100 {
        peer.send(&masked(TEXT, format!("{n}").as_bytes())).await;
        assert_eq!(receiver.recv().await.unwrap(), Some(format!("{n}").into()));
    }
    assert!(!sending.is_finished());
    // The receiver is parked while the sender gets on, and neither needs the other.
    let receiving = tokio::spawn(async move { receiver.recv().await });
    assert_eq!(peer.frame().await.unwrap().1.len(), 1 << 20);
    sending.await.unwrap().unwrap();
    peer.send(&masked(CLOSE, b"")).await;
    assert_eq!(receiving.await.unwrap().unwrap(), None);
}

/// Many tasks share one sender, all blocked at once: each is woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_every_task_that_shares_a_sender_is_woken() {
    let (near, mut far) = pair(64).await;
    let (sender, mut receiver) = near.split();
    let sender = Arc::new(sender);
    let tasks: Vec<_> = (0..20_u8)
        .map(|n| {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(vec![n; 1000]).await })
        })
        .collect();
    let mut seen = [false; 20];
    for _ in 0..20 {
        let message = far.recv().await.unwrap().unwrap();
        assert_eq!(message.len(), 1000);
        seen[usize::from(message.as_bytes()[0])] = true;
    }
    assert_eq!(seen, [true; 20]);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let closing = tokio::spawn(async move { far.close(CloseCode::NORMAL, "").await });
    assert_eq!(receiver.recv().await.unwrap(), None);
    closing.await.unwrap().unwrap();
}

/// A parked receiver learns of the Close that the sender sends, and ends when the peer never answers.
#[tokio::test(start_paused = true)]
async fn r2_close_by_the_sender_wakes_a_parked_receiver() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(sockeye::accept(near, &server), Raw::client(far, b""));
    let (sender, mut receiver) = ws.unwrap().split();
    let receiving = tokio::spawn(async move {
        let end = receiver.recv().await;
        (end, receiver.recv().await, Instant::now())
    });
    tokio::task::yield_now().await;
    let start = Instant::now();
    sender.close(CloseCode::new(4000), "over").await.unwrap();
    let (end, after, at) = receiving.await.unwrap();
    assert!(matches!(end, Err(Error::Timeout(Timeout::Close))), "{end:?}");
    assert_eq!(after.unwrap(), None);
    assert_eq!((at - start).as_secs(), 5);
    assert_eq!(peer.close_code().await, Some(4000));
    assert!(matches!(sender.send("late").await, Err(Error::Send(SendError::Closed))));
    drop(sender);
    assert_eq!(peer.frame().await, None);
}

/// R3: the peer reads nothing. The Close never leaves, and still both halves end, and with them the transport.
#[tokio::test(start_paused = true)]
async fn r3_a_blocked_sender_ends_with_the_close_deadline() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(sockeye::accept(near, &server), Raw::client(far, b""));
    let (sender, mut receiver) = ws.unwrap().split();
    let sender = Arc::new(sender);
    let start = Instant::now();
    let blocked = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(vec![0; 100_000]).await }
    });
    tokio::task::yield_now().await;
    let closing = tokio::spawn(async move { sender.close(CloseCode::NORMAL, "").await });
    let received = receiver.recv().await;
    assert!(matches!(received, Err(Error::Timeout(Timeout::Close))), "{received:?}");
    for sent in [blocked.await.unwrap(), closing.await.unwrap()] {
        assert!(
            matches!(sent, Err(Error::Timeout(_) | Error::ConnectionLost)),
            "{sent:?}"
        );
    }
    assert_eq!(start.elapsed().as_secs(), 5);
    drop(receiver);
    // What had left is there, then the end.
    let mut rest = Vec::new();
    assert_eq!(peer.io.read_to_end(&mut rest).await.unwrap(), 1024);
}

/// The same without a receiver to keep the time.
#[tokio::test(start_paused = true)]
async fn r3_close_ends_with_the_deadline_when_the_receiver_is_gone() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, _peer) = tokio::join!(sockeye::accept(near, &server), Raw::client(far, b""));
    let (sender, receiver) = ws.unwrap().split();
    drop(receiver);
    assert!(
        tokio::time::timeout(Duration::from_secs(30), sender.send(vec![0; 100_000]))
            .await
            .is_err()
    );
    let start = Instant::now();
    let closed = sender.close(CloseCode::NORMAL, "").await;
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    assert_eq!(start.elapsed().as_secs(), 5);
}

/// The peer ends its side without a Close while the sender is blocked: no more room will come.
#[tokio::test(start_paused = true)]
async fn r3_a_blocked_sender_ends_when_the_connection_is_lost() {
    let (near, far) = tokio::io::duplex(1024);
    let (client, _) = options(false);
    let (ws, mut peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, b""));
    let (sender, mut receiver) = ws.unwrap().split();
    let blocked = tokio::spawn(async move { sender.send(Message::from(vec![0; 100_000])).await });
    tokio::task::yield_now().await;
    tokio::io::AsyncWriteExt::shutdown(&mut peer.io).await.unwrap();
    assert!(matches!(receiver.recv().await, Err(Error::ConnectionLost)));
    assert!(matches!(blocked.await.unwrap(), Err(Error::ConnectionLost)));
}
