//! Tables that turn bits into symbols (RFC 1951 §3.2.2), from the lengths of the codes.

use crate::deflate::symbols::{
    DISTANCE_BASE, DISTANCE_EXTRA, FIRST_LENGTH, LENGTH_BASE, LENGTH_EXTRA, MAX_CODE, reversed,
};

use super::bits::BitReader;

/// What the next bits stand for.
///
/// The lowest byte is the length of the code in bits, 0 where no code begins so; then come the number of extra bits, or
/// [`LITERAL`] or [`END`]; the upper half is what those are added to, or the literal.
#[derive(Clone, Copy)]
pub(super) struct Entry(u32);

impl Entry {
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    pub(super) fn code_length(self) -> u32 {
        self.0 & 0xFF
    }

    #[inline(always)]
    pub(super) fn is_literal(self) -> bool {
        self.0 & LITERAL != 0
    }

    #[inline(always)]
    pub(super) fn is_end(self) -> bool {
        self.0 & END != 0
    }

    #[inline(always)]
    pub(super) fn extra(self) -> u32 {
        self.0 >> 8 & 0x1F
    }

    #[inline(always)]
    pub(super) fn value(self) -> usize {
        (self.0 >> 16) as usize
    }

    const fn new(value: u16, extra: u8) -> Self {
        Self((value as u32) << 16 | (extra as u32) << 8)
    }
}

const LITERAL: u32 = 1 << 15;
const END: u32 = 1 << 14;

/// A code of up to `N` symbols, of which those of up to `BITS` bits are found at once: `SIZE` is 2^`BITS`.
pub(super) struct Table<const N: usize, const BITS: usize, const SIZE: usize> {
    entries: [Entry; SIZE],
    /// The symbols that have codes, by the length of these.
    sorted: [u16; N],
    /// How many codes have each length.
    counts: [u16; MAX_CODE + 1],
    meanings: &'static [Entry; N],
}

impl<const N: usize, const BITS: usize, const SIZE: usize> Table<N, BITS, SIZE> {
    pub(super) const fn new(meanings: &'static [Entry; N]) -> Self {
        Self {
            entries: [Entry::NONE; SIZE],
            sorted: [0; N],
            counts: [0; MAX_CODE + 1],
            meanings,
        }
    }

    /// Makes the table for a code, given by its symbols, in their order, with the lengths of their codes. `None` if that is
    /// no code, or one that not every sequence of bits belongs to; with `partial`, a code of one symbol or none may be
    /// such.
    #[inline(always)]
    pub(super) fn build(&mut self, symbols: &[(u16, u8)], first: u16, partial: bool) -> Option<()> {
        let mut counts = [0_u16; MAX_CODE + 1];
        for (_, length) in symbols {
            counts[usize::from(*length) & MAX_CODE] += 1;
        }
        let mut starts = [0_u16; MAX_CODE + 1];
        let mut taken = 0_u32;
        for length in 1..=MAX_CODE {
            starts[length] = starts[length - 1] + counts[length - 1];
            taken += u32::from(counts[length]) << (MAX_CODE - length);
        }
        let one_or_none = taken == 0 || (taken == 1 << (MAX_CODE - 1) && counts[1] == 1);
        if taken != 1 << MAX_CODE && !(partial && one_or_none) {
            return None;
        }
        for (symbol, length) in symbols {
            let start = &mut starts[usize::from(*length) & MAX_CODE];
            *self.sorted.get_mut(usize::from(*start))? = symbol - first;
            *start += 1;
        }
        self.counts = counts;
        // A table for codes of one more bit is the one before twice, and the codes that have just that many.
        self.entries[0] = Entry::NONE;
        let (mut code, mut next) = (0_u16, 0);
        for (length, count) in (1..=BITS).zip(&counts[1..]) {
            self.entries.copy_within(..1 << (length - 1), 1 << (length - 1));
            code <<= 1;
            let end = next + usize::from(*count);
            for symbol in &self.sorted[next..end] {
                let meaning = self.meanings[usize::from(*symbol)];
                self.entries[usize::from(reversed(code, length as u32))] = Entry(meaning.0 | length as u32);
                code += 1;
            }
            next = end;
        }
        Some(())
    }

    /// The entry of the next bits, which are taken. At least [`MAX_CODE`] bits must be there.
    #[inline(always)]
    pub(super) fn take(&self, bits: &mut BitReader<'_>) -> Option<Entry> {
        let entry = self.entries[bits.peek(BITS as u32) & (SIZE - 1)];
        if entry.code_length() == 0 {
            let (entry, length) = self.find_long(bits.peek(MAX_CODE as u32))?;
            bits.drop(length);
            return Some(entry);
        }
        bits.drop(entry.code_length());
        Some(entry)
    }

    /// For the codes that are not in the table, bit by bit: they are rare, or they would be short.
    #[cold]
    fn find_long(&self, bits: usize) -> Option<(Entry, u32)> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for length in 1..=MAX_CODE {
            code = code << 1 | (bits >> (length - 1)) & 1;
            let count = usize::from(self.counts[length]);
            first <<= 1;
            if code < first + count {
                let symbol = self.sorted.get(index + (code - first))?;
                return Some((self.meanings[usize::from(*symbol)], length as u32));
            }
            first += count;
            index += count;
        }
        None
    }
}

/// What the symbols of literals and lengths mean. The last two "will never actually occur" (§3.2.6): like the distances
/// 30 and 31 they have an entry of length 0, which no length is.
pub(super) static LITERALS: [Entry; 288] = {
    let mut entries = [Entry::NONE; 288];
    let mut symbol = 0;
    while symbol < 256 {
        entries[symbol] = Entry((symbol as u32) << 16 | LITERAL);
        symbol += 1;
    }
    entries[256] = Entry(END);
    let mut symbol = 0;
    while symbol < LENGTH_BASE.len() {
        entries[FIRST_LENGTH + symbol] = Entry::new(LENGTH_BASE[symbol], LENGTH_EXTRA[symbol]);
        symbol += 1;
    }
    entries
};

pub(super) static DISTANCES: [Entry; 32] = {
    let mut entries = [Entry::NONE; 32];
    let mut symbol = 0;
    while symbol < DISTANCE_BASE.len() {
        entries[symbol] = Entry::new(DISTANCE_BASE[symbol], DISTANCE_EXTRA[symbol]);
        symbol += 1;
    }
    entries
};

/// The symbols in which the lengths of the other codes are told mean themselves.
pub(super) static LENGTHS: [Entry; 19] = {
    let mut entries = [Entry::NONE; 19];
    let mut symbol = 0;
    while symbol < 19 {
        entries[symbol] = Entry::new(symbol as u16, 0);
        symbol += 1;
    }
    entries
};
