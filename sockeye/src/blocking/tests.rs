//! Deadlines, by a simulated clock: a transport in memory whose peer does what a script says, and which has the time pass
//! that a read or a write would have waited.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::Event;
use sockeye_proto::keepalive::{Timeout, Timing};
use sockeye_proto::message::Message;

use super::clock::{advance, now};
use super::deadline::Deadline;
use super::{Client, Transport, TryClone, Waited, WebSocket, accept};
use crate::error::{AcceptError, ConnectError, Error};
use crate::options::ServerOptions;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SECOND: Duration = Duration::from_secs(1);

/// How exact deadlines are: a timeout is rounded up to a step of so much, or comes so much early.
const ROUGHLY: Duration = Duration::from_millis(120);

/// What a peer sends, and when; and what it gets.
struct Peer {
    sends: VecDeque<(Instant, Vec<u8>)>,
    /// What it sends from then on, again and again, so much time after each other.
    endless: Option<(Duration, Vec<u8>)>,
    /// Whether the first `101` is still to be made of a request.
    is_server: bool,
    received: Vec<u8>,
    /// How much it reads.
    room: usize,
    ended: bool,
}

/// The other end of a peer. Handles of it have timeouts of their own.
struct Simulated {
    peer: Arc<Mutex<Peer>>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Simulated {
    fn new() -> Self {
        let peer = Peer {
            sends: VecDeque::new(),
            endless: None,
            is_server: false,
            received: Vec::new(),
            room: usize::MAX,
            ended: false,
        };
        Self {
            peer: Arc::new(Mutex::new(peer)),
            read_timeout: None,
            write_timeout: None,
        }
    }

    fn peer<R>(&self, change: impl FnOnce(&mut Peer) -> R) -> R {
        change(&mut self.peer.lock().unwrap())
    }

    /// So long from now the peer sends this.
    fn after(self, time: Duration, bytes: &[u8]) -> Self {
        self.peer(|peer| peer.sends.push_back((now() + time, bytes.to_vec())));
        self
    }

    /// The peer sends these bytes one by one, each so long after the one before.
    fn trickle(mut self, bytes: &[u8], pause: Duration) -> Self {
        for (at, byte) in (0..).zip(bytes) {
            self = self.after(pause * at, &[*byte]);
        }
        self
    }
}

/// Has the time of a wait pass, or no more of it than there is.
fn wait(until: Option<Instant>, timeout: Option<Duration>) -> io::Result<()> {
    let left = until.map(|at| at.saturating_duration_since(now()));
    match (left, timeout) {
        (Some(left), None) => advance(left),
        (Some(left), Some(timeout)) if left <= timeout => advance(left),
        (_, Some(timeout)) => {
            advance(timeout);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        (None, None) => panic!("it would wait for ever"),
    }
    Ok(())
}

impl Read for Simulated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut peer = self.peer.lock().unwrap();
        if peer.sends.is_empty()
            && let Some((pause, bytes)) = peer.endless.clone()
        {
            peer.sends.push_back((now() + pause, bytes));
        }
        let next = peer.sends.front().map(|(at, _)| *at);
        if next.is_none() && peer.ended {
            return Ok(0);
        }
        wait(next, self.read_timeout)?;
        let Some((_, bytes)) = peer.sends.front_mut() else {
            return Ok(0);
        };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        bytes.drain(..count);
        if bytes.is_empty() {
            peer.sends.pop_front();
        }
        Ok(count)
    }
}

impl Write for Simulated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut peer = self.peer.lock().unwrap();
        if peer.room == 0 {
            wait(None, self.write_timeout)?;
        }
        let count = bytes.len().min(peer.room);
        peer.room -= count;
        peer.received.extend(&bytes[..count]);
        if peer.is_server && peer.received.ends_with(b"\r\n\r\n") {
            peer.is_server = false;
            let response = upgraded(std::str::from_utf8(&peer.received).unwrap());
            peer.sends.push_front((now(), response));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Simulated {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout = timeout;
        Ok(())
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.write_timeout = timeout;
        Ok(())
    }

    fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TryClone for Simulated {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            peer: self.peer.clone(),
            read_timeout: None,
            write_timeout: None,
        })
    }

    fn abort(&self) -> io::Result<()> {
        self.peer(|peer| peer.ended = true);
        Ok(())
    }
}

/// The response that makes a WebSocket of this request.
fn upgraded(request: &str) -> Vec<u8> {
    let mut lines = request.lines();
    let key = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = sockeye_proto::handshake::accept_key(key.unwrap().as_bytes());
    let head =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ";
    [&head[..], &accept, b"\r\n\r\n"].concat()
}

/// A frame as a client sends it, masked with zeroes, shorter than 126 bytes.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8 | 0x80, 0, 0, 0, 0], payload].concat()
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A server's connection to a peer that has asked for it, and says nothing yet.
fn accepted() -> WebSocket<Simulated> {
    let io = Simulated::new().after(Duration::ZERO, REQUEST);
    let ws = accept(io, &ServerOptions::default()).unwrap();
    ws.transport().peer(|peer| peer.received.clear());
    ws
}

