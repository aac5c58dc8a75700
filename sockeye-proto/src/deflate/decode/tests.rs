//! The decoder beside the codec that takes messages in pieces, which has the last word.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Strategy as Matching};

use super::Decoder;
use crate::deflate::encode::Encoder;
use crate::deflate::{DeflaterSettings, Inflater};
use crate::error::ProtocolError;

/// The message, if it is shorter than `room` bytes by what may be written past its end.
fn decode(payload: &[u8], room: usize) -> Option<Vec<u8>> {
    let mut output = vec![0; room];
    let length = Decoder::new().inflate(payload, &mut output)?;
    output.truncate(length);
    Some(output)
}

/// Room for any message here.
const ROOM: usize = 1 << 20;

/// What the other codec makes of it, in pieces.
fn in_pieces(payload: &[u8], size: usize) -> Result<Vec<u8>, ProtocolError> {
    let (mut inflater, mut message) = (Inflater::new(), vec![]);
    for piece in payload.chunks(size) {
        let mut read = 0;
        loop {
            let done = inflater.inflate(&piece[read..])?;
            read += done.read;
            message.extend_from_slice(inflater.output(done.written));
            if read == piece.len() && !done.more {
                break;
            }
        }
    }
    loop {
        let done = inflater.finish()?;
        message.extend_from_slice(inflater.output(done.written));
        if !done.more {
            return Ok(message);
        }
    }
}

/// A compressor with all of zlib's ways.
fn compressed(message: &[u8], level: i32, strategy: Matching, flush: DeflateFlush) -> Vec<u8> {
    let mut stream = Deflate::new_with_config(DeflateConfig {
        level,
        strategy,
        window_bits: -15,
        ..DeflateConfig::default()
    });
    let mut out = vec![0; message.len() * 2 + 1000];
    // Two flushes make several blocks, the empty ones among them.
    let half = message.len() / 2;
    stream
        .compress(&message[..half], &mut out, DeflateFlush::SyncFlush)
        .unwrap();
    let written = stream.total_out() as usize;
    stream.compress(&message[half..], &mut out[written..], flush).unwrap();
    out.truncate(stream.total_out() as usize);
    if out.ends_with(&[0x00, 0x00, 0xFF, 0xFF]) {
        out.truncate(out.len() - 4);
    }
    out
}

#[test]
fn rfc7692_section_7_2_3_examples_inflate_to_hello() {
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        assert_eq!(decode(payload, ROOM).unwrap(), b"Hello");
        assert_eq!(decode(payload, 4), None, "no room");
        for end in 0..payload.len() - 1 {
            let cut = decode(&payload[..end], ROOM);
            assert!(cut.is_none() || cut == in_pieces(&payload[..end], 1).ok());
        }
    }
    assert_eq!(decode(&[0xf2, 0x48, 0xcd, 0xc9], ROOM), None, "cut short");
    assert_eq!(decode(&[0], 0).unwrap(), b"");
    assert_eq!(decode(&[], ROOM), None);
    // Back past the beginning, and past a final block.
    assert_eq!(decode(&[0xf2, 0x00, 0x11, 0x00, 0x00], ROOM), None);
    let past_final = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2, 0x00, 0x11, 0x00, 0x00];
    assert_eq!(decode(&past_final, ROOM), None);
}

#[test]
fn a_message_that_has_no_room_is_left_alone() {
    let text: Vec<u8> = (0..3000_u32)
        .flat_map(|n| alloc::format!("{}", n.wrapping_mul(n)).into_bytes())
        .collect();
    for message in [&text[..], &text[..500], &[b'r'; 9000], &[]] {
        let payload = compressed(message, 6, Matching::Default, DeflateFlush::SyncFlush);
        for room in [
            0,
            1,
            300,
            1000,
            message.len(),
            message.len() + 100,
            message.len() + 1000,
        ] {
            let decoded = decode(&payload, room);
            assert!(decoded.as_deref().is_none_or(|decoded| decoded == message));
            assert!(decoded.is_some() || room < message.len() + 300);
        }
    }
}

#[test]
fn d3_a_message_cut_short_anywhere_is_refused() {
    // Varied enough for a code of its own, whose lengths take more than the nine bytes that a flush adds.
    let text: Vec<u8> = (0..4000_u32).map(|n| ((n * n) % 251 * (n % 7 + 1) / 7) as u8).collect();
    let mut encoder = Encoder::new(DeflaterSettings {
        level: 6,
        memory_level: 8,
        window_bits: 15,
    });
    let payload = encoder.compress(&text);
    assert_eq!(payload[0] & 0b110, 0b100, "a dynamic block");
    for end in 0..payload.len() {
        assert_eq!(decode(&payload[..end], ROOM), None, "{end}");
        assert_eq!(
            in_pieces(&payload[..end], 100),
            Err(ProtocolError::InvalidDeflate),
            "{end}"
        );
    }
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(0..6_u8, 0..300),
        (any::<u8>(), 0..20_000_usize).prop_map(|(byte, times)| vec![byte; times]),
        "[a-z ,.]{0,60}".prop_map(alloc::string::String::into_bytes),
    ];
    let order = prop::collection::vec(any::<prop::sample::Index>(), 0..40);
    (prop::collection::vec(piece, 1..10), order).prop_map(|(pieces, order)| {
        let chosen = order.iter().map(|index| index.get(&pieces).as_slice());
        chosen.collect::<Vec<_>>().concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_a_compressor_writes_is_inflated(
        message in any_message(),
        level in 0..=9_i32,
        strategy in prop::sample::select(vec![
            Matching::Default, Matching::Filtered, Matching::HuffmanOnly, Matching::Rle, Matching::Fixed,
        ]),
        end in prop::sample::select(vec![DeflateFlush::SyncFlush, DeflateFlush::FullFlush, DeflateFlush::Finish]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut payload = compressed(&message, level, strategy, end);
        prop_assert!(decode(&payload, message.len() + 300).is_some_and(|decoded| decoded == message));
        let length = cut.index(payload.len());
        let cut = decode(&payload[..length], ROOM);
        prop_assert!(cut.is_none() || cut == in_pieces(&payload[..length], 7).ok());
        for (index, byte) in changes {
            *index.get_mut(&mut payload) ^= byte;
        }
        let changed = decode(&payload, ROOM);
        prop_assert!(changed.is_none() || changed == in_pieces(&payload, 5).ok());
    }

    #[test]
    fn of_any_bytes_it_makes_what_the_other_codec_does(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let decoded = decode(&payload, ROOM);
        prop_assert!(decoded.is_none() || decoded == in_pieces(&payload, 3).ok());
    }
}
