//! A connection that has been accepted, and a task for each of them.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::Server;
use super::limits::{HandshakeSlot, Room};
use super::listener::{Accepted, Address};
use super::place::Place;
#[cfg(feature = "tls")]
use super::tls::ServerTls;
use super::upgrade::{Admission, Upgrade, unavailable, until_leave};
use crate::driver::Served;
use crate::error::{AcceptError, Full};
use crate::observe::{self, Watch};
use crate::options::ServerOptions;
use crate::socket::WebSocket;
use crate::transport::Stream;

/// A connection that has not said what it wants.
#[must_use = "a connection that is dropped is closed"]
pub struct Incoming {
    /// In a box, since a task that has an `Incoming` has room for it as long as it lives.
    parts: Box<Parts>,
}

struct Parts {
    accepted: Accepted,
    peer: Address,
    options: ServerOptions,
    deadline: Instant,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
    handshake: HandshakeSlot,
    place: Result<Arc<Place>, Full>,
    watch: Watch,
}

impl Incoming {
    pub(super) fn new(
        room: Room,
        accepted: Accepted,
        peer: Address,
        options: ServerOptions,
        #[cfg(feature = "tls")] tls: Option<ServerTls>,
    ) -> Self {
        let (handshake, place) = room.give(peer.ip());
        let watch = Watch::server(Some(&peer));
        Self {
            parts: Box::new(Parts {
                accepted,
                peer,
                deadline: options.deadline(),
                options,
                #[cfg(feature = "tls")]
                tls,
                handshake,
                place,
                watch,
            }),
        }
    }

    /// The client's address.
    #[must_use]
    pub fn peer_addr(&self) -> &Address {
        &self.parts.peer
    }

    /// Does the TLS handshake, if there is to be one, and reads the request.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Tls`], or as [`Upgrade::read`]. [`AcceptError::Full`] when the connection is beyond the server's
    /// [`Limits`](crate::Limits); its request has been answered by 503. [`AcceptError::ShuttingDown`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub fn upgrade(self) -> impl Future<Output = Result<Upgrade<Stream>, AcceptError>> {
        Box::pin(async move {
            let watch = self.parts.watch.clone();
            self.parts.read().await.inspect_err(|error| watch.failed(error))
        })
    }

    /// Does the handshakes and accepts the WebSocket by the server's options.
    ///
    /// # Errors
    ///
    /// As [`upgrade`](Self::upgrade) and [`Upgrade::accept`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub fn accept(self) -> impl Future<Output = Result<WebSocket<Stream>, AcceptError>> {
        Box::pin(async move {
            let options = self.parts.options.clone();
            self.upgrade().await?.accept(&options).await
        })
    }

    /// The span of the connection, which has its number and the peer's address.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn span(&self) -> &tracing::Span {
        self.parts.watch.span()
    }
}

impl Parts {
    async fn read(self) -> Result<Upgrade<Stream>, AcceptError> {
        let (options, deadline) = (self.options, self.deadline);
        let reading = async {
            if let Accepted::Tcp(tcp) = &self.accepted {
                tcp.set_nodelay(true)?;
            }
            #[cfg(feature = "tls")]
            let stream = match &self.tls {
                Some(tls) => match timeout_at(deadline, Box::pin(tls.accept(self.accepted))).await {
                    Ok(stream) => stream.map_err(AcceptError::Tls)?,
                    Err(_) => return Err(AcceptError::Timeout),
                },
                None => plain(self.accepted),
            };
            #[cfg(not(feature = "tls"))]
            let stream = plain(self.accepted);
            let secure = stream.is_secure();
            Upgrade::read_until(stream, secure, &options, deadline, self.watch).await
        };
        let place = match self.place {
            Ok(place) => place,
            Err(full) => {
                let upgrade = reading.await?;
                let retry_after = self.handshake.0.retry_after();
                let rejection = unavailable(&format!("{full}\n"), retry_after)?;
                upgrade.answer(&rejection).await?;
                return Err(AcceptError::Full(full));
            }
        };
        let upgrade = until_leave(Some(&place), reading).await?;
        let admission = Admission {
            served: Served::new(place),
            peer: self.peer,
            _handshake: self.handshake,
        };
        Ok(upgrade.admitted(admission))
    }
}

fn plain(accepted: Accepted) -> Stream {
    match accepted {
        Accepted::Tcp(tcp) => Stream::plain(tcp),
        #[cfg(unix)]
        Accepted::Unix(unix) => Stream::unix(unix),
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("peer", &self.parts.peer)
            .finish_non_exhaustive()
    }
}

