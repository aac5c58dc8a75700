//! [`Bridge`]: a handler that gives each connection an async task.
//!
//! The shard still reads, parses and writes; the task awaits messages and sends some. Between the two stand two queues, both
//! bounded: when the task does not keep up the shard stops reading and TCP holds the peer up; when the peer does not keep up
//! [`SessionSender::send`] waits. Nothing is dropped. What a callback would answer in the shard itself takes two hops more
//! here, a wakeup each: use a [`Handler`] where that matters, and a bridge where code waits.

mod session;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_proto::close::CloseCode;
use sockeye_proto::handshake::Rejection;
use sockeye_proto::handshake::server::Request;
use sockeye_proto::message::{Message, Payload};
use tokio::runtime;
use tokio::sync::Notify;

pub use self::session::{Ended, Session, SessionError, SessionSender};
use crate::Delivery;
use crate::handler::{Decision, End, Handler};
use crate::socket::Socket;
use crate::upgrade::Upgrade;

/// A handler whose connections are tasks of a tokio runtime.
///
/// The task of a connection that opens is what `serve` makes of its [`Session`]. When the task ends the connection is closed
/// with code 1000, with 1011 if the task panicked. When the connection ends the task is told, by [`Session::recv`].
///
/// A connection costs its task and about 400 bytes, beside what it costs the engine.
///
/// # Examples
///
/// ```
/// use sockeye_engine::{Bridge, Engine, ServerOptions, Session};
///
/// async fn echo(mut session: Session) {
///     while let Ok(message) = session.recv().await {
///         if session.send(message).await.is_err() {
///             break;
///         }
///     }
/// }
///
/// # let runtime = tokio::runtime::Runtime::new()?;
/// let tasks = runtime.handle().clone();
/// let engine = Engine::builder(ServerOptions::default())
///     .listen("127.0.0.1:0")?
///     .start(move |_shard| Bridge::new(tasks.clone(), echo))?;
/// # engine.shutdown(std::time::Duration::ZERO);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Bridge<F> {
    runtime: runtime::Handle,
    serve: F,
    accept: Option<Box<Accept>>,
    limits: Limits,
}

