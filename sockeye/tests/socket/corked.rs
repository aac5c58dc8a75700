//! What happens between the messages of a burst, while their answers wait to leave in one write: the order of what is sent
//! stays, and nothing is left behind.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use sockeye::{CloseCode, Error, Message, accept};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::common::{CLOSE, PING, PONG, Raw, TEXT, masked, options};
use crate::corking::{Served, assert_answers, burst, served};

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

/// What is lent to those who may come by is found by those who look, also while another looks.
#[tokio::test]
async fn to_look_at_the_transport_between_answers_changes_nothing() {
    let (mut ws, writes, mut peer) = served(1 << 16).await;
    peer.send(&burst(5)).await;
    for n in 0..4 {
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
        let ws = &ws;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    ws.with_transport(|_| ());
                    assert!(ws.buffered_amount() > n * 11);
                });
            }
        });
    }
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ws.with_transport(|_| panic!("as it should"))
    }));
    assert!(looked.is_err());
    assert_eq!(writes.load(Ordering::Relaxed), 0);
    let message = ws.recv().await.unwrap().unwrap();
    ws.send(message).await.unwrap();
    assert_eq!((writes.load(Ordering::Relaxed), ws.buffered_amount()), (1, 0));
    assert_answers(&mut peer, 0..5).await;
}

/// A transport that cannot be shared between threads does not keep a connection from it: it is looked at by one at a time.
#[test]
fn a_connection_is_sync_where_its_transport_is_not() {
    fn assert<T: Send + Sync>() {}
    assert::<sockeye::WebSocket<Box<dyn Transport>>>();
    assert::<sockeye::Sender<Box<dyn Transport>>>();
    assert::<sockeye::Receiver<Box<dyn Transport>>>();
}

trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

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

/// The task that writes in the sender's absence comes by, on another thread, while the sender is at work between two answers:
/// what is sent after that leaves too, though the sender never receives again.
#[test]
fn what_is_sent_after_the_flusher_came_by_leaves() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Another task that is woken takes the place of the flusher as the next of its thread, so that the other thread may run
        // that.
        let next = Arc::new(Notify::new());
        tokio::spawn({
            let next = next.clone();
            async move {
                loop {
                    next.notified().await;
                }
            }
        });
        let mut came_by = 0;
        for round in 0..200_usize {
            let (mut ws, writes, mut peer) = served(1 << 16).await;
            peer.send(&burst(200)).await;
            let next = next.clone();
            let sending = tokio::spawn(async move {
                let mut answered = 0;
                // Until it has come by, or nearly all is answered. Without a yield it comes on the other thread.
                while answered < 190 && writes.load(Ordering::Relaxed) == 0 {
                    let message = ws.recv().now_or_never().unwrap().unwrap().unwrap();
                    ws.send(message).now_or_never().unwrap().unwrap();
                    answered += 1;
                    next.notify_one();
                    std::thread::yield_now();
                }
                let early = writes.load(Ordering::Relaxed) > 0;
                for _ in 0..=round % 9 {
                    let message = ws.recv().now_or_never().unwrap().unwrap().unwrap();
                    ws.send(message).now_or_never().unwrap().unwrap();
                    answered += 1;
                }
                tokio::spawn(async move {
                    let _kept = ws;
                    std::future::pending::<()>().await;
                });
                (answered, early)
            });
            let (answered, early) = sending.await.unwrap();
            came_by += usize::from(early);
            assert_answers(&mut peer, 0..answered).await;
        }
        assert!(came_by > 0);
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Answers the first of three messages; the peer, and the connection.
async fn answered_once() -> (Served, Raw<DuplexStream>) {
    let (mut ws, writes, mut peer) = served(1 << 16).await;
    peer.send(&burst(3)).await;
    let message = ws.recv().await.unwrap().unwrap();
    ws.send(message).await.unwrap();
    assert_eq!(writes.load(Ordering::Relaxed), 0);
    (ws, peer)
}

/// A runtime ends before it gets to what was sent, on a thread that lives on: the transport ends with the connection.
#[test]
fn a_runtime_that_ends_holds_on_to_no_connection() {
    let ending = runtime();
    let mut peer = ending.block_on(async { answered_once().await.1 });
    drop(ending);
    runtime().block_on(async {
        let mut rest = Vec::new();
        peer.io.read_to_end(&mut rest).await.unwrap();
    });
}

