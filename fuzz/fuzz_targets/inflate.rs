//! Any bytes as the payload of a compressed message (RFC 7692 §6.2), and any bytes compressed and inflated again.
//!
//! What inflates past the limit must fail with `MessageTooBig`, however it is cut; what does not inflate must fail
//! with `InvalidDeflate`; what one endpoint compresses, the other must get back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_fuzz::{LIMIT, borrowed, connection, connection_without_takeover, deflate_params, owned};
use sockeye_proto::connection::{Compress, Connection, Event, Receive, Role};
use sockeye_proto::error::ProtocolError;
use sockeye_proto::frame::{FrameHeader, Opcode};

fuzz_target!(|input: &[u8]| {
    inflate(input);
    round_trip(input);
});

fn inflate(input: &[u8]) {
    let header = FrameHeader {
        fin: true,
        rsv1: true,
        opcode: Opcode::Binary,
        masking_key: None,
        payload_length: input.len() as u64,
    };
    let mut frame = Vec::new();
    header.encode(&mut frame);
    frame.extend_from_slice(input);
    // Twice, for the second message finds the window that the first one left.
    let frames = frame.repeat(2);
    let with_takeover = || connection(Role::Client, Receive::Messages, true);
    let without = || connection_without_takeover(Role::Client, Receive::Messages);
    agree(with_takeover, &frames);
    // A message that comes as a whole is inflated in another way than one in pieces.
    agree(without, &frames);
}

/// The outcome may not depend on how the frames were cut.
fn agree(connection: impl Fn() -> Connection, frames: &[u8]) {
    let outcome = owned(&mut connection(), frames, frames.len());
    match outcome.error {
        None => assert_eq!(outcome.events.len(), 2),
        Some(ProtocolError::MessageTooBig { limit }) => assert_eq!(limit, LIMIT),
        Some(ProtocolError::InvalidDeflate) => {}
        Some(other) => panic!("{other:?} for a frame that is valid but for its payload"),
    }
    let pieces = borrowed(&mut connection(), frames, 13);
    assert_eq!(pieces, outcome);
}

fn round_trip(input: &[u8]) {
    let message = &input[..input.len().min(LIMIT as usize)];
    let window_bits = 9 + input.first().map_or(0, |byte| byte % 7);
    let mut server = connection(Role::Server, Receive::Messages, false).with_deflate(deflate_params(window_bits));
    let mut client = connection(Role::Client, Receive::Messages, false).with_deflate(deflate_params(window_bits));
    let mut wire = Vec::new();
    for _ in 0..2 {
        let sent = server.send_with(message, Compress::Always, &mut wire);
        assert!(sent.is_ok(), "{sent:?}");
    }
    let outcome = owned(&mut client, &wire, wire.len());
    assert_eq!(outcome.error, None);
    let message = Event::Binary(message.to_vec().into());
    assert_eq!(outcome.events, [message.clone(), message]);
}