/// What the peer got.
fn received(ws: &WebSocket<Simulated>) -> Vec<u8> {
    ws.transport().peer(|peer| peer.received.clone())
}

#[track_caller]
fn took(start: Instant, expected: Duration) {
    let took = now() - start;
    assert!(took + ROUGHLY >= expected && took <= expected + ROUGHLY, "{took:?}");
}

/// H1: one that connects and says nothing.
#[test]
fn h1_a_silent_client() {
    let start = now();
    let accepted = accept(Simulated::new(), &ServerOptions::default());
    assert!(matches!(accepted, Err(AcceptError::Timeout)));
    took(start, 10 * SECOND);
}

/// H1: a byte now and then, each of which would hold off a deadline that starts anew.
#[test]
fn h1_a_client_that_sends_byte_by_byte() {
    let start = now();
    let accepted = accept(Simulated::new().trickle(REQUEST, SECOND), &ServerOptions::default());
    assert!(matches!(accepted, Err(AcceptError::Timeout)));
    took(start, 10 * SECOND);
}

#[test]
fn h1_a_silent_server() {
    let start = now();
    let client = Client::builder().build().unwrap();
    let connected = client.connect_over(Simulated::new(), "ws://localhost/");
    assert!(matches!(connected, Err(ConnectError::Timeout)));
    took(start, 10 * SECOND);
}

#[test]
fn h1_a_server_that_sends_byte_by_byte() {
    let start = now();
    let head = [b"HTTP/1.1 101 Switching Protocols\r\n", [b'a'; 4096].as_slice()].concat();
    let client = Client::builder().handshake_timeout(3 * SECOND).build().unwrap();
    let connected = client.connect_over(Simulated::new().trickle(&head, SECOND / 10), "ws://localhost/");
    assert!(matches!(connected, Err(ConnectError::Timeout)));
    took(start, 3 * SECOND);
}

/// R1: a caller's deadline loses nothing, wherever in a message it strikes.
#[test]
fn r1_recv_can_be_given_up_and_goes_on_later() {
    let mut ws = accepted();
    assert_eq!(ws.recv_timeout(Duration::ZERO).unwrap(), Waited::TimedOut);
    let frame = masked(TEXT, "häppchen".as_bytes());
    let first = now() + SECOND / 2;
    for (second, byte) in (0..).zip(&frame) {
        let at = first + SECOND * second;
        ws.transport().peer(|peer| peer.sends.push_back((at, vec![*byte])));
    }
    for _ in 1..frame.len() {
        let start = now();
        assert_eq!(ws.recv_timeout(SECOND).unwrap(), Waited::TimedOut);
        took(start, SECOND);
    }
    assert_eq!(
        ws.recv_timeout(10 * SECOND).unwrap(),
        Waited::Message("häppchen".into())
    );
    let close = masked(CLOSE, b"");
    ws.transport().peer(|peer| peer.sends.push_back((now(), close)));
    assert_eq!(ws.recv_timeout(SECOND).unwrap(), Waited::Closed);
}

/// L1: the peer never answers the Close.
#[test]
fn l1_a_close_that_nobody_answers() {
    let mut ws = accepted();
    let start = now();
    assert!(matches!(
        ws.close(CloseCode::NORMAL, ""),
        Err(Error::Timeout(Timeout::Close))
    ));
    took(start, 5 * SECOND);
    assert_eq!(ws.state(), CloseState::Closed);
    assert_eq!(ws.recv().unwrap(), None);
    assert_eq!(received(&ws), [0x88, 2, 3, 0xe8]);
}

/// L1: the peer goes on sending.
#[test]
fn l1_a_close_that_is_answered_by_messages() {
    let mut ws = accepted();
    let flood = masked(TEXT, b"more").repeat(100);
    ws.transport().peer(|peer| peer.endless = Some((SECOND / 1000, flood)));
    let start = now();
    assert!(matches!(
        ws.close(CloseCode::NORMAL, ""),
        Err(Error::Timeout(Timeout::Close))
    ));
    took(start, 5 * SECOND);
}

/// L1: the peer answers, and never ends the connection.
#[test]
fn l1_a_client_does_not_wait_for_ever_for_the_end_of_the_connection() {
    let io = Simulated::new();
    io.peer(|peer| peer.is_server = true);
    let io = io.after(Duration::ZERO, b"\x88\x00");
    let mut ws = Client::builder()
        .build()
        .unwrap()
        .connect_over(io, "ws://localhost/")
        .unwrap();
    let start = now();
    let waited = ws.recv_timeout(Duration::ZERO).unwrap();
    assert_eq!(waited, Waited::TimedOut, "the Close is there, the end is not");
    assert_eq!(ws.recv().unwrap(), None);
    took(start, 5 * SECOND);
    assert_eq!(ws.close_received(), Some(CloseCode::NO_STATUS));
}

