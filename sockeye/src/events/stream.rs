//! `WebSocketStream`: a connection as two streams, with backpressure.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::close::CloseCode;
use sockeye_proto::message::Message;
use sockeye_proto::utf8::Utf8Bytes;

use super::arguments::{Closing, Protocols};
use super::event::Failure;
use super::exception::Exception;
use super::link::{Ended, Step};
use super::task::Connection;
use crate::client::{Client, default_client};
use crate::error::ConnectError;

/// The browser's `WebSocketStream`: no events, but two promises and two streams.
///
/// When this and both streams are dropped, the connection goes away as a [`WebSocket`](super::WebSocket) does: Close 1001
/// behind what was written.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = sockeye::Server::bind("127.0.0.1:0", sockeye::ServerOptions::default()).await?;
/// # let url = format!("ws://{}/", server.local_addr()?);
/// # tokio::spawn(async move {
/// #     let mut ws = server.accept().await.unwrap().accept().await.unwrap();
/// #     while let Some(message) = ws.recv().await.unwrap() { ws.send(message).await.unwrap(); }
/// # });
/// use sockeye::events::{Opened, WebSocketStream};
///
/// let wss = WebSocketStream::new(&url, ())?;
/// let Opened { readable, writable, .. } = wss.opened().await?;
/// writable.write("swim").await?;
/// assert_eq!(readable.read().await?, Some("swim".into()));
/// wss.close(1000, "done")?;
/// assert_eq!(wss.closed().await?.close_code, sockeye::CloseCode::NORMAL);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WebSocketStream {
    connection: Arc<Connection>,
}

/// `WebSocketOpenInfo`: what `opened` resolves to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// `extensions`: those in use, as the server wrote them.
    pub extensions: String,
    /// `protocol`: the subprotocol that the server chose; empty if none was offered.
    pub protocol: String,
    /// `readable`: the messages that come.
    pub readable: Readable,
    /// `writable`: takes the messages to be sent.
    pub writable: Writable,
}

/// `WebSocketCloseInfo`: what `closed` resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseInfo {
    /// `closeCode`: what the peer's Close said; 1005 if it had no body.
    pub close_code: CloseCode,
    /// `reason`: what the peer's Close said; at most 123 bytes.
    pub reason: Utf8Bytes,
}

/// `WebSocketError`: why a promise was rejected, or a stream has an error.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The connection failed, or could not be made.
    Failed(Arc<Failure>),
    /// Something was to be written while the connection was closing or closed. It was not.
    Closed,
}

impl WebSocketStream {
    /// `new WebSocketStream(url, { protocols })`: starts to connect, with the defaults of [`Client::builder`]. Arguments and
    /// surroundings are those of [`WebSocket::new`](super::WebSocket::new).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::new`](super::WebSocket::new).
    ///
    /// # Examples
    ///
    /// See [`WebSocketStream`].
    pub fn new(url: &str, protocols: impl Into<Protocols>) -> Result<Self, Exception> {
        Self::start(default_client().cloned(), url, protocols.into())
    }

    /// The same with the options of `client`; see [`WebSocket::with_client`](super::WebSocket::with_client).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::new`](super::WebSocket::new).
    pub fn with_client(client: &Client, url: &str, protocols: impl Into<Protocols>) -> Result<Self, Exception> {
        Self::start(Ok(client.clone()), url, protocols.into())
    }

    fn start(client: Result<Client, ConnectError>, url: &str, protocols: Protocols) -> Result<Self, Exception> {
        let connection = Connection::start(client, url, protocols)?;
        Ok(Self {
            connection: Arc::new(connection),
        })
    }

