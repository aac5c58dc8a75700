//! R3, L1, L3: every wait has an end, also when the peer stops reading or never stops sending.

use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye::{Client, CloseCode, CloseState, Error, SendError, Server, ServerOptions, Timeout, accept};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, advance};

use crate::common::{CLOSE, Hesitant, REQUEST, Raw, StillClock, TEXT, at_most, masked, options, pair, unmasked};

#[tokio::test(start_paused = true)]
async fn l1_the_peer_never_answers_close() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    let start = Instant::now();
    let closed = ws.close(CloseCode::GOING_AWAY, "restart").await;
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(ws.state(), CloseState::Closed);
    assert_eq!(ws.recv().await.unwrap(), None);
    assert!(matches!(ws.send("").await, Err(Error::Send(SendError::Closed))));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(peer.close_code().await, Some(1001));
}

#[tokio::test(start_paused = true)]
async fn l1_the_deadline_is_the_option_and_runs_from_the_first_close() {
    let (near, far) = tokio::io::duplex(1024);
    let client = Client::builder()
        .close_timeout(Duration::from_millis(700))
        .build()
        .unwrap();
    let (ws, _peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, b""));
    let mut ws = ws.unwrap();
    let start = Instant::now();
    for _ in 0..2 {
        let waiting = tokio::time::timeout(Duration::from_millis(300), ws.close(CloseCode::NORMAL, ""));
        assert!(waiting.await.is_err());
    }
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timeout::Close))));
    assert_eq!(start.elapsed().as_millis() / 10, 70);
}

/// The peer sends all the time and never a Close. Its messages are discarded, and the deadline is kept though there is
/// always something to read.
#[tokio::test(start_paused = true)]
async fn l1_the_peer_goes_on_sending_after_close() {
    let _clock = StillClock::new();
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let flooding = std::thread::spawn(move || flood(address, &masked(TEXT, b"more").repeat(10_000)));
    let mut ws = server.accept().await.unwrap().accept().await.unwrap();
    assert!(at_most(500, ws.close(CloseCode::NORMAL, "")).await.is_none());
    advance(CLOSE_TIMEOUT).await;
    let closed = ws.close(CloseCode::NORMAL, "").await;
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    drop(ws);
    // The file descriptor is free: the peer cannot go on.
    flooding.join().unwrap();
}

/// The same after the peer broke the protocol, where what it sends is drained.
#[tokio::test(start_paused = true)]
async fn l1_the_peer_goes_on_sending_after_a_violation() {
    let _clock = StillClock::new();
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let flooding = std::thread::spawn(move || flood(address, &[0xff; 100_000]));
    let mut ws = server.accept().await.unwrap().accept().await.unwrap();
    assert!(at_most(500, ws.recv()).await.is_none());
    advance(CLOSE_TIMEOUT).await;
    assert!(matches!(ws.recv().await, Err(Error::Protocol(_))));
    assert_eq!(ws.recv().await.unwrap(), None);
    drop(ws);
    flooding.join().unwrap();
}

/// What a peer has for the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that sends `bytes` again and again until it no longer can.
fn flood(address: std::net::SocketAddr, bytes: &[u8]) {
    use std::io::Write;
    let mut tcp = std::net::TcpStream::connect(address).unwrap();
    tcp.write_all(REQUEST).unwrap();
    while tcp.write_all(bytes).is_ok() {}
}

/// The peer sees the end of the TCP connection when a WebSocket is dropped after its close deadline.
#[tokio::test]
async fn l1_dropping_frees_the_descriptor() {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        use std::io::Write;
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        tcp.write_all(REQUEST).unwrap();
        let mut all = Vec::new();
        // Never answers, and reads to the end.
        tcp.read_to_end(&mut all).unwrap();
        all
    });
    let mut ws = server.accept().await.unwrap().accept().await.unwrap();
    // Only now: a clock that jumps ahead would not wait for a handshake over TCP.
    tokio::time::pause();
    assert!(matches!(
        ws.close(CloseCode::NORMAL, "").await,
        Err(Error::Timeout(Timeout::Close))
    ));
    drop(ws);
    assert!(
        peer.join()
            .unwrap()
            .ends_with(&unmasked(CLOSE, &1000_u16.to_be_bytes()))
    );
}

#[tokio::test(start_paused = true)]
async fn r3_close_while_a_write_is_blocked() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, _peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    let sending = tokio::time::timeout(Duration::from_secs(1), ws.send(vec![0; 200_000]));
    assert!(sending.await.is_err());
    assert!(ws.buffered_amount() > 190_000);
    let start = Instant::now();
    let closed = ws.close(CloseCode::NORMAL, "").await;
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    assert_eq!(start.elapsed().as_secs(), 5);
}

