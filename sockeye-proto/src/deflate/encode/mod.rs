//! Compressing a whole message that refers to no other (RFC 1951, RFC 7692 §7.2.1).
//!
//! A general compressor keeps a stream: what it has seen, what it has not written yet, tables that must be cleared for
//! each message. A message that is there as a whole needs none of this: matches are found in the message itself
//! ([`matcher`]), and the tables are never cleared.
//!
//! The message is cut into blocks, each parsed into sequences of literals and a match, then written with whichever is
//! shortest: a code made for it, the fixed code, or the bytes as they are.
//!
//! Not here: context takeover and messages of unknown length, for which zlib-rs is used.

mod bits;
mod block;
mod huffman;
mod matcher;
#[cfg(test)]
mod tests;

use core::fmt;

use self::bits::BitWriter;
use self::block::{BYTES, Block};
use self::matcher::{Effort, Matcher};
use crate::deflate::DeflaterSettings;

/// Compresses messages one by one. Owns 44 KiB and two bytes for each of its window, beside its output.
pub(crate) struct Encoder {
    settings: DeflaterSettings,
    effort: Effort,
    matcher: Matcher,
    block: Block,
    output: BitWriter,
}

impl Encoder {
    /// For a level of 1 to 9 and a window of 8 to 15 bits; there is nothing that a memory level could change.
    pub(crate) fn new(settings: DeflaterSettings) -> Self {
        let effort = Effort::of_level(settings.level);
        Self {
            settings,
            effort,
            matcher: Matcher::new(settings.window_bits.clamp(8, 15), effort),
            block: Block::new(),
            output: BitWriter::default(),
        }
    }

    /// Compresses `message`; the answer is the payload of its frame.
    pub(crate) fn compress(&mut self, message: &[u8]) -> &[u8] {
        self.output.clear();
        // Places in a part are counted in 32 bits.
        for part in message.chunks(PART) {
            let mut at = 0;
            while at < part.len() {
                let end = if self.effort.chained() {
                    self.parse::<true>(part, at)
                } else {
                    self.parse::<false>(part, at)
                };
                self.block.write(&part[at..end], &mut self.output);
                at = end;
            }
            self.matcher.advance(part.len());
        }
        // RFC 7692 §7.2.1: "If the resulting data does not end with an empty DEFLATE block with no compression (the
        // "BTYPE" bits are set to 00), append an empty DEFLATE block with no compression to the tail end." Of that
        // block, "Remove 4 octets (that are 0x00 0x00 0xff 0xff)" leaves three bits, up to the end of the byte. §7.2.3.6:
        // alone they are the byte that an empty message is.
        self.output.reserve(1);
        self.output.add(0, 3);
        self.output.align();
        self.output.written()
    }

    /// Parses from `start` until a block is full, and answers where that was.
    #[inline(never)]
    fn parse<const CHAINED: bool>(&mut self, input: &[u8], start: usize) -> usize {
        let (block, lazy) = (&mut self.block, self.effort.lazy);
        let mut search = self.matcher.look_through(input, self.effort);
        block.clear();
        let full = input.len().min(start + BYTES);
        // Literals that no match has followed yet begin here.
        let mut literals = start;
        while let Some((mut at, mut found)) = search.next::<CHAINED>(literals, full, |byte| block.literal(byte)) {
            let mut noted = at + 1;
            while found.length < lazy {
                noted = at + 2;
                let Some(longer) = search.find::<CHAINED>(at + 1, found.length.into()) else {
                    break;
                };
                block.literal(input[at]);
                at += 1;
                found = longer;
            }
            block.sequence(at - literals, found);
            at += usize::from(found.length);
            search.skip::<CHAINED>(noted..at);
            literals = at;
            if block.has_all_sequences() {
                return at;
            }
        }
        full.max(literals)
    }

    /// Whether it does what one with these settings would do.
    #[cfg(feature = "std")]
    pub(crate) fn fits(&self, settings: DeflaterSettings) -> bool {
        self.settings.level == settings.level && self.settings.window_bits == settings.window_bits
    }

    /// Gives back what a large message made the output grow to.
    #[cfg(feature = "std")]
    pub(crate) fn shrink(&mut self) {
        self.output.shrink(RETAINED_OUTPUT);
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The most of a message, in bytes, whose places are counted at once.
const PART: usize = 1 << 30;

/// Output capacity that is kept between messages, in bytes.
#[cfg(feature = "std")]
const RETAINED_OUTPUT: usize = 64 * 1024;