    /// `url`: as serialised, always ws: or wss:. Credentials are part of it, so think before you log it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.connection.url
    }

    /// `opened`: waits for the connection. Asked again, it gives other ends of the same two streams.
    ///
    /// # Errors
    ///
    /// [`WebSocketError::Failed`] if no connection could be made.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn opened(&self) -> Result<Opened, WebSocketError> {
        let link = &self.connection.link;
        let opened = poll_fn(|cx| {
            // Before the questions, so that no answer slips in between.
            link.wait(cx);
            match (link.opened(), link.ended()) {
                (Some(opened), _) => Poll::Ready(Ok(opened)),
                (None, Some(ended)) => Poll::Ready(Err(ended)),
                (None, None) => Poll::Pending,
            }
        });
        let opened = opened.await.map_err(rejected)?;
        Ok(Opened {
            extensions: opened.extensions.clone(),
            protocol: opened.protocol.clone(),
            readable: Readable {
                connection: self.connection.clone(),
            },
            writable: Writable {
                connection: self.connection.clone(),
            },
        })
    }

    /// `closed`: waits for the end. While messages wait to be read, it may not be known yet.
    ///
    /// # Errors
    ///
    /// [`WebSocketError::Failed`] if the closing handshake was not completed.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn closed(&self) -> Result<CloseInfo, WebSocketError> {
        let ended = poll_fn(|cx| self.connection.poll_ended(cx)).await;
        if ended.failure.is_some() {
            return Err(rejected(ended));
        }
        Ok(CloseInfo {
            close_code: ended.close.code,
            reason: ended.close.reason,
        })
    }

    /// `close({ closeCode, reason })`: closes as [`WebSocket::close`](super::WebSocket::close) does, but what comes before the
    /// peer's Close can still be read. If nobody reads it for 5 s, it is discarded; by then the closing handshake has missed
    /// the deadline of the defaults.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`](super::WebSocket::close).
    pub fn close(&self, code: impl Into<Option<u16>>, reason: &str) -> Result<(), Exception> {
        self.connection.begin_close(Closing::new(code.into(), reason)?);
        Ok(())
    }
}

impl Connection {
    fn poll_ended(&self, cx: &Context<'_>) -> Poll<Ended> {
        self.link.wait(cx);
        self.link.ended().map_or(Poll::Pending, Poll::Ready)
    }

    /// Closes, or gives up, what is not closing.
    fn begin_close(&self, closing: Closing) {
        if self.link.is_over() {
            return;
        }
        if self.link.opened().is_some() {
            self.close(closing);
        } else {
            self.abort();
        }
    }

    /// Why nothing can be written.
    fn refusal(&self) -> Option<WebSocketError> {
        if !self.link.is_over() {
            return None;
        }
        let failure = self.link.ended().and_then(|ended| ended.failure);
        Some(failure.map_or(WebSocketError::Closed, WebSocketError::Failed))
    }

    /// Ready when no more than so many bytes wait to be sent.
    fn poll_buffered(&self, cx: &Context<'_>, at_most: u64) -> Poll<Result<(), WebSocketError>> {
        self.link.wait(cx);
        if self.link.buffered_amount() <= at_most {
            return Poll::Ready(Ok(()));
        }
        match self.link.ended() {
            Some(ended) => Poll::Ready(Err(rejected(ended))),
            None => Poll::Pending,
        }
    }
}

fn rejected(ended: Ended) -> WebSocketError {
    ended.failure.map_or(WebSocketError::Closed, WebSocketError::Failed)
}

/// `readable`: the messages that come, in order. While it is not read, no more than 64 KiB or 256 messages are kept, one
/// message always, and then the server has to wait.
///
/// It is a `Stream` as well. Dropping it alone changes nothing: the messages wait for another end of it.
pub struct Readable {
    connection: Arc<Connection>,
}

impl Readable {
    /// The next message; `None` when the connection has been closed cleanly.
    ///
    /// # Errors
    ///
    /// [`WebSocketError::Failed`] when the connection failed, once; then `None`.
    ///
    /// # Cancel safety
    ///
    /// Safe: no message is lost.
    pub async fn read(&self) -> Result<Option<Message>, WebSocketError> {
        poll_fn(|cx| self.poll_read(cx)).await.transpose()
    }

