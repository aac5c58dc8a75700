//! Accepting connections: over any transport with [`accept`] and [`Upgrade`], from listening sockets with [`Server`].
//!
//! [`ServerOptions`] is what one connection may do, [`limits`] how many there may be, [`listener`] where they come from,
//! [`tls`] what secures them, [`upgrade`] the request and its answer, [`serve`] a task for each, [`shutdown`] their end.

mod cookies;
mod deadline;
mod limits;
mod listener;
pub(crate) mod place;
mod serve;
mod shutdown;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync;
use tokio::time::{Instant, sleep_until};

pub use self::limits::Limits;
pub use self::listener::{Address, Listener};
pub use self::serve::{HandlerOutput, Incoming};
pub use self::shutdown::ShutdownReport;
#[cfg(feature = "tls")]
pub use self::tls::{ServerTls, ServerTlsBuilder, TlsError};
pub use self::upgrade::Upgrade;

use self::limits::{Registry, Room};
use self::listener::Accepted;
use crate::error::AcceptError;
use crate::observe;
use crate::options::ServerOptions;
use crate::socket::WebSocket;

/// Accepts a WebSocket over `io`, on which a client is about to send its request.
///
/// # Errors
///
/// [`AcceptError::Rejected`] when the request is none that can be accepted; the client has been answered.
/// [`AcceptError::Timeout`] when the handshake takes longer than the options allow.
///
/// # Cancel safety
///
/// Dropping the future drops the transport.
///
/// # Examples
///
/// See [`WebSocket`].
pub fn accept<T>(io: T, options: &ServerOptions) -> impl Future<Output = Result<WebSocket<T>, AcceptError>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    Box::pin(async move { Upgrade::read(io, options).await?.accept(options).await })
}

/// Listening sockets and the connections that come from them. All clones are one server.
///
/// - **Made** by [`bind`](Self::bind) with one TCP listener, or by [`builder`](Self::builder) with any [`Listener`]s
///   and [`Limits`].
/// - **Run** by [`serve`](Self::serve) or [`serve_requests`](Self::serve_requests) with a task for each connection, or by
///   a loop of your own around [`accept`](Self::accept).
/// - **Ended** by [`shutdown`](Self::shutdown), which takes leave of all connections.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Error, Server, ServerOptions};
///
/// let server = Server::bind("127.0.0.1:9001", ServerOptions::default()).await?;
/// server
///     .serve(|mut ws| async move {
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok::<_, Error>(())
///     })
///     .await;
/// # Ok(())
/// # }
/// ```
///
/// The same with a loop of one's own:
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = sockeye::Server::bind("127.0.0.1:9001", sockeye::ServerOptions::default()).await?;
/// loop {
///     let incoming = server.accept().await?;
///     tokio::spawn(async move {
///         // In the task: a client that is slow in its handshake holds up nobody else.
///         let mut ws = incoming.accept().await?;
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
///     });
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    options: ServerOptions,
    addresses: Vec<Address>,
    registry: Arc<Registry>,
    /// For listeners that have none of their own.
    #[cfg(feature = "tls")]
    tls: Mutex<Option<ServerTls>>,
    /// Whether every listener has TLS of its own.
    secure: bool,
    /// One task at a time waits for connections, since a socket remembers one only.
    acceptor: sync::Mutex<Acceptor>,
}

/// Sets up a [`Server`].
#[derive(Default)]
#[must_use]
pub struct ServerBuilder {
    options: ServerOptions,
    limits: Limits,
    listeners: Vec<Listener>,
    on_error: Option<OnError>,
}

/// Is told of the system's errors.
type OnError = Box<dyn Fn(&io::Error) + Send + Sync>;

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("options", &self.options)
            .field("limits", &self.limits)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Adds a listener. A server without any never gets a connection.
    pub fn listener(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// What connections may do. Default: [`ServerOptions::default`].
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.options = options;
        self
    }

    /// How many connections there may be. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Has `tell` called for each error of the system that keeps connections waiting, such as too few file descriptors:
    /// while it lasts, after 10 ms, 20 ms, and so on up to every second. It should return soon. Such errors end nothing; see
    /// [`Server::accept`].
    pub fn on_accept_error(mut self, tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Box::new(tell));
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> Server {
        #[cfg(feature = "tls")]
        let secure = !self.listeners.is_empty() && self.listeners.iter().all(|listener| listener.tls().is_some());
        #[cfg(not(feature = "tls"))]
        let secure = false;
        Server {
            shared: Arc::new(Shared {
                options: self.options,
                addresses: self
                    .listeners
                    .iter()
                    .map(|listener| listener.address().clone())
                    .collect(),
                registry: Arc::new(Registry::new(self.limits)),
                #[cfg(feature = "tls")]
                tls: Mutex::new(None),
                secure,
                acceptor: sync::Mutex::new(Acceptor::new(self.listeners, self.on_error)),
            }),
        }
    }
}

