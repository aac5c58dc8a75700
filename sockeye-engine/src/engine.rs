//! [`Engine`]: listeners and shards, and what the rest of the program has of them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Waker};
use socket2::{Domain, Protocol, Socket, Type};
use sockeye::ServerOptions;

use crate::clock::{Clock, ManualClock};
use crate::event_loop::{EventLoop, Listening, MOST_LISTENERS, OnAcceptError, WAKER};
use crate::hand_over::{HandOver, HandedOver};
use crate::handler::Handler;
use crate::mailbox::Command;
use crate::metrics;
use crate::options::{Options, SlowSubscriber};
use crate::report::{ShutdownReport, Tally};
use crate::shard::Shard;
use crate::shared::{Publisher, Shared};
use crate::wire::{Acceptor, Wire};

/// Sets up an [`Engine`].
#[must_use]
pub struct EngineBuilder {
    options: Options,
    threads: usize,
    mailbox_limit: usize,
    listeners: Vec<(Origin, Acceptor)>,
    hand_over: Option<Arc<HandOver>>,
    on_accept_error: Option<Arc<OnAcceptError>>,
    clock: Option<ManualClock>,
}

/// Where a listener comes from.
enum Origin {
    Address(Vec<SocketAddr>),
    Bound(TcpListener),
}

impl EngineBuilder {
    fn new(options: ServerOptions) -> Self {
        Self {
            options: Options::new(options),
            threads: thread::available_parallelism().map_or(1, usize::from),
            mailbox_limit: 64 << 20,
            listeners: Vec::new(),
            hand_over: None,
            on_accept_error: None,
            clock: None,
        }
    }

    /// Listens there, in plain text. Port 0 is one that is free.
    ///
    /// # Errors
    ///
    /// Those of looking the address up.
    pub fn listen(self, address: impl ToSocketAddrs) -> io::Result<Self> {
        self.listen_by(address, Acceptor::Plain)
    }

    /// Listens there, with TLS. [`ServerTls::replace`](sockeye::ServerTls::replace) renews its certificates.
    ///
    /// # Errors
    ///
    /// Those of looking the address up.
    #[cfg(feature = "tls")]
    pub fn listen_tls(self, address: impl ToSocketAddrs, tls: &sockeye::ServerTls) -> io::Result<Self> {
        self.listen_by(address, Acceptor::Tls(tls.clone()))
    }

