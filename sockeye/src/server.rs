//! Accepting connections: over any transport with [`accept`] and [`Upgrade`], over TCP and TLS with [`Server`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_proto::connection::{Config, Connection, Receive, Role};
use sockeye_proto::handshake::http1::{self, Parsed, RequestReader};
use sockeye_proto::handshake::server::{self, Accepted, Request};
use sockeye_proto::handshake::{HandshakeLimits, Headers, OptionsError, OriginPolicy, Rejection, RejectionCause};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::time::{Instant, timeout_at};

use crate::driver::Driver;
use crate::entropy;
use crate::error::AcceptError;
use crate::options::{SocketOptions, socket_options};
use crate::socket::{Handshake, WebSocket};
use crate::transport::Stream;
#[cfg(feature = "tls")]
use crate::transport::tls;

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

/// What a server allows and limits. One value serves all connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    handshake: server::ServerOptions,
    limits: HandshakeLimits,
    config: Arc<Config>,
    handshake_timeout: Duration,
    socket: SocketOptions,
}

impl ServerOptions {
    /// A builder with the defaults: no compression, messages up to 1 MiB, pages of the same host only, 10 s for the
    /// handshake.
    pub fn builder() -> ServerOptionsBuilder {
        ServerOptionsBuilder::default()
    }

    /// When a handshake that begins now has to be done.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.shared.handshake_timeout)
            .unwrap_or(now + FAR_FUTURE)
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        let builder = ServerOptionsBuilder::default();
        Self {
            shared: Arc::new(builder.shared),
        }
    }
}

/// Sets the options of a server. The first that is not valid is told by [`build`](Self::build).
#[derive(Debug)]
#[must_use]
pub struct ServerOptionsBuilder {
    shared: Shared,
    config: Config,
    error: Option<OptionsError>,
}

impl Default for ServerOptionsBuilder {
    fn default() -> Self {
        let config = Config::new(entropy::fill);
        Self {
            shared: Shared {
                handshake: server::ServerOptions::new(),
                limits: HandshakeLimits::default(),
                config: Arc::new(config.clone()),
                handshake_timeout: Duration::from_secs(10),
                socket: SocketOptions::server(),
            },
            config,
            error: None,
        }
    }
}

impl ServerOptionsBuilder {
    /// Adds a subprotocol that the server speaks. The client's order of preference decides among them.
    pub fn subprotocol(self, name: &str) -> Self {
        self.option(|handshake| handshake.add_subprotocol(name))
    }

    /// Adds a header to each response that accepts.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.option(|handshake| handshake.add_header(name, value))
    }

    /// Which pages may connect. Default: those from the host that they connect to; others get 403. Programs that send
    /// no `Origin` are allowed.
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        self.shared.handshake.set_origin_policy(policy);
        self
    }

    /// Accepts permessage-deflate from clients that offer it. Default: off. With
    /// [`DeflateOptions::server`](sockeye_proto::deflate::DeflateOptions::server) an idle connection owns no codec.
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, options: sockeye_proto::deflate::DeflateOptions) -> Self {
        self.shared.handshake.set_deflate(Some(options));
        self.config.deflate = options;
        self
    }

    /// The longest message that is received, in bytes, also after inflating. Default: 1 MiB.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.config.max_message_size = bytes;
        self
    }

    /// The most frames of a message that is received. Default: 1,024, or a 256th of the longest message in bytes.
    pub fn max_message_parts(mut self, frames: u32) -> Self {
        self.config.max_message_parts = Some(frames);
        self
    }

    /// Whole messages (the default) or chunks as they arrive.
    pub fn receive(mut self, receive: Receive) -> Self {
        self.config.receive = receive;
        self
    }

    /// How large the request's head may be.
    pub fn handshake_limits(mut self, limits: HandshakeLimits) -> Self {
        self.shared.limits = limits;
        self
    }

    /// The deadline over TLS and the opening handshake together. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.shared.handshake_timeout = timeout;
        self
    }

    /// The options.
    ///
    /// # Errors
    ///
    /// The first that was not valid.
    pub fn build(mut self) -> Result<ServerOptions, OptionsError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.shared.config = Arc::new(self.config);
        Ok(ServerOptions {
            shared: Arc::new(self.shared),
        })
    }

    fn option(mut self, set: impl FnOnce(&mut server::ServerOptions) -> Result<(), OptionsError>) -> Self {
        if let Err(error) = set(&mut self.shared.handshake) {
            self.error.get_or_insert(error);
        }
        self
    }
}

