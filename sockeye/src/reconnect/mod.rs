//! [`Reconnecting`]: a client that comes back.
//!
//! A task has the connection, makes another when it is lost and that is worth it ([`Cause::retry`]), and waits in between
//! ([`Backoff`]). Handles send, receive, and look at the [`State`]; what they send while there is no connection waits in a
//! bounded queue.
//!
//! Not here: acknowledgements, and the recovery of what was missed, which need the server's help and are done in
//! [`on_open`](ReconnectingBuilder::on_open).
//!
//! # What is delivered
//!
//! **At most once, in order.** A message leaves the queue when a connection accepts it, and is never given to a second
//! connection. So a message is received by the peer once, or not at all if the connection that accepted it was lost before
//! it arrived, which nobody on this side can know. Exactly these may be lost:
//!
//! - what the lost connection had accepted: what the buffers of the system and of TLS held, and in front of those up to
//!   16 KiB and one message;
//! - what [`Overflow::DropOldest`] drops, which is [counted](Reconnecting::dropped).
//!
//! What waits in the queue survives any number of lost connections. What the peer sent before a connection was lost, and was
//! received, can still be received. What must arrive at least once needs an identifier in the message, an answer from the
//! peer, and the unanswered ones sent again in `on_open`.
//!
//! RFC 6455 §7.2.3 (recovering from abnormal closure), RFC 9110 §10.2.3 (`Retry-After`).

mod builder;
mod cause;
mod error;
mod finish;
mod policy;
mod queue;
mod shared;
mod states;
mod task;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use sockeye_proto::close::CloseCode;
use sockeye_proto::error::SendError;
use sockeye_proto::message::Message;
use tokio::task::AbortHandle;

use self::finish::{Ending, Manner};
use self::queue::Queue;
use self::shared::{Shared, Waiting};
use crate::client::Client;

pub use self::builder::{Attempt, ReconnectingBuilder};
pub use self::cause::{Cause, HookError};
pub use self::error::{GivenUp, QueueError};
pub use self::finish::{Finished, Finishing};
pub use self::policy::{Backoff, Retry};
pub use self::queue::Overflow;
pub use self::states::{State, States};

/// A WebSocket client that connects again when its connection is lost.
///
/// [`builder`](Self::builder) has the options; [`start`](ReconnectingBuilder::start) starts a task that makes the first
/// attempt at once. [`recv`](Self::recv) goes on over all connections, [`send`](Self::send) queues,
/// [`sender`](Self::sender) gives other tasks handles to send by, [`states`](Self::states) tells what is going on.
/// The [module](self) says what is delivered, and what may be lost.
///
/// # Receiving
///
/// Messages have to be received, also when none are expected: when 64 KiB of them wait, no more is read, and the peer is
/// held up, its pings and its Close with it. Messages are whole; a client that receives
/// [chunks](crate::Receive::Chunks) has none here.
///
/// # Dropping
///
/// Dropping a `Reconnecting` ends its task and its connection without a Close, and what is queued is lost. To end it
/// properly, call [`finish`](Self::finish), which waits until all has been sent, or [`close`](Self::close), which does not
/// wait for a connection.
///
/// # Examples
///
/// ```
/// use sockeye::reconnect::{Overflow, Reconnecting};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let url = format!("ws://{}/", listener.local_addr()?);
/// # tokio::spawn(async move {
/// #     loop {
/// #         let (tcp, _) = listener.accept().await.unwrap();
/// #         let mut ws = sockeye::accept(tcp, &sockeye::ServerOptions::default()).await.unwrap();
/// #         while let Ok(Some(message)) = ws.recv().await { ws.send(message).await.unwrap(); }
/// #     }
/// # });
/// let client = sockeye::Client::builder().build()?;
/// let mut prices = Reconnecting::builder(client, url)
///     .on_open(|mut ws| async move {
///         ws.send("subscribe prices").await?;
///         Ok(ws)
///     })
///     .overflow(Overflow::DropOldest)
///     .start()?;
/// assert_eq!(prices.recv().await?, Some("subscribe prices".into()));
///
/// prices.send("hello").await?;
/// assert_eq!(prices.recv().await?, Some("hello".into()));
///
/// let unsent = prices.close(sockeye::CloseCode::NORMAL, "").await?;
/// assert!(unsent.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct Reconnecting {
    sender: Sender,
    task: AbortHandle,
}