/// What a handler of [`Server::serve`] may return: nothing, or a `Result` whose error ends the connection. The error is
/// told to `tracing`, with the feature of that name, and otherwise to nobody.
pub trait HandlerOutput: Send + 'static {
    /// The error, if it is one.
    fn error(self) -> Option<Box<dyn StdError + Send + Sync>>;
}

impl HandlerOutput for () {
    fn error(self) -> Option<Box<dyn StdError + Send + Sync>> {
        None
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>> + Send + 'static> HandlerOutput for Result<(), E> {
    fn error(self) -> Option<Box<dyn StdError + Send + Sync>> {
        self.err().map(Into::into)
    }
}

impl Server {
    /// Accepts connections by the server's options, and gives each WebSocket to `handler` in a task of its own, until the
    /// server is [shut down](Self::shutdown) and all tasks have ended.
    ///
    /// A handler that panics ends its own connection, by a Close with code 1011, and nothing else (where panics unwind). A
    /// client that is refused, or fails in its handshake, has been answered, and never comes to the handler.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels all tasks, and drops their connections.
    ///
    /// # Examples
    ///
    /// See [`Server`].
    pub async fn serve<H, F>(&self, handler: H)
    where
        H: Fn(WebSocket<Stream>) -> F + Send + Sync + 'static,
        F: Future<Output: HandlerOutput> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.run(move |incoming| {
            let handler = handler.clone();
            async move {
                // Who failed in the handshake has been told, and so have the observers.
                let Ok(ws) = incoming.accept().await else { return None };
                handler(ws).await.error()
            }
        })
        .await;
    }

    /// Reads the request of each connection, and gives it to `handler` in a task of its own: to look at it, and to accept
    /// it, reject it, or answer it with a page. For the rest as [`serve`](Self::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(server: sockeye::Server) {
    /// use sockeye::handshake::{Headers, Rejection};
    /// use sockeye::{ServerOptions, transport::Stream, Upgrade};
    ///
    /// async fn answer(request: Upgrade<Stream>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     match request.request().path() {
    ///         "/healthz" => request.respond(200, &Headers::new(), b"ok\n").await?,
    ///         "/chat" if request.cookie("session").is_none() => request.reject(Rejection::new(401)).await?,
    ///         "/chat" => {
    ///             let mut ws = request.accept(&ServerOptions::default()).await?;
    ///             ws.send("welcome").await?;
    ///         }
    ///         _ => request.reject(Rejection::new(404)).await?,
    ///     }
    ///     Ok(())
    /// }
    ///
    /// server.serve_requests(answer).await;
    /// # }
    /// ```
    pub async fn serve_requests<H, F>(&self, handler: H)
    where
        H: Fn(Upgrade<Stream>) -> F + Send + Sync + 'static,
        F: Future<Output: HandlerOutput> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.run(move |incoming| {
            let handler = handler.clone();
            async move {
                let Ok(upgrade) = incoming.upgrade().await else {
                    return None;
                };
                handler(upgrade).await.error()
            }
        })
        .await;
    }

    async fn run<F>(&self, task: impl Fn(Incoming) -> F)
    where
        F: Future<Output = Option<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        while let Some(incoming) = self.accept_or_join(&mut tasks).await {
            let watch = incoming.parts.watch.clone();
            let work = task(incoming);
            tasks.spawn(watch.clone().around(async move {
                if let Some(error) = work.await {
                    watch.handler_failed(&*error);
                }
            }));
        }
        self.join_all(&mut tasks).await;
    }

    /// The next connection; `None` when the server shuts down. Takes note of tasks that end meanwhile.
    async fn accept_or_join(&self, tasks: &mut JoinSet<()>) -> Option<Incoming> {
        let mut accepting = pin!(self.accept());
        poll_fn(|cx| {
            while let Poll::Ready(Some(ended)) = tasks.poll_join_next(cx) {
                note(ended);
            }
            accepting.as_mut().poll(cx).map(Result::ok)
        })
        .await
    }

    /// Waits for all tasks, and cancels those that are left when connections must have ended.
    async fn join_all(&self, tasks: &mut JoinSet<()>) {
        let mut stopping = self.shared.registry.stopping.subscribe();
        loop {
            let deadline = stopping
                .borrow_and_update()
                .map_or_else(Instant::now, |stopping| stopping.deadline);
            let mut earlier = pin!(stopping.changed());
            let joining = poll_fn(|cx| {
                while let Poll::Ready(ended) = tasks.poll_join_next(cx) {
                    match ended {
                        Some(ended) => note(ended),
                        None => return Poll::Ready(true),
                    }
                }
                earlier.as_mut().poll(cx).map(|_| false)
            });
            match timeout_at(deadline, joining).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => return tasks.abort_all(),
            }
        }
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        observe::handler_panicked();
    }
}