socket_options!(ServerOptionsBuilder, shared.socket);

/// A request that has been read and not answered: time to look at it, and to accept, reject, or answer it with a page.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (near, far) = tokio::io::duplex(1024);
/// # let client = tokio::spawn(async move {
/// #     sockeye::Client::builder().build().unwrap().connect_over(near, "ws://localhost/secret").await
/// # });
/// use sockeye::handshake::Rejection;
/// use sockeye::{ServerOptions, Upgrade};
///
/// let options = ServerOptions::default();
/// let upgrade = Upgrade::read(far, &options).await?;
/// if upgrade.request().path() == "/secret" {
///     upgrade.reject(Rejection::new(401)).await?;
/// } else {
///     let mut ws = upgrade.accept(&options).await?;
///     ws.send("welcome").await?;
/// }
/// # assert!(client.await?.unwrap_err().to_string().contains("401"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Upgrade<T> {
    io: T,
    request: Request,
    input: BytesMut,
    deadline: Instant,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Upgrade<T> {
    /// Reads the head of a request from `io`.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Rejected`] when it is malformed or too large, and has been answered so.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub fn read(io: T, options: &ServerOptions) -> impl Future<Output = Result<Self, AcceptError>> {
        Box::pin(async move { Self::read_until(io, false, options, options.deadline()).await })
    }

    async fn read_until(
        mut io: T,
        secure: bool,
        options: &ServerOptions,
        deadline: Instant,
    ) -> Result<Self, AcceptError> {
        let mut reader = RequestReader::new(options.shared.limits);
        let mut input = BytesMut::new();
        loop {
            if within(deadline, io.read_buf(&mut input)).await? == 0 {
                return Err(AcceptError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            match reader.read(&input) {
                Ok(Parsed::Partial) => {}
                Ok(Parsed::Complete { head, consumed }) => {
                    input.advance(consumed);
                    return Ok(Self {
                        io,
                        request: head.with_secure(secure),
                        input,
                        deadline,
                    });
                }
                Err(error) => {
                    let rejection = Rejection::from(error);
                    let mut response = Vec::new();
                    rejection.write_http1(&mut response);
                    finish(&mut io, &response, deadline).await?;
                    return Err(AcceptError::Rejected(rejection));
                }
            }
        }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whether the request asks for a WebSocket at all; if not, it may want a page ([`respond`](Self::respond)).
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        let any = {
            let mut options = server::ServerOptions::new();
            options.set_origin_policy(OriginPolicy::Any);
            options
        };
        !matches!(server::accept(&self.request, &any), Err(rejection) if rejection.cause() == RejectionCause::NotUpgrade)
    }

    /// Accepts the request, if it can be accepted by the RFC and these options.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Rejected`] otherwise; the client has been answered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub fn accept(self, options: &ServerOptions) -> impl Future<Output = Result<WebSocket<T>, AcceptError>> {
        self.accept_with(options, |_| {})
    }

    /// The same with a last word on the response: its headers and the subprotocol.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub fn accept_with(
        mut self,
        options: &ServerOptions,
        adjust: impl FnOnce(&mut Accepted),
    ) -> impl Future<Output = Result<WebSocket<T>, AcceptError>> {
        Box::pin(async move {
            let mut accepted = match server::accept(&self.request, &options.shared.handshake) {
                Ok(accepted) => accepted,
                Err(rejection) => {
                    self.reject(rejection.clone()).await?;
                    return Err(AcceptError::Rejected(rejection));
                }
            };
            adjust(&mut accepted);
            let mut response = Vec::new();
            accepted.write_http1(&mut response);
            within(self.deadline, async {
                self.io.write_all(&response).await?;
                self.io.flush().await
            })
            .await?;
            let connection = Connection::new(Role::Server, options.shared.config.clone());
            #[cfg(feature = "deflate")]
            let connection = connection.with_deflate(accepted.deflate());
            let handshake = Handshake {
                subprotocol: accepted.subprotocol().map(Into::into),
                headers: self.request.headers().clone(),
            };
            let driver = Driver::new(self.io, connection, self.input, &options.shared.socket);
            Ok(WebSocket::new(driver, handshake))
        })
    }

    /// Answers with a refusal and ends the connection.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Io`] or [`AcceptError::Timeout`] when the answer could not be sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub fn reject(mut self, rejection: Rejection) -> impl Future<Output = Result<(), AcceptError>> {
        Box::pin(async move {
            let mut response = Vec::new();
            rejection.write_http1(&mut response);
            self.finish(response, rejection.body()).await
        })
    }

    /// Answers a request that is no upgrade, with a page say, and ends the connection: `headers` should say
    /// `Connection: close`.
    ///
    /// # Errors
    ///
    /// As [`reject`](Self::reject).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub fn respond(
        mut self,
        status: u16,
        headers: &Headers,
        body: &[u8],
    ) -> impl Future<Output = Result<(), AcceptError>> {
        Box::pin(async move {
            let mut response = Vec::new();
            http1::write_response(status, headers, body, &mut response);
            self.finish(response, body).await
        })
    }

    /// Sends a response that ends with `body`, and ends the connection.
    async fn finish(&mut self, mut response: Vec<u8>, body: &[u8]) -> Result<(), AcceptError> {
        // RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to HEAD.
        if self.request.method() == "HEAD" {
            response.truncate(response.len() - body.len());
        }
        finish(&mut self.io, &response, self.deadline).await
    }
}

