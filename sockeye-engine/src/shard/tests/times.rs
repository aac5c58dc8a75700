//! Deadlines, pings and the end of a server, on a clock that is turned by hand.

use std::sync::Arc;
use std::time::Duration;

use sockeye::ServerOptions;

use super::lab::{Lab, REQUEST, Told, masked};
use crate::Cause;
use crate::mailbox::Command;
use crate::report::Tally;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cause(told: &[Told]) -> Option<Cause> {
    match told.last() {
        Some(Told::Close { cause, .. }) => *cause,
        _ => None,
    }
}

#[test]
fn a_request_that_takes_too_long_ends() {
    let mut lab = Lab::new();
    let client = lab.connect();
    for byte in &REQUEST[..9] {
        lab.say(client, &[*byte]);
        lab.pass(s(1));
    }
    assert!(!lab.is_gone(client));
    lab.pass(s(1) + Duration::from_millis(100));
    assert!(lab.is_gone(client) && lab.told().is_empty());
}

#[test]
fn silence_is_pinged_and_then_given_up() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.pass(Duration::from_millis(19_900));
    assert!(lab.hear(client).is_empty());
    lab.pass(Duration::from_millis(2200));
    let frames = lab.frames(client);
    assert_eq!((frames.len(), frames[0].0, frames[0].1.len()), (1, 0x89, 8));
    // Any bytes are a sign of life. The ping left up to two seconds ago.
    lab.pass(Duration::from_millis(17_700));
    lab.say(client, &masked(0x8a, &frames[0].1));
    lab.pass(Duration::from_millis(19_900));
    assert!(lab.hear(client).is_empty());
    lab.pass(Duration::from_millis(2200));
    assert_eq!(lab.frames(client).len(), 1);
    lab.pass(s(20));
    assert!(lab.is_gone(client));
    assert_eq!(cause(&lab.told()), Some(Cause::PongTimeout));
}

#[test]
fn those_that_are_silent_together_are_not_pinged_together() {
    let mut lab = Lab::new();
    let clients: Vec<_> = (0..400).map(|_| lab.open()).collect();
    clients.iter().for_each(|client| drop(lab.hear(*client)));
    lab.pass(Duration::from_millis(19_950));
    let mut pinged = [0; 42];
    for tick in &mut pinged {
        lab.pass(Duration::from_millis(50));
        for client in &clients {
            *tick += lab.frames(*client).len();
        }
    }
    assert_eq!(
        pinged.iter().sum::<usize>(),
        400,
        "each once, within two seconds: {pinged:?}"
    );
    assert!(
        pinged.iter().all(|count| *count < 40),
        "ten a tick, more or less: {pinged:?}"
    );
}

#[test]
fn a_peer_that_does_not_answer_a_close_has_five_seconds() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.text(client, "close bye");
    lab.pass(Duration::from_millis(4900));
    assert!(!lab.is_gone(client));
    lab.pass(Duration::from_millis(200));
    assert!(lab.is_gone(client));
    assert_eq!(cause(&lab.told()), Some(Cause::CloseTimeout));

    // So has one that answers and then does not end the transport.
    let client = lab.open();
    lab.say(client, &masked(0x88, b""));
    lab.pass(Duration::from_millis(5100));
    assert!(lab.is_gone(client));
    assert!(matches!(lab.told().last(), Some(Told::Close { clean: true, .. })));
}

#[test]
fn idle_connections_and_old_ones_are_told_to_go() {
    let idle = ServerOptions::builder().idle_timeout(s(30)).build().unwrap();
    let mut lab = Lab::with(idle, |_| {});
    let client = lab.open();
    for _ in 0..5 {
        lab.pass(s(20));
        lab.text(client, "hello");
    }
    lab.hear(client);
    // Pings and pongs are no messages.
    for _ in 0..3 {
        lab.pass(s(9));
        lab.say(client, &masked(0x8a, b""));
    }
    assert!(!lab.frames(client).iter().any(|frame| frame.0 == 0x88));
    lab.pass(s(4));
    let frames = lab.frames(client);
    assert_eq!((frames[0].0, &frames[0].1[..2]), (0x88, &b"\x03\xe9"[..]));
    lab.say(client, &masked(0x88, b"\x03\xe9"));
    assert_eq!(cause(&lab.told()), Some(Cause::IdleTimeout));

    let old = ServerOptions::builder().max_lifetime(s(100)).build().unwrap();
    let mut lab = Lab::with(old, |_| {});
    let clients: Vec<_> = (0..50).map(|_| lab.open()).collect();
    let mut seconds = Vec::new();
    for second in 1..=101 {
        lab.pass(s(1));
        for client in &clients {
            lab.say(*client, &masked(0x8a, b""));
            if lab.frames(*client).iter().any(|frame| frame.0 == 0x88) {
                seconds.push(second);
            }
        }
    }
    assert_eq!(seconds.len(), 50, "{seconds:?}");
    assert!(seconds.iter().all(|second| (90..=101).contains(second)), "{seconds:?}");
    assert!(seconds.first() != seconds.last(), "not all together: {seconds:?}");
}

#[test]
fn a_shutdown_paces_its_closes_and_counts() {
    let mut lab = Lab::new();
    let clients: Vec<_> = (0..100).map(|_| lab.open()).collect();
    let opening = lab.connect();
    let tally = Arc::new(Tally::default());
    lab.shared.shards[0]
        .mailbox
        .post(Command::Shutdown(s(10), tally.clone()));
    lab.end_turn();
    let mut told = Vec::new();
    for tenth in 1..=100 {
        lab.pass(Duration::from_millis(100));
        for client in &clients[..90] {
            if lab.frames(*client).iter().any(|frame| frame.0 == 0x88) {
                told.push(tenth);
                lab.say(*client, &masked(0x88, b"\x03\xe9"));
                lab.end(*client);
            }
        }
    }
    lab.pass(s(1));
    assert!(lab.is_gone(opening));
    assert_eq!(told.len(), 90);
    assert!(told.iter().all(|tenth| *tenth <= 51), "in half of the time: {told:?}");
    assert!(
        told.iter().filter(|tenth| **tenth <= 10).count() < 60,
        "not all at once: {told:?}"
    );
    assert!(lab.shard.has_left());
    let report = tally.report();
    assert_eq!((report.closed, report.dropped), (90, 10));
    // Who comes now is not taken on.
    let late = lab.connect();
    assert!(lab.is_gone(late));
}
