//! What the targets for the receive path share: a connection is fed in several ways, and they must agree.
#![forbid(unsafe_code)]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sockeye_proto::close::CloseState;
use sockeye_proto::connection::{Config, Connection, Event, Receive, Role};
use sockeye_proto::deflate::DeflateDirection;
use sockeye_proto::deflate::DeflateParams;
use sockeye_proto::error::ProtocolError;

/// The message limit, in bytes. Small, so that inputs reach it.
pub const LIMIT: u64 = 16 * 1024;

/// The limit of frames in one message.
const PARTS: u32 = 20;

/// A connection with small limits and, if asked for, permessage-deflate with context takeover.
#[must_use]
pub fn connection(role: Role, receive: Receive, deflate: bool) -> Connection {
    let connection = Connection::new(role, Arc::new(config(receive)));
    connection.with_deflate(deflate.then(|| deflate_params(15)).flatten())
}

/// The same without context takeover: each message by itself.
#[must_use]
pub fn connection_without_takeover(role: Role, receive: Receive) -> Connection {
    let direction = DeflateDirection {
        context_takeover: false,
        max_window_bits: 15,
    };
    Connection::new(role, Arc::new(config(receive))).with_deflate(DeflateParams::new(direction, direction))
}

fn config(receive: Receive) -> Config {
    let mut config = Config::new(|bytes| bytes.fill(0x55));
    config.max_message_size = LIMIT;
    config.max_message_parts = Some(PARTS);
    config.receive = receive;
    config
}

/// Context takeover and windows of this many bits, both ways.
#[must_use]
pub fn deflate_params(max_window_bits: u8) -> Option<DeflateParams> {
    let direction = DeflateDirection {
        context_takeover: true,
        max_window_bits,
    };
    DeflateParams::new(direction, direction)
}

/// All that came of an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Owned, whatever front they came from.
    pub events: Vec<Event<Bytes>>,
    /// What the connection answered.
    pub out: Vec<u8>,
    /// How it failed, if it did.
    pub error: Option<ProtocolError>,
}

/// Feeds `input` as one endpoint might see it: whole, in pieces, by both fronts, with and without deflate.
///
/// The events, the answers and the error may not depend on the front or on how the input was cut. A connection that
/// failed is closed, and told so to the peer unless it had sent a Close before.
pub fn check(role: Role, input: &[u8]) {
    for deflate in [false, true] {
        let mut whole = connection(role, Receive::Messages, deflate);
        let expected = owned(&mut whole, input, input.len().max(1));
        for event in &expected.events {
            assert!(message_length(event) <= LIMIT);
        }
        if expected.error.is_some() {
            assert_eq!(whole.state(), CloseState::Closed);
            assert!(whole.close_sent().is_some());
        }
        // An odd size and one byte: every boundary is met by some input.
        for size in [1, 7] {
            let mut pieces = connection(role, Receive::Messages, deflate);
            assert_eq!(owned(&mut pieces, input, size), expected);
            let mut lent = connection(role, Receive::Messages, deflate);
            assert_eq!(borrowed(&mut lent, input, size), expected);
        }
        let mut chunks = connection(role, Receive::Chunks, deflate);
        let streamed = owned(&mut chunks, input, 7);
        assert!(streamed.events.iter().all(|event| message_length(event) == 0));
    }
}

/// Feeds pieces of `size` bytes to `receive_bytes`.
pub fn owned(connection: &mut Connection, input: &[u8], size: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut buffer = BytesMut::new();
    for piece in input.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match connection.receive_bytes(&mut buffer, &mut outcome.out) {
                Ok(Some(event)) => outcome.events.push(event),
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
    }
    outcome
}

/// Feeds pieces of `size` bytes to `receive`.
pub fn borrowed(connection: &mut Connection, input: &[u8], size: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut buffer = Vec::new();
    for piece in input.chunks(size) {
        buffer.extend_from_slice(piece);
        let mut start = 0;
        loop {
            match connection.receive(&mut buffer[start..], &mut outcome.out) {
                Ok(received) => {
                    start += received.consumed;
                    match received.event {
                        Some(event) => outcome.events.push(to_owned(event)),
                        None => break,
                    }
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
        buffer.drain(..start);
    }
    outcome
}

fn to_owned(event: Event<&[u8]>) -> Event<Bytes> {
    let copy = |data: &[u8]| Bytes::copy_from_slice(data);
    match event {
        Event::Text(text) => Event::Text(text.into()),
        Event::Binary(data) => Event::Binary(copy(data)),
        Event::Chunk { kind, data, fin } => Event::Chunk {
            kind,
            data: copy(data),
            fin,
        },
        Event::Ping(data) => Event::Ping(copy(data)),
        Event::Pong(data) => Event::Pong(copy(data)),
        Event::Close(frame) => Event::Close(frame),
        other => panic!("an event that this harness does not know: {other:?}"),
    }
}

/// The bytes of a whole message; 0 for every other event.
fn message_length(event: &Event<Bytes>) -> u64 {
    match event {
        Event::Text(text) => text.len() as u64,
        Event::Binary(data) => data.len() as u64,
        _ => 0,
    }
}
