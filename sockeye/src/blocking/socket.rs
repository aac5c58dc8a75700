//! [`WebSocket`]: an open connection over a blocking transport.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::{Compress, Connection, Event};
use sockeye_proto::error::SendError;
use sockeye_proto::handshake::Headers;
use sockeye_proto::keepalive::Timing;
use sockeye_proto::message::{Message, Payload};
use sockeye_proto::prepared::Prepared;
use sockeye_proto::uri::WebSocketUri;

use super::deadline::Deadline;
use super::driver::{Driver, Step};
use super::outbox::Outgoing;
use super::split::{self, Receiver, Sender};
use super::transport::{Transport, TryClone};
use crate::error::Error;
use crate::opened::Handshake;

/// An open WebSocket over a transport `S`, client or server.
///
/// The methods come in families:
///
/// - **in**: [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout), [`next_event`](Self::next_event);
/// - **out**: [`send`](Self::send), [`send_with`](Self::send_with), [`send_fragment`](Self::send_fragment),
///   [`send_prepared`](Self::send_prepared), [`ping`](Self::ping), [`pong`](Self::pong); and in two steps
///   [`feed`](Self::feed), [`flush`](Self::flush);
/// - **the end**: [`close`](Self::close).
///
/// Pings are answered, and a silent peer is noticed, while `recv` waits, so a thread waits in `recv` most of the time. One
/// that must not wait in it for long has [`recv_timeout`](Self::recv_timeout), or [splits](Self::split) the connection.
///
/// # Deadlines
///
/// - A peer that has been silent for 20 s while `recv` waits is sent a ping, and 20 s later given up
///   ([`Error::Timeout`]); see [`set_timing`](Self::set_timing).
/// - A write of which the transport takes nothing for 20 s fails with [`Error::Io`] of the kind `TimedOut` or `WouldBlock`.
///   The message has been accepted, and [`flush`](Self::flush) goes on with it; see
///   [`set_write_timeout`](Self::set_write_timeout).
/// - The closing handshake has 5 s.
///
/// # Two ends that only send
///
/// A thread that sends does not receive meanwhile. If both ends send more than the network holds (some hundred KiB) and
/// neither receives, both wait until the write times out: split the connection then.
///
/// # Dropping
///
/// Dropping a `WebSocket` ends the transport without a Close, which the peer sees as close code 1006. Call
/// [`close`](Self::close) to end it properly.
///
/// # Examples
///
/// See the [module](super).
pub struct WebSocket<S> {
    driver: Driver<S, Outgoing>,
    handshake: Handshake,
}

/// What [`recv_timeout`](WebSocket::recv_timeout) came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// A message.
    Message(Message),
    /// The connection has been closed cleanly.
    Closed,
    /// Nothing yet. The connection is as it was.
    TimedOut,
}

impl From<Step<Message>> for Waited {
    fn from(step: Step<Message>) -> Self {
        match step {
            Step::Found(message) => Self::Message(message),
            Step::Closed => Self::Closed,
            Step::TimedOut => Self::TimedOut,
        }
    }
}

impl<S> WebSocket<S> {
    pub(super) fn new(
        io: S,
        connection: Connection,
        input: BytesMut,
        close_timeout: Duration,
        handshake: Handshake,
    ) -> Self {
        let outgoing = Outgoing::new(connection, close_timeout);
        let driver = Driver::new(io, outgoing, input, Timing::default());
        Self { driver, handshake }
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.handshake.subprotocol()
    }

    /// The headers of the response that a client got. A server's are empty, for the sake of its memory: it reads those of
    /// the request before it accepts, in [`Upgrade::request`](super::Upgrade::request).
    #[must_use]
    pub fn headers(&self) -> &Headers {
        self.handshake.headers()
    }

    /// Where a client's connection leads; a server's end has none. It shows neither user name nor password in `Debug` and
    /// `Display`.
    #[must_use]
    pub fn uri(&self) -> Option<&WebSocketUri> {
        self.handshake.uri()
    }

    /// Whether permessage-deflate was agreed on.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.driver.outbox.connection.deflate().is_some()
    }

    /// Where the closing handshake stands.
    #[must_use]
    pub fn state(&self) -> CloseState {
        self.driver.outbox.state()
    }

    /// The code of the Close that the peer sent: [`CloseCode::NO_STATUS`] if it had none, `None` if no Close came.
    #[must_use]
    pub fn close_received(&self) -> Option<CloseCode> {
        self.driver.outbox.connection.close_received()
    }

    /// Bytes of frames that were accepted for sending and not yet given to the transport.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.driver.outbox.output.len()
    }

    /// The round-trip time of the last ping that was sent because the peer was silent, once it has been answered.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.driver.latency()
    }

    /// When to ping a silent peer and when to give it up, from now on. Default: 20 s and 20 s, no limit on the time without
    /// messages. The deadline of the closing handshake is an option of the client or server, not this one's.
    pub fn set_timing(&mut self, timing: Timing) {
        self.driver.set_timing(timing);
    }

    /// How long a write may make no progress; `None`: as long as it takes. Default: 20 s.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.driver.write_timeout = timeout;
    }

    /// The transport: its addresses, its TLS session.
    #[must_use]
    pub fn transport(&self) -> &S {
        &self.driver.io
    }
}