    /// `cancel()`: discards what has come and what still comes, and closes the connection, as
    /// [`WebSocketStream::close`] does.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::close`], and nothing was discarded.
    pub fn cancel(&self, code: impl Into<Option<u16>>, reason: &str) -> Result<(), Exception> {
        let closing = Closing::new(code.into(), reason)?;
        self.connection.begin_close(closing);
        self.connection.link.stop();
        Ok(())
    }

    fn poll_read(&self, cx: &Context<'_>) -> Poll<Option<Result<Message, WebSocketError>>> {
        let link = &self.connection.link;
        // Asked first: the end comes behind the messages.
        let over = link.ended().is_some();
        let read = link.poll_step(cx, |step| match step {
            Step::Message(data) => Some(Ok(data.into_message())),
            Step::Failed(failure) => Some(Err(WebSocketError::Failed(failure))),
            Step::Open(_) | Step::PeerCloses | Step::Closed(_) => None,
        });
        match read {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending if over => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// `writable`: takes the messages to be sent. 1 MiB may wait to be handed to the transport, and one message always.
///
/// It is a `Sink` as well, whose flush waits until the transport has taken everything.
pub struct Writable {
    connection: Arc<Connection>,
}

impl Writable {
    /// Writes a message, and waits until it is buffered, not until it has left.
    ///
    /// # Errors
    ///
    /// [`WebSocketError`] if the connection is over or being closed; the message was not written.
    ///
    /// # Cancel safety
    ///
    /// A `write` that is dropped before it is done has written nothing.
    pub async fn write(&self, data: impl Into<Message>) -> Result<(), WebSocketError> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        self.start(data.into())
    }

    /// `close()`: closes the connection with an empty Close behind what was written, and waits for its end.
    ///
    /// # Errors
    ///
    /// [`WebSocketError::Failed`] if the closing handshake was not completed.
    ///
    /// # Cancel safety
    ///
    /// The Close is queued when the future is first polled.
    pub async fn close(&self) -> Result<(), WebSocketError> {
        poll_fn(|cx| self.poll_closed(cx)).await
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), WebSocketError>> {
        // Before the question whether it is over, so that no answer slips in between.
        let room = self.connection.poll_buffered(cx, HIGH_WATER);
        match self.connection.refusal() {
            Some(error) => Poll::Ready(Err(error)),
            None => room,
        }
    }

    fn start(&self, message: Message) -> Result<(), WebSocketError> {
        if let Some(error) = self.connection.refusal() {
            return Err(error);
        }
        self.connection.send(message);
        Ok(())
    }

    fn poll_closed(&self, cx: &Context<'_>) -> Poll<Result<(), WebSocketError>> {
        let closing = Closing::without_body();
        self.connection.begin_close(closing);
        let ended = ready!(self.connection.poll_ended(cx));
        Poll::Ready(
            ended
                .failure
                .map_or(Ok(()), |failure| Err(WebSocketError::Failed(failure))),
        )
    }
}

impl Stream for Readable {
    type Item = Result<Message, WebSocketError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_read(cx)
    }
}

impl Sink<Message> for Writable {
    type Error = WebSocketError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        self.poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), WebSocketError> {
        self.start(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        self.connection.poll_buffered(cx, 0)
    }

    /// As [`Writable::close`].
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        self.poll_closed(cx)
    }
}

impl WebSocketError {
    /// `closeCode`: 1006 if the connection failed; `None` if it was closed and there was nothing to tell.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Failed(_) => Some(CloseCode::ABNORMAL),
            Self::Closed => None,
        }
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Closed => f.write_str("the connection is closing or closed"),
        }
    }
}

impl std::error::Error for WebSocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(failure) => failure.source(),
            Self::Closed => None,
        }
    }
}

impl fmt::Debug for WebSocketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketStream").finish_non_exhaustive()
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readable").finish_non_exhaustive()
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").finish_non_exhaustive()
    }
}

/// Bytes that may wait to be handed to the transport before a write has to wait.
const HIGH_WATER: u64 = (1 << 20) - 1;
