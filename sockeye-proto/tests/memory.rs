//! The Memory rows of the threat list, by a counting allocator. Each test is a process of its own under nextest; under
//! `cargo test` a lock keeps them apart.

mod common;

use std::alloc::System;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap::Cap;
use common::*;
use sockeye_proto::connection::{Compress, Connection, Receive, Role};
use sockeye_proto::deflate::DeflateParams;
use sockeye_proto::deflate::negotiation::DeflateDirection;
use sockeye_proto::error::ProtocolError;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const C: usize = 1 << 20;
const KIB: usize = 1024;

fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A high-water mark of the heap since its creation, at the points where it is asked.
struct Heap {
    start: usize,
    most: usize,
}

impl Heap {
    fn now() -> Self {
        Self {
            start: ALLOCATOR.allocated(),
            most: 0,
        }
    }

    fn look(&mut self) -> usize {
        let growth = ALLOCATOR.allocated().saturating_sub(self.start);
        self.most = self.most.max(growth);
        growth
    }
}

/// Feeds `input` in pieces of at most `size` bytes through the borrowed front and drops the events. What a piece leaves
/// is kept, as a driver would, in a buffer that was there before the measurement. Answers the error.
fn drive(connection: &mut Connection, input: &mut [u8], size: usize, heap: &mut Heap) -> Option<ProtocolError> {
    let mut out = Vec::new();
    drive_with(connection, input, size, heap, &mut out)
}

fn drive_with(
    connection: &mut Connection,
    input: &mut [u8],
    size: usize,
    heap: &mut Heap,
    out: &mut Vec<u8>,
) -> Option<ProtocolError> {
    let (mut start, mut end) = (0, 0);
    while end < input.len() {
        end = input.len().min(end + size);
        loop {
            match connection.receive(&mut input[start..end], out) {
                Ok(received) => {
                    start += received.consumed;
                    let more = received.event.is_some();
                    heap.look();
                    if !more {
                        break;
                    }
                }
                Err(error) => {
                    heap.look();
                    return Some(error);
                }
            }
        }
    }
    None
}

fn compressing(role: Role, takeover: bool) -> Connection {
    let direction = DeflateDirection {
        context_takeover: takeover,
        max_window_bits: 15,
    };
    Connection::new(role, Arc::new(config())).with_deflate(DeflateParams::new(direction, direction))
}

#[test]
fn f1_length_overflow_takes_no_memory() {
    let _alone = alone();
    for length in [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 32, usize::MAX as u64] {
        let mut input = [masked(0x82, &[0; 10]), header(0x82, 0x80, length), KEY.to_vec()].concat();
        let (mut server, mut out) = (server(), Vec::with_capacity(KIB));
        let mut heap = Heap::now();
        let before = ALLOCATOR.max_allocated();
        assert!(drive_with(&mut server, &mut input, usize::MAX, &mut heap, &mut out).is_some());
        assert_eq!(heap.most, 0);
        assert_eq!(ALLOCATOR.max_allocated(), before, "not even for a moment");
    }
}

#[test]
fn f2_nothing_is_allocated_for_a_declared_length() {
    let _alone = alone();
    let claim = [header(0x82, 0x80, C as u64), KEY.to_vec()].concat();
    let fragment = [header(0x02, 0x80, C as u64), KEY.to_vec()].concat();
    for mut input in [claim, fragment] {
        let mut servers: Vec<Connection> = std::iter::repeat_with(server).take(10_000).collect();
        let mut heap = Heap::now();
        for server in &mut servers {
            assert_eq!(drive(server, &mut input.clone(), 1, &mut heap), None);
        }
        input.clear();
        assert!(heap.look() <= 10_000 * 16 * KIB);
        assert!(
            heap.look() <= 10_000 * 512,
            "and in fact a few hundred bytes: {}",
            heap.look()
        );
    }
}

