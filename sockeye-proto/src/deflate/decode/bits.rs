//! Bits out of bytes (RFC 1951 §3.1.1): the lowest of the first byte first.

/// The input, and up to 64 bits of it at hand. Behind its end there are zeros, which must not be used:
/// [`overrun`](Self::overrun) tells.
#[derive(Clone, Copy)]
pub(super) struct BitReader<'a> {
    input: &'a [u8],
    /// The first byte that is not counted in `count`.
    at: usize,
    /// The bits above `count` are those of the bytes from `at` on, or 0.
    bits: u64,
    count: u32,
    /// How many bytes of zeros were counted.
    behind: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            at: 0,
            bits: 0,
            count: 0,
            behind: 0,
        }
    }

    /// Makes at least 56 bits available.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let Some(word) = self.input.get(self.at..).and_then(|rest| rest.first_chunk()) else {
            *self = self.refilled_at_end();
            return;
        };
        self.bits |= u64::from_le_bytes(*word) << self.count;
        self.at += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    /// By value, so that the fields can stay in registers everywhere else.
    #[cold]
    fn refilled_at_end(mut self) -> Self {
        while self.count < 56 {
            match self.input.get(self.at) {
                Some(byte) => {
                    self.bits |= u64::from(*byte) << self.count;
                    self.at += 1;
                }
                None => self.behind += 1,
            }
            self.count += 8;
        }
        self
    }

    /// Whether bits behind the end were taken.
    #[inline(always)]
    pub(super) fn overrun(&self) -> bool {
        8 * self.behind > self.count
    }

    /// The next `count` bits.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> usize {
        (self.bits & ((1 << count) - 1)) as usize
    }

    #[inline(always)]
    pub(super) fn drop(&mut self, count: u32) {
        self.bits >>= count;
        self.count -= count;
    }

    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> usize {
        let bits = self.peek(count);
        self.drop(count);
        bits
    }

    /// Drops the rest of a byte that was begun, and answers the bytes that follow it. `None` after an overrun.
    pub(super) fn align(&mut self) -> Option<&'a [u8]> {
        let whole = (self.count / 8).checked_sub(self.behind)?;
        self.at -= whole as usize;
        (self.bits, self.count, self.behind) = (0, 0, 0);
        self.input.get(self.at..)
    }

    /// Takes bytes, right after [`align`](Self::align).
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }
}
