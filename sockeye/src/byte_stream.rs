//! A connection as a stream of bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use sockeye_proto::close::CloseCode;
use sockeye_proto::connection::Compress;
use sockeye_proto::message::MessageKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::driver::{Driver, Piece};
use crate::error::Error;
use crate::reader::copy;
use crate::socket::WebSocket;
use crate::split::{Shared, share};

/// A connection whose binary messages are one stream of bytes each way: for protocols that know no messages, such as a
/// tunnel or SSH. See [`WebSocket::into_byte_stream`].
///
/// Each write is a binary message of at most 64 KiB, and where one message ends and the next begins does not show. A text
/// message is refused with close code 1003. `shutdown` sends a Close with code 1000; what the peer had sent by then can still
/// be read. The peer's Close is the end of what is read; if the connection is lost without one, that is an error of the kind
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof). Errors hold an [`Error`], unless they are the transport's.
///
/// It may be split by [`tokio::io::split`]. As with [`WebSocket`], pings are answered while it is read.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # let (near, far) = tokio::io::duplex(1024);
/// # let server = tokio::spawn(async move {
/// #     let ws = sockeye::accept(far, &sockeye::ServerOptions::default()).await.unwrap();
/// #     let (mut reading, mut writing) = tokio::io::split(ws.into_byte_stream());
/// #     tokio::io::copy(&mut reading, &mut writing).await.unwrap();
/// # });
/// # let ws = sockeye::Client::builder().build()?.connect_over(near, "ws://localhost/").await?;
/// let mut stream = ws.into_byte_stream();
/// stream.write_all(b"SSH-2.0-sockeye\r\n").await?;
/// stream.flush().await?;
/// let mut banner = [0; 17];
/// stream.read_exact(&mut banner).await?;
/// assert_eq!(&banner, b"SSH-2.0-sockeye\r\n");
/// stream.shutdown().await?;
/// assert_eq!(stream.read(&mut banner).await?, 0);
/// # server.await?;
/// # Ok(())
/// # }
/// ```
pub struct ByteStream<T> {
    /// The two directions may be polled by two tasks.
    shared: Arc<Shared<T>>,
    data: Bytes,
    /// Whether a text message came.
    refused: bool,
}

impl<T> ByteStream<T> {
    pub(crate) fn new(ws: WebSocket<T>) -> Self {
        Self {
            shared: share(ws),
            data: Bytes::new(),
            refused: false,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.data.is_empty() {
            if self.refused {
                // Told when the Close has left: whoever is told drops the stream, and the peer is to know why.
                let _ = ready!(self.as_mut().poll_flush(cx));
                let error = "a text message came on a stream of bytes";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            let piece = self
                .shared
                .poll_read(cx, |driver, wakers| driver.poll_piece(wakers, &mut false));
            let Some(Piece { kind, data, .. }) = ready!(piece)? else {
                return Poll::Ready(Ok(()));
            };
            if kind == MessageKind::Text {
                // RFC 6455 §7.4.1: 1003 says that an endpoint "has received a type of data it cannot accept".
                let _ = self
                    .shared
                    .driver()
                    .begin_close(CloseCode::UNSUPPORTED_DATA, "binary messages only");
                self.refused = true;
                continue;
            }
            self.data = data;
        }
        copy(&mut self.data, buffer);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        let written = self.shared.poll_write(cx, |driver, cx| {
            ready!(driver.poll_room(cx))?;
            driver.queue(|connection, output| connection.send_with(bytes, Compress::Auto, output))?;
            // Whether it leaves at once or later, it is accepted.
            match driver.poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
            }
        });
        written.map_err(|error: Error| error.into())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.shared.poll_write(cx, Driver::poll_flush_all);
        flushed.map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.driver().begin_close(CloseCode::NORMAL, "")?;
        // Whoever reads has a deadline to wait for now.
        self.shared.wake_receiver();
        let flushed = self.shared.poll_write(cx, Driver::poll_flush_all);
        flushed.map_err(io::Error::from)
    }
}

impl<T> fmt::Debug for ByteStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").finish_non_exhaustive()
    }
}

/// The longest message that a write becomes, in bytes.
const LONGEST: usize = 64 * 1024;
