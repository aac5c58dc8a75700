//! The Memory rows of the threat list, by a counting allocator.

mod common;
mod heap;

use std::sync::Arc;

use common::*;
use heap::{allocated, alone, growth, least_growth};
use sockeye_proto::connection::{Compress, Connection, Receive, Role};
use sockeye_proto::deflate::DeflateDirection;
use sockeye_proto::deflate::DeflateParams;
use sockeye_proto::error::ProtocolError;

const C: usize = 1 << 20;
const KIB: usize = 1024;

/// Feeds `input` in pieces of at most `size` bytes through the borrowed front and drops the events. What a piece leaves
/// is kept, as a driver would, in a buffer that was there before. Answers the error, and what the heap grew by.
fn drive(connection: &mut Connection, input: &mut [u8], size: usize) -> (Option<ProtocolError>, usize) {
    let mut out = Vec::with_capacity(KIB);
    growth(|| drive_into(connection, input, size, &mut out))
}

fn drive_into(connection: &mut Connection, input: &mut [u8], size: usize, out: &mut Vec<u8>) -> Option<ProtocolError> {
    let (mut start, mut end) = (0, 0);
    while end < input.len() {
        end = input.len().min(end + size.min(input.len()));
        loop {
            match connection.receive(&mut input[start..end], out) {
                Ok(received) => {
                    start += received.consumed;
                    if received.event.is_none() {
                        break;
                    }
                }
                Err(error) => return Some(error),
            }
        }
    }
    None
}

fn agreed(takeover: bool) -> Option<DeflateParams> {
    let direction = DeflateDirection {
        context_takeover: takeover,
        max_window_bits: 15,
    };
    DeflateParams::new(direction, direction)
}

fn compressing(role: Role, takeover: bool) -> Connection {
    Connection::new(role, Arc::new(config())).with_deflate(agreed(takeover))
}

/// What a client sends for a message that it compresses.
fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut client = compressing(Role::Client, false);
    client.send_with(payload, Compress::Always, &mut frame).unwrap();
    frame
}

/// The payload of a masked frame.
fn unmask(frame: &[u8]) -> Vec<u8> {
    let (header, length) = sockeye_proto::frame::FrameHeader::decode(frame).unwrap().unwrap();
    let mut payload = frame[length..].to_vec();
    sockeye_proto::mask::apply(&mut payload, header.masking_key.unwrap(), 0);
    payload
}

/// Noise, which no compressor makes shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn f1_length_overflow_takes_no_memory() {
    let _alone = alone();
    for length in [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 32, usize::MAX as u64] {
        let input = [masked(0x82, &[0; 10]), header(0x82, 0x80, length), KEY.to_vec()].concat();
        let mut out = Vec::with_capacity(KIB);
        let mut attempts: Vec<_> = std::iter::repeat_with(|| (server(), input.clone())).take(3).collect();
        let heap = least_growth(|| {
            let (mut server, mut input) = attempts.pop().expect("three attempts");
            assert!(drive_into(&mut server, &mut input, usize::MAX, &mut out).is_some());
        });
        assert_eq!(heap, 0, "not even for a moment");
    }
}

#[test]
fn f2_nothing_is_allocated_for_a_declared_length() {
    let _alone = alone();
    // A whole message, a first fragment, and both compressed.
    for first in [0x82, 0x02, 0xC2, 0x42] {
        let claim = [header(first, 0x80, C as u64), KEY.to_vec()].concat();
        let fresh = || compressing(Role::Server, false);
        let servers = || std::iter::repeat_with(fresh).take(10_000).collect::<Vec<_>>();
        let mut attempts = vec![
            (servers(), claim.clone()),
            (servers(), claim.clone()),
            (servers(), claim),
        ];
        let mut out = Vec::new();
        let mut done = Vec::with_capacity(3);
        let heap = least_growth(|| {
            let (mut servers, mut claim) = attempts.pop().expect("three attempts");
            for server in &mut servers {
                assert_eq!(drive_into(server, &mut claim, 1, &mut out), None);
            }
            done.push(servers);
        });
        assert_eq!(heap, 0, "first byte {first:#04x}; 16 KiB each would do");
    }
}

#[test]
fn m1_tiny_fragments_without_end() {
    let _alone = alone();
    let mut input = masked(0x02, b"x");
    (0..10_000).for_each(|_| input.extend_from_slice(&masked(0x00, b"y")));
    let wire = 4096 * 7;
    let mut server = server();
    let (error, heap) = drive(&mut server, &mut input, 1000);
    assert_eq!(error, Some(ProtocolError::TooManyParts { limit: 4096 }));
    assert_eq!(server.close_sent().map(u16::from), Some(1008));
    assert!(heap <= 2 * wire + 64 * KIB, "{heap}");
}

