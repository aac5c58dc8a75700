//! The task that owns a connection: it makes it, reads and writes at once, and tells how it ended.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sockeye_proto::close::{CloseCode, CloseFrame};
use sockeye_proto::connection::{self as protocol, Compress, Event};
use sockeye_proto::error::ProtocolError;
use sockeye_proto::keepalive::Timeout;
use sockeye_proto::message::{Message, MessageKind, Payload};
use sockeye_proto::utf8::Utf8Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::arguments::{Closing, Protocols, socket_url};
use super::event::{Blob, CloseEvent, Data, Failure};
use super::exception::{Exception, SyntaxError};
use super::link::{Ended, Link, Opened};
use crate::client::Client;
use crate::driver::{LARGEST_FRAME, piece};
use crate::error::{ConnectError, Error};
use crate::socket::WebSocket;
use crate::split::{Receiver, Sender};
use crate::transport::Stream;

/// A connection, as its user's objects hold it together. When the last of them goes, the connection goes away (1001).
pub(super) struct Connection {
    pub(super) url: String,
    pub(super) link: Arc<Link>,
    commands: UnboundedSender<Command>,
}

enum Command {
    Send(Message),
    /// Closes when what was sent before has left.
    Close(Closing),
    /// Fails the connection.
    Abort,
}

impl Connection {
    /// Starts to connect. Without a client there is a reason for it, which is told as an event.
    pub(super) fn start(
        client: Result<Client, ConnectError>,
        url: &str,
        protocols: Protocols,
    ) -> Result<Self, Exception> {
        let url = socket_url(url)?;
        let protocols = protocols.validate()?;
        let runtime = Handle::try_current().map_err(|_| Exception::NoRuntime)?;
        let client = match client {
            Ok(client) => Ok(client
                .offering(&protocols)
                .map_err(|(name, error)| SyntaxError::protocol(&name, error))?),
            Err(error) => Err(error),
        };
        let (commands, received) = unbounded_channel();
        let link = Arc::new(Link::default());
        runtime.spawn(run(link.clone(), received, client, url.clone()));
        Ok(Self { url, link, commands })
    }

    /// Counts a message and sends it.
    pub(super) fn send(&self, message: Message) {
        self.link.sent(message.len());
        // Without a task the connection is over, and what was sent stays where it is.
        let _ = self.commands.send(Command::Send(message));
    }

    /// Begins the closing handshake, when what was sent has left.
    pub(super) fn close(&self, closing: Closing) {
        self.link.close();
        let _ = self.commands.send(Command::Close(closing));
    }

    /// Fails a connection that is not open.
    pub(super) fn abort(&self) {
        self.link.close();
        let _ = self.commands.send(Command::Abort);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.close();
        self.link.stop();
    }
}

async fn run(
    link: Arc<Link>,
    mut commands: UnboundedReceiver<Command>,
    client: Result<Client, ConnectError>,
    url: String,
) {
    // Also if the runtime drops this task, whoever waits elsewhere is told.
    let _end = EndOf(&link);
    let ended = match connect(&mut commands, client, &url).await {
        Ok(ws) => converse(&link, &mut commands, ws).await,
        Err(failure) => Ended::failed(failure),
    };
    link.end(|| ended);
}

struct EndOf<'a>(&'a Link);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.end(|| Ended::failed(Failure::Runtime));
    }
}

/// Connects, unless the user no longer wants to.
async fn connect(
    commands: &mut UnboundedReceiver<Command>,
    client: Result<Client, ConnectError>,
    url: &str,
) -> Result<WebSocket<Stream>, Failure> {
    let client = client.map_err(Failure::Connect)?;
    let mut connecting = pin!(client.connect(url));
    let ws = poll_fn(|cx| match commands.poll_recv(cx) {
        // Nothing can have been sent yet: this is the user's `close`, or the last handle's drop.
        Poll::Ready(_) => Poll::Ready(Err(Failure::Cancelled)),
        Poll::Pending => connecting.as_mut().poll(cx).map_err(Failure::Connect),
    })
    .await?;
    // WHATWG: "If protocols is not the empty list and extracting header list values given `Sec-WebSocket-Protocol` and
    // response's header list results in null, failure, or the empty byte sequence, then fail the WebSocket connection."
    if client.offers_subprotocols() && ws.subprotocol().is_none() {
        return Err(Failure::NoProtocol);
    }
    Ok(ws)
}

