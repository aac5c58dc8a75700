//! What the encoder writes, read back by three inflaters: zlib-rs, `miniz_oxide`, and a slow one that checks what
//! those do not: that no distance is beyond the window, and that codes are complete.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use zlib_rs::{Inflate, InflateFlush};

use super::Encoder;
use super::huffman::{Code, Scratch};
use crate::deflate::DeflaterSettings;
use crate::deflate::symbols::*;

fn encoder(level: u8, window_bits: u8) -> Encoder {
    Encoder::new(DeflaterSettings {
        level,
        memory_level: 8,
        window_bits,
    })
}

/// Compresses twice, for the second time must not refer to the first, and inflates with all three.
fn round_trip(encoder: &mut Encoder, window_bits: u8, message: &[u8]) -> usize {
    let first = encoder.compress(message).to_vec();
    let payload = encoder.compress(message).to_vec();
    assert_eq!(first.len(), payload.len(), "what came before does not matter");
    // RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message."
    let whole = [&payload[..], &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let mut strict = Strict::new(&whole, 1 << window_bits);
    strict.inflate();
    assert!(strict.output == message);
    let mut output = vec![0; message.len() + 1];
    let mut inflate = Inflate::new(false, 15);
    inflate
        .decompress(&whole, &mut output, InflateFlush::SyncFlush)
        .unwrap();
    assert_eq!(inflate.total_in(), whole.len() as u64);
    assert!(&output[..inflate.total_out() as usize] == message);
    // An empty final block, for what has no notion of a flush.
    let ended = [&whole[..], &[0x03, 0x00]].concat();
    let other = miniz_oxide::inflate::decompress_to_vec_with_limit(&ended, message.len()).unwrap();
    assert!(other == message);
    payload.len()
}

/// An inflater that is read more easily than it runs.
struct Strict<'a> {
    input: &'a [u8],
    at: usize,
    window: usize,
    output: Vec<u8>,
}

impl<'a> Strict<'a> {
    fn new(input: &'a [u8], window: usize) -> Self {
        Self {
            input,
            at: 0,
            window,
            output: Vec::new(),
        }
    }

    fn bits(&mut self, count: usize) -> usize {
        let bit = |at: usize| usize::from(self.input[at / 8] >> (at % 8) & 1);
        let bits = (0..count).map(|index| bit(self.at + index) << index).sum();
        self.at += count;
        bits
    }

