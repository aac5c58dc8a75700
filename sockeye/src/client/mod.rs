//! [`Client`]: from a URL to an open WebSocket.
//!
//! The steps, all within one deadline: a proxy is chosen ([`proxy`]), a name resolved and a TCP connection made ([`dial`]),
//! the proxy asked for a tunnel, TLS done in it, then the opening handshake (RFC 6455 §4.1); and all of it again after a
//! redirect ([`redirect`]).
//!
//! A deviation: RFC 6455 §4.1 wants no more than one connection to an address in the state CONNECTING, and has the others wait.
//! Nothing waits here, since one server that is slow to answer would then hold up all connections to it, and a client that
//! opens many at once has reasons.

mod builder;
mod dial;
mod proxy;
mod redirect;
mod refusal;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_proto::connection::{Connection, Role};
use sockeye_proto::handshake::client::{ClientOptions, ClientRequest, Response};
use sockeye_proto::handshake::http1::{Parsed, ResponseReader};
use sockeye_proto::handshake::{HandshakeError, HandshakeLimits, OptionsError};
use sockeye_proto::uri::WebSocketUri;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

pub use self::builder::ClientBuilder;
pub use self::dial::{Resolve, Resolving};

use self::dial::Dialing;
use self::proxy::Proxies;
use self::refusal::Refusing;
use crate::driver::Driver;
use crate::entropy;
use crate::error::{ConnectError, ProxyError};
use crate::observe::{self, Watch};
use crate::opened::Handshake;
use crate::options::{ClientSettings, SocketOptions};
use crate::socket::WebSocket;
use crate::transport::Stream;
#[cfg(feature = "tls")]
use crate::transport::tls::{Peer, rustls};

/// Connects to `url` with the defaults of [`Client::builder`]. All such calls share one client, and so its TLS sessions.
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
    default_client()?.connect(url).await
}

/// The client of all who did not ask for one of their own.
pub(crate) fn default_client() -> Result<&'static Client, ConnectError> {
    static DEFAULT: OnceLock<Client> = OnceLock::new();
    match DEFAULT.get() {
        Some(client) => Ok(client),
        None => {
            let client = Client::builder().build()?;
            Ok(DEFAULT.get_or_init(|| client))
        }
    }
}

/// Opens connections, all with the same options. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    settings: ClientSettings,
    socket: SocketOptions,
    dialing: Dialing,
    proxies: Proxies,
    /// How many are followed.
    redirects: u8,
}

impl Client {
    /// A builder with the defaults: no compression, messages up to 1 MiB, 10 s for the handshake, no proxy, no redirects.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to a ws: or wss: URL: resolves the name, connects, through a proxy if there is one, does the TLS handshake
    /// and the opening handshake, all within one deadline. User information in the URL becomes Basic authorization.
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
            redirect::follow(&self.shared, uri).await
        })
    }

    /// Does the opening handshake for `url` over a transport that is already there. TLS, if the URL asks for it, is the
    /// transport's; so is a proxy. Redirects are not followed.
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
            let shared = &*self.shared;
            let deadline = shared.deadline();
            match shared
                .by(deadline, shared.open(io, &uri, &shared.settings.handshake, |_| None))
                .await
            {
                Ok(ws) => Ok(ws),
                Err(failure) => {
                    let error = failure.into_error(deadline).await;
                    observe::connect_failed(&uri, &error);
                    Err(error)
                }
            }
        })
    }

    /// What the handshake asks for.
    pub(crate) fn handshake_options(&self) -> &ClientOptions {
        &self.shared.settings.handshake
    }

    /// The same client with another handshake.
    pub(crate) fn with_handshake_options(&self, handshake: ClientOptions) -> Self {
        let mut shared = Shared::clone(&self.shared);
        shared.settings.handshake = handshake;
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The same client for one connection of the [event API](crate::events): it offers these subprotocols behind its own, and
    /// follows no redirects. An error names the first that cannot be offered.
    pub(crate) fn offering(&self, subprotocols: &[String]) -> Result<Self, (String, OptionsError)> {
        let mut shared = Shared::clone(&self.shared);
        shared.redirects = 0;
        for name in subprotocols {
            shared
                .settings
                .handshake
                .add_subprotocol(name)
                .map_err(|error| (name.clone(), error))?;
        }
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether a server has a subprotocol to choose.
    pub(crate) fn offers_subprotocols(&self) -> bool {
        !self.shared.settings.handshake.subprotocols().is_empty()
    }
}

/// How we came to know a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visited {
    /// The caller named it.
    Named,
    /// Another server did, of another origin.
    Redirected,
}

/// Why there is no connection, with what is left to read of a refusal. It is read after the deadline has been lifted from
/// the steps before it: a status that has come is worth more than the news that its body took too long.
#[derive(Debug)]
enum Failure<T> {
    Error(ConnectError),
    Refused(Refusing<T>),
    ProxyRefused(Refusing<T>),
}