/// Writes a last response and ends the connection, such that the client gets to read it: what it still sends is read
/// and discarded, until it ends its side or the deadline passes.
async fn finish<T>(io: &mut T, response: &[u8], deadline: Instant) -> Result<(), AcceptError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    within(deadline, async {
        io.write_all(response).await?;
        io.shutdown().await
    })
    .await?;
    let mut discarded = BytesMut::with_capacity(DISCARD);
    let drain = async {
        while io.read_buf(&mut discarded).await? > 0 {
            discarded.clear();
        }
        Ok(())
    };
    match within(deadline, drain).await {
        // The response is out; how the client ends the connection is its business.
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn within<R>(deadline: Instant, io: impl Future<Output = io::Result<R>>) -> Result<R, AcceptError> {
    match timeout_at(deadline, io).await {
        Ok(result) => result.map_err(AcceptError::Io),
        Err(_) => Err(AcceptError::Timeout),
    }
}

/// A listening TCP socket.
///
/// # Examples
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
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    options: ServerOptions,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be resolved or is taken.
    pub async fn bind(address: impl ToSocketAddrs, options: ServerOptions) -> io::Result<Self> {
        Ok(Self::from_listener(TcpListener::bind(address).await?, options))
    }

    /// Takes over a socket that listens already.
    #[must_use]
    pub fn from_listener(listener: TcpListener, options: ServerOptions) -> Self {
        Self {
            listener,
            options,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same under TLS; see [`tls::server_config`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The address that the server listens on.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether connections are under TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// The next connection, before its handshake, whose deadline starts now.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptors or memory for it: wait for connections to end before the next call.
    /// Connections that ended before they were accepted are passed over.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn accept(&self) -> io::Result<Incoming> {
        loop {
            match self.listener.accept().await {
                Ok((tcp, peer)) => {
                    return Ok(Incoming {
                        tcp,
                        peer,
                        options: self.options.clone(),
                        deadline: self.options.deadline(),
                        #[cfg(feature = "tls")]
                        tls: self.tls.clone(),
                    });
                }
                Err(error) if ended_before(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn ended_before(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// A connection that has not said what it wants.
#[derive(Debug)]
pub struct Incoming {
    tcp: TcpStream,
    peer: SocketAddr,
    options: ServerOptions,
    deadline: Instant,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Incoming {
    /// The client's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Does the TLS handshake, if there is to be one, and reads the request.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Tls`], or as [`Upgrade::read`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub fn upgrade(self) -> impl Future<Output = Result<Upgrade<Stream>, AcceptError>> {
        Box::pin(async move {
            self.tcp.set_nodelay(true)?;
            #[cfg(feature = "tls")]
            let stream = match self.tls {
                Some(config) => match timeout_at(self.deadline, Box::pin(tls::accept(config, self.tcp))).await {
                    Ok(stream) => stream.map_err(AcceptError::Tls)?,
                    Err(_) => return Err(AcceptError::Timeout),
                },
                None => Stream::plain(self.tcp),
            };
            #[cfg(not(feature = "tls"))]
            let stream = Stream::plain(self.tcp);
            let secure = stream.is_secure();
            Upgrade::read_until(stream, secure, &self.options, self.deadline).await
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
            let options = self.options.clone();
            self.upgrade().await?.accept(&options).await
        })
    }
}

/// What stands for a time that no clock reaches: a timeout of [`Duration::MAX`] means none. 30 years.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Room for what is read to be discarded, in bytes.
const DISCARD: usize = 4 * 1024;
