//! Deadlines: the outcome is checked, not how long it took.

use std::io::{Read, Write};
use std::time::Duration;

use sockeye::blocking::{self, Waited};
use sockeye::{AcceptError, CloseCode, CloseState, ConnectError, Error, Message, ServerOptions, Timeout, Timing};

use crate::common::{BINARY, CLOSE, PING, REQUEST, Raw, TEXT, masked, pair, read_head, serve, tcp_pair, upgraded};

const SOON: Duration = Duration::from_millis(50);
/// Longer than any test waits.
const LATE: Duration = Duration::from_secs(600);

fn closing_soon() -> ServerOptions {
    ServerOptions::builder().close_timeout(SOON).build().unwrap()
}

fn in_a_hurry() -> ServerOptions {
    ServerOptions::builder().handshake_timeout(SOON).build().unwrap()
}

/// H1: one that connects and says nothing.
#[test]
fn h1_a_silent_client() {
    let (_near, far) = tcp_pair();
    assert!(matches!(
        blocking::accept(far, &in_a_hurry()),
        Err(AcceptError::Timeout)
    ));
}

/// H1: a byte now and then, each of which would hold off a deadline that starts anew.
#[test]
fn h1_a_client_that_sends_byte_by_byte() {
    let (mut near, far) = tcp_pair();
    let accepting = std::thread::spawn(move || blocking::accept(far, &in_a_hurry()).map(drop));
    trickle(&mut near, REQUEST);
    assert!(matches!(accepting.join().unwrap(), Err(AcceptError::Timeout)));
}

/// Sends a byte, and waits a moment for an answer to it, until there is one or the end.
pub(crate) fn trickle(tcp: &mut std::net::TcpStream, bytes: &[u8]) {
    tcp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    for byte in bytes {
        let sent = tcp.write_all(&[*byte]);
        match tcp.read(&mut [0; 64]) {
            Err(error) if sent.is_ok() && matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {}
            _ => return,
        }
    }
}

#[test]
fn h1_a_silent_server() {
    let (near, _far) = tcp_pair();
    let client = blocking::Client::builder().handshake_timeout(SOON).build().unwrap();
    let connected = client.connect_over(near, "ws://localhost/");
    assert!(matches!(connected, Err(ConnectError::Timeout)));
}

#[test]
fn h1_a_server_that_sends_byte_by_byte() {
    let (address, server) = serve(|mut tcp| {
        read_head(&mut tcp);
        trickle(
            &mut tcp,
            &[b"HTTP/1.1 101 Switching Protocols\r\n", [b'a'; 4096].as_slice()].concat(),
        );
    });
    let client = blocking::Client::builder().handshake_timeout(SOON).build().unwrap();
    let connected = client.connect(&format!("ws://{address}/"));
    assert!(matches!(connected, Err(ConnectError::Timeout)));
    server.join().unwrap();
}

/// R1: a caller's deadline loses nothing, wherever in a message it strikes.
#[test]
fn r1_recv_can_be_given_up_and_goes_on_later() {
    let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
    assert_eq!(ws.recv_timeout(Duration::ZERO).unwrap(), Waited::TimedOut);
    let frame = masked(TEXT, "häppchen".as_bytes());
    for byte in &frame[..frame.len() - 1] {
        peer.send(&[*byte]);
        assert_eq!(ws.recv_timeout(Duration::from_millis(1)).unwrap(), Waited::TimedOut);
    }
    peer.send(&frame[frame.len() - 1..]);
    assert_eq!(ws.recv_timeout(LATE).unwrap(), Waited::Message("häppchen".into()));
    peer.send(&masked(CLOSE, b""));
    assert_eq!(ws.recv_timeout(LATE).unwrap(), Waited::Closed);
}

