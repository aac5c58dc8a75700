//! One block: its sequences, its codes, and which of the three forms (RFC 1951 §3.2.3) is the shortest.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::bits::{BitWriter, End};
use super::huffman::{Code, Scratch};
use super::matcher::Match;
use crate::deflate::symbols::{
    DISTANCE_BASE, DISTANCE_EXTRA, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, FIXED_DISTANCE_LENGTH, LENGTH_BASE,
    LENGTH_CODE_ORDER, LENGTH_CODES, LENGTH_EXTRA, LITERALS, MAX_CODE, MAX_LENGTH_CODE, distance_symbol,
    fixed_literal_length, length_symbol,
};

/// So many literals, then a match, with the symbols of its length and distance.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    literals: u16,
    found: Match,
    length_symbol: u8,
    distance_symbol: u8,
}

/// A block while it is parsed and written.
pub(super) struct Block {
    sequences: Vec<Sequence>,
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
    lengths: Code<LENGTH_CODES>,
    /// The lengths of both codes as they are told: symbol and extra bits.
    told: Box<[(u8, u8); LITERALS + DISTANCES]>,
    scratch: Box<Scratch>,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            sequences: Vec::with_capacity(SEQUENCES),
            literals: Code::new(),
            distances: Code::new(),
            lengths: Code::new(),
            told: Box::new([(0, 0); LITERALS + DISTANCES]),
            scratch: Box::new(Scratch::new()),
        }
    }

    pub(super) fn clear(&mut self) {
        self.sequences.clear();
        self.literals.clear();
        self.distances.clear();
    }

    /// Whether the block is to be written, however few bytes it stands for.
    #[inline(always)]
    pub(super) fn has_all_sequences(&self) -> bool {
        self.sequences.len() >= SEQUENCES
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, byte: u8) {
        self.literals.frequency[usize::from(byte)] += 1;
    }

    /// A match after `literals` literals, which were told by [`literal`](Self::literal) one by one.
    #[inline(always)]
    pub(super) fn sequence(&mut self, literals: usize, found: Match) {
        let (length_symbol, distance_symbol) = (length_symbol(found.length), distance_symbol(found.distance));
        self.literals.frequency[FIRST_LENGTH + usize::from(length_symbol)] += 1;
        self.distances.frequency[usize::from(distance_symbol)] += 1;
        self.sequences.push(Sequence {
            literals: literals as u16,
            found,
            length_symbol,
            distance_symbol,
        });
    }

    /// Writes the block, which stands for `bytes`.
    #[inline(never)]
    pub(super) fn write(&mut self, bytes: &[u8], output: &mut BitWriter) {
        self.literals.frequency[END_OF_BLOCK] = 1;
        self.literals.build(MAX_CODE, &mut self.scratch);
        self.distances.build(MAX_CODE, &mut self.scratch);
        let header = self.tell_lengths();
        let extra = self.extra_bits();
        let literals = sums(&self.literals, &FIXED_LITERALS);
        let distances = sums(&self.distances, &FIXED_DISTANCES);
        let dynamic = header.bits + literals.0 + distances.0 + extra;
        let fixed = 3 + literals.1 + distances.1 + extra;
        let stored = stored_bits(bytes.len(), output.odd_bits());
        let shortest = fixed.min(dynamic);
        if stored <= shortest {
            return write_stored(bytes, output);
        }
        output.reserve(shortest / 8 + 1);
        if fixed <= dynamic {
            output.add(0b01 << 1, 3);
            self.write_symbols(bytes, &FIXED_LITERALS, &FIXED_DISTANCES, output);
        } else {
            output.add(0b10 << 1, 3);
            self.write_lengths(&header, output);
            self.write_symbols(bytes, &self.literals, &self.distances, output);
        }
    }

    /// The bits that follow the symbols of lengths and distances, whatever the code.
    fn extra_bits(&self) -> usize {
        let lengths = self.literals.frequency[FIRST_LENGTH..].iter().zip(&LENGTH_EXTRA);
        let distances = self.distances.frequency.iter().zip(&DISTANCE_EXTRA);
        let bits = |(frequency, extra): (&u16, &u8)| usize::from(*frequency) * usize::from(*extra);
        lengths.map(bits).sum::<usize>() + distances.map(bits).sum::<usize>()
    }

    #[inline(never)]
    fn write_symbols<const L: usize, const D: usize>(
        &self,
        bytes: &[u8],
        literals: &Code<L>,
        distances: &Code<D>,
        output: &mut BitWriter,
    ) {
        output.extend(|end, room| {
            let mut rest = bytes;
            for sequence in &self.sequences {
                let (before, behind) = rest.split_at(usize::from(sequence.literals));
                write_literals(before, literals, end, room);
                let Match { length, distance } = sequence.found;
                let symbol = usize::from(sequence.length_symbol);
                let (bits, count) = literals.word(FIRST_LENGTH + symbol);
                end.add(bits, count);
                end.add(u64::from(length - LENGTH_BASE[symbol]), LENGTH_EXTRA[symbol].into());
                let symbol = usize::from(sequence.distance_symbol);
                let (bits, count) = distances.word(symbol);
                end.add(bits, count);
                // 7 + 15 + 5 + 15 + 13 bits at most.
                end.add(
                    u64::from(distance - DISTANCE_BASE[symbol]),
                    DISTANCE_EXTRA[symbol].into(),
                );
                end.flush(room);
                rest = &behind[usize::from(length)..];
            }
            write_literals(rest, literals, end, room);
            let (bits, count) = literals.word(END_OF_BLOCK);
            end.add(bits, count);
            end.flush(room);
        });
    }

    /// Works out how the lengths of the codes are told (§3.2.7), and makes the code for that.
    fn tell_lengths(&mut self) -> Header {
        let literals = told_symbols(self.literals.used(), FIRST_LENGTH);
        let distances = told_symbols(self.distances.used(), 1);
        let mut told = Told {
            entries: &mut self.told[..],
            count: 0,
            frequency: &mut self.lengths.frequency,
            run: (0, 0),
        };
        told.frequency.fill(0);
        // The two sequences of lengths are one: a run may go from the first into the second.
        told.code(&self.literals, literals);
        told.code(&self.distances, distances);
        told.end_run();
        let entries = told.count;
        let extra = 2 * usize::from(self.lengths.frequency[16])
            + 3 * usize::from(self.lengths.frequency[17])
            + 7 * usize::from(self.lengths.frequency[18]);
        self.lengths.build(MAX_LENGTH_CODE, &mut self.scratch);
        let occurs = |symbol: &u8| self.lengths.frequency[usize::from(*symbol)] != 0;
        let order = LENGTH_CODE_ORDER
            .iter()
            .rposition(occurs)
            .map_or(4, |last| last + 1)
            .max(4);
        Header {
            literals,
            distances,
            order,
            entries,
            bits: 3 + 5 + 5 + 4 + 3 * order + sums(&self.lengths, &self.lengths).0 + extra,
        }
    }

    fn write_lengths(&self, header: &Header, output: &mut BitWriter) {
        output.add((header.literals - FIRST_LENGTH) as u64, 5);
        output.add((header.distances - 1) as u64, 5);
        output.add((header.order - 4) as u64, 4);
        output.flush();
        for symbols in LENGTH_CODE_ORDER[..header.order].chunks(10) {
            for symbol in symbols {
                let symbol = usize::from(*symbol);
                let occurs = self.lengths.frequency[symbol] != 0;
                output.add(if occurs { self.lengths.length(symbol).into() } else { 0 }, 3);
            }
            output.flush();
        }
        // An entry has 14 bits at most.
        for entries in self.told[..header.entries].chunks(3) {
            for &(symbol, extra) in entries {
                let (bits, count) = self.lengths.word(symbol.into());
                output.add(bits, count);
                output.add(extra.into(), TOLD_EXTRA[usize::from(symbol)].into());
            }
            output.flush();
        }
    }
}

