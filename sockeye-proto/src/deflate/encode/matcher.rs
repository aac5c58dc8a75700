//! Finding what a message repeats (RFC 1951 §4): a table of where four bytes were seen last, and chains from there to
//! where they were seen before.

use alloc::boxed::Box;
use alloc::vec;
use core::ops::Range;

use crate::deflate::symbols::MAX_MATCH;

/// How hard to look, by level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effort {
    /// How many earlier places are compared. With one there are no chains.
    pub(super) depth: u16,
    /// A match as long as this is taken without looking further.
    pub(super) nice: u16,
    /// A match shorter than this is given up for a longer one that begins a byte later.
    pub(super) lazy: u16,
    /// Whether each place within a match is noted, or three of them.
    pub(super) dense: bool,
}

impl Effort {
    /// From 1 to 9; the sizes and times are in `docs/performance.md`.
    pub(super) const fn of_level(level: u8) -> Self {
        let (depth, nice, lazy, dense) = match level {
            0..=1 => (1, 0, 0, false),
            2 => (1, 0, 16, false),
            3 => (2, 64, 16, false),
            4 => (4, 64, 32, false),
            5 => (4, 128, 32, true),
            6 => (8, 128, 32, true),
            7 => (32, 258, 64, true),
            8 => (128, 258, 128, true),
            _ => (512, 258, 258, true),
        };
        Self {
            depth,
            nice,
            lazy,
            dense,
        }
    }

    /// Whether places are chained.
    pub(super) const fn chained(self) -> bool {
        self.depth > 1
    }
}

/// What stands at a place: `length` bytes that also stand `distance` bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) length: u16,
    pub(super) distance: u16,
}

/// Where in the message which bytes were seen.
///
/// Places are counted on from message to message, so that nothing need be cleared between them: an entry from before
/// the message at hand is too far away to be looked at.
pub(super) struct Matcher {
    /// By hash: the latest place.
    latest: Box<[u32; SLOTS]>,
    /// By place, modulo the window: how far before it the same hash stood, at most 65,535. Empty without chains.
    back: Box<[u16]>,
    /// The place of the message's first byte.
    base: u32,
    /// The farthest that a match may lie back, in bytes: the window.
    window: u32,
}

impl Matcher {
    pub(super) fn new(window_bits: u8, effort: Effort) -> Self {
        let window = 1 << window_bits;
        let chained = if effort.chained() { window } else { 0 };
        Self {
            latest: boxed_zeros(),
            back: vec![0; chained].into_boxed_slice(),
            // So that the table's zeros are as far away as can be told.
            base: FAR,
            window: window as u32,
        }
    }

    /// Forgets the message before, which had `length` bytes.
    pub(super) fn advance(&mut self, length: usize) {
        let next = u64::from(self.base) + length as u64 + u64::from(FAR);
        // The message to come must be countable too; what is longer than the rest is compressed in parts.
        match u32::try_from(next) {
            Ok(next) if next < u32::MAX / 2 => self.base = next,
            _ => {
                self.latest.fill(0);
                self.base = FAR;
            }
        }
    }

    /// Looks for what `input` repeats.
    pub(super) fn look_through<'a>(&'a mut self, input: &'a [u8], effort: Effort) -> Search<'a> {
        Search {
            latest: &mut self.latest,
            back: &mut self.back,
            base: self.base,
            window: self.window,
            input,
            effort,
        }
    }
}

/// A matcher while it looks through one message: what each place takes, without a detour.
pub(super) struct Search<'a> {
    latest: &'a mut [u32; SLOTS],
    back: &'a mut [u16],
    base: u32,
    window: u32,
    input: &'a [u8],
    effort: Effort,
}