/// A timeout of the transport's own is told, and is not the end.
#[test]
fn a_timeout_of_the_socket_is_not_the_end() {
    struct Hasty(std::net::TcpStream);
    impl Read for Hasty {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Hasty {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (mut near, far) = tcp_pair();
    near.write_all(REQUEST).unwrap();
    let mut ws = blocking::accept(blocking::Untimed(Hasty(far)), &ServerOptions::default()).unwrap();
    read_head(&mut near);
    ws.transport()
        .0
        .0
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    for _ in 0..2 {
        let Err(Error::Io(error)) = ws.recv() else {
            panic!("not told");
        };
        assert!(matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ));
    }
    near.write_all(&masked(TEXT, b"there")).unwrap();
    ws.transport().0.0.set_read_timeout(None).unwrap();
    assert_eq!(ws.recv().unwrap(), Some("there".into()));
}

/// L1: the peer never answers the Close.
#[test]
fn l1_a_close_that_nobody_answers() {
    let (mut peer, mut ws) = Raw::connect(&closing_soon());
    assert!(matches!(
        ws.close(CloseCode::NORMAL, ""),
        Err(Error::Timeout(Timeout::Close))
    ));
    assert_eq!(ws.state(), CloseState::Closed);
    assert_eq!(ws.recv().unwrap(), None);
    drop(ws);
    assert_eq!(peer.close_code(), Some(1000));
}

/// L1: the peer goes on sending.
#[test]
fn l1_a_close_that_is_answered_by_messages() {
    let (peer, mut ws) = Raw::connect(&closing_soon());
    let mut writing = peer.0.try_clone().unwrap();
    let flooding = std::thread::spawn(move || {
        let frames = masked(BINARY, &[7; 1000]).repeat(50);
        while writing.write_all(&frames).is_ok() {}
    });
    assert!(matches!(
        ws.close(CloseCode::NORMAL, ""),
        Err(Error::Timeout(Timeout::Close))
    ));
    drop(ws);
    flooding.join().unwrap();
}

/// L1: the peer answers, and never ends the connection.
#[test]
fn l1_a_client_does_not_wait_for_ever_for_the_end_of_the_connection() {
    let (near, mut far) = tcp_pair();
    let serving = std::thread::spawn(move || {
        let head = read_head(&mut far);
        far.write_all(&[&upgraded(&head), &b"\x88\x00"[..]].concat()).unwrap();
        far
    });
    let client = blocking::Client::builder().close_timeout(SOON).build().unwrap();
    let mut ws = client.connect_over(near, "ws://localhost/").unwrap();
    let _far = serving.join().unwrap();
    assert_eq!(
        ws.recv_timeout(Duration::ZERO).unwrap(),
        Waited::TimedOut,
        "the Close is there, the end is not"
    );
    assert_eq!(ws.recv().unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::NO_STATUS));
}

fn timing(ping_after: Option<Duration>, pong_within: Option<Duration>, idle: Option<Duration>) -> Timing {
    let mut timing = Timing::default();
    timing.ping_after = ping_after;
    timing.pong_within = pong_within;
    timing.idle = idle;
    timing
}

#[test]
fn a_peer_that_answers_no_ping_is_given_up() {
    let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
    ws.set_timing(timing(Some(SOON), Some(SOON), None));
    assert!(matches!(ws.recv(), Err(Error::Timeout(Timeout::Pong))));
    assert_eq!(ws.recv().unwrap(), None);
    let (first, payload) = peer.frame().unwrap();
    assert_eq!((first, payload.len()), (PING, 8));
}

#[test]
fn a_peer_that_answers_pings_is_not_given_up() {
    let (mut near, mut far) = pair();
    far.set_timing(timing(Some(Duration::from_millis(5)), Some(LATE), None));
    let receiving = std::thread::spawn(move || far.recv().map(|message| (message, far)));
    // The client answers while it receives, for some pings.
    for _ in 0..3 {
        assert!(matches!(near.next_event().unwrap(), Some(sockeye::Event::Ping(_))));
    }
    near.send("still there").unwrap();
    let (message, far) = receiving.join().unwrap().unwrap();
    assert_eq!(message, Some("still there".into()));
    assert!(far.latency().is_some());
}

#[test]
fn pings_do_not_hold_off_the_idle_limit() {
    let (peer, mut ws) = Raw::connect(&ServerOptions::default());
    ws.set_timing(timing(None, None, Some(SOON)));
    let mut writing = peer.0.try_clone().unwrap();
    let pinging = std::thread::spawn(move || while writing.write_all(&masked(PING, b"")).is_ok() {});
    let mut reading = peer.0.try_clone().unwrap();
    let draining = std::thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
    assert!(matches!(ws.recv(), Err(Error::Timeout(Timeout::Idle))));
    drop(ws);
    pinging.join().unwrap();
    let _ = draining.join().unwrap();
}

/// R3, M8: a peer that does not read holds up the sender for so long, and no longer. The message was accepted once.
#[test]
fn r3_m8_a_write_that_makes_no_progress() {
    let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
    ws.set_write_timeout(Some(SOON));
    // More than the system takes for a peer that does not read.
    let message = Message::from(vec![9; 16 << 20]);
    let Err(Error::Io(error)) = ws.send(message.clone()) else {
        panic!("16 MiB went nowhere");
    };
    assert!(matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    ));
    assert!(ws.buffered_amount() > 0);
    let reading = std::thread::spawn(move || peer.frame().unwrap());
    ws.set_write_timeout(None);
    ws.flush().unwrap();
    assert_eq!(ws.buffered_amount(), 0);
    assert!(reading.join().unwrap() == (BINARY, message.into_bytes().to_vec()));
}

/// M7: pings without end from a peer that does not read. Answering them must not block for ever, nor pile up.
#[test]
fn m7_pings_of_a_peer_that_does_not_read() {
    let (peer, mut ws) = Raw::connect(&ServerOptions::default());
    ws.set_write_timeout(Some(SOON));
    let mut writing = peer.0.try_clone().unwrap();
    let pinging = std::thread::spawn(move || {
        let pings = masked(PING, &[7; 125]).repeat(500);
        while writing.write_all(&pings).is_ok() {}
    });
    let Err(Error::Io(_)) = ws.recv() else {
        panic!("answered for ever");
    };
    assert!(ws.buffered_amount() <= 64 << 10);
    drop(ws);
    drop(peer);
    pinging.join().unwrap();
}