type Accept = dyn Fn(&mut Upgrade<'_, SessionData>) -> Result<(), Rejection>;

/// How much may wait, in bytes.
#[derive(Debug, Clone, Copy)]
struct Limits {
    receive: usize,
    send: usize,
}

impl<F, T> Bridge<F>
where
    F: Fn(Session) -> T + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    /// Connections become tasks of this runtime, which may be shared by all shards.
    pub fn new(runtime: runtime::Handle, serve: F) -> Self {
        let limits = Limits {
            receive: 64 * 1024,
            send: 64 * 1024,
        };
        Self {
            runtime,
            serve,
            accept: None,
            limits,
        }
    }

    /// Looks at each request before it is accepted, on the shard's thread. Default: all are.
    #[must_use]
    pub fn accept(mut self, decide: impl Fn(&mut Upgrade<'_, SessionData>) -> Result<(), Rejection> + 'static) -> Self {
        self.accept = Some(Box::new(decide));
        self
    }

    /// How much may wait for a task to receive it, in bytes, before the connection is read no further; one message may
    /// always wait. Default: 64 KiB.
    #[must_use]
    pub fn receive_limit(mut self, bytes: usize) -> Self {
        self.limits.receive = bytes;
        self
    }

    /// How much that a task has sent may wait for the shard, in bytes, before it has to wait; one message may always wait
    /// here, and another in the engine's own queue for the connection. Default: 64 KiB.
    #[must_use]
    pub fn send_limit(mut self, bytes: usize) -> Self {
        self.limits.send = bytes;
        self
    }
}

impl<F> fmt::Debug for Bridge<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<F, T> Handler for Bridge<F>
where
    F: Fn(Session) -> T + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    type Data = SessionData;

    fn upgrade(&mut self, upgrade: &mut Upgrade<'_, SessionData>) -> Decision<SessionData> {
        if let Some(accept) = &self.accept
            && let Err(rejection) = accept(upgrade)
        {
            return Decision::Reject(rejection);
        }
        Decision::Accept(SessionData {
            link: Arc::default(),
            request: Some(Box::new(upgrade.request().clone())),
        })
    }

    fn open(&mut self, socket: &mut Socket<'_, SessionData>) {
        let Some(request) = socket.data.request.take() else {
            return;
        };
        let session = Session {
            request,
            peer_addr: socket.peer_addr(),
            subprotocol: socket.subprotocol().map(Box::from),
            sender: SessionSender {
                link: socket.data.link.clone(),
                handle: socket.handle(),
                limit: self.limits.send,
            },
            receive_limit: self.limits.receive,
        };
        self.runtime.spawn((self.serve)(session));
    }

    fn message(&mut self, socket: &mut Socket<'_, SessionData>, message: Payload<'_>) {
        let message = match message {
            Payload::Text(text) => Message::from(text),
            Payload::Binary(bytes) => Message::from(bytes),
        };
        let mut state = socket.data.link.lock();
        if state.deserted {
            return;
        }
        state.inbound_bytes += weight(&message);
        state.inbound.push_back(message);
        let full = state.inbound_bytes >= self.limits.receive;
        state.paused |= full;
        drop(state);
        socket.data.link.arrived.notify_one();
        if full {
            socket.pause();
        }
    }

    fn woken(&mut self, socket: &mut Socket<'_, SessionData>) {
        pump(socket);
    }

    fn drain(&mut self, socket: &mut Socket<'_, SessionData>) {
        pump(socket);
    }

    fn close(&mut self, data: SessionData, end: End<'_>) {
        let mut state = data.link.lock();
        state.ended = Some(end.into());
        state.outbound.clear();
        state.outbound_bytes = 0;
        drop(state);
        data.link.arrived.notify_one();
        data.link.room.notify_waiters();
    }
}

/// Sends what the task has for the connection, as far as the transport takes it.
fn pump(socket: &mut Socket<'_, SessionData>) {
    let link = socket.data.link.clone();
    let mut state = link.lock();
    state.woken = false;
    while !socket.is_blocked()
        && let Some(message) = state.outbound.pop_front()
    {
        state.outbound_bytes -= weight(&message);
        // Whether it is queued now is seen above. A Close that has come or gone drops it, of which `close` tells.
        let _: Delivery = socket.send(&message);
    }
    if state.outbound.is_empty()
        && let Some((code, reason)) = state.closing.take()
    {
        state.closed = true;
        let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
        // §5.5: the body of a control frame has 125 bytes at most, two of which are the code.
        let end = reason.floor_char_boundary(123);
        let _ = socket.close(code, &reason[..end]);
    }
    drop(state);
    link.room.notify_waiters();
}

/// What a message counts for, in bytes: empty ones take room too.
fn weight(message: &Message) -> usize {
    size_of::<Message>() + message.len()
}

/// What a [`Bridge`] keeps for a connection.
#[derive(Debug)]
pub struct SessionData {
    link: Arc<Link>,
    /// Until the task has it.
    request: Option<Box<Request>>,
}

/// What stands between a connection and its task.
#[derive(Debug, Default)]
struct Link {
    state: Mutex<State>,
    /// A message has arrived, or the end.
    arrived: Notify,
    /// Something has left, or the connection has ended.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    inbound: VecDeque<Message>,
    inbound_bytes: usize,
    outbound: VecDeque<Message>,
    outbound_bytes: usize,
    /// Whether the shard has been told of what is outbound.
    woken: bool,
    /// Whether the shard reads no more until there is room.
    paused: bool,
    /// Whether the task has gone.
    deserted: bool,
    /// How the task wants it to end, when all has been sent; and whether that has begun.
    closing: Option<(CloseCode, Box<str>)>,
    closed: bool,
    ended: Option<Ended>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
