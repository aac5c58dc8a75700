//! Any message, of up to 200 KiB, compressed without context takeover at any level and window, and inflated by zlib-rs
//! and by a connection (RFC 7692 §7.2).
//!
//! The message is grown from the input by copies of its own parts, near and far, and by runs, so that there is something
//! to find.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sockeye_fuzz::owned;
use sockeye_proto::connection::{Compress, Config, Connection, Event, Role};
use sockeye_proto::deflate::{DeflateDirection, DeflateOptions, DeflateParams};
use sockeye_proto::frame::FrameHeader;
use zlib_rs::{Inflate, InflateFlush};

const LONGEST: usize = 200 * 1024;

fuzz_target!(|input: &[u8]| {
    let [settings, steps, data @ ..] = input else { return };
    let (level, window_bits) = (1 + settings % 9, 9 + (settings >> 4) % 7);
    let (plan, data) = data.split_at(data.len().min(usize::from(steps % 16) * 4));
    let message = grown(plan, data);
    let mut server = connection(Role::Server, level, window_bits);
    let mut wire = Vec::new();
    // Twice: the second message may not refer to the first, and finds the tables as that left them.
    for _ in 0..2 {
        let sent = server.send_with(&message[..], Compress::Always, &mut wire);
        assert!(sent.is_ok(), "{sent:?}");
    }
    let half = wire.len() / 2;
    assert_eq!(wire[..half], wire[half..]);
    let blocks = message.len() / (48 * 1024) + 1;
    assert!(half <= FrameHeader::MAX_LENGTH + message.len() + 5 * blocks + 1);
    by_zlib(&wire[..half], &message);
    let mut client = connection(Role::Client, level, window_bits);
    let outcome = owned(&mut client, &wire, wire.len());
    assert_eq!(outcome.error, None);
    let event = Event::Binary(message.into());
    assert!(outcome.events == [event.clone(), event]);
});

/// Appends to `data` what each four bytes of the plan say: a copy of so much from so far back, or a run.
fn grown(plan: &[u8], data: &[u8]) -> Vec<u8> {
    let mut message = data.to_vec();
    for step in plan.chunks_exact(4) {
        let far = usize::from(u16::from_le_bytes([step[0], step[1]]));
        let length = usize::from(u16::from_le_bytes([step[2], step[3]]));
        if far == 0 || message.is_empty() {
            message.resize(message.len() + length, step[2]);
        } else {
            let start = message.len().saturating_sub(far);
            let end = message.len().min(start + length);
            message.extend_from_within(start..end);
        }
    }
    message.truncate(LONGEST);
    message
}

fn connection(role: Role, level: u8, max_window_bits: u8) -> Connection {
    let direction = DeflateDirection {
        context_takeover: false,
        max_window_bits,
    };
    let mut config = Config::new(|bytes| bytes.fill(0x55));
    if let Ok(options) = DeflateOptions::server().with_level(level) {
        config.deflate = options;
    }
    Connection::new(role, Arc::new(config)).with_deflate(DeflateParams::new(direction, direction))
}

fn by_zlib(frame: &[u8], message: &[u8]) {
    let Ok(Some((header, length))) = FrameHeader::decode(frame) else {
        panic!("our own header");
    };
    assert!(header.rsv1);
    let payload = [&frame[length..], &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let mut output = vec![0; message.len() + 1];
    let mut inflate = Inflate::new(false, 15);
    let status = inflate.decompress(&payload, &mut output, InflateFlush::SyncFlush);
    assert!(status.is_ok(), "{status:?}");
    assert_eq!(inflate.total_in(), payload.len() as u64);
    assert!(&output[..inflate.total_out() as usize] == message);
}
