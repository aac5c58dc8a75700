//! What a connection has received and not yet consumed, in a buffer that the thread lends while there is something.

use std::io;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};

use crate::pool::{self, READ_SIZE};

/// Received bytes. One word, without anything behind it while there are none.
#[derive(Default)]
pub(crate) struct Input(Option<Box<Buffer>>);

/// A buffer that goes from connection to connection.
pub(crate) struct Buffer {
    pub(crate) bytes: BytesMut,
    /// How many of them are consumed: they are cut off when it has to be, not for each message.
    start: usize,
}

impl Buffer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::new(BytesMut::with_capacity(capacity))
    }

    fn new(bytes: BytesMut) -> Self {
        Self { bytes, start: 0 }
    }

    /// Cuts off what is consumed.
    #[inline]
    fn settle(&mut self) -> &mut BytesMut {
        if self.start == self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.advance(self.start);
        }
        self.start = 0;
        &mut self.bytes
    }
}

impl Input {
    pub(crate) fn new(bytes: BytesMut) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new(Buffer::new(bytes))))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|buffer| buffer.start == buffer.bytes.len())
    }

    /// What is not consumed.
    #[inline]
    pub(crate) fn unread(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |buffer| &buffer.bytes[buffer.start..])
    }

    /// Whether anything was consumed by [`consume`](Self::consume) since it was last read into or taken from.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|buffer| buffer.start > 0)
    }

    /// Consumes `length` bytes of [`unread`](Self::unread).
    #[inline]
    pub(crate) fn consume(&mut self, length: usize) {
        if let Some(buffer) = &mut self.0 {
            buffer.start += length;
        }
    }

    /// What is not consumed, for `work` to take from.
    pub(crate) fn with_bytes<R>(&mut self, work: impl FnOnce(&mut BytesMut) -> R) -> R {
        match &mut self.0 {
            Some(buffer) => work(buffer.settle()),
            None => work(&mut BytesMut::new()),
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(buffer) = &mut self.0 {
            buffer.start = buffer.bytes.len();
        }
    }

    /// One read, of as much as is there, `missing` bytes of which end a frame that must be whole. Waiting, a buffer with
    /// little in it is given back.
    pub(crate) fn poll_read(
        &mut self,
        missing: u64,
        read: impl FnOnce(&mut BytesMut) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = self.0.take().unwrap_or_else(pool::take_input);
        let length = buffer.settle().len();
        if length <= KEPT && buffer.bytes.capacity() - length < READ_SIZE / 4 {
            let mut lent = pool::take_input();
            lent.bytes.extend_from_slice(&buffer.bytes);
            pool::put_input(std::mem::replace(&mut buffer, lent));
        }
        grow(&mut buffer.bytes, missing);
        let read = read(&mut buffer.bytes);
        let length = buffer.bytes.len();
        if read.is_ready() || length > READ_SIZE / 4 || buffer.bytes.capacity() < 4 * length {
            self.0 = Some(buffer);
            return read;
        }
        if length > 0 {
            // Room to grow in for what is larger, so that it is not moved for each byte that comes.
            let mut kept = Box::new(Buffer::with_capacity(if length <= KEPT { length } else { 2 * length }));
            kept.bytes.extend_from_slice(&buffer.bytes);
            self.0 = Some(kept);
        }
        pool::put_input(buffer);
        read
    }
}

/// Makes room for a read: for `missing` bytes of a frame that must be whole, in steps that double what has arrived, so
/// that the peer pays for what it claims; else for as much as is likely to be there.
#[inline]
fn grow(input: &mut BytesMut, missing: u64) {
    if input.capacity() - input.len() < READ_SIZE / 4 {
        grow_short(input, missing);
    }
}

#[cold]
fn grow_short(input: &mut BytesMut, missing: u64) {
    let missing = usize::try_from(missing).unwrap_or(usize::MAX);
    let (length, free) = (input.len(), input.capacity() - input.len());
    if missing == 0 {
        input.reserve(READ_SIZE.saturating_sub(length).max(READ_SIZE / 4));
        return;
    }
    if free >= missing {
        return;
    }
    // Halve the final size until it is no more than twice what is there: the last step then ends exactly at the frame's
    // end, and no step moves more than has arrived since the one before.
    let mut size = length.saturating_add(missing);
    while size / 2 >= 2 * length.max(READ_SIZE / 2) {
        size = size.div_ceil(2);
    }
    // Exactly, which only a `Vec` can; it becomes one, and a buffer again, without a copy.
    let mut bytes = Vec::from(std::mem::take(input));
    bytes.reserve_exact(size - length);
    *input = BytesMut::from(Bytes::from(bytes));
}

/// What is kept of the start of a frame in a buffer of its own size, in bytes; more stays where it is.
const KEPT: usize = 4 * 1024;