impl Search<'_> {
    /// Notes what stands at `at`, and answers how far before it the same may have stood.
    #[inline(always)]
    fn insert<const CHAINED: bool>(&mut self, bytes: [u8; 4], at: usize) -> u32 {
        let place = self.base.wrapping_add(at as u32);
        let latest = core::mem::replace(&mut self.latest[hash(bytes)], place);
        let distance = place.wrapping_sub(latest);
        // What is noted twice must not follow itself.
        if CHAINED && distance != 0 {
            let index = at & (self.back.len() - 1);
            self.back[index] = distance.min(FAR) as u16;
        }
        distance
    }

    /// Notes what stands at `places`, where a match is: at all of them, or at the first and the last two. A repetition
    /// that begins in the middle of a match is then found a few bytes late, at half the cost.
    #[inline(always)]
    pub(super) fn skip<const CHAINED: bool>(&mut self, places: Range<usize>) {
        let input = self.input;
        if !self.effort.dense {
            for at in [places.start, places.end - 2, places.end - 1] {
                if let Some(bytes) = input.get(at..).and_then(|rest| rest.first_chunk()) {
                    self.insert::<CHAINED>(*bytes, at);
                }
            }
            return;
        }
        let end = (places.end + 3).min(input.len());
        let Some(rest) = input.get(places.start..end) else {
            return;
        };
        for (bytes, at) in rest.array_windows().zip(places) {
            self.insert::<CHAINED>(*bytes, at);
        }
    }

    /// Goes on from `at` to the first place before `end` that begins a match; `literal` is told the bytes on the way, all up
    /// to `end` if there is none.
    #[inline(always)]
    pub(super) fn next<const CHAINED: bool>(
        &mut self,
        mut at: usize,
        end: usize,
        mut literal: impl FnMut(u8),
    ) -> Option<(usize, Match)> {
        let input = self.input;
        let last = end.min(input.len().saturating_sub(3));
        // Most places are looked at here, so what is rare is done elsewhere.
        while at < last
            && let Some(bytes) = input[at..].first_chunk()
        {
            if let Some(found) = self.find_at::<CHAINED>(bytes, at, 3) {
                return Some((at, found));
            }
            literal(bytes[0]);
            at += 1;
        }
        for byte in input.get(at..end).unwrap_or_default() {
            literal(*byte);
        }
        None
    }

    /// Notes what stands at `at`, and finds the longest match there that is longer than `least` (at least 3).
    #[inline(always)]
    pub(super) fn find<const CHAINED: bool>(&mut self, at: usize, least: usize) -> Option<Match> {
        let bytes = self.input.get(at..)?.first_chunk()?;
        self.find_at::<CHAINED>(bytes, at, least)
    }

    #[inline(always)]
    fn find_at<const CHAINED: bool>(&mut self, bytes: &[u8; 4], at: usize, least: usize) -> Option<Match> {
        let distance = self.insert::<CHAINED>(*bytes, at);
        if distance > at as u32 {
            return None;
        }
        if CHAINED {
            return self.longest(at, least, distance, self.window.min(at as u32));
        }
        let length = matching(self.input, at, distance, self.window);
        (length > least).then_some(Match {
            length: length as u16,
            distance: distance as u16,
        })
    }

    /// Follows the chain from `distance` back to `farthest`.
    #[inline(always)]
    fn longest(&self, at: usize, least: usize, mut distance: u32, farthest: u32) -> Option<Match> {
        let (input, effort) = (self.input, self.effort);
        let here = &input[at..];
        let here = &here[..here.len().min(MAX_MATCH)];
        let nice = usize::from(effort.nice).min(here.len());
        let mut longest = least;
        let mut best = None;
        // At most `depth` times: that bounds what an adversary's message can cost.
        for _ in 0..effort.depth {
            if distance > farthest || longest >= here.len() {
                break;
            }
            let before = &input[at - distance as usize..][..here.len()];
            // Only what also has the last four bytes of a longer match can be one.
            if last_four(before, longest) == last_four(here, longest) {
                let length = common(before, here);
                if length > longest {
                    longest = length;
                    best = Some(Match {
                        length: length as u16,
                        distance: distance as u16,
                    });
                    if length >= nice {
                        break;
                    }
                }
            }
            let index = (at - distance as usize) & (self.back.len() - 1);
            distance += u32::from(self.back[index]);
        }
        best
    }
}

/// How many bytes stand both at `at` and `distance` before it, which is within the message; 0 if it is out of the window.
#[inline(never)]
fn matching(input: &[u8], at: usize, distance: u32, window: u32) -> usize {
    let (before, here) = (&input[at - distance as usize..], &input[at..]);
    let most = here.len().min(MAX_MATCH);
    match distance <= window {
        true => common(&before[..most], &here[..most]),
        false => 0,
    }
}

/// The four bytes up to `last`, that one included.
#[inline(always)]
fn last_four(bytes: &[u8], last: usize) -> Option<u32> {
    let bytes = bytes.get(last - 3..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// How many bytes two slices of the same length begin with in common.
#[inline(always)]
fn common(one: &[u8], other: &[u8]) -> usize {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks(), other.as_chunks());
    let mut length = 0;
    for (word, other) in words.iter().zip(other_words) {
        let differing = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if differing != 0 {
            return length + (differing.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let pairs = rest.iter().zip(other_rest);
    length + pairs.take_while(|(one, other)| one == other).count()
}

/// Fibonacci hashing, after Knuth.
#[inline(always)]
fn hash(bytes: [u8; 4]) -> usize {
    (u32::from_le_bytes(bytes).wrapping_mul(0x9E37_79B1) >> (32 - SLOT_BITS)) as usize
}

fn boxed_zeros() -> Box<[u32; SLOTS]> {
    // Not through the stack, which may be small.
    let zeros = vec![0; SLOTS].into_boxed_slice();
    zeros.try_into().unwrap_or_else(|_| Box::new([0; SLOTS]))
}

/// 16 KiB of entries stay in the cache of the first level.
const SLOT_BITS: u32 = 12;
const SLOTS: usize = 1 << SLOT_BITS;

/// A distance that no window has.
const FAR: u32 = u16::MAX as u32;
