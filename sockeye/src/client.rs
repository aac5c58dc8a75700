//! [`Client`]: connecting, with TLS where the URL asks for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_proto::connection::{Config, Connection, Receive, Role};
use sockeye_proto::handshake::client::{ClientOptions, ClientRequest, Response};
use sockeye_proto::handshake::http1::{Parsed, ResponseReader};
use sockeye_proto::handshake::{HandshakeError, HandshakeLimits, OptionsError};
use sockeye_proto::uri::WebSocketUri;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::driver::Driver;
use crate::entropy;
use crate::error::ConnectError;
use crate::options::{SocketOptions, socket_options};
use crate::socket::{Handshake, WebSocket};
use crate::transport::Stream;
#[cfg(feature = "tls")]
use crate::transport::tls;

/// Connects to `url` with the defaults of [`Client::builder`].
///
/// # Errors
///
/// As [`Client::connect`].
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = sockeye::connect("wss://example.com/chat").await?;
/// ws.send("hello").await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str) -> Result<WebSocket<Stream>, ConnectError> {
    Client::builder().build()?.connect(url).await
}

/// Opens connections, all with the same options. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    handshake: ClientOptions,
    limits: HandshakeLimits,
    config: Arc<Config>,
    handshake_timeout: Duration,
    socket: SocketOptions,
    #[cfg(feature = "tls")]
    tls: Arc<rustls::ClientConfig>,
}

impl Client {
    /// A builder with the defaults: no compression, messages up to 1 MiB, 10 s for the handshake.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to a ws: or wss: URL: resolves the name, connects, does the TLS handshake and the opening handshake, all
    /// within one deadline. User information in the URL becomes Basic authorization.
    ///
    /// # Errors
    ///
    /// A variant of [`ConnectError`] for each step.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = sockeye::Client::builder().subprotocol("chat.v2").subprotocol("chat").build()?;
    /// let ws = client.connect("ws://127.0.0.1:9001/").await?;
    /// println!("we speak {:?}", ws.subprotocol());
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self, url: &str) -> impl Future<Output = Result<WebSocket<Stream>, ConnectError>> {
        // In a box, here and in the server: a task is as large as the largest thing that it awaits, for as long as it lives,
        // and a handshake takes ten times what the connection takes.
        Box::pin(async move {
            let uri = WebSocketUri::parse(url)?;
            let connecting = async {
                let stream = self.transport(&uri).await?;
                self.handshake(stream, &uri).await
            };
            self.within_deadline(connecting).await
        })
    }

    /// Does the opening handshake for `url` over a transport that is already there. TLS, if the URL asks for it, is the
    /// transport's.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    ///
    /// # Examples
    ///
    /// See [`WebSocket`].
    pub fn connect_over<T>(&self, io: T, url: &str) -> impl Future<Output = Result<WebSocket<T>, ConnectError>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        Box::pin(async move {
            let uri = WebSocketUri::parse(url)?;
            self.within_deadline(self.handshake(io, &uri)).await
        })
    }

    async fn within_deadline<W>(
        &self,
        connecting: impl Future<Output = Result<W, ConnectError>>,
    ) -> Result<W, ConnectError> {
        timeout(self.shared.handshake_timeout, connecting)
            .await
            .unwrap_or(Err(ConnectError::Timeout))
    }

    async fn transport(&self, uri: &WebSocketUri) -> Result<Stream, ConnectError> {
        #[cfg(not(feature = "tls"))]
        if uri.secure() {
            return Err(ConnectError::TlsUnavailable("the feature `tls` is off".into()));
        }
        let tcp = TcpStream::connect((uri.host(), uri.port()))
            .await
            .map_err(ConnectError::Connect)?;
        // Messages are small and their senders have batched them: waiting for more only adds a round trip.
        tcp.set_nodelay(true).map_err(ConnectError::Connect)?;
        #[cfg(feature = "tls")]
        if uri.secure() {
            return tls::connect(self.shared.tls.clone(), uri.host(), tcp)
                .await
                .map_err(ConnectError::Tls);
        }
        Ok(Stream::plain(tcp))
    }

    async fn handshake<T>(&self, mut io: T, uri: &WebSocketUri) -> Result<WebSocket<T>, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let shared = &*self.shared;
        let request = ClientRequest::new(uri, &shared.handshake, entropy::nonce());
        let mut head = Vec::new();
        request.write_http1(&mut head);
        io.write_all(&head).await.map_err(ConnectError::Io)?;
        io.flush().await.map_err(ConnectError::Io)?;
        let (response, input) = read_response(&mut io, shared.limits).await?;
        let established = request.verify(&response)?;
        let connection = Connection::new(Role::Client, shared.config.clone());
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(established.deflate());
        let handshake = Handshake {
            subprotocol: established.subprotocol().map(Into::into),
            headers: established.headers().clone(),
        };
        let driver = Driver::new(io, connection, input, &shared.socket);
        Ok(WebSocket::new(driver, handshake))
    }
}

