//! What is on its way to the transport, in a buffer that the thread lends while there is something.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// Encoded frames, of which the last may lack its payload: that follows from where it is, uncopied.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    tail: Bytes,
    /// Bytes of the two that have gone out.
    written: usize,
}

impl Output {
    /// Bytes that have not gone out.
    #[inline]
    pub(crate) fn unwritten(&self) -> usize {
        self.bytes.len() + self.tail.len() - self.written
    }

    /// The frames, to append to.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        if !self.tail.is_empty() {
            self.join_tail();
        }
        &mut self.bytes
    }

    /// Sends `tail` behind the frames, which must be all that is there.
    pub(crate) fn set_tail(&mut self, tail: Bytes) {
        debug_assert!(self.tail.is_empty());
        self.tail = tail;
    }

    /// Something is to follow the tail, which therefore has to become one with the rest.
    #[cold]
    fn join_tail(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if let Some(gone) = self.written.checked_sub(self.bytes.len()) {
            self.bytes.clear();
            self.written = 0;
            self.bytes.extend_from_slice(&tail[gone..]);
        } else {
            self.bytes.extend_from_slice(&tail);
        }
    }

    /// Writes as much as the transport takes; zero is an error.
    pub(crate) fn poll_write(&mut self, io: impl AsyncWrite + Unpin, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(self.poll_write_some(io, cx))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += written;
        Poll::Ready(Ok(written))
    }

    fn poll_write_some(&self, mut io: impl AsyncWrite + Unpin, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut io);
        match self.bytes.get(self.written..) {
            None | Some([]) => io.poll_write(cx, &self.tail[self.written - self.bytes.len()..]),
            Some(bytes) if self.tail.is_empty() || !io.is_write_vectored() => io.poll_write(cx, bytes),
            Some(bytes) => io.poll_write_vectored(cx, &[IoSlice::new(bytes), IoSlice::new(&self.tail)]),
        }
    }

    /// Where output never comes to an end, what has left it must not pile up.
    pub(crate) fn trim(&mut self) {
        if self.tail.is_empty() && self.written >= self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Forgets everything, and gives back what is more than `kept` bytes of storage.
    pub(crate) fn clear(&mut self, kept: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(kept);
        if !self.tail.is_empty() {
            self.tail = Bytes::new();
        }
        self.written = 0;
    }
}
