//! Connections that were split: two threads, and more, at the same time.

use std::time::Duration;

use sockeye::blocking::{self, Waited};
use sockeye::{CloseCode, CloseState, Error, Event, Message, SendError, ServerOptions};

use crate::common::{CLOSE, PONG, Raw, TEXT, masked, pair, pair_with};

/// More than the network holds.
const MUCH: usize = 16 << 20;

fn large() -> (blocking::ClientBuilder, ServerOptions) {
    let limit = MUCH as u64;
    let server = ServerOptions::builder().max_message_size(limit).build().unwrap();
    (blocking::Client::builder().max_message_size(limit), server)
}

/// Both ends send what the network cannot hold before either has read a byte: without threads of their own they would wait
/// for each other.
#[test]
fn r2_both_directions_at_once() {
    let (client, server) = large();
    let (near, far) = pair_with(client, &server);
    let ends = [near, far].map(|ws| {
        std::thread::spawn(move || {
            let (sender, mut receiver) = ws.split().unwrap();
            let sending = std::thread::spawn(move || sender.send(vec![1; MUCH]));
            // Pings go between; their pongs must not wait for a write that waits for the peer.
            let received = receiver.recv().unwrap().unwrap();
            sending.join().unwrap().unwrap();
            (received.len(), receiver)
        })
    });
    for end in ends {
        assert_eq!(end.join().unwrap().0, MUCH);
    }
}

/// A ping that comes while a message is stuck half-way: it is read at once, and answered as soon as there is room.
#[test]
fn a_pong_behind_a_message_that_is_stuck() {
    let (_, server) = large();
    let (mut peer, ws) = Raw::connect(&server);
    let (sender, mut receiver) = ws.split().unwrap();
    let sending = std::thread::spawn(move || sender.send(vec![1; MUCH]).map(|()| sender));
    // The message has begun to leave, and nobody reads the rest.
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut peer.0, &mut first).unwrap();
    peer.send(&[masked(0x89, b"now"), masked(TEXT, b"behind it")].concat());
    assert_eq!(
        receiver.next_event().unwrap(),
        Some(Event::Ping(b"now".as_slice().into()))
    );
    assert_eq!(receiver.recv().unwrap(), Some("behind it".into()));
    assert_eq!(receiver.recv_timeout(Duration::ZERO).unwrap(), Waited::TimedOut);
    let mut rest = vec![0; 9 + MUCH];
    std::io::Read::read_exact(&mut peer.0, &mut rest).unwrap();
    assert_eq!(peer.frame(), Some((PONG, b"now".to_vec())));
    sending.join().unwrap().unwrap();
}

/// Many threads send over one connection; each one's messages stay in order, and whole.
#[test]
fn senders_are_cloned() {
    let (near, mut far) = pair();
    let (sender, _receiver) = near.split().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for n in 0..500 {
                    sender.send(format!("{thread} {n} {}", "x".repeat(n))).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..2000 {
        let message = far.recv().unwrap().unwrap();
        let words: Vec<_> = message.as_text().unwrap().split(' ').collect();
        let (thread, n): (usize, usize) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        assert_eq!((n, words[2].len()), (next[thread], n));
        next[thread] += 1;
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn the_sender_closes() {
    let (near, mut far) = pair();
    let echoing = std::thread::spawn(move || crate::common::echo(&mut far).map(|()| far.close_received()));
    let (sender, mut receiver) = near.split().unwrap();
    let receiving = std::thread::spawn(move || {
        let mut messages = Vec::new();
        while let Some(message) = receiver.recv().unwrap() {
            messages.push(message);
        }
        messages
    });
    sender.send("swim").unwrap();
    sender.ping(b"").unwrap();
    sender.close(CloseCode::new(4000), "bye").unwrap();
    assert_eq!(sender.state(), CloseState::Closed);
    assert!(matches!(sender.send("late"), Err(Error::Send(SendError::Closed))));
    // A second close has nothing to do.
    sender.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(receiving.join().unwrap(), [Message::from("swim")]);
    assert_eq!(echoing.join().unwrap().unwrap(), Some(CloseCode::new(4000)));
}

#[test]
fn the_peer_closes() {
    let (near, mut far) = pair();
    let (sender, mut receiver) = near.split().unwrap();
    let closing = std::thread::spawn(move || far.close(CloseCode::GOING_AWAY, ""));
    assert_eq!(receiver.recv().unwrap(), None);
    assert_eq!(receiver.close_received(), Some(CloseCode::GOING_AWAY));
    assert!(matches!(sender.send("late"), Err(Error::Send(SendError::Closed))));
    closing.join().unwrap().unwrap();
}

/// A receiver that is dropped takes the connection with it; a sender that waits for the peer is told.
#[test]
fn the_receiver_is_dropped() {
    let (mut peer, ws) = Raw::connect(&ServerOptions::default());
    let (sender, receiver) = ws.split().unwrap();
    let sending = std::thread::spawn(move || sender.send(vec![1; MUCH]));
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut peer.0, &mut first).unwrap();
    drop(receiver);
    assert!(sending.join().unwrap().is_err());
}

/// A sender that is dropped leaves the connection as it is.
#[test]
fn the_sender_is_dropped() {
    let (mut peer, ws) = Raw::connect(&ServerOptions::default());
    let (sender, mut receiver) = ws.split().unwrap();
    drop(sender);
    peer.send(&[masked(TEXT, b"there"), masked(CLOSE, b"")].concat());
    assert_eq!(receiver.recv().unwrap(), Some("there".into()));
    assert_eq!(receiver.recv().unwrap(), None);
    assert_eq!(peer.close_code(), Some(1005));
}