/// Reads and writes to the end.
async fn converse(link: &Link, commands: &mut UnboundedReceiver<Command>, ws: WebSocket<Stream>) -> Ended {
    let opened = Opened {
        protocol: ws.subprotocol().unwrap_or_default().into(),
        extensions: extensions(&ws),
    };
    let compressed = ws.is_compressed();
    let (sender, receiver) = ws.split();
    let sender = Arc::new(sender);
    link.open(opened, sender.clone(), compressed);
    let mut writing = Some(Box::pin(write(link, commands, &sender)));
    let mut reading = pin!(read(link, receiver));
    poll_fn(|cx| {
        let written = writing
            .as_mut()
            .map_or(Poll::Pending, |writing| writing.as_mut().poll(cx));
        if let Poll::Ready(written) = written {
            writing = None;
            if let Err(failure) = written {
                return Poll::Ready(Ended::failed(failure));
            }
        }
        reading.as_mut().poll(cx)
    })
    .await
}

/// `Sec-WebSocket-Extensions` of the response: what is in use, since a client takes nothing that it does not know.
fn extensions(ws: &WebSocket<Stream>) -> String {
    let values: Vec<_> = ws
        .headers()
        .values("Sec-WebSocket-Extensions")
        .map(String::from_utf8_lossy)
        .collect();
    values.join(", ")
}

/// Hands over what comes, until the end.
async fn read(link: &Link, mut receiver: Receiver<Stream>) -> Ended {
    let mut partial = Partial::default();
    let mut close = None;
    loop {
        while !link.has_room() {
            // Whoever closes and does not read does not keep the connection.
            let waited = timeout(STALLED, poll_fn(|cx| link.poll_room(cx))).await;
            if waited.is_err() && link.is_closing() {
                link.stop();
            }
        }
        let data = match receiver.next_event().await {
            Ok(Some(Event::Text(text))) => Some(Data::Text(text)),
            Ok(Some(Event::Binary(bytes))) => Some(Data::Blob(bytes.into())),
            Ok(Some(Event::Chunk { kind, data, fin })) => match partial.push(kind, data, fin) {
                Ok(data) => data,
                Err(error) => return Ended::failed(Failure::Connection(error.into())),
            },
            Ok(Some(Event::Close(frame))) => {
                link.peer_closes();
                close = Some(frame);
                None
            }
            Ok(Some(_)) => None,
            Ok(None) => return closed(close),
            Err(error) => return Ended::failed(Failure::Connection(error)),
        };
        if let Some(data) = data {
            link.message(data);
        }
    }
}

/// The end of a connection without an error: the peer's Close came, or the transport would have failed.
fn closed(close: Option<Option<CloseFrame>>) -> Ended {
    let Some(frame) = close else {
        return Ended::failed(Failure::Connection(Error::ConnectionLost));
    };
    // RFC 6455 §7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection Close Code_ is
    // considered to be 1005."
    let (code, reason) = match frame {
        Some(frame) => (frame.code, frame.reason),
        None => (CloseCode::NO_STATUS, Utf8Bytes::default()),
    };
    Ended {
        close: CloseEvent {
            code,
            reason,
            was_clean: true,
        },
        failure: None,
    }
}

/// A message that comes in chunks.
#[derive(Default)]
struct Partial {
    text: BytesMut,
    binary: Blob,
}

