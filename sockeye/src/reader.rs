//! Receiving a message as its bytes arrive.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use sockeye_proto::message::MessageKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::Error;
use crate::handle::Handle;

/// One message, read as its bytes arrive, also within one huge frame, so that any length takes constant memory: at most a
/// read buffer of 64 KiB. See [`WebSocket::read_message`](crate::WebSocket::read_message).
///
/// It is an [`AsyncRead`], which copies into the caller's buffer and ends with the message, or gives out
/// [`chunk`](Self::chunk)s uncopied. Text is checked as it arrives; a piece of it may end inside a character.
///
/// If it is dropped before the end, the rest of the message is passed over by whatever receives next.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (near, far) = tokio::io::duplex(1024);
/// # let server = tokio::spawn(async move {
/// #     let mut ws = sockeye::accept(far, &sockeye::ServerOptions::default()).await.unwrap();
/// #     ws.send(vec![7; 100_000]).await.unwrap();
/// #     ws.recv().await.unwrap();
/// # });
/// # let mut ws = sockeye::Client::builder().build()?.connect_over(near, "ws://localhost/").await?;
/// # let mut file = tokio::io::sink();
/// if let Some(mut message) = ws.read_message().await? {
///     let length = tokio::io::copy(&mut message, &mut file).await?;
///     assert_eq!(length, 100_000);
/// }
/// # drop(ws);
/// # Ok(())
/// # }
/// ```
pub struct MessageReader<'a, T> {
    handle: Handle<'a, T>,
    kind: MessageKind,
    data: Bytes,
    fin: bool,
}

impl<'a, T: AsyncRead + AsyncWrite + Unpin> MessageReader<'a, T> {
    /// The reader of the next message, when it has begun.
    pub(crate) async fn open(mut handle: Handle<'a, T>) -> Result<Option<Self>, Error> {
        let mut skip = handle.with(|driver| driver.is_within_message());
        let first = poll_fn(|cx| handle.poll_read(cx, |driver, wakers| driver.poll_piece(wakers, &mut skip))).await?;
        Ok(first.map(|piece| Self {
            handle,
            kind: piece.kind,
            data: piece.data,
            fin: piece.fin,
        }))
    }

    /// What the message holds.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The next bytes of the message, as they arrived; `None` at its end.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv), and [`Error::MessageIncomplete`] when the peer closed the connection
    /// within the message.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_data(cx)).await?;
        Ok((!self.data.is_empty()).then(|| std::mem::take(&mut self.data)))
    }

    /// Ready when there is data, or the message has ended.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.data.is_empty() && !self.fin {
            let piece = ready!(
                self.handle
                    .poll_read(cx, |driver, wakers| driver.poll_piece(wakers, &mut false))
            )?;
            let Some(piece) = piece else {
                return Poll::Ready(Err(Error::MessageIncomplete));
            };
            self.data = piece.data;
            self.fin = piece.fin;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for MessageReader<'_, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_data(cx))?;
        copy(&mut self.data, buffer);
        Poll::Ready(Ok(()))
    }
}

/// Moves as much as there is room for.
pub(crate) fn copy(data: &mut Bytes, buffer: &mut ReadBuf<'_>) {
    let length = data.len().min(buffer.remaining());
    buffer.put_slice(&data[..length]);
    data.advance(length);
    if data.is_empty() {
        // So that the buffer which it was a part of can be read into again.
        *data = Bytes::new();
    }
}

impl<T> fmt::Debug for MessageReader<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