impl<S: Transport> WebSocket<S> {
    /// The next message; `None` when the peer has closed the connection, or answered our Close.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] when the peer broke the protocol or a limit: it has been told by a Close, and messages before
    /// that were delivered. [`Error::ConnectionLost`] or [`Error::Io`] when the transport ended without a Close,
    /// [`Error::Timeout`] when the peer was given up. An error is the end; after it comes `None`.
    ///
    /// But for [`Error::Io`] of the kinds `TimedOut` and `WouldBlock`: the transport takes no answers, or has a timeout of
    /// its own. Nothing is lost then, and the next call goes on.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.driver.message(Deadline::NEVER)?.without_deadline()
    }

    /// The next message, if it comes within `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use sockeye::blocking::{self, Waited};
    ///
    /// let mut ws = blocking::connect("wss://example.com/ticker")?;
    /// loop {
    ///     match ws.recv_timeout(Duration::from_millis(100))? {
    ///         Waited::Message(message) => println!("{message:?}"),
    ///         Waited::Closed => break,
    ///         Waited::TimedOut => println!("meanwhile"),
    ///     }
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Waited, Error> {
        self.driver.message(Deadline::within(timeout)).map(Into::into)
    }

    /// The next event of any kind: messages, chunks of them with
    /// [`Receive::Chunks`](sockeye_proto::connection::Receive::Chunks), pings and pongs, which need no reaction, and the
    /// peer's Close; then `None`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn next_event(&mut self) -> Result<Option<Event<Bytes>>, Error> {
        self.driver.next(Deadline::NEVER, Some)?.without_deadline()
    }

    /// Sends a message, and waits until the transport has taken it.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] when a Close has been sent or received, or the connection is over; nothing was sent then.
    /// [`Error::Io`] when the transport failed, and of the kinds `TimedOut` and `WouldBlock` when it took nothing for too
    /// long: the message was accepted all the same, and must not be sent again.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message)?;
        self.flush()
    }

    /// Sends a message that is borrowed, with a say in its compression.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with<'a>(&mut self, payload: impl Into<Payload<'a>>, compress: Compress) -> Result<(), Error> {
        self.send_by(|connection, output| connection.send_with(payload, compress, output))
    }

    /// Sends one fragment of a message whose length is not known yet; the one with `fin` ends it (RFC 6455 §5.4).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::MessageInProgress`] for a fragment of another kind than the first.
    pub fn send_fragment<'a>(&mut self, payload: impl Into<Payload<'a>>, fin: bool) -> Result<(), Error> {
        self.send_by(|connection, output| connection.send_fragment(payload, fin, Compress::Auto, output))
    }

    /// Sends a message that was encoded once for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.send_by(|connection, output| connection.send_prepared(prepared, output))
    }

    /// Sends a ping of at most 125 bytes. Its pong shows as [`Event::Pong`] in [`next_event`](Self::next_event).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::ControlFrameTooLong`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send_by(|connection, output| connection.ping(payload, output))
    }

    /// Sends a pong that nobody asked for, at most 125 bytes: a heartbeat without an answer (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send_by(|connection, output| connection.pong(payload, output))
    }

    /// Accepts a message and does not write it yet: for many that are to leave in one write, at the next
    /// [`flush`](Self::flush), `send`, or `recv` that waits.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but nothing waits here.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.driver
            .outbox
            .queue(|connection, output| connection.send(&message, output))?;
        self.driver.note_message();
        Ok(())
    }

    /// Writes what was accepted.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], as [`send`](Self::send).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.driver.flush()
    }

    /// Closes the connection: sends a Close, waits for the peer's, and ends the transport. What still arrives before the
    /// peer's Close is discarded. With [`CloseCode::NO_STATUS`] the Close has no body.
    ///
    /// If a Close was sent before, this waits for the rest of the closing handshake; if the connection is over, it does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code that must not be sent or a reason of more than 123 bytes, and nothing happened.
    /// [`Error::Timeout`] when the peer does not finish within the deadline (5 s by default), and
    /// [`Error::ConnectionLost`] or [`Error::Io`] when the transport ends without a Close; drop the `WebSocket` then.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.driver.outbox.begin_close(code, reason)?;
        while self.next_event()?.is_some() {}
        Ok(())
    }

    fn send_by(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.driver.outbox.queue(encode)?;
        self.driver.note_message();
        self.flush()
    }
}

impl<S: TryClone> WebSocket<S> {
    /// Two halves for two threads, which run at the same time: neither waits for what the other waits for.
    ///
    /// # Errors
    ///
    /// When there can be no second handle of the transport: under TLS. The connection is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use sockeye::{ServerOptions, blocking};
    /// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let url = format!("ws://{}/", listener.local_addr()?);
    /// # let server = std::thread::spawn(move || {
    /// #     let mut ws = blocking::accept(listener.accept().unwrap().0, &ServerOptions::default()).unwrap();
    /// #     while let Some(message) = ws.recv().unwrap() { ws.send(message).unwrap(); }
    /// # });
    /// let (sender, mut receiver) = blocking::connect(&url)?.split()?;
    /// let sending = std::thread::spawn(move || {
    ///     for n in 0..3 {
    ///         sender.send(format!("message {n}"))?;
    ///     }
    ///     sender.close(sockeye::CloseCode::NORMAL, "")
    /// });
    /// let mut count = 0;
    /// while let Some(message) = receiver.recv()? {
    ///     assert_eq!(message.as_text(), Some(format!("message {count}").as_str()));
    ///     count += 1;
    /// }
    /// assert_eq!(count, 3);
    /// sending.join().unwrap()?;
    /// # server.join().unwrap();
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self) -> io::Result<(Sender<S>, Receiver<S>)> {
        split::split(self.driver)
    }
}

impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("connection", &self.driver.outbox.connection)
            .field("subprotocol", &self.subprotocol())
            .finish_non_exhaustive()
    }
}