/// The same, and the connection goes on in another runtime, where nothing has been lost.
#[test]
fn a_connection_outlives_its_runtime() {
    let ending = runtime();
    let (mut ws, mut peer) = ending.block_on(answered_once());
    drop(ending);
    runtime().block_on(async {
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
        assert_answers(&mut peer, 0..2).await;
    });
}

/// The same, and its first runtime has not ended: it stands still, with a task of its own that was to write.
#[test]
fn a_connection_leaves_a_runtime_that_stands_still() {
    let first = runtime();
    let (mut ws, mut peer) = first.block_on(answered_once());
    let second = runtime();
    second.block_on(async {
        for _ in 0..2 {
            let message = ws.recv().await.unwrap().unwrap();
            ws.send(message).await.unwrap();
        }
        assert_answers(&mut peer, 0..3).await;
        peer.send(&burst(3)).await;
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
        assert_answers(&mut peer, 0..1).await;
        drop(ws);
    });
    drop(first);
}

/// The task that writes for a thread ends with it.
#[test]
fn a_thread_that_ends_leaves_no_task() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let tasks = |count| {
        while runtime.metrics().num_alive_tasks() != count {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                let (mut ws, _, mut peer) = served(1 << 16).await;
                peer.send(&burst(2)).await;
                let message = ws.recv().await.unwrap().unwrap();
                ws.send(message).await.unwrap();
                assert_answers(&mut peer, 0..1).await;
            });
            tasks(1);
        });
    });
    tasks(0);
}

/// A task takes over where the peer does not read, and ends when that has: whoever sends later waits for room by himself.
#[tokio::test]
async fn who_waits_for_room_himself_needs_no_other_task() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (mut ws, _, mut peer) = served(1 << 10).await;
    peer.send(&burst(10)).await;
    let large = "x".repeat(4_000);
    assert!(ws.recv().await.unwrap().is_some());
    ws.send(large.as_str()).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 2);
    assert_eq!(peer.frame().await, Some((TEXT, large.clone().into_bytes())));
    for _ in 0..5 {
        let (sent, frame) = tokio::join!(
            async {
                ws.send(large.as_str()).await?;
                ws.flush().await
            },
            peer.frame()
        );
        sent.unwrap();
        assert_eq!(frame, Some((TEXT, large.clone().into_bytes())));
        assert_eq!(tasks(), 1);
    }
}

/// A sender that waits for room is dropped with its runtime: no task is left to write, and none holds on to the transport.
#[test]
fn a_runtime_that_ends_under_a_blocked_sender_holds_on_to_no_connection() {
    let ending = runtime();
    let mut peer = ending.block_on(async {
        let (mut ws, _, peer) = served(1 << 10).await;
        tokio::spawn(async move { ws.send("x".repeat(10_000)).await });
        tokio::task::yield_now().await;
        peer
    });
    drop(ending);
    runtime().block_on(async {
        let mut rest = Vec::new();
        peer.io.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() <= 1 << 10);
    });
}

/// A transport that panics when it is written to.
struct Panics(DuplexStream);

impl AsyncRead for Panics {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Panics {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(bytes.starts_with(b"HTTP"), "a transport panics, as it should");
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// One transport panics where it is written to in its sender's absence: the answers of the others leave all the same.
#[tokio::test]
async fn a_transport_that_panics_keeps_up_nobody_else() {
    let (near, far) = duplex(1 << 16);
    let (_, server) = options(false);
    let (ws, peer) = tokio::join!(accept(Panics(near), &server), Raw::client(far, b""));
    let (mut bad, mut peer_of_bad) = (ws.unwrap(), peer);
    let (mut good, _, mut peer_of_good) = served(1 << 16).await;
    for _ in 0..2 {
        peer_of_bad.send(&burst(3)).await;
        peer_of_good.send(&burst(3)).await;
        let message = bad.recv().await.unwrap().unwrap();
        bad.send(message).await.unwrap();
        for _ in 0..2 {
            let message = good.recv().await.unwrap().unwrap();
            good.send(message).await.unwrap();
        }
        assert_answers(&mut peer_of_good, 0..2).await;
        let message = good.recv().await.unwrap().unwrap();
        good.send(message).await.unwrap();
        assert_answers(&mut peer_of_good, 2..3).await;
    }
}
