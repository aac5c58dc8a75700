//! [`ReconnectingBuilder`]: the options, the hooks, and what the hook before an [`Attempt`] may change of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::handshake::OptionsError;
use sockeye_proto::handshake::client::ClientOptions;
use tokio::runtime::{Handle, TryCurrentError};

use super::Reconnecting;
use super::cause::{Cause, HookError};
use super::policy::{Backoff, Retry};
use super::queue::{Limits, Overflow};
use super::shared::Shared;
use super::task::Task;
use crate::client::Client;
use crate::error::ConnectError;
use crate::socket::WebSocket;
use crate::transport::Stream;

pub(super) type Socket = WebSocket<Stream>;

type Hook<T> = Box<dyn FnMut(T) -> Pin<Box<dyn Future<Output = Result<T, HookError>> + Send>> + Send>;

type Decide = Box<dyn FnMut(&Cause, Retry) -> Retry + Send>;

/// What the task asks of its owner.
pub(super) struct Hooks {
    pub(super) before_attempt: Option<Hook<Attempt>>,
    pub(super) on_open: Option<Hook<Socket>>,
    pub(super) retry: Decide,
    pub(super) random: Box<dyn FnMut() -> u64 + Send>,
}

/// The options of a [`Reconnecting`].
///
/// | option | default |
/// |---|---|
/// | [`backoff`](Self::backoff) | 1 s, doubling up to 60 s, full jitter, no end |
/// | [`retry`](Self::retry) | [`Cause::retry`] |
/// | [`queue_messages`](Self::queue_messages) | 1,024 |
/// | [`queue_bytes`](Self::queue_bytes) | 1 MiB |
/// | [`overflow`](Self::overflow) | [`Overflow::Wait`] |
/// | [`drain_timeout`](Self::drain_timeout) | 5 s |
/// | hooks | none |
#[must_use]
pub struct ReconnectingBuilder {
    client: Client,
    url: String,
    backoff: Backoff,
    limits: Limits,
    drain_timeout: Duration,
    hooks: Hooks,
}

impl ReconnectingBuilder {
    pub(super) fn new(client: Client, url: String) -> Self {
        Self {
            client,
            url,
            backoff: Backoff::new(),
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(5),
            hooks: Hooks {
                before_attempt: None,
                on_open: None,
                retry: Box::new(|_, retry| retry),
                random: Box::new(rand::random),
            },
        }
    }

    /// How long to wait before attempts, and how many to make. Default: [`Backoff::new`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Decides whether a failure is worth another attempt, in place of [`Cause::retry`], whose answer is passed in. It is
    /// called once for each failure, and must not block.
    ///
    /// # Examples
    ///
    /// ```
    /// use sockeye::reconnect::{Reconnecting, Retry};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = sockeye::Client::builder().build()?;
    /// let builder = Reconnecting::builder(client, "wss://example.com/").retry(|cause, usual| {
    ///     match cause.close_code().map(|code| code.as_u16()) {
    ///         // This server's own code for "your session has expired": the hook before the attempt gets another.
    ///         Some(4001) => Retry::Later,
    ///         _ => usual,
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry(mut self, decide: impl FnMut(&Cause, Retry) -> Retry + Send + 'static) -> Self {
        self.hooks.retry = Box::new(decide);
        self
    }

    /// Called before each attempt, also the first: may change the URL and the headers, and fetch what they need. What it
    /// changes holds for this attempt. Its time is its own, not the client's handshake deadline's; it is dropped when the
    /// `Reconnecting` is closed or dropped.
    ///
    /// An error is a [`Cause::Hook`], by default worth another attempt unless it is one of Sockeye's own that is not.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn token() -> Result<String, std::io::Error> { Ok("fresh".into()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = sockeye::Client::builder().build()?;
    /// let builder = sockeye::reconnect::Reconnecting::builder(client, "wss://example.com/")
    ///     .before_attempt(|mut attempt| async move {
    ///         attempt.set_bearer_auth(&token().await?)?;
    ///         Ok(attempt)
    ///     });
    /// # Ok(())
    /// # }
    /// ```
    pub fn before_attempt<F, R>(mut self, mut hook: F) -> Self
    where
        F: FnMut(Attempt) -> R + Send + 'static,
        R: Future<Output = Result<Attempt, HookError>> + Send + 'static,
    {
        self.hooks.before_attempt = Some(Box::new(move |attempt| Box::pin(hook(attempt))));
        self
    }

    /// Called with each open connection before anything from the queue goes out on it, and before [`State::Open`] is told:
    /// to log in, to subscribe again, to ask for what was missed. It may receive too; what it receives, nobody else does.
    /// It gives the connection back. Its time is its own; it is dropped when the `Reconnecting` is closed or dropped.
    ///
    /// An error is a [`Cause::Hook`]; the connection is dropped then. One of Sockeye's own errors, as `?` passes it on,
    /// counts like the same error outside of the hook; any other is worth another attempt.
    ///
    /// [`State::Open`]: super::State::Open
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = sockeye::Client::builder().build()?;
    /// let builder = sockeye::reconnect::Reconnecting::builder(client, "wss://example.com/").on_open(|mut ws| async move {
    ///     ws.send("subscribe prices").await?;
    ///     Ok(ws)
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_open<F, R>(mut self, mut hook: F) -> Self
    where
        F: FnMut(WebSocket<Stream>) -> R + Send + 'static,
        R: Future<Output = Result<WebSocket<Stream>, HookError>> + Send + 'static,
    {
        self.hooks.on_open = Some(Box::new(move |ws| Box::pin(hook(ws))));
        self
    }