/// The header of a block that brings its codes.
struct Header {
    /// How many lengths of literals and of distances are told.
    literals: usize,
    distances: usize,
    /// How many lengths of the code in which they are told.
    order: usize,
    /// How many entries they take.
    entries: usize,
    /// What all this takes, in bits, with the three that tell the form of the block.
    bits: usize,
}

/// The lengths of the codes, told run by run.
struct Told<'a> {
    entries: &'a mut [(u8, u8)],
    count: usize,
    frequency: &'a mut [u16; LENGTH_CODES],
    /// A length and how often it came in a row.
    run: (u8, usize),
}

impl Told<'_> {
    /// The lengths of the first `count` symbols.
    fn code<const N: usize>(&mut self, code: &Code<N>, count: usize) {
        let mut next = 0;
        for &symbol in code.used() {
            let symbol = usize::from(symbol);
            self.push(0, symbol - next);
            self.push(code.length(symbol) as u8, 1);
            next = symbol + 1;
        }
        self.push(0, count - next);
    }

    #[inline]
    fn push(&mut self, length: u8, times: usize) {
        if times == 0 {
            return;
        }
        if self.run.0 != length {
            self.end_run();
            self.run.0 = length;
        }
        self.run.1 += times;
    }

    /// §3.2.7: 17 and 18 repeat a length of 0, 16 "the previous code length".
    fn end_run(&mut self) {
        let (length, mut times) = self.run;
        if length == 0 {
            while times >= 11 {
                let repeated = times.min(138);
                self.entry(18, (repeated - 11) as u8);
                times -= repeated;
            }
            if times >= 3 {
                self.entry(17, (times - 3) as u8);
                times = 0;
            }
        } else if times >= 4 {
            self.entry(length, 0);
            times -= 1;
            while times >= 3 {
                let repeated = times.min(6);
                self.entry(16, (repeated - 3) as u8);
                times -= repeated;
            }
        }
        for _ in 0..times {
            self.entry(length, 0);
        }
        self.run = (0, 0);
    }

    fn entry(&mut self, symbol: u8, extra: u8) {
        self.frequency[usize::from(symbol)] += 1;
        self.entries[self.count] = (symbol, extra);
        self.count += 1;
    }
}