#[test]
fn m1_tiny_fragments_without_end() {
    let _alone = alone();
    let mut input = masked(0x02, b"x");
    (0..10_000).for_each(|_| input.extend_from_slice(&masked(0x00, b"y")));
    let wire = 4096 * 7;
    let (mut server, mut heap) = (server(), Heap::now());
    let error = drive(&mut server, &mut input, 1000, &mut heap);
    assert_eq!(error, Some(ProtocolError::TooManyParts { limit: 4096 }));
    assert_eq!(server.close_sent().map(u16::from), Some(1008));
    assert!(heap.most <= 2 * wire + 64 * KIB, "{}", heap.most);
}

#[test]
fn m2_a_million_empty_continuations() {
    let _alone = alone();
    let mut input = masked(0x01, b"");
    (0..1_000_000).for_each(|_| input.extend_from_slice(&masked(0x00, b"")));
    let (mut server, mut heap) = (server(), Heap::now());
    let error = drive(&mut server, &mut input, 64 * KIB, &mut heap);
    assert_eq!(error, Some(ProtocolError::TooManyParts { limit: 4096 }));
    assert_eq!(server.close_sent().map(u16::from), Some(1008));
    assert!(heap.most <= 64 * KIB, "{}", heap.most);
}

#[test]
fn m3_fragments_adding_up_past_the_limit() {
    let _alone = alone();
    let half = vec![7; C / 2];
    let mut input = [masked(0x02, &half), masked(0x00, &half), masked(0x80, b"!")].concat();
    let (mut server, mut heap) = (server(), Heap::now());
    let error = drive(&mut server, &mut input, 64 * KIB, &mut heap);
    assert_eq!(error, Some(ProtocolError::MessageTooBig { limit: C as u64 }));
    assert_eq!(server.close_sent().map(u16::from), Some(1009));
    assert!(heap.most <= C + 64 * KIB, "{}", heap.most);
}

#[test]
fn m4_one_byte_reads() {
    let _alone = alone();
    let payload = vec![b'a'; C];
    // Kept in the caller's buffer; assembled; both text, so that each byte is checked too.
    let fragments = [masked(0x01, &payload[..10]), masked(0x80, &payload[10..])].concat();
    for mut input in [masked(0x81, &payload), fragments] {
        let (mut server, mut heap) = (server(), Heap::now());
        assert_eq!(drive(&mut server, &mut input, 1, &mut heap), None);
        assert!(heap.most <= C + 64 * KIB, "{}", heap.most);
    }
}

#[test]
fn m5_inflation_bombs() {
    let _alone = alone();
    let mut bomb = Vec::new();
    let mut client = compressing(Role::Client, false);
    client
        .send_with(&vec![0; 64 * C][..], Compress::Always, &mut bomb)
        .unwrap();
    // The same compressed bytes again, spread over fragments of 1,000 bytes.
    let length = usize::from(u16::from_be_bytes([bomb[2], bomb[3]]));
    let (start, key) = if bomb[1] & 0x7F == 126 { (8, 4) } else { (14, 10) };
    let mut body = bomb[start..].to_vec();
    let masking_key = bomb[key..key + 4].try_into().unwrap();
    sockeye_proto::mask::apply(&mut body, masking_key, 0);
    assert!(start == 14 || length == body.len());
    let mut fragments = Vec::new();
    for (index, piece) in body.chunks(1000).enumerate() {
        fragments.extend_from_slice(&masked(if index == 0 { 0x42 } else { 0x00 }, piece));
    }
    for mut input in [bomb, fragments] {
        let (mut server, mut heap) = (compressing(Role::Server, false), Heap::now());
        let error = drive(&mut server, &mut input, 64 * KIB, &mut heap);
        assert_eq!(error, Some(ProtocolError::MessageTooBig { limit: C as u64 }));
        assert_eq!(server.close_sent().map(u16::from), Some(1009));
        assert!(heap.most <= C + 64 * KIB, "{}", heap.most);
        let peak = ALLOCATOR.max_allocated();
        assert!(
            peak <= heap.start + 70 * C,
            "the bomb itself, never what it inflates to"
        );
    }
}