/// Reads the response's head; what came behind it belongs to the connection.
async fn read_response<T>(io: &mut T, limits: HandshakeLimits) -> Result<(Response, BytesMut), ConnectError>
where
    T: AsyncRead + Unpin,
{
    let mut reader = ResponseReader::new(limits);
    let mut input = BytesMut::new();
    loop {
        if io.read_buf(&mut input).await.map_err(ConnectError::Io)? == 0 {
            return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let parsed = reader.read(&input).map_err(HandshakeError::Head)?;
        if let Parsed::Complete { head, consumed } = parsed {
            input.advance(consumed);
            return Ok((head, input));
        }
    }
}

/// The options of a [`Client`]. The first that is not valid is told by [`build`](Self::build).
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    handshake: ClientOptions,
    limits: HandshakeLimits,
    config: Config,
    handshake_timeout: Duration,
    socket: SocketOptions,
    error: Option<ConnectError>,
    #[cfg(feature = "tls")]
    trust: tls::Trust,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            handshake: ClientOptions::new(),
            limits: HandshakeLimits::default(),
            config: Config::new(entropy::fill),
            handshake_timeout: Duration::from_secs(10),
            socket: SocketOptions::client(),
            error: None,
            #[cfg(feature = "tls")]
            trust: tls::Trust::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ClientBuilder {
    /// Offers a subprotocol; the order of the calls is the order of preference.
    pub fn subprotocol(self, name: &str) -> Self {
        self.option(|handshake| handshake.add_subprotocol(name))
    }

    /// Adds a header to the request. Those of the handshake itself cannot be set.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.option(|handshake| handshake.add_header(name, value))
    }

    /// Sets the `Origin` header, as a browser would.
    pub fn origin(self, origin: &str) -> Self {
        self.option(|handshake| handshake.set_origin(origin))
    }

    /// Sets the `Cookie` header, such as `id=1; theme=dark`.
    pub fn cookie(self, cookies: &str) -> Self {
        self.option(|handshake| handshake.set_cookie(cookies))
    }

    /// Authorizes by user name and password (RFC 7617), in place of what the URL says.
    pub fn basic_auth(self, username: &str, password: &str) -> Self {
        self.option(|handshake| handshake.set_basic_auth(username, password))
    }

    /// Authorizes by a token (RFC 6750).
    pub fn bearer_auth(self, token: &str) -> Self {
        self.option(|handshake| handshake.set_bearer_auth(token))
    }

    /// Offers permessage-deflate. Default: off. While it is in use a connection owns up to 379 KiB for its compressor and
    /// 55 KiB for its inflater.
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, options: sockeye_proto::deflate::DeflateOptions) -> Self {
        self.handshake.set_deflate(Some(options));
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

    /// How large the response's head may be.
    pub fn handshake_limits(mut self, limits: HandshakeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The deadline over name resolution, TCP, TLS and the opening handshake together. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Trusts the certificates in `pem` beside the platform's roots.
    #[cfg(feature = "tls")]
    pub fn trust_pem(mut self, pem: &[u8]) -> Self {
        match tls::certificates(pem) {
            Ok(certificates) => self.trust.extra_roots.extend(certificates),
            Err(error) => self.fail(ConnectError::TlsUnavailable(error)),
        }
        self
    }

    /// **Takes any certificate from anybody.** The connection is encrypted, and whoever sits in between can read it all.
    /// For tests against a server of one's own.
    #[cfg(feature = "tls")]
    pub fn danger_accept_any_certificate(mut self, insecure: bool) -> Self {
        self.trust.insecure = insecure;
        self
    }

    /// Uses this TLS configuration, and none of the trust options.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Options`] for the first option that was not valid, [`ConnectError::TlsUnavailable`] if TLS cannot
    /// be set up.
    pub fn build(self) -> Result<Client, ConnectError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        #[cfg(feature = "tls")]
        let tls = match self.tls {
            Some(tls) => tls,
            None => tls::client_config(&self.trust).map_err(|error| ConnectError::TlsUnavailable(error.to_string()))?,
        };
        Ok(Client {
            shared: Arc::new(Shared {
                handshake: self.handshake,
                limits: self.limits,
                config: Arc::new(self.config),
                handshake_timeout: self.handshake_timeout,
                socket: self.socket,
                #[cfg(feature = "tls")]
                tls,
            }),
        })
    }

    fn option(mut self, set: impl FnOnce(&mut ClientOptions) -> Result<(), OptionsError>) -> Self {
        if let Err(error) = set(&mut self.handshake) {
            self.fail(error.into());
        }
        self
    }

    fn fail(&mut self, error: ConnectError) {
        self.error.get_or_insert(error);
    }
}

socket_options!(ClientBuilder, socket);
