//! What the tests of the receive path share: frames by hand, and a peer that is fed through both fronts, cut anywhere.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;
use sockeye_proto::close::CloseState;
use sockeye_proto::connection::{Config, Connection, Event, Role};
use sockeye_proto::error::ProtocolError;
use sockeye_proto::mask;
use sockeye_proto::message::{MessageKind, Payload};

/// A generator that never repeats a key within a test; no CSPRNG.
pub(crate) fn entropy(bytes: &mut [u8]) {
    static STATE: AtomicU32 = AtomicU32::new(1);
    for byte in bytes {
        let state = STATE.fetch_add(0x9E37_79B9, Ordering::Relaxed);
        *byte = (state.wrapping_mul(0x85EB_CA6B) >> 24) as u8;
    }
}

pub(crate) fn config() -> Config {
    Config::new(entropy)
}

pub(crate) fn server() -> Connection {
    Connection::new(Role::Server, Arc::new(config()))
}

pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it, with the first byte given and the length in its shortest form.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, 0x80, payload.len() as u64);
    frame.extend_from_slice(&KEY);
    let start = frame.len();
    frame.extend_from_slice(payload);
    mask::apply(&mut frame[start..], KEY, 0);
    frame
}

/// A frame as a server sends it.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, 0, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The header without a masking key.
pub(crate) fn header(first: u8, mask: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(mask | length as u8),
        126..=0xFFFF => {
            header.push(mask | 126);
            header.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend_from_slice(&length.to_be_bytes());
        }
    }
    header
}

/// A Close frame as a server sends it.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    unmasked(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// An event in a form that both fronts have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Chunk(MessageKind, Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

pub(crate) fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

/// What came of an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Seen>,
    pub(crate) out: Vec<u8>,
    pub(crate) error: Option<ProtocolError>,
}

fn seen<B>(event: Event<B>) -> Seen
where
    B: sockeye_proto::connection::Buffer + AsRef<[u8]> + std::fmt::Debug,
    B::Text: AsRef<str>,
{
    let bytes = |data: B| data.as_ref().to_vec();
    match event {
        Event::Text(text) => Seen::Text(text.as_ref().into()),
        Event::Binary(data) => Seen::Binary(bytes(data)),
        Event::Chunk { kind, data, fin } => Seen::Chunk(kind, bytes(data), fin),
        Event::Ping(data) => Seen::Ping(bytes(data)),
        Event::Pong(data) => Seen::Pong(bytes(data)),
        Event::Close(frame) => Seen::Close(frame.map(|frame| (frame.code.as_u16(), frame.reason.to_string()))),
        other => panic!("an event without a form here: {other:?}"),
    }
}

/// Feeds `pieces` through the borrowed front.
pub(crate) fn feed_borrowed<'a>(connection: &mut Connection, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut outcome, mut input) = (Outcome::default(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        let mut start = 0;
        loop {
            match connection.receive(&mut input[start..], &mut outcome.out) {
                Ok(received) => {
                    start += received.consumed;
                    let Some(event) = received.event else { break };
                    outcome.events.push(seen(event));
                }
                Err(error) => {
                    assert_eq!(outcome.error.replace(error), None, "an error is told once");
                    assert_eq!(connection.state(), CloseState::Closed);
                    start = input.len();
                }
            }
        }
        input.drain(..start);
    }
    outcome
}

/// Feeds `pieces` through the short way for whole messages, and the borrowed front for all else.
pub(crate) fn feed_whole<'a>(connection: &mut Connection, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut outcome, mut input) = (Outcome::default(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        let mut start = 0;
        loop {
            let step = match connection.receive_whole(&mut input[start..], &mut outcome.out) {
                Ok(Some((length, Payload::Text(text)))) => Ok((length, Some(Seen::Text(text.into())))),
                Ok(Some((length, Payload::Binary(bytes)))) => Ok((length, Some(Seen::Binary(bytes.into())))),
                Ok(None) => connection
                    .receive(&mut input[start..], &mut outcome.out)
                    .map(|received| (received.consumed, received.event.map(seen))),
                Err(error) => Err(error),
            };
            match step {
                Ok((consumed, event)) => {
                    start += consumed;
                    let Some(event) = event else { break };
                    outcome.events.push(event);
                }
                Err(error) => {
                    assert_eq!(outcome.error.replace(error), None, "an error is told once");
                    assert_eq!(connection.state(), CloseState::Closed);
                    start = input.len();
                }
            }
        }
        input.drain(..start);
    }
    outcome
}

/// Feeds `pieces` through the owned front.
pub(crate) fn feed_owned<'a>(connection: &mut Connection, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut outcome, mut input) = (Outcome::default(), BytesMut::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match connection.receive_bytes(&mut input, &mut outcome.out) {
                Ok(Some(event)) => outcome.events.push(seen(event)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(outcome.error.replace(error), None, "an error is told once");
                    assert_eq!(connection.state(), CloseState::Closed);
                }
            }
        }
    }
    outcome
}

/// Feeds `input` to fresh connections: whole, byte by byte, and cut in two at each place, through both fronts, and
/// demands the same outcome each time (threat F9). Answers it.
pub(crate) fn receive(fresh: impl Fn() -> Connection, input: &[u8]) -> Outcome {
    let whole = feed_borrowed(&mut fresh(), [input]);
    let check = |outcome: Outcome, how: &str| assert_eq!(outcome, whole, "{how} differs from the whole");
    check(feed_owned(&mut fresh(), [input]), "the owned front");
    check(feed_whole(&mut fresh(), [input]), "the short way");
    check(feed_borrowed(&mut fresh(), input.chunks(1)), "byte by byte");
    check(feed_owned(&mut fresh(), input.chunks(1)), "byte by byte, owned,");
    // Each cut of a long input would take quadratic time: the ends are where the headers are.
    let cuts = (0..input.len()).filter(|cut| *cut < 300 || input.len() - cut < 300);
    for cut in cuts {
        let (head, tail) = input.split_at(cut);
        check(feed_borrowed(&mut fresh(), [head, tail]), &format!("cut at {cut}"));
        check(feed_owned(&mut fresh(), [head, tail]), &format!("cut at {cut}, owned,"));
        check(
            feed_whole(&mut fresh(), [head, tail]),
            &format!("cut at {cut}, the short way"),
        );
    }
    whole
}

/// Demands that a server fails for `input` with this error and this Close frame, after these events.
#[track_caller]
pub(crate) fn assert_fails(input: &[u8], events: &[Seen], error: ProtocolError, code: u16) {
    assert_fails_as(server, input, events, error, code);
}

#[track_caller]
pub(crate) fn assert_fails_as(
    fresh: impl Fn() -> Connection,
    input: &[u8],
    events: &[Seen],
    error: ProtocolError,
    code: u16,
) {
    let outcome = receive(fresh, input);
    assert_eq!(outcome.error, Some(error), "{input:02x?}");
    assert_eq!(outcome.events, events, "{input:02x?}");
    let at = outcome.out.len() - usize::from(outcome.out[outcome.out.len() - closing_length(&outcome.out) + 1] & 0x7F);
    assert_eq!(outcome.out[at..at + 2], code.to_be_bytes(), "{input:02x?}");
}

/// The length of the Close frame that `out` ends with, by the only place where one can start.
fn closing_length(out: &[u8]) -> usize {
    (2..=127)
        .rev()
        .find(|length| {
            let Some(start) = out.len().checked_sub(*length) else {
                return false;
            };
            out[start] == 0x88 && usize::from(out[start + 1]) == length - 2
        })
        .expect("the output ends with a Close frame")
}