#[test]
fn m2_a_million_empty_continuations() {
    let _alone = alone();
    let mut input = masked(0x01, b"");
    (0..1_000_000).for_each(|_| input.extend_from_slice(&masked(0x00, b"")));
    let mut server = server();
    let (error, heap) = drive(&mut server, &mut input, 64 * KIB);
    assert_eq!(error, Some(ProtocolError::TooManyParts { limit: 4096 }));
    assert_eq!(server.close_sent().map(u16::from), Some(1008));
    assert!(heap <= 64 * KIB, "{heap}");
}

#[test]
fn m3_fragments_adding_up_past_the_limit() {
    let _alone = alone();
    let half = vec![7; C / 2];
    let mut input = [masked(0x02, &half), masked(0x00, &half), masked(0x80, b"!")].concat();
    let mut server = server();
    let (error, heap) = drive(&mut server, &mut input, 64 * KIB);
    assert_eq!(error, Some(ProtocolError::MessageTooBig { limit: C as u64 }));
    assert_eq!(server.close_sent().map(u16::from), Some(1009));
    assert!(heap <= C + 64 * KIB, "{heap}");
}

#[test]
fn m4_one_byte_reads() {
    let _alone = alone();
    let payload = vec![b'a'; C];
    // Kept in the caller's buffer; assembled; inflated. All text, so that each byte is checked too.
    let fragments = [masked(0x01, &payload[..10]), masked(0x80, &payload[10..])].concat();
    let text: String = noise(C / 2).iter().map(|byte| char::from(byte & 0x7F)).collect();
    let mut inflated = compressed(text.as_bytes());
    inflated[0] = 0xC1;
    for mut input in [masked(0x81, &payload), fragments, inflated] {
        let (error, heap) = drive(&mut compressing(Role::Server, false), &mut input, 1);
        assert_eq!(error, None);
        assert!(heap <= C + 64 * KIB, "{heap}");
    }
}

#[test]
fn m5_inflation_bombs() {
    let _alone = alone();
    let bomb = compressed(&vec![0; 64 * C]);
    // The same, spread over fragments of 1,000 bytes.
    let mut fragments = Vec::new();
    for (index, piece) in unmask(&bomb).chunks(1000).enumerate() {
        fragments.extend_from_slice(&masked(if index == 0 { 0x42 } else { 0x00 }, piece));
    }
    for input in [bomb, fragments] {
        for size in [usize::MAX, 64 * KIB, 1] {
            let mut server = compressing(Role::Server, false);
            let (error, heap) = drive(&mut server, &mut input.clone(), size);
            assert_eq!(error, Some(ProtocolError::MessageTooBig { limit: C as u64 }));
            assert_eq!(server.close_sent().map(u16::from), Some(1009));
            assert!(heap <= C + 64 * KIB, "{heap}");
        }
    }
}

#[test]
fn m5_a_bomb_in_chunks_stops_at_the_limit_too() {
    let _alone = alone();
    let mut bomb = compressed(&vec![0; 8 * C]);
    let mut config = config();
    config.receive = Receive::Chunks;
    let mut server = Connection::new(Role::Server, Arc::new(config)).with_deflate(agreed(false));
    let (error, heap) = drive(&mut server, &mut bomb, 64 * KIB);
    assert_eq!(error, Some(ProtocolError::MessageTooBig { limit: C as u64 }));
    assert!(heap <= 64 * KIB, "chunks take constant memory: {heap}");
}

#[test]
fn m7_a_million_pings_whose_pongs_are_never_read() {
    let _alone = alone();
    let mut batch = Vec::new();
    (0..1000).for_each(|_| batch.extend_from_slice(&masked(0x89, &[b'p'; 125])));
    let (mut server, mut out) = (server(), Vec::new());
    let mut input = batch.clone();
    let ((), heap) = growth(|| {
        for _ in 0..1000 {
            input.copy_from_slice(&batch);
            assert_eq!(drive_into(&mut server, &mut input, usize::MAX, &mut out), None);
        }
    });
    assert!(heap <= 64 * KIB, "{heap}");
    drive_into(&mut server, &mut masked(0x89, b"last"), usize::MAX, &mut out);
    // Only the latest waits; it goes out when there is room.
    out.clear();
    server.resume_output(&mut out);
    assert_eq!(out, unmasked(0x8A, b"last"));
    server.resume_output(&mut out);
    assert_eq!(out.len(), 6, "once");
}