    /// Accepts from a socket that was bound before, by another process perhaps, whose connections go to all shards.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listeners.push((Origin::Bound(listener), Acceptor::Plain));
        self
    }

    /// The same with TLS.
    #[cfg(feature = "tls")]
    pub fn listener_tls(mut self, listener: TcpListener, tls: &sockeye::ServerTls) -> Self {
        self.listeners
            .push((Origin::Bound(listener), Acceptor::Tls(tls.clone())));
        self
    }

    fn listen_by(mut self, address: impl ToSocketAddrs, acceptor: Acceptor) -> io::Result<Self> {
        let addresses = address.to_socket_addrs()?.collect();
        self.listeners.push((Origin::Address(addresses), acceptor));
        Ok(self)
    }

    /// How many shards, each with a thread of its own. Default: as many as the machine has cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// What becomes of messages for a subscriber with as much output waiting as
    /// [`send_queue`](sockeye::ServerOptionsBuilder::send_queue) allows. Default: they are dropped.
    pub fn slow_subscriber(mut self, policy: SlowSubscriber) -> Self {
        self.options.slow = policy;
        self
    }

    /// The most connections, of all shards. More are answered with 503 and `Retry-After`, which takes the TLS handshake, if
    /// there is to be one, and the request: each has a place among [those](Self::max_handshakes) until it is gone. Default:
    /// 1,000,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections;
        self
    }

    /// The most requests under way, by shard; more connections wait in the system's queue. Default: 4,096. Each may take
    /// 64 KiB and, with TLS, a session.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.options.max_handshakes = handshakes.max(1);
        self
    }

    /// The most subscriptions of one connection. Default: 1,024. Each takes about 20 bytes.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.options.max_subscriptions = subscriptions;
        self
    }

    /// How much may be on its way from other threads to a shard, in bytes; more is dropped. Default: 64 MiB.
    pub fn mailbox_limit(mut self, bytes: usize) -> Self {
        self.mailbox_limit = bytes;
        self
    }

    /// Gives away connections that ask for no WebSocket, and those that have agreed on HTTP/2 by ALPN, with what they have
    /// said. It is called on the shard's thread: hand them on to a runtime. Default: they are answered with 426.
    pub fn hand_over(mut self, take: impl Fn(HandedOver) + Send + Sync + 'static) -> Self {
        self.hand_over = Some(Arc::new(take));
        self
    }

    /// Has `tell` called for each error of the system that keeps connections waiting, such as too few file descriptors: on
    /// the shard's thread, and every 20 ms while it lasts. Such errors end nothing. Default: an event of `tracing` tells.
    pub fn on_accept_error(mut self, tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        self.on_accept_error = Some(Arc::new(tell));
        self
    }

    /// Has this clock tell the time, for tests. Default: the system's.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Binds the listeners and starts the shards. `handler` is called on each shard's thread, with the shard's number.
    ///
    /// # Errors
    ///
    /// Those of binding and of starting threads. Without a listener, and with 1,024 or more, [`io::ErrorKind::InvalidInput`].
    pub fn start<H: Handler>(self, handler: impl Fn(usize) -> H + Send + Sync + 'static) -> io::Result<Engine> {
        let (handle, runs) = self.prepare(handler)?;
        let threads = spawn(runs, 0)?;
        Ok(Engine { handle, threads })
    }

    /// The same with the first shard on the calling thread, until the engine is shut down by its handle, which `ready` is
    /// given once all listen.
    ///
    /// A program with one shard has one thread then, and a system call of one that shares its descriptors with no other
    /// thread is some per cent cheaper.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); and that of a shard that could not go on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use sockeye_engine::{Decision, Engine, Handler, Payload, ServerOptions, Socket, Upgrade};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Data = ();
    /// #     fn upgrade(&mut self, _: &mut Upgrade<'_, ()>) -> Decision<()> { Decision::Accept(()) }
    /// #     fn message(&mut self, socket: &mut Socket<'_, ()>, message: Payload<'_>) { let _ = socket.send(message); }
    /// # }
    /// let builder = Engine::builder(ServerOptions::default()).listen("127.0.0.1:0")?.threads(1);
    /// let report = builder.run(
    ///     |_shard| Echo,
    ///     |engine| {
    ///         println!("listening on {}", engine.local_addrs()[0]);
    ///         # engine.shutdown(std::time::Duration::ZERO);
    ///     },
    /// )?;
    /// println!("{} connections were closed", report.closed);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run<H: Handler>(
        self,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
        ready: impl FnOnce(&EngineHandle),
    ) -> io::Result<ShutdownReport> {
        let (handle, mut runs) = self.prepare(handler)?;
        let first = runs.remove(0);
        let threads = spawn(runs, 1)?;
        ready(&handle);
        first()?;
        join(threads)?;
        Ok(handle.tally.report())
    }

    /// Binds the listeners; what is to run on each shard's thread is yet to be run.
    fn prepare<H: Handler>(
        self,
        handler: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> io::Result<(EngineHandle, Vec<Run>)> {
        let wrong = match self.listeners.len() {
            0 => Some("an engine has at least one listener"),
            MOST_LISTENERS.. => Some("an engine has fewer than 1024 listeners"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
        }
        let mut sockets: Vec<Vec<Listening>> = (0..self.threads).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for (origin, acceptor) in self.listeners {
            let first = match origin {
                Origin::Address(candidates) => bind_first(&candidates)?,
                Origin::Bound(listener) => Bound { listener, own: false },
            };
            addresses.push(first.listener.local_addr()?);
            for (listening, socket) in sockets.iter_mut().zip(first.by_shard(self.threads)?) {
                socket.set_nonblocking(true)?;
                listening.push(Listening {
                    socket: mio::net::TcpListener::from_std(socket),
                    acceptor: acceptor.clone(),
                    spread: !BALANCED && self.threads > 1,
                });
            }
        }
        let shared = Shared::new(self.threads, self.mailbox_limit);
        if let Some(clock) = &self.clock {
            clock.attach(&shared);
        }
        let (options, handler) = (Arc::new(self.options), Arc::new(handler));
        let mut runs: Vec<Run> = Vec::new();
        for (number, listening) in sockets.into_iter().enumerate() {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            shared.shards[number].mailbox.set_wake(move || {
                if let Err(error) = waker.wake() {
                    tracing::error!(%error, "a shard could not be woken");
                }
            });
            let (shared, options, handler) = (shared.clone(), options.clone(), handler.clone());
            let (hand_over, on_accept_error) = (self.hand_over.clone(), self.on_accept_error.clone());
            let clock = self.clock.clone();
            let run = move || {
                let registry = poll.registry().try_clone()?;
                let take = hand_over.map(|take| -> crate::shard::HandOver<_> {
                    Box::new(move |mut wire: Wire, received| {
                        // What happens to it from now on is not to wake the shard.
                        let _ = wire.deregister(&registry);
                        take(HandedOver::new(wire, received));
                    })
                });
                let shard = Shard::new(handler(number), options, number, shared.clone(), take);
                let clock = Clock::new(clock);
                EventLoop::new(shard, number, shared, poll, listening, on_accept_error, clock)?.run()
            };
            runs.push(Box::new(run));
        }
        let handle = EngineHandle {
            shared,
            addresses: addresses.into(),
            tally: Arc::default(),
        };
        Ok((handle, runs))
    }
}

/// What a shard's thread does.
type Run = Box<dyn FnOnce() -> io::Result<()> + Send>;

fn spawn(runs: Vec<Run>, first: usize) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
    let numbered = runs.into_iter().zip(first..);
    numbered
        .map(|(run, number)| thread::Builder::new().name(format!("sockeye-{number}")).spawn(run))
        .collect()
}

