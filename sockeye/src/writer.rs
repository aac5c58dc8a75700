//! Sending a message whose length is not known when it begins.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sockeye_proto::connection::Compress;
use sockeye_proto::message::{MessageKind, Payload};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::driver::Driver;
use crate::error::Error;
use crate::handle::Handle;

/// One message, written piece by piece and sent in frames of at most 16 KiB (RFC 6455 §5.4), so that any length takes
/// constant memory: 16 KiB gathered and 16 KiB on their way. A pong or a Close goes between two frames. See
/// [`WebSocket::write_message`](crate::WebSocket::write_message).
///
/// It is an [`AsyncWrite`]. Pieces are gathered until a frame is full; `flush` sends what there is. What is written to a text
/// message is UTF-8 as a whole, cut anywhere. [`finish`](Self::finish), or `shutdown`, ends the message.
///
/// A writer that is dropped before that leaves a message without an end: if any of it was sent, no other message can follow,
/// and sending one answers [`SendError::MessageInProgress`](crate::SendError::MessageInProgress). Close the connection then.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (near, far) = tokio::io::duplex(1024);
/// # let server = tokio::spawn(async move {
/// #     let mut ws = sockeye::accept(far, &sockeye::ServerOptions::default()).await.unwrap();
/// #     ws.recv().await.unwrap().unwrap().len()
/// # });
/// # let mut ws = sockeye::Client::builder().build()?.connect_over(near, "ws://localhost/").await?;
/// # let mut file = &[7; 100_000][..];
/// let mut message = ws.write_message(sockeye::MessageKind::Binary);
/// tokio::io::copy(&mut file, &mut message).await?;
/// message.finish().await?;
/// # assert_eq!(server.await?, 100_000);
/// # Ok(())
/// # }
/// ```
pub struct MessageWriter<'a, T> {
    handle: Handle<'a, T>,
    kind: MessageKind,
    /// What waits for a frame to be full, and the beginning of a character.
    buffer: Vec<u8>,
    finished: bool,
}

impl<'a, T> MessageWriter<'a, T> {
    pub(crate) fn new(handle: Handle<'a, T>, kind: MessageKind) -> Self {
        Self {
            handle,
            kind,
            buffer: Vec::new(),
            finished: false,
        }
    }

    /// What the message holds.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> MessageWriter<'_, T> {
    /// Ends the message, and waits until the transport has taken it.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send); [`Error::Io`] of the kind [`InvalidData`](io::ErrorKind::InvalidData)
    /// when a text ends inside a character.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the writer: use `shutdown` of [`AsyncWriteExt`](tokio::io::AsyncWriteExt) to be able to go
    /// on.
    pub async fn finish(mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.finished {
            ready!(self.poll_fragment(cx, true))?;
            self.finished = true;
            self.handle.end_streaming();
        }
        self.handle.poll_write(cx, Driver::poll_flush_all)
    }

    /// Sends what is gathered as a fragment, when there is room for it.
    fn poll_fragment(&mut self, cx: &mut Context<'_>, fin: bool) -> Poll<Result<(), Error>> {
        let (payload, length) = match self.kind {
            MessageKind::Binary => (Payload::Binary(&self.buffer), self.buffer.len()),
            MessageKind::Text => {
                let text = text(&self.buffer, fin)?;
                (Payload::Text(text), text.len())
            }
        };
        ready!(self.handle.poll_write(cx, |driver, cx| {
            ready!(driver.poll_next_frame(cx))?;
            driver.queue(|connection, output| connection.send_fragment(payload, fin, Compress::Auto, output))?;
            // Whether it leaves at once or later, it is accepted.
            match driver.poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            }
        }))?;
        self.buffer.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MessageWriter<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.buffer.len() >= FRAGMENT {
            ready!(self.poll_fragment(cx, false))?;
        }
        let length = bytes.len().min(FRAGMENT - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished && !self.buffer.is_empty() {
            ready!(self.poll_fragment(cx, false))?;
        }
        let flushed = self.handle.poll_write(cx, Driver::poll_flush_all);
        flushed.map_err(io::Error::from)
    }

    /// Ends the message.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx).map_err(io::Error::from)
    }
}

impl<T> Drop for MessageWriter<'_, T> {
    fn drop(&mut self) {
        if !self.finished {
            self.handle.end_streaming();
        }
    }
}

/// The text at the start of `bytes`; all of them if it is to end there.
fn text(bytes: &[u8], all: bool) -> Result<&str, Error> {
    let invalid = || Error::Io(io::Error::new(io::ErrorKind::InvalidData, "the message is not UTF-8"));
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if error.error_len().is_some() || all => Err(invalid()),
        Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).map_err(|_| invalid()),
    }
}

impl<T> fmt::Debug for MessageWriter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The longest frame of such a message, in bytes.
const FRAGMENT: usize = 16 * 1024;
