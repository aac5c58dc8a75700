//! What an application does: [`Handler`], and what it decides about a handshake.

use sockeye_proto::close::CloseCode;
use sockeye_proto::handshake::Rejection;
use sockeye_proto::message::Payload;

use crate::socket::Socket;
use crate::upgrade::Upgrade;

/// The callbacks of a shard.
///
/// Each shard has a handler of its own, made on the shard's thread, so a handler needs no lock for what it keeps. All
/// callbacks run on that thread, one at a time, and whatever waits, waits with them: hand work that takes long to a task or
/// another thread, with a [`Handle`](crate::Handle) for the answer.
///
/// A callback that panics ends its own connection with close code 1011, and the panic is told as an event of `tracing`. The
/// handler lives on; what it keeps should make sense all the same.
///
/// # Examples
///
/// ```
/// use sockeye_engine::{Decision, Handler, Payload, Socket, Upgrade};
///
/// /// Everyone in a room hears what anyone says.
/// struct Chat;
///
/// impl Handler for Chat {
///     /// How much somebody has said.
///     type Data = u64;
///
///     fn upgrade(&mut self, _request: &mut Upgrade<'_, u64>) -> Decision<u64> {
///         Decision::Accept(0)
///     }
///
///     fn open(&mut self, socket: &mut Socket<'_, u64>) {
///         let _ = socket.subscribe("room");
///     }
///
///     fn message(&mut self, socket: &mut Socket<'_, u64>, message: Payload<'_>) {
///         *socket.data += 1;
///         let _ = socket.publish("room", message);
///     }
/// }
/// ```
pub trait Handler: 'static {
    /// What the application keeps for each connection.
    type Data: Send + 'static;

    /// A client asks for a WebSocket; its request has passed all checks (RFC 6455 §4.2.1). Accept it, refuse it, or
    /// [`defer`](Upgrade::defer) the decision to a task.
    fn upgrade(&mut self, request: &mut Upgrade<'_, Self::Data>) -> Decision<Self::Data>;

    /// The connection is open.
    fn open(&mut self, socket: &mut Socket<'_, Self::Data>) {
        let _ = socket;
    }

    /// A message has come. It is lent: keep a copy of what is to last.
    fn message(&mut self, socket: &mut Socket<'_, Self::Data>, message: Payload<'_>);

    /// A ping has come, and has been answered.
    fn ping(&mut self, socket: &mut Socket<'_, Self::Data>, payload: &[u8]) {
        let _ = (socket, payload);
    }

    /// A pong has come, to a ping of yours or the engine's, or unsolicited.
    fn pong(&mut self, socket: &mut Socket<'_, Self::Data>, payload: &[u8]) {
        let _ = (socket, payload);
    }

    /// The peer has taken some of what was queued: [`buffered_amount`](Socket::buffered_amount) tells what is left.
    fn drain(&mut self, socket: &mut Socket<'_, Self::Data>) {
        let _ = socket;
    }

    /// Another thread has called [`Handle::wake`](crate::Handle::wake): once for each time, in the order of all that it asks for.
    fn woken(&mut self, socket: &mut Socket<'_, Self::Data>) {
        let _ = socket;
    }

    /// The connection has subscribed to the topic or left it, of which this shard had `before` subscribers and now has
    /// `after`. At its end a connection leaves all its topics, before [`close`](Self::close).
    fn subscription(&mut self, data: &mut Self::Data, topic: &str, before: usize, after: usize) {
        let _ = (data, topic, before, after);
    }

    /// A message that was published did not reach this subscriber, who reads too slowly: with
    /// [`SlowSubscriber::Tell`](crate::SlowSubscriber::Tell).
    fn dropped(&mut self, socket: &mut Socket<'_, Self::Data>, message: Payload<'_>) {
        let _ = (socket, message);
    }

    /// The connection is over, however it ended. Called once for each that was opened.
    fn close(&mut self, data: Self::Data, end: End<'_>) {
        let _ = (data, end);
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision<D> {
    /// The connection opens with this data.
    Accept(D),
    /// The client gets this answer.
    Reject(Rejection),
    /// A [`Deferred`](crate::Deferred) will tell. Without one, which is a mistake, the client gets 500.
    Later,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct End<'a> {
    /// The code of the peer's Close; [`CloseCode::NO_STATUS`] for one without a code, [`CloseCode::ABNORMAL`] if none came
    /// (RFC 6455 §7.1.5).
    pub code: CloseCode,
    /// The reason in the peer's Close.
    pub reason: &'a str,
    /// Whether both sides sent a Close (RFC 6455 §7.1.4).
    pub clean: bool,
    /// The code of the Close that was sent, if one was: what the peer did wrong, say.
    pub sent: Option<CloseCode>,
    /// Why the engine ended it, if it did.
    pub cause: Option<Cause>,
}

/// Why the engine ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The peer broke the protocol, or a limit of it: [`End::sent`] tells by which code.
    Violation,
    /// The transport ended without a Close.
    Lost,
    /// Nothing came after a ping.
    PongTimeout,
    /// No messages went either way for too long.
    IdleTimeout,
    /// It had lasted as long as it may.
    Lifetime,
    /// The peer did not answer a Close in time.
    CloseTimeout,
    /// It read too slowly, with [`SlowSubscriber::Close`](crate::SlowSubscriber::Close).
    TooSlow,
    /// A callback panicked.
    Panicked,
    /// [`Socket::terminate`] or [`Handle::terminate`](crate::Handle::terminate).
    Terminated,
    /// The server shuts down.
    Shutdown,
}
