//! Inflating a short message that refers to no other (RFC 1951, RFC 7692 §7.2.2).
//!
//! It is for the common case alone: a message whose payload is all there, well-formed, and short enough for a scratch
//! area. Of any other it answers nothing, and leaves it to the codec that takes messages piece by piece to find out
//! what is wrong and where. So it cannot disagree with that about errors; that it agrees about messages is what it is
//! fuzzed for. What it gains is the time that a stream takes to begin and to end, and the scan of the code lengths that
//! are 0.

mod bits;
mod table;
#[cfg(test)]
mod tests;

use self::bits::BitReader;
use self::table::{DISTANCES, Entry, LENGTHS, LITERALS, Table};
use super::symbols::{self, FIXED_DISTANCE_LENGTH, LENGTH_CODE_ORDER, LENGTH_CODES, fixed_literal_length};

/// The tables. They own 7 KiB.
pub(crate) struct Decoder {
    literals: Table<288, 10, 1024>,
    distances: Table<32, 8, 256>,
    lengths: Table<LENGTH_CODES, 7, 128>,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self {
            literals: Table::new(&LITERALS),
            distances: Table::new(&DISTANCES),
            lengths: Table::new(&LENGTHS),
        }
    }

    /// Inflates the payload of a message into `output`, and answers its length. `None` if the message is about as long as
    /// `output` or longer, or there is anything odd about it.
    pub(crate) fn inflate(&mut self, payload: &[u8], output: &mut [u8]) -> Option<usize> {
        // RFC 7692 §7.2.3.6: even the empty message has a byte of payload.
        if payload.is_empty() {
            return None;
        }
        let mut bits = BitReader::new(payload);
        let mut output = Output {
            bytes: output,
            floor: 0,
            at: 0,
        };
        loop {
            bits.refill();
            let last = bits.take(1) == 1;
            let form = bits.take(2);
            if bits.overrun() {
                return None;
            }
            match form {
                0 => {
                    let rest = bits.align()?;
                    // RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload". They
                    // are the length of this block, and the end of the message.
                    if rest.is_empty() {
                        return Some(output.at);
                    }
                    let read = output.store(rest)?;
                    bits.skip(read);
                }
                1 => {
                    self.build_fixed()?;
                    self.symbols(&mut bits, &mut output)?;
                }
                2 => {
                    self.build_dynamic(&mut bits)?;
                    self.symbols(&mut bits, &mut output)?;
                }
                _ => return None,
            }
            if last {
                // RFC 7692 §7.2.3.4: what follows a final block is a new stream, if there is anything.
                if bits.align()?.is_empty() {
                    return Some(output.at);
                }
                output.floor = output.at;
            }
        }
    }

    /// §3.2.6.
    fn build_fixed(&mut self) -> Option<()> {
        let literals: [_; 288] = core::array::from_fn(|symbol| (symbol as u16, fixed_literal_length(symbol)));
        self.literals.build(&literals, 0, false)?;
        let distances: [_; 32] = core::array::from_fn(|symbol| (symbol as u16, FIXED_DISTANCE_LENGTH));
        self.distances.build(&distances, 0, false)
    }

    /// §3.2.7.
    fn build_dynamic(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        bits.refill();
        let literals = bits.take(5) + 257;
        let distances = bits.take(5) + 1;
        let told = bits.take(4) + 4;
        if literals > symbols::LITERALS || distances > symbols::DISTANCES {
            return None;
        }
        let mut order = [0; LENGTH_CODES];
        for symbols in LENGTH_CODE_ORDER[..told].chunks(16) {
            bits.refill();
            for symbol in symbols {
                order[usize::from(*symbol)] = bits.take(3) as u8;
            }
        }
        let mut codes = Codes::new();
        for (symbol, length) in (0..).zip(order) {
            codes.push(symbol, length);
        }
        self.lengths.build(codes.as_slice(), 0, false)?;
        codes.clear();
        let count = literals + distances;
        let (mut at, mut before) = (0, None);
        while at < count {
            // 7 + 7 bits.
            bits.refill();
            let symbol = self.lengths.take(bits)?.value();
            let (length, times) = match symbol {
                0..16 => (symbol as u8, 1),
                16 => (before?, 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                _ => (0, 11 + bits.take(7)),
            };
            before = Some(length);
            if at + times > count {
                return None;
            }
            if length != 0 {
                for symbol in at..at + times {
                    codes.push(symbol as u16, length);
                }
            }
            at += times;
        }
        if bits.overrun() {
            return None;
        }
        let codes = codes.as_slice();
        let (literal_codes, distance_codes) =
            codes.split_at(codes.partition_point(|code| usize::from(code.0) < literals));
        let ends = literal_codes
            .iter()
            .any(|code| usize::from(code.0) == symbols::END_OF_BLOCK);
        if !ends {
            return None;
        }
        self.literals.build(literal_codes, 0, false)?;
        self.distances.build(distance_codes, literals as u16, true)
    }

    /// The literals and matches of a block, to its end.
    fn symbols(&self, reader: &mut BitReader<'_>, output: &mut Output<'_>) -> Option<()> {
        // Copies, which can be in registers.
        let (mut bits, mut at) = (*reader, output.at);
        let room = output.bytes.len().checked_sub(SLACK)?;
        loop {
            // Twice 15 bits of a literal, and 15 + 5 of a length.
            bits.refill();
            if at > room {
                return None;
            }
            let mut entry = self.literals.take(&mut bits)?;
            if entry.is_literal() {
                *output.bytes.get_mut(at)? = entry.value() as u8;
                at += 1;
                entry = self.literals.take(&mut bits)?;
                if entry.is_literal() {
                    *output.bytes.get_mut(at)? = entry.value() as u8;
                    at += 1;
                    entry = self.literals.take(&mut bits)?;
                    if entry.is_literal() {
                        *output.bytes.get_mut(at)? = entry.value() as u8;
                        at += 1;
                        if bits.overrun() {
                            return None;
                        }
                        continue;
                    }
                }
            }
            if entry.is_end() {
                (*reader, output.at) = (bits, at);
                return (!bits.overrun()).then_some(());
            }
            let length = with_extra(entry, &mut bits)?;
            // 15 + 13 bits.
            bits.refill();
            let entry = self.distances.take(&mut bits)?;
            let distance = with_extra(entry, &mut bits)?;
            if bits.overrun() {
                return None;
            }
            if distance > at - output.floor {
                return None;
            }
            repeat(output.bytes, at, distance, length)?;
            at += length;
        }
    }
}