impl<T: AsyncRead + Unpin> Failure<T> {
    async fn into_error(self, deadline: Instant) -> ConnectError {
        match self {
            Self::Error(error) => error,
            Self::Refused(refusing) => ConnectError::Refused(refusing.read(deadline).await),
            Self::ProxyRefused(refusing) => {
                let refusal = refusing.read(deadline).await;
                // RFC 9110 §15.5.8: "The 407 (Proxy Authentication Required) status code is similar to 401
                // (Unauthorized), but it indicates that the client needs to authenticate itself in order to use a proxy".
                ConnectError::Proxy(match refusal.status() {
                    407 => ProxyError::AuthenticationRequired(refusal),
                    _ => ProxyError::Refused(refusal),
                })
            }
        }
    }
}

impl<T, E: Into<ConnectError>> From<E> for Failure<T> {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Shared {
    /// When a connection that is begun now has to stand.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.settings.handshake_timeout)
            .unwrap_or(now + FAR_FUTURE)
    }

    async fn by<W, T>(
        &self,
        deadline: Instant,
        connecting: impl Future<Output = Result<W, Failure<T>>>,
    ) -> Result<W, Failure<T>> {
        timeout_at(deadline, connecting)
            .await
            .unwrap_or(Err(Failure::Error(ConnectError::Timeout)))
    }

    /// A connection to the server of `uri` on which it can be asked for a WebSocket.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "without TLS there is nothing to hide")
    )]
    async fn transport(&self, uri: &WebSocketUri, visited: Visited) -> Result<Stream, Failure<Stream>> {
        #[cfg(not(feature = "tls"))]
        if uri.secure() {
            return Err(ConnectError::TlsUnavailable("the feature `tls` is off".into()).into());
        }
        let stream = match self.proxies.serving(uri) {
            Some(proxy) => proxy::tunnel(self, proxy, uri).await?,
            None => Stream::plain(self.dialing.connect(uri.host(), uri.port()).await?),
        };
        // RFC 6455 §4.1: "If /secure/ is true, the client MUST perform a TLS handshake over the connection after opening
        // the connection and before sending the handshake data. If this fails (e.g., the server's certificate could not
        // be verified), then the client MUST _Fail the WebSocket Connection_ and abort the connection."
        #[cfg(feature = "tls")]
        if uri.secure() {
            let peer = match visited {
                Visited::Named => Peer::Server,
                Visited::Redirected => Peer::Stranger,
            };
            let config = self.tls_config(peer).await.map_err(ConnectError::TlsUnavailable)?;
            let stream = stream.under_tls(config, uri.host()).await;
            return Ok(stream.map_err(ConnectError::Tls)?);
        }
        Ok(stream)
    }

    #[cfg(feature = "tls")]
    async fn tls_config(&self, peer: Peer) -> Result<Arc<rustls::ClientConfig>, String> {
        if let Some(config) = self.settings.tls.config(peer) {
            return Ok(config);
        }
        // It may read a few hundred files.
        let tls = Arc::clone(&self.settings.tls);
        let making = tokio::task::spawn_blocking(move || tls.make(peer));
        making.await.map_err(|error| error.to_string())?
    }

    /// The opening handshake. `peer` tells who is at the other end of the transport, for those who watch.
    async fn open<T>(
        &self,
        mut io: T,
        uri: &WebSocketUri,
        options: &ClientOptions,
        peer: impl FnOnce(&T) -> Option<SocketAddr>,
    ) -> Result<WebSocket<T>, Failure<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let request = ClientRequest::new(uri, options, entropy::nonce());
        let mut head = Vec::new();
        request.write_http1(&mut head);
        let sending = async {
            io.write_all(&head).await?;
            io.flush().await
        };
        let unsent = match sending.await {
            Ok(()) => None,
            // A server that answers before it has read everything, and ends, makes writing fail: it is the answer that
            // counts, and it is there already.
            Err(error) if has_ended(&error) => Some(error),
            Err(error) => return Err(transport_error(error).into()),
        };
        let (response, input) = match (read_response(&mut io, self.settings.limits).await, unsent) {
            (Ok(read), _) => read,
            (Err(ConnectError::Io(_)), Some(error)) => return Err(transport_error(error).into()),
            (Err(error), _) => return Err(error.into()),
        };
        // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the response per HTTP
        // [RFC2616] procedures."
        if response.status() != 101 {
            return Err(Failure::Refused(Refusing { io, response, input }));
        }
        let established = request.verify(&response).map_err(ConnectError::Handshake)?;
        let connection = Connection::new(Role::Client, self.settings.config.clone());
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(established.deflate());
        let handshake = Handshake::established(&established, uri.clone());
        let watch = Watch::client(uri, || peer(&io));
        let driver = Driver::new(io, connection, input, &self.socket, watch);
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
        if io.read_buf(&mut input).await.map_err(transport_error)? == 0 {
            return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let parsed = reader.read(&input).map_err(HandshakeError::Head)?;
        if let Parsed::Complete { head, consumed } = parsed {
            input.advance(consumed);
            return Ok((head, input));
        }
    }
}

/// Whether writing failed because the other end does not read any more.
fn has_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// TLS 1.3 may tell only now that the server does not like our certificate, or that we have none.
fn transport_error(error: io::Error) -> ConnectError {
    #[cfg(feature = "tls")]
    if let Some(cause) = error.get_ref()
        && cause.is::<rustls::Error>()
    {
        return ConnectError::Tls(error);
    }
    ConnectError::Io(error)
}

/// Later than anybody waits, and within what an [`Instant`] holds: a year.
const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