#[test]
fn a_peer_that_answers_no_ping_is_given_up() {
    let mut ws = accepted();
    let start = now();
    assert!(matches!(ws.recv(), Err(Error::Timeout(Timeout::Pong))));
    took(start, 40 * SECOND);
    assert_eq!(ws.recv().unwrap(), None);
    let received = received(&ws);
    assert_eq!((received.len(), &received[..2]), (2 + 8, &[PING, 8][..]));
}

#[test]
fn a_peer_that_answers_pings_is_not_given_up() {
    let mut ws = accepted();
    for _ in 0..3 {
        ws.transport().peer(|peer| peer.received.clear());
        // A little less than it is given.
        assert_eq!(ws.recv_timeout(39 * SECOND).unwrap(), Waited::TimedOut);
        let ping = received(&ws);
        let pong = masked(0x8a, &ping[2..]);
        ws.transport().peer(|peer| peer.sends.push_back((now(), pong)));
        assert!(matches!(ws.next_event().unwrap(), Some(Event::Pong(_))));
        took(now() - ws.latency().unwrap(), 19 * SECOND);
    }
}

#[test]
fn pings_do_not_hold_off_the_idle_limit() {
    let mut ws = accepted();
    let mut timing = Timing::default();
    timing.ping_after = None;
    timing.idle = Some(60 * SECOND);
    ws.set_timing(timing);
    ws.transport()
        .peer(|peer| peer.endless = Some((SECOND, masked(PING, b""))));
    let start = now();
    assert!(matches!(ws.recv(), Err(Error::Timeout(Timeout::Idle))));
    took(start, 60 * SECOND);
}

/// R3, M8: a peer that does not read holds up the sender for so long, and no longer. The message was accepted once.
#[test]
fn r3_m8_a_write_that_makes_no_progress() {
    let mut ws = accepted();
    ws.transport().peer(|peer| peer.room = 100);
    let message = Message::from(vec![9; 60_000]);
    let start = now();
    assert!(matches!(ws.send(message.clone()), Err(Error::Io(_))));
    took(start, 20 * SECOND);
    assert_eq!(ws.buffered_amount(), 4 + 60_000 - 100);
    ws.transport().peer(|peer| peer.room = usize::MAX);
    ws.flush().unwrap();
    assert_eq!(ws.buffered_amount(), 0);
    assert_eq!(received(&ws)[4..], *message.as_bytes());
}

/// M7: pings without end from a peer that does not read. Answering them must not block for ever, nor pile up.
#[test]
fn m7_pings_of_a_peer_that_does_not_read() {
    let mut ws = accepted();
    let pings = masked(PING, &[7; 125]).repeat(500);
    ws.transport()
        .peer(|peer| (peer.room, peer.endless) = (0, Some((Duration::ZERO, pings))));
    let start = now();
    assert!(matches!(ws.recv(), Err(Error::Io(_))));
    took(start, 20 * SECOND);
    assert!(ws.buffered_amount() <= 64 << 10);
}

/// L1: nobody answers the Close, by whichever half it is waited for.
#[test]
fn l1_a_close_that_nobody_answers_ends_both_halves() {
    let (sender, mut receiver) = accepted().split().unwrap();
    let start = now();
    assert!(matches!(
        sender.close(CloseCode::NORMAL, ""),
        Err(Error::Timeout(Timeout::Close))
    ));
    took(start, 5 * SECOND);
    assert!(matches!(
        receiver.recv(),
        Err(Error::Timeout(Timeout::Close) | Error::ConnectionLost)
    ));

    let (sender, mut receiver) = accepted().split().unwrap();
    let start = now();
    // The Close is sent, and the wait for its answer given up by a stuck transport.
    receiver.recv_timeout(SECOND).unwrap();
    assert!(sender.close(CloseCode::NORMAL, "").is_err());
    took(start, 6 * SECOND);
}

/// R3: the same while a message is stuck before the Close.
#[test]
fn l1_r3_a_close_behind_a_message_that_is_stuck() {
    let ws = accepted();
    ws.transport().peer(|peer| peer.room = 1);
    let (sender, mut receiver) = ws.split().unwrap();
    let start = now();
    assert!(matches!(sender.send(vec![1; 60_000]), Err(Error::Io(_))));
    took(start, 20 * SECOND);
    assert!(matches!(
        sender.close(CloseCode::NORMAL, ""),
        Err(Error::Timeout(Timeout::Close))
    ));
    took(start, 25 * SECOND);
    assert!(receiver.recv().is_err());
}

/// One read from TLS is many from TCP: all of them together have until the deadline.
#[test]
fn a_deadline_leaves_each_operation_what_the_others_have_left_of_it() {
    let deadline = Deadline::within(10 * SECOND);
    advance(3 * SECOND);
    assert_eq!(deadline.remaining().unwrap(), Some(7 * SECOND));
    advance(7 * SECOND - SECOND / 1000);
    assert_eq!(deadline.remaining().unwrap(), Some(SECOND / 1000));
    advance(SECOND / 1000);
    assert_eq!(deadline.remaining().unwrap_err().kind(), io::ErrorKind::TimedOut);
}
