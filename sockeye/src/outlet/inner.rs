//! A transport and its output, for whoever has them.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::others::Waiting;
use crate::output::Output;
use crate::pool;

/// A transport and its output.
pub(crate) struct Inner<T> {
    pub(crate) io: T,
    /// While there is any.
    pub(super) output: Option<Box<Output>>,
    /// Bytes that have gone out since the beginning.
    taken: u64,
    /// How many of these were also flushed: TLS holds back what the socket has no room for.
    flushed: u64,
    /// Whether the transport has taken anything since this was last asked.
    progress: bool,
    /// Whether the transport has taken anything since it was last flushed.
    pub(super) unflushed: bool,
    /// Why the transport takes nothing any more.
    pub(super) broken: Option<io::ErrorKind>,
    /// Whether others may want it, who have been told to come by.
    pub(super) wanted: bool,
    /// Whether the transport had no room when it was last asked. It has a waker of `waiting` then, in whose place no other
    /// may come: its wake-up is for all who wait.
    pub(super) blocked: bool,
    /// Who waits for room to write; made when somebody first has to.
    pub(super) waiting: Option<Arc<Waiting>>,
}

impl<T> Inner<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            output: None,
            taken: 0,
            flushed: 0,
            progress: false,
            unflushed: false,
            broken: None,
            wanted: false,
            blocked: false,
            waiting: None,
        }
    }

    /// Bytes of output that have not been written to the transport.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.unwritten())
    }

    /// Whether the transport has taken all output, and was flushed.
    pub(super) fn has_left_all(&self) -> bool {
        self.unwritten() == 0 && !self.unflushed
    }

    /// Where the output ends now, in bytes since the beginning: whoever has appended to it waits for this.
    pub(crate) fn end(&self) -> u64 {
        self.taken + self.unwritten() as u64
    }

    /// Bytes of output that the transport has taken since the beginning.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the output has left up to there.
    pub(crate) fn has_left(&self, end: u64) -> bool {
        self.flushed >= end
    }

    /// Whether the transport had no room when it was last asked.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// An error that the transport had; it is final.
    pub(crate) fn broken(&self) -> Option<io::Error> {
        self.broken.map(io::Error::from)
    }

    /// Whether the transport has taken anything since the last call.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// The output, to append to.
    #[inline]
    pub(crate) fn output(&mut self) -> &mut Output {
        self.output.get_or_insert_with(pool::take_output)
    }

    fn clear(&mut self) {
        if let Some(output) = self.output.take() {
            pool::put_output(output);
        }
    }
}

impl<T: AsyncRead + Unpin> Inner<T> {
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        pin!(self.io.read_buf(input)).poll(cx)
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    /// Writes all output if there is room, and answers where it ends if there is not. An error is final.
    pub(crate) fn write(&mut self) -> io::Result<Option<u64>> {
        if let Some(error) = self.broken() {
            return Err(error);
        }
        if self.blocked {
            return Ok(Some(self.end()));
        }
        let flushed = self.poll_write(&mut Context::from_waker(Waker::noop()));
        match self.flushed(flushed) {
            Poll::Ready(flushed) => flushed.map(|()| None),
            Poll::Pending => {
                // Without a waker nobody would learn of room.
                self.blocked = false;
                Ok(Some(self.end()))
            }
        }
    }

    /// Writes all output to the transport and flushes that. An error is final.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        // Nearly always there is room. Only if not does anybody wait, and then both who may.
        if !self.blocked {
            let flushed = self.poll_write(&mut Context::from_waker(Waker::noop()));
            if flushed.is_ready() {
                return self.flushed(flushed);
            }
        }
        let waiting = self.waiting.get_or_insert_default().clone();
        waiting.set(Waiting::task, cx.waker());
        let flushed = self.poll_write(&mut Context::from_waker(&Waker::from(waiting)));
        self.flushed(flushed)
    }

    pub(super) fn flushed(&mut self, flushed: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        self.blocked = flushed.is_pending();
        if flushed.is_pending()
            && let Some(output) = &mut self.output
        {
            output.trim();
        }
        let flushed = ready!(flushed);
        if self.wanted
            && let Some(waiting) = &self.waiting
        {
            // Its waker may be the transport's no more. It ends, or waits anew.
            waiting.wake_at(Waiting::flusher);
        }
        if let Err(error) = &flushed {
            // A frame may have left in part, so nothing can follow; what was received can still be read.
            self.broken = Some(error.kind());
            self.clear();
        }
        Poll::Ready(flushed)
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(output) = &mut self.output
            && output.unwritten() > 0
        {
            let written = output.poll_write(&mut self.io, cx);
            if written.is_pending() {
                // What the transport has taken may leave without what it has not.
                let _ = self.poll_flush_taken(cx)?;
            }
            self.taken += ready!(written)? as u64;
            self.progress = true;
            self.unflushed = true;
        }
        self.clear();
        self.poll_flush_taken(cx)
    }

    fn poll_flush_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
            self.flushed = self.taken;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The connection is gone: so that the task that writes for it, if there is one, ends too.
impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.wake_by_ref();
        }
    }
}
