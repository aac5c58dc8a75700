//! Answers to messages that arrived together leave in one write, and what was sent leaves whatever the sender does next.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use sockeye::{CloseCode, Error, Message, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use crate::common::{Raw, TEXT, masked, options};

/// A transport that counts its writes.
pub(crate) struct Counting<T> {
    io: T,
    writes: Arc<AtomicUsize>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counting<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counting<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

pub(crate) type Served = WebSocket<Counting<DuplexStream>>;

/// A server's end, its count of writes, and a client made by hand.
pub(crate) async fn served(capacity: usize) -> (Served, Arc<AtomicUsize>, Raw<DuplexStream>) {
    let (near, far) = duplex(capacity);
    let writes = Arc::new(AtomicUsize::new(0));
    let near = Counting {
        io: near,
        writes: writes.clone(),
    };
    let (_, server) = options(false);
    let (ws, peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    writes.store(0, Ordering::Relaxed);
    (ws.unwrap(), writes, peer)
}

/// Messages that arrive in one read.
pub(crate) fn burst(messages: usize) -> Vec<u8> {
    (0..messages)
        .flat_map(|n| masked(TEXT, format!("message {n}").as_bytes()))
        .collect()
}

pub(crate) async fn assert_answers(peer: &mut Raw<DuplexStream>, messages: std::ops::Range<usize>) {
    for n in messages {
        assert_eq!(peer.frame().await, Some((TEXT, format!("message {n}").into_bytes())));
    }
}

#[tokio::test]
async fn a_plain_loop_answers_a_burst_in_one_write() {
    let (mut ws, writes, mut peer) = served(1 << 16).await;
    peer.send(&burst(100)).await;
    let echo = tokio::spawn(async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok::<_, Error>(())
    });
    assert_answers(&mut peer, 0..100).await;
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    // One message by itself is answered at once, by the call that sends it.
    peer.send(&masked(TEXT, b"message 0")).await;
    assert_answers(&mut peer, 0..1).await;
    assert_eq!(writes.load(Ordering::Relaxed), 2);
    drop(peer);
    assert!(matches!(echo.await.unwrap(), Err(Error::ConnectionLost)));
}

#[tokio::test]
async fn a_single_message_is_written_before_send_returns() {
    let (mut ws, writes, mut peer) = served(1 << 16).await;
    peer.send(&burst(1)).await;
    let message = ws.recv().await.unwrap().unwrap();
    ws.send(message).now_or_never().unwrap().unwrap();
    assert_eq!((writes.load(Ordering::Relaxed), ws.buffered_amount()), (1, 0));
}

/// What a task does after it has answered the first of several messages.
#[derive(Debug, Clone, Copy)]
enum Then {
    Nothing,
    AnotherWait,
    Yields,
    Drops,
    SplitsAndSleeps,
}

async fn answer_and_then(mut ws: Served, then: Then) {
    for _ in 0..3 {
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
    }
    match then {
        Then::Nothing => pending().await,
        Then::AnotherWait => {
            let (_sender, receiver) = tokio::sync::oneshot::channel::<()>();
            let _ = receiver.await;
        }
        Then::Yields => loop {
            tokio::task::yield_now().await;
        },
        Then::Drops => drop(ws),
        Then::SplitsAndSleeps => {
            let _halves = ws.split();
            pending::<()>().await;
        }
    }
}

/// The peer gets the first three answers, and what was not answered stands in the way of nothing.
async fn whatever_comes_next(then: Then) {
    let (ws, writes, mut peer) = served(1 << 16).await;
    peer.send(&burst(10)).await;
    let task = tokio::spawn(answer_and_then(ws, then));
    assert_answers(&mut peer, 0..3).await;
    assert!(writes.load(Ordering::Relaxed) <= 3, "{then:?}");
    task.abort();
}

const ALL: [Then; 5] = [
    Then::Nothing,
    Then::AnotherWait,
    Then::Yields,
    Then::Drops,
    Then::SplitsAndSleeps,
];

#[tokio::test]
async fn what_was_sent_leaves_whatever_the_task_does_next_on_one_thread() {
    for then in ALL {
        whatever_comes_next(then).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_leaves_whatever_the_task_does_next_on_two_threads() {
    for _ in 0..50 {
        for then in ALL {
            whatever_comes_next(then).await;
        }
    }
}

/// Two runtimes on one thread, one after the other: each flushes its own.
#[test]
fn each_runtime_flushes_its_own() {
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(whatever_comes_next(Then::Nothing));
    }
}

#[tokio::test]
async fn a_task_that_is_cancelled_has_sent_what_it_sent() {
    let (mut ws, _, mut peer) = served(1 << 16).await;
    peer.send(&burst(10)).await;
    let mut answering = Box::pin(async {
        for _ in 0..3 {
            let message = ws.recv().await.unwrap().unwrap();
            ws.send(message).await.unwrap();
        }
        pending::<()>().await;
    });
    assert!(answering.as_mut().now_or_never().is_none());
    drop(answering);
    assert_answers(&mut peer, 0..3).await;
    drop(ws);
}

#[tokio::test]
async fn halves_write_at_once() {
    let (ws, _, mut peer) = served(1 << 16).await;
    let (sender, mut receiver) = ws.split();
    peer.send(&burst(10)).await;
    for _ in 0..3 {
        let message = receiver.recv().await.unwrap().unwrap();
        sender.send(message).now_or_never().unwrap().unwrap();
    }
    assert_answers(&mut peer, 0..3).await;
}

/// The transport takes a few bytes and no more until the peer reads: what was left behind goes out all the same, though
/// the task that sent it has long stopped to look.
#[tokio::test]
async fn a_blocked_transport_is_served_in_the_senders_absence() {
    for then in [Then::Nothing, Then::AnotherWait] {
        let (ws, _, mut peer) = served(16).await;
        let bytes = burst(10);
        let task = tokio::spawn(answer_and_then(ws, then));
        peer.send(&bytes[..40]).await;
        assert_answers(&mut peer, 0..2).await;
        task.abort();
    }
}

/// A peer that does not read holds `send` up, however its messages arrived.
#[tokio::test]
async fn corking_keeps_the_backpressure() {
    let (mut ws, _, mut peer) = served(1 << 10).await;
    peer.send(&burst(2)).await;
    assert!(ws.recv().await.unwrap().is_some());
    let large = "x".repeat(10_000);
    let mut sent = 0;
    while ws.send(large.as_str()).now_or_never().is_some() {
        sent += 1;
        assert!(sent < 10, "send is never held up");
    }
    assert!(ws.buffered_amount() <= 9 * 10_004, "{}", ws.buffered_amount());
}

/// The transport breaks after `send` has returned: the next call tells.
#[tokio::test]
async fn an_error_of_a_later_write_is_told_by_the_next_call() {
    let (mut ws, _, mut peer) = served(1 << 16).await;
    peer.send(&burst(3)).await;
    let message = ws.recv().await.unwrap().unwrap();
    peer.io.shutdown().await.unwrap();
    drop(peer);
    ws.send(message).await.unwrap();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(matches!(ws.send("more").await, Err(Error::Io(_))));
    // What had arrived is still received.
    let next = ws.recv().await.unwrap();
    assert_eq!(next, Some(Message::from("message 1")));
    assert_eq!(ws.recv().await.unwrap(), Some(Message::from("message 2")));
    assert!(ws.recv().await.is_err());
    assert!(ws.close(CloseCode::NORMAL, "").await.is_ok());
}

/// A connection that is dropped while another task still writes for it ends, and its peer sees so.
#[tokio::test]
async fn a_dropped_connection_ends_though_the_peer_does_not_read() {
    let (mut ws, _, mut peer) = served(64).await;
    let bytes = burst(10);
    tokio::join!(
        async {
            let message = ws.recv().await.unwrap().unwrap();
            ws.send(message).await.unwrap();
            ws.send("x".repeat(1000)).now_or_never();
            tokio::task::yield_now().await;
        },
        peer.send(&bytes[..60])
    );
    drop(ws);
    // What the transport had taken, and then its end.
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut peer.io, &mut rest)
        .await
        .unwrap();
    assert!(rest.len() <= 64);
}

/// A send that waits for a peer that does not read is cancelled: the message leaves when the peer reads, with nobody to
/// help, also if the future was never polled.
#[tokio::test]
async fn a_cancelled_send_leaves_all_the_same() {
    for polled in [true, false] {
        let (mut ws, _, mut peer) = served(100).await;
        let large = "x".repeat(10_000);
        let mut sending = ws.send(large.as_str());
        if polled {
            assert!((&mut sending).now_or_never().is_none());
        }
        drop(sending);
        assert_eq!(peer.frame().await, Some((TEXT, large.clone().into_bytes())));
        let (sender, _receiver) = ws.split();
        assert!(sender.send(large.as_str()).now_or_never().is_none());
        assert_eq!(peer.frame().await, Some((TEXT, large.into_bytes())));
    }
}