impl Reconnecting {
    /// Options for coming back to `url`, with what `client` says about everything else.
    pub fn builder(client: Client, url: impl Into<String>) -> ReconnectingBuilder {
        ReconnectingBuilder::new(client, url.into())
    }

    fn new(shared: Arc<Shared>, task: AbortHandle) -> Self {
        Self {
            sender: Sender { shared },
            task,
        }
    }

    /// The next message, from whichever connection. `None` after [`close`](Self::close) and [`finish`](Self::finish), or when the peer has closed the
    /// connection with 1000 or without a code and that was [not worth another attempt](ReconnectingBuilder::retry).
    ///
    /// # Errors
    ///
    /// [`GivenUp`] when there will be no other attempt for any other reason. It comes once, behind all messages; after it
    /// comes `None`.
    ///
    /// # Cancel safety
    ///
    /// Safe: a `recv` that is dropped loses nothing.
    ///
    /// # Examples
    ///
    /// See [`Reconnecting`].
    pub async fn recv(&mut self) -> Result<Option<Message>, GivenUp> {
        poll_fn(|cx| self.sender.shared.poll_recv(cx)).await
    }

    /// Queues a message. It leaves at once if there is a connection that has room, and when there is one otherwise; see the
    /// [module](self) for what may be lost.
    ///
    /// # Errors
    ///
    /// [`QueueError`], with the message.
    ///
    /// # Cancel safety
    ///
    /// A `send` that is dropped while it waits for room ([`Overflow::Wait`]) has not queued its message, and has lost its
    /// place in the line. With other policies it never waits.
    ///
    /// # Examples
    ///
    /// See [`Reconnecting`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), QueueError> {
        self.sender.send(message).await
    }

    /// Queues a message at once or not at all; with [`Overflow::Wait`], a full queue refuses it.
    ///
    /// # Errors
    ///
    /// [`QueueError`], with the message.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), QueueError> {
        self.sender.try_send(message)
    }

    /// A handle to send by, for other tasks.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// The state now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use sockeye::reconnect::{Reconnecting, State};
    /// fn is_open(connection: &Reconnecting) -> bool {
    ///     matches!(connection.state(), State::Open)
    /// }
    /// ```
    #[must_use]
    pub fn state(&self) -> State {
        self.sender.shared.state()
    }

    /// The states from now on, beginning with this one.
    ///
    /// # Examples
    ///
    /// ```
    /// use sockeye::reconnect::{Reconnecting, State, States};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// async fn log(mut states: States) {
    ///     while let Some(state) = states.next().await {
    ///         match state {
    ///             State::Connecting { attempt } => println!("attempt {attempt}"),
    ///             State::Open => println!("open"),
    ///             State::Waiting { delay, cause } => println!("{cause}; again in {delay:?}"),
    ///             State::Closed { cause } => println!("closed: {cause}"),
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// # let client = sockeye::Client::builder().build()?;
    /// let connection = Reconnecting::builder(client, "no URL").start()?;
    /// log(connection.states()).await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn states(&self) -> States {
        States::new(self.sender.shared.clone())
    }

    /// Cuts the wait for the next attempt short, if there is one: the network is back, the user has asked. The attempt
    /// counts like any other.
    pub fn retry_now(&self) {
        self.sender.shared.hurry();
    }

    /// Bytes of payload in the queue.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.sender.buffered_amount()
    }

    /// How many messages were dropped from the queue for newer ones ([`Overflow::DropOldest`]).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.sender.shared.with_queue(Queue::dropped)
    }

    /// Ends it when all that is queued has been sent. Nothing more is taken from now on; while something is in the queue,
    /// it goes on with its attempts, its waits and its hooks, for as long as `within` says. What arrives can be
    /// [received](Self::recv) as before, up to the peer's Close, and [has to be](Self#receiving).
    ///
    /// When the queue is empty, a Close with `code` and `reason` is sent, for whose answer there are
    /// [5 s](crate::ClientBuilder::close_timeout). A connection that has not taken everything when `within` is over is
    /// dropped without a Close. If nothing is queued and there is no connection, none is made for the Close.
    ///
    /// All of this begins with the call, and comes to its end whether or not the [`Finishing`] is waited for, which says how
    /// it went. [`close`](Self::close) breaks it off. After another `finish` or a `close` this one changes nothing.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidCloseCode`] and [`SendError::ReasonTooLong`] (more than 123 bytes); nothing happens then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockeye::reconnect::{Finished, Reconnecting};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let url = format!("ws://{}/", listener.local_addr()?);
    /// # tokio::spawn(async move {
    /// #     let (tcp, _) = listener.accept().await.unwrap();
    /// #     let mut ws = sockeye::accept(tcp, &sockeye::ServerOptions::default()).await.unwrap();
    /// #     while let Ok(Some(message)) = ws.recv().await { ws.send(message).await.unwrap(); }
    /// # });
    /// let client = sockeye::Client::builder().build()?;
    /// let mut echo = Reconnecting::builder(client, url).start()?;
    /// echo.send("one").await?;
    /// echo.send("two").await?;
    ///
    /// let finishing = echo.finish(sockeye::CloseCode::NORMAL, "", Duration::from_secs(60))?;
    /// let mut answers = Vec::new();
    /// while let Some(answer) = echo.recv().await? {
    ///     answers.push(answer);
    /// }
    /// assert_eq!(answers, ["one".into(), "two".into()]);
    /// match finishing.await {
    ///     Finished::Closed(_) => {}
    ///     Finished::Unsent { messages, cause } => eprintln!("{} were never sent: {cause}", messages.len()),
    ///     other => eprintln!("nobody knows whether all has arrived: {other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn finish(&self, code: CloseCode, reason: &str, within: Duration) -> Result<Finishing, SendError> {
        self.sender.finish(code, reason, within)
    }

    /// Ends it now. Nothing more is taken. If there is a connection, what is queued goes out on it first, within
    /// [5 s](ReconnectingBuilder::drain_timeout), then a Close, for whose answer there are
    /// [5 s](crate::ClientBuilder::close_timeout); what arrives meanwhile is discarded. If there is none, the attempt or the
    /// wait that is under way is broken off. [`finish`](Self::finish) waits for a connection, and receives to the end.
    ///
    /// Answers with what was left in the queue: messages that were never given to any connection. Another call of `close`
    /// waits for the same end, and finds none left.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidCloseCode`] and [`SendError::ReasonTooLong`] (more than 123 bytes); nothing happens then.
    ///
    /// # Cancel safety
    ///
    /// The end is asked for when the future is first polled, and comes whether or not it is waited for.
    ///
    /// # Examples
    ///
    /// See [`Reconnecting`].
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<Vec<Message>, SendError> {
        let shared = &self.sender.shared;
        shared.ask_to_end(Ending::new(code, reason, Manner::AtOnce)?);
        Ok(poll_fn(|cx| shared.poll_unsent(cx)).await)
    }
}