#[test]
fn m5_a_bomb_in_chunks_stops_at_the_limit_too() {
    let _alone = alone();
    let mut bomb = Vec::new();
    let mut client = compressing(Role::Client, false);
    client
        .send_with(&vec![0; 8 * C][..], Compress::Always, &mut bomb)
        .unwrap();
    let mut config = config();
    config.receive = Receive::Chunks;
    let direction = DeflateDirection {
        context_takeover: false,
        max_window_bits: 15,
    };
    let mut server =
        Connection::new(Role::Server, Arc::new(config)).with_deflate(DeflateParams::new(direction, direction));
    let mut heap = Heap::now();
    let error = drive(&mut server, &mut bomb, 64 * KIB, &mut heap);
    assert_eq!(error, Some(ProtocolError::MessageTooBig { limit: C as u64 }));
    assert!(heap.most <= 64 * KIB, "chunks take constant memory: {}", heap.most);
}

#[test]
fn m7_a_million_pings_whose_pongs_are_never_read() {
    let _alone = alone();
    let mut batch = Vec::new();
    (0..1000).for_each(|_| batch.extend_from_slice(&masked(0x89, &[b'p'; 125])));
    let last = masked(0x89, b"last");
    let (mut server, mut out) = (server(), Vec::new());
    let mut heap = Heap::now();
    for _ in 0..1000 {
        let mut input = batch.clone();
        drive_with(&mut server, &mut input, usize::MAX, &mut Heap::now(), &mut out);
        drop(input);
        heap.look();
    }
    drive_with(&mut server, &mut last.clone(), usize::MAX, &mut heap, &mut out);
    assert!(heap.most <= 64 * KIB, "{}", heap.most);
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
    let (mut server, mut heap) = (server(), Heap::now());
    for _ in 0..1000 {
        let mut input = batch.clone();
        drive(&mut server, &mut input, usize::MAX, &mut Heap::now());
        drop(input);
        assert_eq!(heap.look(), 0);
    }
}

#[test]
fn m10_nothing_is_retained_after_a_large_message() {
    let _alone = alone();
    let payload = vec![b'a'; C];
    let mut compressed = Vec::new();
    compressing(Role::Client, false)
        .send(&payload[..], &mut compressed)
        .unwrap();
    assert!(compressed.len() < C / 100);
    let mut small = Vec::new();
    compressing(Role::Client, false)
        .send(&payload[..100], &mut small)
        .unwrap();
    let fragments = [masked(0x01, &payload[..10]), masked(0x80, &payload[10..])].concat();
    for mut input in [masked(0x81, &payload), fragments, compressed] {
        let mut server = compressing(Role::Server, false);
        // The thread's inflater is not the connection's; it is there from the first compressed message on.
        drive(&mut server, &mut small.clone(), usize::MAX, &mut Heap::now());
        let mut heap = Heap::now();
        assert_eq!(drive(&mut server, &mut input, 64 * KIB, &mut heap), None);
        assert!(heap.look() <= 4 * KIB, "{}", heap.look());
    }
}

#[test]
fn an_idle_connection_with_context_takeover_can_release_its_compressor() {
    let _alone = alone();
    let (mut server, mut client) = (compressing(Role::Server, true), compressing(Role::Client, true));
    let text = "a tick of a ticker, again and again and again and again and again".repeat(2);
    let mut out = Vec::with_capacity(KIB);
    // The thread's spare compressor serves first; take it into use before the measurement.
    client.send(text.as_str(), &mut out).unwrap();
    let mut heap = Heap::now();
    out.clear();
    server.send(text.as_str(), &mut out).unwrap();
    assert!(heap.look() > 200 * KIB);
    server.release_idle();
    assert!(heap.look() <= 4 * KIB, "{}", heap.look());
    // What follows refers to nothing before it, and the peer decodes it.
    server.send(text.as_str(), &mut out).unwrap();
    assert_eq!(
        feed_borrowed(&mut client, [&out[..]]).events,
        [common::text(&text), common::text(&text)]
    );
}