#[inline(always)]
fn write_literals<const N: usize>(bytes: &[u8], code: &Code<N>, end: &mut End, room: &mut [u8]) {
    let (threes, rest) = bytes.as_chunks::<3>();
    for three in threes {
        for byte in three {
            let (bits, count) = code.word((*byte).into());
            end.add(bits, count);
        }
        end.flush(room);
    }
    for byte in rest {
        let (bits, count) = code.word((*byte).into());
        end.add(bits, count);
    }
    end.flush(room);
}

/// How many lengths must be told: up to the last symbol that occurs.
fn told_symbols(used: &[u16], least: usize) -> usize {
    used.last().map_or(least, |last| (usize::from(*last) + 1).max(least))
}

/// How many bits follow the symbols in which the lengths of codes are told (§3.2.7).
const TOLD_EXTRA: [u8; LENGTH_CODES] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];

/// What all symbols together take in their code and in another, in bits.
fn sums<const N: usize, const M: usize>(code: &Code<N>, other: &Code<M>) -> (usize, usize) {
    code.used().iter().fold((0, 0), |(own, others), symbol| {
        let symbol = usize::from(*symbol);
        let frequency = usize::from(code.frequency[symbol]);
        (
            own + frequency * code.length(symbol) as usize,
            others + frequency * other.length(symbol) as usize,
        )
    })
}

/// What `length` bytes take as they are, in bits, `odd` bits into a byte. A block is never longer than a stored one can
/// be.
fn stored_bits(length: usize, odd: u32) -> usize {
    let header = (odd as usize + 3).next_multiple_of(8) - odd as usize;
    header + 32 + 8 * length
}

/// §3.2.4: the form, up to the end of the byte; the length and its complement; the bytes.
fn write_stored(bytes: &[u8], output: &mut BitWriter) {
    output.reserve(bytes.len() + 5);
    output.add(0, 3);
    output.align();
    let length = bytes.len() as u16;
    output.add_bytes(&length.to_le_bytes());
    output.add_bytes(&(!length).to_le_bytes());
    output.add_bytes(bytes);
}

static FIXED_LITERALS: Code<288> = {
    let mut lengths = [0; 288];
    let mut symbol = 0;
    while symbol < 288 {
        lengths[symbol] = fixed_literal_length(symbol);
        symbol += 1;
    }
    Code::with_lengths(&lengths)
};

static FIXED_DISTANCES: Code<32> = Code::with_lengths(&[FIXED_DISTANCE_LENGTH; 32]);

/// A block ends with as many sequences, 20 KiB of them, or after as many bytes: the statistics of a message change on the
/// way, and a code for each part is shorter. A match may reach past it by 258 bytes; with those it fits a stored block.
const SEQUENCES: usize = 2560;
pub(super) const BYTES: usize = 48 * 1024;