#[test]
fn m9_a_million_unsolicited_pongs() {
    let _alone = alone();
    let mut batch = Vec::new();
    (0..1000).for_each(|_| batch.extend_from_slice(&masked(0x8A, &[b'p'; 125])));
    let (mut server, mut out) = (server(), Vec::new());
    let mut input = batch.clone();
    let heap = least_growth(|| {
        for _ in 0..400 {
            input.copy_from_slice(&batch);
            assert_eq!(drive_into(&mut server, &mut input, usize::MAX, &mut out), None);
        }
    });
    assert_eq!(heap, 0);
}

#[test]
fn m10_nothing_is_retained_after_a_large_message_was_received() {
    let _alone = alone();
    let payload = vec![b'a'; C];
    let compressed_payload = compressed(&payload);
    assert!(compressed_payload.len() < C / 100);
    let mut small = compressed(&payload[..100]);
    let fragments = [masked(0x01, &payload[..10]), masked(0x80, &payload[10..])].concat();
    for takeover in [false, true] {
        for mut input in [masked(0x81, &payload), fragments.clone(), compressed_payload.clone()] {
            let (mut server, mut out) = (compressing(Role::Server, takeover), Vec::new());
            // What a codec takes, the thread's or the connection's own, is there from the first compressed message on.
            drive_into(&mut server, &mut small.clone(), usize::MAX, &mut out);
            let baseline = allocated();
            assert_eq!(drive_into(&mut server, &mut input, 64 * KIB, &mut out), None);
            let retained = allocated().saturating_sub(baseline);
            assert!(retained <= 4 * KIB, "{retained}");
        }
    }
    small.clear();
}

#[test]
fn m10_nothing_is_retained_after_a_large_message_was_sent() {
    let _alone = alone();
    let payload = noise(C);
    for takeover in [false, true] {
        let mut server = compressing(Role::Server, takeover);
        let mut out = Vec::new();
        server.send_with(&payload[..100], Compress::Always, &mut out).unwrap();
        drop(out);
        let baseline = allocated();
        let mut out = Vec::new();
        server.send_with(&payload[..], Compress::Always, &mut out).unwrap();
        drop(out);
        let retained = allocated().saturating_sub(baseline);
        assert!(retained <= 4 * KIB, "context takeover {takeover}: {retained}");
    }
}

#[test]
fn codecs_own_what_their_documentation_says() {
    let _alone = alone();
    // The thread keeps the compressor of whole messages.
    let mut wire = Vec::with_capacity(KIB);
    for (level, documented) in [(2, 43), (6, 107)] {
        let mut config = config();
        config.deflate = config.deflate.with_level(level).unwrap();
        let mut client = Connection::new(Role::Client, Arc::new(config)).with_deflate(agreed(false));
        wire.clear();
        let ((), heap) = growth(|| client.send_with("hello", Compress::Always, &mut wire).unwrap());
        assert!(
            (documented * KIB..=(documented + 2) * KIB).contains(&heap),
            "{level}: {heap}"
        );
    }
    let mut server = compressing(Role::Server, true);
    let ((), heap) = growth(|| assert_eq!(drive_into(&mut server, &mut wire, usize::MAX, &mut Vec::new()), None));
    assert!((54 * KIB..=56 * KIB).contains(&heap), "an inflater: {heap}");
    let mut out = Vec::with_capacity(KIB);
    let ((), heap) = growth(|| server.send_with("hello", Compress::Always, &mut out).unwrap());
    assert!(
        (379 * KIB..=390 * KIB).contains(&heap),
        "a compressor with context takeover: {heap}"
    );
}

#[test]
fn an_idle_connection_with_context_takeover_can_release_its_compressor() {
    let _alone = alone();
    let (mut server, mut client) = (compressing(Role::Server, true), compressing(Role::Client, true));
    let text = "a tick of a ticker, again and again and again and again and again".repeat(2);
    let mut out = Vec::with_capacity(KIB);
    let baseline = allocated();
    server.send(text.as_str(), &mut out).unwrap();
    assert!(allocated() - baseline > 379 * KIB);
    server.release_idle();
    assert!(allocated() - baseline <= 4 * KIB);
    // What follows refers to nothing before it, and the peer decodes it.
    server.send(text.as_str(), &mut out).unwrap();
    assert_eq!(
        feed_borrowed(&mut client, [&out[..]]).events,
        [common::text(&text), common::text(&text)]
    );
}