/// The violation is told after the deadline at the latest, though its Close could not be written.
#[tokio::test(start_paused = true)]
async fn r3_a_violation_while_a_write_is_blocked() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    let sending = tokio::time::timeout(Duration::from_secs(1), ws.send(vec![0; 200_000]));
    assert!(sending.await.is_err());
    peer.send(&unmasked(TEXT, b"unmasked")).await;
    let start = Instant::now();
    let received = ws.recv().await;
    assert!(matches!(received, Err(Error::Protocol(_))), "{received:?}");
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(ws.recv().await.unwrap(), None);
}

/// The client waits for the server to end the connection, and no longer than its deadline.
#[tokio::test(start_paused = true)]
async fn l1_the_server_answers_close_and_keeps_the_connection() {
    let (near, far) = tokio::io::duplex(1024);
    let (client, _) = options(false);
    let answer = unmasked(CLOSE, &1000_u16.to_be_bytes());
    let (ws, _peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, &answer));
    let mut ws = ws.unwrap();
    let start = Instant::now();
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(ws.close_received(), Some(CloseCode::NORMAL));
}

/// A byte that arrives costs a few polls of the transport, and none are made while nothing arrives.
#[tokio::test(start_paused = true)]
async fn l3_bounded_polls_for_each_byte() {
    let (near, far) = tokio::io::duplex(1024);
    let near = Hesitant::new(near, 64);
    let polls = near.polls.clone();
    let server = ServerOptions::builder().ping_interval(None).build().unwrap();
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    let receiving = tokio::spawn(async move { (ws.recv().await.unwrap(), ws.recv().await.unwrap()) });
    let frame = masked(TEXT, &[b'x'; 500]);
    let before = polls.load(Ordering::Relaxed);
    for byte in &frame {
        peer.send(&[*byte]).await;
        // Lets the receiver take it, and an hour pass.
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let made = polls.load(Ordering::Relaxed) - before;
    assert!(made <= 8 * frame.len(), "{made} polls for {} bytes", frame.len());
    peer.send(&masked(CLOSE, b"")).await;
    let (message, end) = receiving.await.unwrap();
    assert_eq!(message.unwrap().len(), 500);
    assert_eq!(end, None);
}

/// The error of a transport that takes nothing any more is told at once, not after a deadline.
#[tokio::test(start_paused = true)]
async fn r3_a_lost_connection_is_told_at_once() {
    let (mut near, far) = pair(1024).await;
    let start = Instant::now();
    drop(far);
    assert!(matches!(near.recv().await, Err(Error::ConnectionLost)));
    assert_eq!(near.recv().await.unwrap(), None);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// A Close that arrived before the peer stopped to read is still delivered.
#[tokio::test(start_paused = true)]
async fn r3_what_came_before_a_write_error_is_received() {
    let (near, far) = tokio::io::duplex(4096);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    peer.send(&masked(TEXT, b"before")).await;
    peer.send(&masked(CLOSE, &4002_u16.to_be_bytes())).await;
    peer.io.shutdown().await.unwrap();
    drop(peer);
    assert!(matches!(ws.send("too late").await, Err(Error::Io(_))));
    assert_eq!(ws.recv().await.unwrap(), Some("before".into()));
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::new(4002)));
}

/// A transport on which there is always something to read, and which never yields: first a request, then the same bytes
/// again and again, a millisecond after each other.
#[derive(Debug)]
struct Endless {
    request: &'static [u8],
    then: Vec<u8>,
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.request.is_empty() {
            // The clock moves when this is first polled; what it waits for then does not matter.
            let _ = pin!(advance(Duration::from_millis(1))).poll(cx);
            // A read has room for more than this.
            let then = &self.then[..self.then.len().min(buffer.remaining())];
            buffer.put_slice(then);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.request).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn endless(then: Vec<u8>) -> sockeye::WebSocket<Endless> {
    let io = Endless { request: REQUEST, then };
    accept(io, &ServerOptions::default()).await.unwrap()
}

/// The timer alone does not end these: the task that asks it is never idle.
#[tokio::test(start_paused = true)]
async fn l1_messages_that_never_pause_do_not_put_off_the_deadline() {
    let mut ws = endless(masked(TEXT, &[b'x'; 58])).await;
    assert_eq!(ws.recv().await.unwrap().unwrap().len(), 58);
    let closed = ws.close(CloseCode::NORMAL, "").await;
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    assert_eq!(ws.recv().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn l1_what_never_pauses_behind_a_violation_does_not_put_off_the_deadline() {
    let mut ws = endless(vec![0xff; 64]).await;
    assert!(matches!(ws.recv().await, Err(Error::Protocol(_))));
    assert_eq!(ws.recv().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn l1_what_never_pauses_behind_a_close_does_not_put_off_the_deadline() {
    let mut ws = endless(masked(CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::NORMAL));
}