impl Partial {
    fn push(&mut self, kind: MessageKind, chunk: Bytes, fin: bool) -> Result<Option<Data>, ProtocolError> {
        match kind {
            MessageKind::Text => self.text.extend_from_slice(&chunk),
            MessageKind::Binary => self.binary.push(chunk),
        }
        if !fin {
            return Ok(None);
        }
        Ok(Some(match kind {
            MessageKind::Text => {
                let text = std::mem::take(&mut self.text).freeze();
                // It was checked as it came; a text that is valid by type is looked at as a whole.
                Data::Text(Utf8Bytes::try_from(text).map_err(|_| ProtocolError::InvalidUtf8)?)
            }
            MessageKind::Binary => Data::Blob(std::mem::take(&mut self.binary)),
        }))
    }
}

/// Sends what the user sends. An error fails the connection; after `Ok` there is nothing more to send, and how the connection
/// ends is for the reader to tell.
async fn write(link: &Link, commands: &mut UnboundedReceiver<Command>, sender: &Sender<Stream>) -> Result<(), Failure> {
    let mut next = None;
    loop {
        let command = match next.take() {
            Some(command) => Some(command),
            None => commands.recv().await,
        };
        match command {
            Some(Command::Send(message)) if message.len() > LARGEST_FRAME => {
                if !write_pieces(link, sender, &message).await? {
                    return Ok(());
                }
            }
            Some(Command::Send(message)) => {
                let mut batch = 0;
                let mut message = Some(message);
                while let Some(payload) = message.take() {
                    let Ok(end) = sender.queue(|connection, output| connection.send(&payload, output)) else {
                        return Ok(());
                    };
                    link.leaves(payload.len(), end);
                    batch += payload.len();
                    match commands.try_recv() {
                        Ok(Command::Send(payload)) if batch + payload.len() <= BATCH => message = Some(payload),
                        Ok(command) => next = Some(command),
                        Err(_) => {}
                    }
                }
                if !flush(link, sender).await? {
                    return Ok(());
                }
            }
            Some(Command::Close(closing)) => {
                // An error is that of a connection that is ending, which the reader tells.
                let _ = sender.close(closing.code, &closing.reason).await;
                return Ok(());
            }
            Some(Command::Abort) => return Err(Failure::Cancelled),
            // RFC 6455 §7.4.1: "1001 indicates that an endpoint is "going away", such as a server going down or a browser
            // having navigated away from a page."
            None => {
                let _ = sender.close(CloseCode::GOING_AWAY, "").await;
                return Ok(());
            }
        }
    }
}

/// Sends a large message in fragments, so that a pong never waits for more than one of them, and no more of it is copied.
/// Answers whether the transport has taken it.
async fn write_pieces(link: &Link, sender: &Sender<Stream>, message: &Message) -> Result<bool, Failure> {
    let mut at = 0;
    while at < message.len() {
        let (payload, end) = piece(Payload::from(message), at);
        let length = end - at;
        at = end;
        let fin = at == message.len();
        let encode = |connection: &mut protocol::Connection, output: &mut Vec<u8>| {
            connection.send_fragment(payload, fin, Compress::Auto, output)
        };
        let Ok(end) = sender.queue(encode) else {
            return Ok(false);
        };
        link.leaves(length, end);
        if !flush(link, sender).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until the transport has taken the output, and answers whether it has. While a Close waits behind the output, the
/// peer must go on taking it.
async fn flush(link: &Link, sender: &Sender<Stream>) -> Result<bool, Failure> {
    let mut flushing = pin!(sender.flush());
    let mut taken = sender.taken();
    loop {
        match timeout(STALLED, flushing.as_mut()).await {
            Ok(Ok(())) => {
                link.left();
                return Ok(true);
            }
            Ok(Err(_)) => return Ok(false),
            Err(_) => {
                let now = sender.taken();
                if link.is_closing() && now == taken {
                    return Err(Failure::Connection(Error::Timeout(Timeout::Close)));
                }
                taken = now;
            }
        }
    }
}

/// How long either side may take nothing, once the connection is to be closed.
const STALLED: Duration = Duration::from_secs(5);

/// Bytes of messages that leave in one write.
const BATCH: usize = 16 * 1024;
