//! Bits on their way into bytes (RFC 1951 §3.1.1): the first bit is the lowest of the first byte.

use alloc::vec::Vec;

/// Output that grows, and at its end the bits that do not fill a byte yet.
///
/// The bytes behind those that are written are what an earlier message left there, so that a compressor that is used again
/// fills nothing with zeros.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    end: End,
}

/// Where the output ends. Whoever adds much has a copy of it, which can be in registers.
#[derive(Default, Clone, Copy)]
pub(super) struct End {
    /// Whole bytes.
    length: usize,
    bits: u64,
    /// How many of `bits` are taken; below 8 after [`flush`](Self::flush).
    count: u32,
}

impl End {
    /// Adds the `count` lowest of `bits`; the others must be 0. At most 56 bits may be added between two flushes.
    #[inline(always)]
    pub(super) fn add(&mut self, bits: u64, count: u32) {
        debug_assert!(self.count + count < 64 && bits >> count == 0);
        self.bits |= bits << self.count;
        self.count += count;
    }

    /// Writes the whole bytes. All eight go out at once, the next flush overwrites those that were not full.
    #[inline(always)]
    pub(super) fn flush(&mut self, bytes: &mut [u8]) {
        if let Some(room) = bytes.get_mut(self.length..).and_then(|rest| rest.first_chunk_mut()) {
            *room = self.bits.to_le_bytes();
        }
        self.length += (self.count >> 3) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }
}

impl BitWriter {
    /// Starts anew.
    pub(super) fn clear(&mut self) {
        self.end = End::default();
    }

    /// Makes room for `bytes` more, beside what one flush may write too much.
    pub(super) fn reserve(&mut self, bytes: usize) {
        let needed = self.end.length + bytes + 2 * size_of::<u64>();
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
    }

    /// Does what adds much, to room that was reserved.
    #[inline(always)]
    pub(super) fn extend(&mut self, work: impl FnOnce(&mut End, &mut [u8])) {
        let mut end = self.end;
        work(&mut end, &mut self.bytes);
        self.end = end;
    }

    /// Adds the `count` lowest of `bits`; see [`End::add`].
    #[inline(always)]
    pub(super) fn add(&mut self, bits: u64, count: u32) {
        self.end.add(bits, count);
    }

    /// Writes the whole bytes; see [`End::flush`].
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        self.end.flush(&mut self.bytes);
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.end.count = self.end.count.next_multiple_of(8);
        self.flush();
    }

    /// Adds whole bytes, at the boundary of a byte.
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.end.count, 0);
        if let Some(room) = self.bytes.get_mut(self.end.length..self.end.length + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.end.length += bytes.len();
    }

    /// How many bits have been begun in the last byte: 0 to 7 after a flush.
    pub(super) fn odd_bits(&self) -> u32 {
        self.end.count
    }

    /// The whole bytes that were written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.end.length]
    }

    #[cfg(feature = "std")]
    /// Gives back memory, if it is more than `retained` bytes.
    pub(super) fn shrink(&mut self, retained: usize) {
        if self.bytes.capacity() > retained {
            *self = Self::default();
        }
    }
}