/// The messages, as [`recv`](Reconnecting::recv) tells them.
impl Stream for Reconnecting {
    type Item = Result<Message, GivenUp>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.sender.shared.poll_recv(cx).map(Result::transpose)
    }
}

impl Drop for Reconnecting {
    fn drop(&mut self) {
        self.sender.shared.end(Arc::new(Cause::Abandoned));
        self.task.abort();
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Sends by a [`Reconnecting`], from any task; cheap to clone. It does not keep the connection alive.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// As [`Reconnecting::send`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), QueueError> {
        let mut sending = Sending {
            shared: &self.shared,
            waiting: Waiting::new(message.into()),
        };
        poll_fn(|cx| sending.shared.poll_push(&mut sending.waiting, cx)).await
    }

    /// As [`Reconnecting::try_send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), QueueError> {
        self.shared.try_push(message.into())
    }

    /// As [`Reconnecting::finish`], for whoever sends while another task receives.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn finish(&self, code: CloseCode, reason: &str, within: Duration) -> Result<Finishing, SendError> {
        self.shared
            .ask_to_end(Ending::new(code, reason, Manner::within(within))?);
        Ok(Finishing::new(self.shared.clone()))
    }

    /// Bytes of payload in the queue.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shared.with_queue(Queue::bytes)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// Leaves the line when it is dropped.
struct Sending<'a> {
    shared: &'a Shared,
    waiting: Waiting,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.shared.stop_waiting(&mut self.waiting);
    }
}
