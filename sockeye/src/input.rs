//! What a connection has received and not yet consumed, in a buffer that the thread lends while there is something.

use std::io;
use std::task::Poll;

use bytes::BytesMut;

use crate::pool::{self, READ_SIZE};

/// Received bytes, without storage while there are none.
#[derive(Default)]
pub(crate) struct Input {
    bytes: BytesMut,
    /// How many of them are consumed: they are cut off when it has to be, not for each message.
    start: usize,
}

impl Input {
    pub(crate) fn new(bytes: BytesMut) -> Self {
        Self { bytes, start: 0 }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// What is not consumed.
    #[inline]
    pub(crate) fn unread(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Consumes `length` bytes of [`unread`](Self::unread).
    #[inline]
    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
    }

    /// What is not consumed, to be split off.
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        if self.start > 0 {
            let _ = self.bytes.split_to(self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// One read, of as much as is there, `missing` bytes of which end a frame that must be whole. Waiting, a buffer with
    /// little in it is given back.
    pub(crate) fn poll_read(
        &mut self,
        missing: u64,
        read: impl FnOnce(&mut BytesMut) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let bytes = self.bytes();
        let length = bytes.len();
        if length <= KEPT && bytes.capacity() - length < READ_SIZE / 4 {
            let mut lent = pool::take_input();
            lent.extend_from_slice(bytes);
            pool::put_input(std::mem::replace(bytes, lent));
        }
        grow(bytes, missing);
        let read = read(bytes);
        let length = bytes.len();
        if read.is_pending() && length <= READ_SIZE / 4 && bytes.capacity() >= 4 * length {
            // Room to grow in for what is larger, so that it is not moved for each byte that comes.
            let room = if length <= KEPT { length } else { 2 * length };
            let mut kept = BytesMut::with_capacity(room);
            kept.extend_from_slice(bytes);
            pool::put_input(std::mem::replace(bytes, kept));
        }
        read
    }
}

/// Makes room for a read: for `missing` bytes of a frame that must be whole, in steps that double what has arrived, so
/// that the peer pays for what it claims; else for as much as is likely to be there.
fn grow(input: &mut BytesMut, missing: u64) {
    let missing = usize::try_from(missing).unwrap_or(usize::MAX);
    let (length, free) = (input.len(), input.capacity() - input.len());
    if missing == 0 {
        if free < READ_SIZE / 4 {
            input.reserve(READ_SIZE.saturating_sub(length).max(READ_SIZE / 4));
        }
        return;
    }
    if free >= missing || free >= READ_SIZE / 4 {
        return;
    }
    // Halve the final size until it is no more than twice what is there: the last step then ends exactly at the frame's
    // end, and no step moves more than has arrived since the one before.
    let mut size = length.saturating_add(missing);
    while size / 2 >= 2 * length.max(READ_SIZE / 2) {
        size = size.div_ceil(2);
    }
    input.reserve(size - length);
}

/// What is kept of the start of a frame in a buffer of its own size, in bytes; more stays where it is.
const KEPT: usize = 4 * 1024;
