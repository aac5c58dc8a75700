//! A stream that flushes what was written before it waits for more to read.
//!
//! This is how crates that write each frame straight to their stream are batched by hand: with a buffer beneath, the answers
//! to all messages that one read brought leave together, exactly when the crate asks for the next bytes. No timer is
//! involved and none is held back while the crate waits.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};

use crate::BATCH_LIMIT;

/// Buffers what is written to `stream`, up to [`BATCH_LIMIT`], until the next read.
pub fn coalesce<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> FlushBeforeRead<BufWriter<S>> {
    FlushBeforeRead::new(BufWriter::with_capacity(BATCH_LIMIT, stream))
}

/// A stream that flushes what was written before it waits for more to read.
#[derive(Debug)]
pub struct FlushBeforeRead<S> {
    inner: S,
    /// Whether anything was written since the last flush.
    written: bool,
}

impl<S> FlushBeforeRead<S> {
    /// Wraps `inner`, whose own buffer is what [`AsyncWrite::poll_flush`] empties.
    pub fn new(inner: S) -> Self {
        Self { inner, written: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FlushBeforeRead<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.written {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FlushBeforeRead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.written = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