/// A message as far as it has been inflated: the first `at` bytes.
struct Output<'a> {
    bytes: &'a mut [u8],
    at: usize,
    /// Where the stream began: nothing may refer to what was before a final block.
    floor: usize,
}

impl Output<'_> {
    /// §3.2.4: appends a stored block, which begins with its length; answers how much of `input` that was.
    fn store(&mut self, input: &[u8]) -> Option<usize> {
        let (length, rest) = input.split_first_chunk()?;
        let (complement, rest) = rest.split_first_chunk()?;
        let length = u16::from_le_bytes(*length);
        if length != !u16::from_le_bytes(*complement) {
            return None;
        }
        let bytes = rest.get(..length.into())?;
        let room = self.bytes.get_mut(self.at..self.at + bytes.len())?;
        room.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(4 + bytes.len())
    }
}

/// Writes at `at` the `length` bytes that stand from `distance` before it on.
#[inline(always)]
fn repeat(output: &mut [u8], mut at: usize, distance: usize, length: usize) -> Option<()> {
    let mut from = at.checked_sub(distance)?;
    let end = at + length;
    if distance >= WORD {
        // The last word may be written past the end: what comes next overwrites that.
        while at < end {
            let word: [u8; WORD] = *output.get(from..)?.first_chunk()?;
            *output.get_mut(at..)?.first_chunk_mut()? = word;
            from += WORD;
            at += WORD;
        }
        return Some(());
    }
    // What was copied is copied again, where the two overlap.
    let room = output.get_mut(from..end)?;
    for at in distance..room.len() {
        room[at] = room[at - distance];
    }
    Some(())
}

/// The symbols that have codes, with the lengths of these. Most symbols of most messages have none.
struct Codes {
    codes: [(u16, u8); symbols::LITERALS + symbols::DISTANCES],
    count: usize,
}

impl Codes {
    fn new() -> Self {
        Self {
            codes: [(0, 0); symbols::LITERALS + symbols::DISTANCES],
            count: 0,
        }
    }

    #[inline(always)]
    fn push(&mut self, symbol: u16, length: u8) {
        if let Some(room) = self.codes.get_mut(self.count) {
            *room = (symbol, length);
            self.count += usize::from(length != 0);
        }
    }

    fn clear(&mut self) {
        self.count = 0;
    }

    fn as_slice(&self) -> &[(u16, u8)] {
        &self.codes[..self.count]
    }
}

/// A length or a distance; `None` for the symbols that are neither.
#[inline(always)]
fn with_extra(entry: Entry, bits: &mut BitReader<'_>) -> Option<usize> {
    let value = entry.value() + bits.take(entry.extra());
    (entry.value() != 0).then_some(value)
}

/// How many bytes are copied at once.
const WORD: usize = 16;

/// What may be written without a look at the room there is: three literals, or two and the longest match with a word past
/// its end.
const SLACK: usize = 3 + symbols::MAX_MATCH + WORD;