impl Server {
    /// A builder without listeners.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be resolved or is taken.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing listens any more when the future is dropped.
    pub async fn bind(address: impl ToSocketAddrs, options: ServerOptions) -> io::Result<Self> {
        Ok(Self::builder()
            .listener(Listener::bind(address).await?)
            .options(options)
            .build())
    }

    /// Takes over a socket that listens already.
    #[must_use]
    pub fn from_listener(listener: TcpListener, options: ServerOptions) -> Self {
        Self::builder().listener(listener).options(options).build()
    }

    /// Puts connections under TLS that come from now on, but for those of listeners with TLS of their own.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(self, tls: impl Into<ServerTls>) -> Self {
        *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(tls.into());
        self
    }

    /// The address of the first listener over TCP.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let first = self.shared.addresses.iter().find_map(Address::tcp);
        first.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// The addresses of all listeners, in the order in which they were added.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.shared.addresses
    }

    /// Whether all connections are under TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.default_tls().is_some() {
            return true;
        }
        self.shared.secure
    }

    /// How many connections there are, those in their handshakes included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.registry.count()
    }

    /// The next connection, before its handshake, whose deadline starts now. It comes when the [`Limits`] leave room for
    /// it; one that is beyond them and is to be told so by 503 comes all the same, and is told by
    /// [`Incoming::upgrade`].
    ///
    /// Errors of the system, such as too few file descriptors, do not end this: it asks again when one of the server's own
    /// connections ends, and otherwise after 10 ms, twice that, and so on up to 1 s. Connections that ended before they
    /// were accepted are passed over. Several tasks may wait at once.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotConnected`] once the server shuts down, and nothing else.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn accept(&self) -> io::Result<Incoming> {
        let mut stopping = self.shared.registry.stopping.subscribe();
        let mut stopped = pin!(stopping.wait_for(Option::is_some));
        let mut accepting = pin!(self.next());
        poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                let error = io::Error::new(io::ErrorKind::NotConnected, "the server shuts down");
                return Poll::Ready(Err(error));
            }
            accepting.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    async fn next(&self) -> Incoming {
        let mut acceptor = self.shared.acceptor.lock().await;
        let room = self.shared.registry.room().await;
        let connection = acceptor.next(&self.shared.registry).await;
        drop(acceptor);
        self.incoming(room, connection)
    }

    fn incoming(&self, room: Room, connection: Connection) -> Incoming {
        Incoming::new(
            room,
            connection.accepted,
            connection.peer,
            self.shared.options.clone(),
            #[cfg(feature = "tls")]
            connection.tls.or_else(|| self.default_tls()),
        )
    }

    #[cfg(feature = "tls")]
    fn default_tls(&self) -> Option<ServerTls> {
        self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.shared.addresses)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// The listeners, in turn.
struct Acceptor {
    listeners: Vec<Listener>,
    /// The one that is asked first, so that a busy one does not keep the others waiting.
    first: usize,
    /// How long the next error of the system is waited out, and until when the last one is.
    pause: Duration,
    paused: Option<Instant>,
    on_error: Option<OnError>,
}

/// A connection as a listener has it.
struct Connection {
    accepted: Accepted,
    peer: Address,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
}

impl Acceptor {
    fn new(listeners: Vec<Listener>, on_error: Option<OnError>) -> Self {
        Self {
            listeners,
            on_error,
            first: 0,
            pause: SHORTEST_PAUSE,
            paused: None,
        }
    }

    /// Nobody can connect any more.
    fn close(&mut self) {
        self.listeners.clear();
    }

    async fn next(&mut self, registry: &Registry) -> Connection {
        loop {
            if let Some(until) = self.paused {
                // The listener stays ready all the while: to ask again at once would be to spin. What helps is the end of a
                // connection.
                let (mut freed, mut over) = (pin!(registry.freed.notified()), pin!(sleep_until(until)));
                poll_fn(|cx| match freed.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(()),
                    Poll::Pending => over.as_mut().poll(cx),
                })
                .await;
                self.paused = None;
            }
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(connection) => {
                    self.pause = SHORTEST_PAUSE;
                    return connection;
                }
                Err(error) if ended_before(&error) => {}
                Err(error) => {
                    observe::accept_failed(&error);
                    if let Some(tell) = &self.on_error {
                        tell(&error);
                    }
                    self.paused = Some(Instant::now() + self.pause);
                    self.pause = LONGEST_PAUSE.min(self.pause * 2);
                }
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        let count = self.listeners.len();
        for index in (self.first..count).chain(0..self.first.min(count)) {
            let Some(listener) = self.listeners.get(index) else {
                continue;
            };
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                self.first = (index + 1) % count;
                return Poll::Ready(accepted.map(|(accepted, peer)| Connection {
                    accepted,
                    peer,
                    #[cfg(feature = "tls")]
                    tls: listener.tls().cloned(),
                }));
            }
        }
        Poll::Pending
    }
}

fn ended_before(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// How long an error of the system is waited out at first, and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
