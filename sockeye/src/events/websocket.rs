//! `WebSocket`: the object with the four events.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_core::Stream;
use sockeye_proto::message::Message;

use super::arguments::{Closing, Protocols};
use super::event::{BinaryType, CloseEvent, Data, ErrorEvent, Event, Failure, MessageEvent, ReadyState};
use super::exception::Exception;
use super::link::{Opened, Step, lock};
use super::task::Connection;
use crate::client::{Client, default_client};
use crate::error::ConnectError;

/// The browser's `WebSocket`. See the [module](super) for how its events are dispatched.
///
/// The methods come in families: constructors; attributes; [`send`](Self::send) and [`close`](Self::close); callbacks
/// ([`on_open`](Self::on_open) and its like); and the event loop ([`run`](Self::run), [`next_event`](Self::next_event), and the
/// `Stream`, which ends after [`Event::Close`]).
///
/// Clones are the same object. When the last is dropped, so that nobody can hear an event any more, a connection that is
/// being made is given up; an open one takes what was sent, then says Close 1001 and waits for the answer, in the background,
/// for as long as the runtime lives.
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
/// use sockeye::events::{Event, WebSocket};
///
/// let ws = WebSocket::new(&url, ())?;
/// while let Some(event) = ws.next_event().await {
///     match event {
///         Event::Open => ws.send("swim")?,
///         Event::Message(message) => {
///             assert_eq!(message.data.as_text(), Some("swim"));
///             ws.close(1000, "done")?;
///         }
///         Event::Error(error) => eprintln!("{}", error.cause),
///         Event::Close(close) => assert_eq!((close.code.as_u16(), close.was_clean), (1000, true)),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WebSocket {
    object: Arc<Object>,
}

struct Object {
    connection: Connection,
    state: Mutex<State>,
}

/// What events have told, and whom they tell.
#[derive(Default)]
struct State {
    ready_state: ReadyState,
    binary_type: BinaryType,
    opened: Arc<Opened>,
    failure: Option<Arc<Failure>>,
    close: Option<CloseEvent>,
    callbacks: Callbacks,
    dispatching: bool,
}

type Callback<E> = Box<dyn FnMut(&WebSocket, &E) + Send>;

#[derive(Default)]
struct Callbacks {
    open: Option<Callback<()>>,
    message: Option<Callback<MessageEvent>>,
    error: Option<Callback<ErrorEvent>>,
    close: Option<Callback<CloseEvent>>,
}

/// Constructors.
impl WebSocket {
    /// `new WebSocket(url, protocols)`: starts to connect, with the defaults of [`Client::builder`].
    ///
    /// `url` is a ws: or wss: URL, or an http: or https: one, which means the same. It has to be percent-encoded as it is to
    /// be sent; nothing in it is repaired. `protocols` are the subprotocols to offer: `()`, one string, or several. If any are
    /// offered, the server must choose one.
    ///
    /// Call it in a tokio runtime with I/O and time enabled, which gets the task of the connection.
    ///
    /// # Errors
    ///
    /// [`Exception::SyntaxError`] for a URL or subprotocol that is malformed, a fragment, or a subprotocol that is there twice;
    /// [`Exception::NoRuntime`] outside a runtime. Whatever else goes wrong is told by the events `error` and `close`.
    ///
    /// # Examples
    ///
    /// See [`WebSocket`].
    pub fn new(url: &str, protocols: impl Into<Protocols>) -> Result<Self, Exception> {
        Self::start(default_client().cloned(), url, protocols.into())
    }

    /// The same with the TLS, headers, credentials, proxy and limits of `client`. Subprotocols of its own are offered before
    /// `protocols`. Redirects are failures, as the standard has it, whatever the client would do.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockeye::events::{Exception, WebSocket};
    ///
    /// let client = sockeye::Client::builder().bearer_auth("secret").build()?;
    /// let ws = WebSocket::with_client(&client, "https://example.com/chat", ["chat.v2", "chat"])?;
    /// assert_eq!(ws.url(), "wss://example.com/chat");
    ///
    /// let error = WebSocket::with_client(&client, "ftp://example.com/", ()).unwrap_err();
    /// assert!(matches!(error, Exception::SyntaxError(_)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_client(client: &Client, url: &str, protocols: impl Into<Protocols>) -> Result<Self, Exception> {
        Self::start(Ok(client.clone()), url, protocols.into())
    }

    fn start(client: Result<Client, ConnectError>, url: &str, protocols: Protocols) -> Result<Self, Exception> {
        let connection = Connection::start(client, url, protocols)?;
        let object = Object {
            connection,
            state: Mutex::default(),
        };
        Ok(Self {
            object: Arc::new(object),
        })
    }
}