    /// A symbol of the code with these lengths.
    fn symbol(&mut self, lengths: &[u8]) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for length in 1..=MAX_CODE as u8 {
            code |= self.bits(1);
            let count = lengths.iter().filter(|other| **other == length).count();
            if code < first + count {
                let mut symbols = (0..lengths.len()).filter(|symbol| lengths[*symbol] == length);
                return symbols.nth(code - first).unwrap();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no symbol of {index} has this code");
    }

    fn inflate(&mut self) {
        while self.at < 8 * self.input.len() {
            assert_eq!(self.bits(1), 0, "no block is the last");
            match self.bits(2) {
                0 => self.stored(),
                1 => {
                    let literals: Vec<u8> = (0..288).map(fixed_literal_length).collect();
                    self.symbols(&literals, &[FIXED_DISTANCE_LENGTH; 30]);
                }
                2 => self.dynamic(),
                _ => panic!("a reserved form"),
            }
        }
    }

    fn stored(&mut self) {
        self.at = self.at.next_multiple_of(8);
        let length = self.bits(16);
        assert_eq!(self.bits(16), length ^ 0xFFFF);
        let start = self.at / 8;
        self.output.extend_from_slice(&self.input[start..start + length]);
        self.at += 8 * length;
    }

    fn dynamic(&mut self) {
        let (literals, distances, told) = (self.bits(5) + 257, self.bits(5) + 1, self.bits(4) + 4);
        assert!(literals <= LITERALS && distances <= DISTANCES);
        let mut order = [0; LENGTH_CODES];
        for symbol in &LENGTH_CODE_ORDER[..told] {
            order[usize::from(*symbol)] = self.bits(3) as u8;
        }
        assert_complete(&order);
        let mut lengths: Vec<u8> = Vec::new();
        while lengths.len() < literals + distances {
            let (length, times) = match self.symbol(&order) {
                16 => (*lengths.last().unwrap(), 3 + self.bits(2)),
                17 => (0, 3 + self.bits(3)),
                18 => (0, 11 + self.bits(7)),
                length => (length as u8, 1),
            };
            lengths.extend(vec![length; times]);
        }
        assert_eq!(lengths.len(), literals + distances);
        let (literals, distances) = lengths.split_at(literals);
        assert_complete(literals);
        assert_complete(distances);
        self.symbols(literals, distances);
    }

    fn symbols(&mut self, literals: &[u8], distances: &[u8]) {
        loop {
            match self.symbol(literals) {
                END_OF_BLOCK => return,
                symbol @ FIRST_LENGTH.. => {
                    let symbol = symbol - FIRST_LENGTH;
                    let length = usize::from(LENGTH_BASE[symbol]) + self.bits(LENGTH_EXTRA[symbol].into());
                    let symbol = self.symbol(distances);
                    let distance = usize::from(DISTANCE_BASE[symbol]) + self.bits(DISTANCE_EXTRA[symbol].into());
                    assert!(distance <= self.output.len().min(self.window));
                    for _ in 0..length {
                        self.output.push(self.output[self.output.len() - distance]);
                    }
                }
                literal => self.output.push(literal as u8),
            }
        }
    }
}

/// Each sequence of bits is the beginning of some code, or begins with one.
fn assert_complete(lengths: &[u8]) {
    let taken: u32 = lengths.iter().filter(|n| **n != 0).map(|n| 1 << (15 - n)).sum();
    assert_eq!(taken, 1 << 15);
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    core::iter::repeat_with(next).take(length).collect()
}

#[test]
fn rfc7692_section_7_2_3_6_an_empty_message_is_one_byte() {
    assert_eq!(encoder(6, 15).compress(b""), [0]);
}

#[test]
fn rfc7692_section_7_2_3_1_hello() {
    assert_eq!(
        encoder(6, 15).compress(b"Hello"),
        [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]
    );
}

#[test]
fn every_level_and_window_comes_back() {
    let text = b"In the beginning there was a stream, and the stream was full of fish; ".repeat(30);
    let far = [&noise(40_000)[..], &noise(40_000)].concat();
    for level in 1..=9 {
        for window_bits in 8..=15 {
            let mut encoder = encoder(level, window_bits);
            for message in [&text[..], &far, &[7; 3000], b"abcabcabcabcabcabc", b"aaaa", b"xyz", b""] {
                round_trip(&mut encoder, window_bits, message);
            }
        }
    }
}

#[test]
fn a_match_is_found_up_to_the_window_and_no_farther() {
    // Without chains a place in a window of 15 bits has been written over by then.
    for (level, window_bits) in [(2, 8), (2, 9), (6, 8), (6, 9), (6, 15)] {
        let window = 1 << window_bits;
        let mut sizes = [0, 1].map(|more| {
            let start = &noise(window + more)[..];
            round_trip(
                &mut encoder(level, window_bits),
                window_bits,
                &[start, &start[..100]].concat(),
            )
        });
        sizes[0] += 50;
        assert!(sizes[0] < sizes[1], "{sizes:?} with {window_bits} bits");
    }
}

#[test]
fn noise_takes_five_bytes_a_block_more() {
    for level in [1, 6, 9] {
        for length in [1, 100, 1000, 48 * 1024, 48 * 1024 + 1, 200_000] {
            let size = round_trip(&mut encoder(level, 15), 15, &noise(length));
            let blocks = length.div_ceil(48 * 1024);
            assert!(size <= length + 5 * blocks + 1, "{length}: {size}");
        }
    }
}

#[test]
fn runs_take_next_to_nothing() {
    for level in 1..=9 {
        let size = round_trip(&mut encoder(level, 15), 15, &[b'z'; 200_000]);
        assert!(size < 1000, "{size}");
        // No match is longer than 258 bytes, also where the message ends a few bytes after.
        for length in 256..280 {
            round_trip(&mut encoder(level, 15), 15, &vec![b'z'; length]);
        }
    }
}

#[test]
fn codes_longer_than_fifteen_bits_are_brought_up() {
    // Fibonacci's numbers as frequencies make the deepest tree.
    let (mut message, mut last, mut next) = (vec![], 1, 1);
    for symbol in 0..22_u8 {
        message.extend(vec![symbol; last]);
        (last, next) = (next, last + next);
    }
    // Spread, so that there is nothing to repeat.
    let length = message.len();
    let shuffled: Vec<u8> = (0..length).map(|index| message[index * 7919 % length]).collect();
    round_trip(&mut encoder(1, 15), 15, &shuffled);
}

#[test]
fn places_start_over_before_they_overflow() {
    let text = b"the same the same the same the same ".repeat(10);
    let mut encoder = encoder(6, 15);
    let size = round_trip(&mut encoder, 15, &text);
    for _ in 0..3 {
        for _ in 0..40 {
            encoder.matcher.advance(1 << 26);
        }
        assert_eq!(round_trip(&mut encoder, 15, &text), size);
    }
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(0..4_u8, 0..400),
        (any::<u8>(), 0..2000_usize).prop_map(|(byte, times)| vec![byte; times]),
        "[a-z ,.]{0,60}".prop_map(alloc::string::String::into_bytes),
    ];
    // Pieces that come again, near and far.
    let order = prop::collection::vec(any::<prop::sample::Index>(), 0..60);
    (prop::collection::vec(piece, 1..12), order).prop_map(|(pieces, order)| {
        let chosen = order.iter().map(|index| index.get(&pieces).as_slice());
        chosen.collect::<Vec<_>>().concat()
    })
}

/// What the symbols take in Huffman's code: each merge adds a bit to all symbols below it.
fn huffman_bits(frequencies: &[u16]) -> usize {
    let mut nodes: Vec<usize> = frequencies.iter().map(|n| usize::from(*n)).collect();
    let mut bits = 0;
    while nodes.len() > 1 {
        nodes.sort_unstable_by(|one, other| other.cmp(one));
        let merged = nodes.pop().unwrap() + nodes.pop().unwrap();
        nodes.push(merged);
        bits += merged;
    }
    bits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// With frequencies of which no code is longer than it may be.
    #[test]
    fn codes_are_as_short_as_can_be(frequencies in prop::collection::vec(0..50_u16, LITERALS)) {
        let mut code = Code::<LITERALS>::new();
        code.frequency.copy_from_slice(&frequencies);
        code.build(MAX_CODE, &mut Scratch::new());
        let occurring: Vec<u16> = frequencies.iter().copied().filter(|n| *n > 0).collect();
        let bits = code.used().iter().map(|symbol| {
            let symbol = usize::from(*symbol);
            usize::from(frequencies[symbol]) * code.length(symbol) as usize
        });
        prop_assert_eq!(bits.sum::<usize>(), huffman_bits(&occurring));
    }

    #[test]
    fn any_message_comes_back(
        messages in prop::collection::vec(any_message(), 1..4), level in 1..=9_u8, window_bits in 8..=15_u8,
    ) {
        let mut encoder = encoder(level, window_bits);
        for message in &messages {
            round_trip(&mut encoder, window_bits, message);
        }
    }
}