/// Waits until all have ended; the first error is told.
fn join(threads: Vec<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a shard panicked"))??;
    }
    Ok(())
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("options", &self.options)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A running server.
///
/// Dropping it leaves it running: call [`shutdown`](Self::shutdown) to end it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sockeye_engine::{Decision, Engine, Handler, Payload, ServerOptions, Socket, Upgrade};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Data = ();
///
///     fn upgrade(&mut self, _request: &mut Upgrade<'_, ()>) -> Decision<()> {
///         Decision::Accept(())
///     }
///
///     fn message(&mut self, socket: &mut Socket<'_, ()>, message: Payload<'_>) {
///         let _ = socket.send(message);
///     }
/// }
///
/// let engine = Engine::builder(ServerOptions::default())
///     .listen("127.0.0.1:0")?
///     .threads(1)
///     .start(|_shard| Echo)?;
/// println!("listening on {}", engine.local_addrs()[0]);
/// # let report =
/// engine.shutdown(Duration::from_secs(10));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Engine {
    /// A builder with these options: subprotocols, Origin policy, compression, sizes and times, as of every server.
    pub fn builder(options: ServerOptions) -> EngineBuilder {
        EngineBuilder::new(options)
    }

    /// The engine for other parts of the program.
    #[must_use]
    pub fn handle(&self) -> &EngineHandle {
        &self.handle
    }

    /// Where it listens, in the order in which the listeners were named.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.handle.local_addrs()
    }

    /// What publishes to its topics, from anywhere.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.handle.publisher()
    }

    /// Its counts in the text format of Prometheus, as of the last turn of each shard.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.metrics_reader().render()
    }

    /// The same for another thread.
    #[must_use]
    pub fn metrics_reader(&self) -> MetricsReader {
        self.handle.metrics_reader()
    }

    /// As [`EngineHandle::shutdown`]; blocks until all have gone.
    pub fn shutdown(self, within: Duration) -> ShutdownReport {
        self.handle.shutdown(within);
        for thread in self.threads {
            // What it has to say it has told by events of tracing.
            let _ = thread.join();
        }
        self.handle.tally.report()
    }

    /// Waits until it ends: by [`EngineHandle::shutdown`], or by an error of the system's.
    ///
    /// # Errors
    ///
    /// That of the first shard that could not go on.
    pub fn join(self) -> io::Result<()> {
        join(self.threads)
    }
}

/// A running engine, for other parts of the program and other threads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    shared: Arc<Shared>,
    addresses: Arc<[SocketAddr]>,
    tally: Arc<Tally>,
}

impl EngineHandle {
    /// Where it listens, in the order in which the listeners were named.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What publishes to its topics.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher {
            shared: self.shared.clone(),
        }
    }

    /// What reads its counts.
    #[must_use]
    pub fn metrics_reader(&self) -> MetricsReader {
        MetricsReader {
            shared: self.shared.clone(),
        }
    }

    /// Stops accepting, and takes leave of all connections with code 1001 over half of the time, so that they do not come
    /// back elsewhere all at once; the other half is for their answers. Then the shards end. It does not wait for that.
    pub fn shutdown(&self, within: Duration) {
        for shard in &self.shared.shards {
            shard.mailbox.post(Command::Shutdown(within, self.tally.clone()));
        }
    }
}

/// Reads the counts of an engine.
#[derive(Debug, Clone)]
pub struct MetricsReader {
    shared: Arc<Shared>,
}

impl MetricsReader {
    /// The counts in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let shards = self.shared.shards.iter();
        let dropped = shards.clone().map(|shard| shard.mailbox.dropped()).sum();
        metrics::render(shards.map(|shard| &*shard.metrics), dropped)
    }
}

/// A socket that listens.
struct Bound {
    listener: TcpListener,
    /// Whether it was bound here, so that others can be bound beside it.
    own: bool,
}

impl Bound {
    /// One socket for each shard: of their own where the system spreads connections over them.
    fn by_shard(self, shards: usize) -> io::Result<Vec<TcpListener>> {
        let address = self.listener.local_addr()?;
        let mut sockets = Vec::new();
        if BALANCED {
            for _ in 1..shards {
                sockets.push(match self.own {
                    true => bind(address)?,
                    false => self.listener.try_clone()?,
                });
            }
        }
        sockets.insert(0, self.listener);
        Ok(sockets)
    }
}

fn bind_first(candidates: &[SocketAddr]) -> io::Result<Bound> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in candidates {
        match bind(*address) {
            Ok(listener) => return Ok(Bound { listener, own: true }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(unix)]
    {
        socket.set_reuse_address(true)?;
        if BALANCED {
            socket.set_reuse_port(true)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether the system spreads connections over sockets that are bound to one port (`SO_REUSEPORT`).
const BALANCED: bool = cfg!(target_os = "linux");

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;