/// Attributes.
impl WebSocket {
    /// `url`: as serialised, always ws: or wss:. Credentials are part of it, so think before you log it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.object.connection.url
    }

    /// `readyState`. It changes when events are dispatched; only [`close`](Self::close) makes it
    /// [`Closing`](ReadyState::Closing) at once.
    #[must_use]
    pub fn ready_state(&self) -> ReadyState {
        self.state().ready_state
    }

    /// `bufferedAmount`: bytes of payload that were given to [`send`](Self::send) and not yet handed to the transport, framing
    /// not counted. A compressed frame counts until its last byte has been handed over. What cannot be sent any more counts
    /// for ever.
    #[must_use]
    pub fn buffered_amount(&self) -> u64 {
        self.object.connection.link.buffered_amount()
    }

    /// `extensions`: those in use, as the server wrote them, such as `permessage-deflate`. Empty before `open`.
    #[must_use]
    pub fn extensions(&self) -> String {
        self.state().opened.extensions.clone()
    }

    /// `protocol`: the subprotocol that the server chose. Empty before `open`, and if none was offered.
    #[must_use]
    pub fn protocol(&self) -> String {
        self.state().opened.protocol.clone()
    }

    /// `binaryType`: in which form binary messages come. At first [`BinaryType::Blob`].
    #[must_use]
    pub fn binary_type(&self) -> BinaryType {
        self.state().binary_type
    }

    /// Sets `binaryType` for the messages that are dispatched from now on.
    pub fn set_binary_type(&self, binary_type: BinaryType) {
        self.state().binary_type = binary_type;
    }

    /// Not in the standard: why the connection failed, once `error` has told that it did.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.state().failure.clone()
    }
}

/// Sending and closing. These never wait.
impl WebSocket {
    /// `send(data)`: sends a message; text, bytes, or a [`Message`].
    ///
    /// It is queued without a limit, as in a browser: whoever sends much looks at
    /// [`buffered_amount`](Self::buffered_amount), or takes a [`WebSocketStream`](super::WebSocketStream). In the states
    /// [`Closing`](ReadyState::Closing) and [`Closed`](ReadyState::Closed) it is dropped, but counted.
    ///
    /// # Errors
    ///
    /// [`Exception::InvalidStateError`] in the state [`Connecting`](ReadyState::Connecting).
    pub fn send(&self, data: impl Into<Message>) -> Result<(), Exception> {
        let data = data.into();
        let connection = &self.object.connection;
        // The lock orders a message with a `close` on another thread.
        let state = self.state();
        match state.ready_state {
            ReadyState::Connecting => return Err(Exception::InvalidStateError),
            ReadyState::Open => connection.send(data),
            _ => connection.link.sent(data.len()),
        }
        Ok(())
    }

    /// `close(code, reason)`: `close(None, "")` sends a Close without a body, `close(1000, "bye")` one that explains itself.
    /// A reason without a code gets the code 1000.
    ///
    /// What was sent before still goes out; messages that come are dropped. If the connection is not yet open it fails:
    /// `error` and `close` follow. Once it is closing this does nothing.
    ///
    /// # Errors
    ///
    /// Whatever the state: [`Exception::InvalidAccessError`] for a code that is neither 1000 nor from 3000 to 4999,
    /// [`Exception::SyntaxError`] for a reason of more than 123 bytes.
    pub fn close(&self, code: impl Into<Option<u16>>, reason: &str) -> Result<(), Exception> {
        let closing = Closing::new(code.into(), reason)?;
        let mut state = self.state();
        match state.ready_state {
            ReadyState::Connecting => self.object.connection.abort(),
            ReadyState::Open => self.object.connection.close(closing),
            _ => return Ok(()),
        }
        // What waits to be dispatched will not be.
        self.object.connection.link.stop();
        state.ready_state = ReadyState::Closing;
        Ok(())
    }
}

/// Callbacks. Each replaces the one before it; one may set another, or itself.
impl WebSocket {
    /// `onopen`: messages may be sent.
    pub fn on_open(&self, mut callback: impl FnMut(&Self) + Send + 'static) {
        self.set(|callbacks| &mut callbacks.open, Box::new(move |ws, ()| callback(ws)));
    }

    /// `onmessage`: one came.
    pub fn on_message(&self, callback: impl FnMut(&Self, &MessageEvent) + Send + 'static) {
        self.set(|callbacks| &mut callbacks.message, Box::new(callback));
    }

    /// `onerror`: the connection failed; `close` follows.
    pub fn on_error(&self, callback: impl FnMut(&Self, &ErrorEvent) + Send + 'static) {
        self.set(|callbacks| &mut callbacks.error, Box::new(callback));
    }

    /// `onclose`: the end, told once.
    pub fn on_close(&self, callback: impl FnMut(&Self, &CloseEvent) + Send + 'static) {
        self.set(|callbacks| &mut callbacks.close, Box::new(callback));
    }

    fn set<E>(&self, which: impl Fn(&mut Callbacks) -> &mut Option<Callback<E>>, callback: Callback<E>) {
        let before = which(&mut self.state().callbacks).replace(callback);
        // Not under the lock: it may hold what uses the object when it is dropped.
        drop(before);
    }
}