    /// The most messages that wait for a connection, or for one that is slow. Default: 1,024. A single message always has
    /// its place, whatever the limits.
    pub fn queue_messages(mut self, messages: usize) -> Self {
        self.limits.messages = messages;
        self
    }

    /// The most bytes of payload that do. Default: 1 MiB.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// What happens when the queue has no room. Default: [`Overflow::Wait`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.limits.overflow = overflow;
        self
    }

    /// How long the queue may take to go out when the connection is to be closed, before that is dropped without a Close.
    /// Default: 5 s. The closing handshake comes after it and has the client's
    /// [`close_timeout`](crate::ClientBuilder::close_timeout).
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Where the jitter comes from: 64 evenly distributed bits a call. Default: the thread's generator of the crate `rand`,
    /// which the operating system seeds.
    pub fn random(mut self, random: impl FnMut() -> u64 + Send + 'static) -> Self {
        self.hooks.random = Box::new(random);
        self
    }

    /// Starts a task on the current tokio runtime, which makes the first attempt at once.
    ///
    /// # Errors
    ///
    /// When called outside of a tokio runtime. All else, also a URL that is none, shows as a [`Cause`].
    ///
    /// # Examples
    ///
    /// See [`Reconnecting`].
    pub fn start(self) -> Result<Reconnecting, TryCurrentError> {
        let runtime = Handle::try_current()?;
        let shared = Arc::new(Shared::new(self.limits));
        let task = Task {
            shared: shared.clone(),
            client: self.client,
            url: self.url,
            backoff: self.backoff,
            drain_timeout: self.drain_timeout,
            hooks: self.hooks,
        };
        let task = runtime.spawn(task.run());
        Ok(Reconnecting::new(shared, task.abort_handle()))
    }
}

impl fmt::Debug for ReconnectingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL, which may hold a password.
        f.debug_struct("ReconnectingBuilder")
            .field("backoff", &self.backoff)
            .field("limits", &self.limits)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

/// An attempt that is about to be made, as [`before_attempt`](ReconnectingBuilder::before_attempt) sees it.
pub struct Attempt {
    number: u32,
    url: String,
    client: Client,
    options: Option<ClientOptions>,
    last: Option<Arc<Cause>>,
}

impl Attempt {
    pub(super) fn new(number: u32, url: String, client: Client, last: Option<Arc<Cause>>) -> Self {
        Self {
            number,
            url,
            client,
            options: None,
            last,
        }
    }

    /// Its number since the last stable connection, from 1.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Why the attempt or the connection before this ended. `None` for the first ever.
    #[must_use]
    pub fn last_cause(&self) -> Option<&Cause> {
        self.last.as_deref()
    }

    /// Where to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Goes elsewhere this time, with all headers, credentials among them. One that is no ws: or wss: URL fails the attempt with [`ConnectError::Uri`].
    pub fn set_url(&mut self, url: impl Into<String>) {
        self.url = url.into();
    }

    /// Adds a header to the request, beside those of the client.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if it is malformed or belongs to the handshake.
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), OptionsError> {
        self.options().add_header(name, value)
    }

    /// Sets the `Cookie` header, in place of the client's.
    ///
    /// # Errors
    ///
    /// [`OptionsError::Header`], if the value cannot be sent.
    pub fn set_cookie(&mut self, cookies: &str) -> Result<(), OptionsError> {
        self.options().set_cookie(cookies)
    }

    /// Authorizes by user name and password (RFC 7617), in place of what the client and the URL say.
    ///
    /// # Errors
    ///
    /// If they cannot be sent.
    pub fn set_basic_auth(&mut self, username: &str, password: &str) -> Result<(), OptionsError> {
        self.options().set_basic_auth(username, password)
    }

    /// Authorizes by a token (RFC 6750), in place of what the client and the URL say.
    ///
    /// # Errors
    ///
    /// If it cannot be sent.
    pub fn set_bearer_auth(&mut self, token: &str) -> Result<(), OptionsError> {
        self.options().set_bearer_auth(token)
    }

    /// Connects by other options altogether this time: another TLS identity, another proxy. Headers that were set before
    /// are forgotten.
    pub fn set_client(&mut self, client: Client) {
        self.client = client;
        self.options = None;
    }

    fn options(&mut self) -> &mut ClientOptions {
        self.options
            .get_or_insert_with(|| self.client.handshake_options().clone())
    }

    pub(super) async fn connect(self) -> Result<Socket, ConnectError> {
        let client = match self.options {
            Some(options) => self.client.with_handshake_options(options),
            None => self.client,
        };
        client.connect(&self.url).await
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("number", &self.number)
            .field("last_cause", &self.last)
            .finish_non_exhaustive()
    }
}