/// The event loop.
impl WebSocket {
    /// Dispatches events until `close`, and answers that one. `tokio::spawn(ws.run())` leaves it to the runtime; the future is
    /// a clone of the object, so that the connection lasts as long as it.
    ///
    /// # Cancel safety
    ///
    /// Safe: what has not been dispatched stays.
    ///
    /// # Examples
    ///
    /// See the [module](super).
    pub fn run(&self) -> impl Future<Output = CloseEvent> + Send + use<> {
        let ws = self.clone();
        async move {
            while ws.next_event().await.is_some() {}
            let close = ws.state().close.clone();
            close.unwrap_or_else(CloseEvent::failed)
        }
    }

    /// Dispatches the next event, callback included, and answers it; `None` after `close`.
    ///
    /// # Cancel safety
    ///
    /// Safe: what has not been dispatched stays.
    ///
    /// # Examples
    ///
    /// See [`WebSocket`].
    pub async fn next_event(&self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let link = &self.object.connection.link;
        let mut state = self.state();
        if state.dispatching {
            link.wait(cx);
            return Poll::Pending;
        }
        if state.close.is_some() {
            return Poll::Ready(None);
        }
        let Poll::Ready(event) = link.poll_step(cx, |step| state.take(step)) else {
            return Poll::Pending;
        };
        match &event {
            Event::Open => self.dispatch(state, |callbacks| &mut callbacks.open, &()),
            Event::Message(message) => self.dispatch(state, |callbacks| &mut callbacks.message, message),
            Event::Error(error) => self.dispatch(state, |callbacks| &mut callbacks.error, error),
            Event::Close(close) => self.dispatch(state, |callbacks| &mut callbacks.close, close),
        }
        // For others who wait: it is their turn, and after `close` there is nothing to wait for.
        link.wake();
        Poll::Ready(Some(event))
    }

    /// Calls a callback, without the lock: it may use the object as it likes.
    fn dispatch<E>(
        &self,
        mut state: MutexGuard<'_, State>,
        which: impl Fn(&mut Callbacks) -> &mut Option<Callback<E>>,
        event: &E,
    ) {
        let Some(mut callback) = which(&mut state.callbacks).take() else {
            return;
        };
        state.dispatching = true;
        drop(state);
        let panicking = Dispatching(self);
        callback(self, event);
        std::mem::forget(panicking);
        let mut state = self.state();
        // In its place before the next event, unless it has set another there.
        let replaced = match which(&mut state.callbacks) {
            none @ None => {
                *none = Some(callback);
                None
            }
            Some(_) => Some(callback),
        };
        state.dispatching = false;
        drop(state);
        drop(replaced);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.object.state)
    }
}

/// Is dropped when a callback panics, which ends it as well.
struct Dispatching<'a>(&'a WebSocket);

impl Drop for Dispatching<'_> {
    fn drop(&mut self) {
        self.0.state().dispatching = false;
        self.0.object.connection.link.wake();
    }
}

impl State {
    /// Does a task of the event loop, and answers the event to be fired, if there is one.
    fn take(&mut self, step: Step) -> Option<Event> {
        match step {
            Step::Open(opened) => {
                // `close` came first, and the attempt has failed.
                if self.ready_state != ReadyState::Connecting {
                    return None;
                }
                // WHATWG: "Change the readyState attribute's value to OPEN (1). Change the extensions attribute's value to
                // the extensions in use, if it is not the null value. Change the protocol attribute's value to the
                // subprotocol in use, if it is not the null value. Fire an event named open at the WebSocket object."
                self.ready_state = ReadyState::Open;
                self.opened = opened;
                Some(Event::Open)
            }
            // WHATWG: "If the readyState attribute's value is not OPEN (1), then return."
            Step::Message(_) if self.ready_state != ReadyState::Open => None,
            Step::Message(data) => Some(Event::Message(MessageEvent {
                data: self.formed(data),
            })),
            Step::PeerCloses => {
                // WHATWG: "When the WebSocket closing handshake is started, the user agent must queue a task to change the
                // readyState attribute's value to CLOSING (2)."
                self.ready_state = ReadyState::Closing;
                None
            }
            // WHATWG: "Change the readyState attribute's value to CLOSED (3). If the user agent was required to fail the
            // WebSocket connection, [...] fire an event named error at the WebSocket object. Fire an event named close at
            // the WebSocket object, using CloseEvent".
            Step::Failed(cause) => {
                self.ready_state = ReadyState::Closed;
                self.failure = Some(cause.clone());
                Some(Event::Error(ErrorEvent { cause }))
            }
            Step::Closed(close) => {
                self.ready_state = ReadyState::Closed;
                self.close = Some(close.clone());
                Some(Event::Close(close))
            }
        }
    }

    /// The data in the form of `binaryType`.
    fn formed(&self, data: Data) -> Data {
        match (data, self.binary_type) {
            (Data::Blob(blob), BinaryType::ArrayBuffer) => Data::ArrayBuffer(blob.into_bytes()),
            (data, _) => data,
        }
    }
}

impl Stream for WebSocket {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("ready_state", &self.ready_state())
            .field("protocol", &self.protocol())
            .field("buffered_amount", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}
