//! [`Client`]: connecting, with TLS where the URL asks for it.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_proto::connection::{Config, Connection, Receive, Role};
use sockeye_proto::handshake::client::{ClientOptions, ClientRequest, Response};
use sockeye_proto::handshake::http1::{Parsed, ResponseReader};
use sockeye_proto::handshake::{BodyReader, BodyState, HandshakeError, HandshakeLimits, OptionsError};
use sockeye_proto::uri::WebSocketUri;

use super::deadline::{Deadline, is_timeout};
use super::socket::WebSocket;
use super::stream::Stream;
use super::transport::Transport;
use crate::client::{BODY_MAX, Refusal};
use crate::entropy;
use crate::error::ConnectError;
use crate::socket::Handshake;
#[cfg(feature = "tls")]
use crate::transport::tls::{ClientTls, Peer, Roots};

/// Connects to `url` with the defaults of [`Client::builder`].
///
/// # Errors
///
/// As [`Client::connect`].
///
/// # Examples
///
/// ```no_run
/// let mut ws = sockeye::blocking::connect("wss://example.com/chat")?;
/// ws.send("hello")?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn connect(url: &str) -> Result<WebSocket<Stream>, ConnectError> {
    Client::builder().build()?.connect(url)
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
    close_timeout: Duration,
    #[cfg(feature = "tls")]
    tls: ClientTls,
}

impl Client {
    /// A builder with the defaults: no compression, messages up to 1 MiB, 10 s for the handshake.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to a ws: or wss: URL: resolves the name, tries its addresses one after the other, does the TLS handshake and
    /// the opening handshake. All but the resolution, which the system does in its own time, is within one deadline. User
    /// information in the URL becomes Basic authorization.
    ///
    /// # Errors
    ///
    /// A variant of [`ConnectError`] for each step.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use sockeye::blocking::Client;
    ///
    /// let client = Client::builder().subprotocol("chat.v2").subprotocol("chat").build()?;
    /// let ws = client.connect("ws://127.0.0.1:9001/")?;
    /// println!("we speak {:?}", ws.subprotocol());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(&self, url: &str) -> Result<WebSocket<Stream>, ConnectError> {
        let uri = WebSocketUri::parse(url)?;
        #[cfg(not(feature = "tls"))]
        if uri.secure() {
            return Err(ConnectError::TlsUnavailable("the feature `tls` is off".into()));
        }
        let addresses = (uri.host(), uri.port()).to_socket_addrs();
        let addresses: Vec<_> = addresses.map_err(ConnectError::Resolve)?.collect();
        let deadline = Deadline::within(self.shared.handshake_timeout);
        let tcp = connect_any(&addresses, deadline)?;
        // Messages are small and their senders have batched them: waiting for more only adds a round trip.
        tcp.set_nodelay(true).map_err(ConnectError::Connect)?;
        #[cfg(feature = "tls")]
        if uri.secure() {
            let tls = &self.shared.tls;
            let config = tls.config(Peer::Server).map_or_else(|| tls.make(Peer::Server), Ok);
            let config = config.map_err(ConnectError::TlsUnavailable)?;
            let stream = Stream::client(tcp, config, uri.host(), deadline);
            let stream = stream.map_err(|error| match is_timeout(&error) {
                true => ConnectError::Timeout,
                false => ConnectError::Tls(error),
            })?;
            return self.handshake(stream, &uri, deadline);
        }
        self.handshake(tcp.into(), &uri, deadline)
    }

    /// Does the opening handshake for `url` over a transport that is already there. TLS, if the URL asks for it, is the
    /// transport's.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_over<S: Transport>(&self, io: S, url: &str) -> Result<WebSocket<S>, ConnectError> {
        let uri = WebSocketUri::parse(url)?;
        self.handshake(io, &uri, Deadline::within(self.shared.handshake_timeout))
    }

    fn handshake<S: Transport>(
        &self,
        mut io: S,
        uri: &WebSocketUri,
        deadline: Deadline,
    ) -> Result<WebSocket<S>, ConnectError> {
        let shared = &*self.shared;
        let request = ClientRequest::new(uri, &shared.handshake, entropy::nonce());
        let mut head = Vec::new();
        request.write_http1(&mut head);
        deadline.write(&mut io, &head).map_err(failed)?;
        let (response, input) = read_response(&mut io, shared.limits, deadline)?;
        // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the response per HTTP
        // [RFC2616] procedures."
        if response.status() != 101 {
            return Err(ConnectError::Refused(Box::new(refusal(
                &mut io, response, input, deadline,
            ))));
        }
        let established = request.verify(&response)?;
        let connection = Connection::new(Role::Client, shared.config.clone());
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(established.deflate());
        let handshake = Handshake {
            subprotocol: established.subprotocol().map(Into::into),
            headers: established.headers().clone(),
            // It follows no redirects, so the caller knows.
            uri: None,
        };
        Ok(WebSocket::new(io, connection, input, shared.close_timeout, handshake))
    }
}

/// Tries the addresses in their order, each with an equal share of the time that is left.
fn connect_any(addresses: &[SocketAddr], deadline: Deadline) -> Result<TcpStream, ConnectError> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.remaining().map_err(|_| ConnectError::Timeout)?;
        let share = left.map(|left| left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX));
        let connected = match share {
            Some(share) => TcpStream::connect_timeout(address, share.max(SHORTEST)),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = error,
        }
    }
    Err(match is_timeout(&failure) && deadline.passed() {
        true => ConnectError::Timeout,
        false => ConnectError::Connect(failure),
    })
}

/// Reads the response's head; what came behind it belongs to the connection.
fn read_response(
    io: &mut impl Transport,
    limits: HandshakeLimits,
    deadline: Deadline,
) -> Result<(Response, BytesMut), ConnectError> {
    let mut reader = ResponseReader::new(limits);
    let mut input = BytesMut::new();
    loop {
        if deadline.read(io, &mut input).map_err(failed)? == 0 {
            return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let parsed = reader.read(&input).map_err(HandshakeError::Head)?;
        if let Parsed::Complete { head, consumed } = parsed {
            input.advance(consumed);
            return Ok((head, input));
        }
    }
}

/// Reads the body of a refusal, as much of it as is kept and comes before the deadline. Whatever happens to it, the head is
/// worth telling.
fn refusal(io: &mut impl Transport, response: Response, mut input: BytesMut, deadline: Deadline) -> Refusal {
    let mut reader = BodyReader::new(&response, BODY_MAX);
    let mut body = Vec::new();
    let mut state = reader.state();
    while state == BodyState::Partial {
        if input.is_empty() {
            state = match deadline.read(io, &mut input) {
                Ok(0) => reader.end(),
                Ok(_) => continue,
                Err(_) => break,
            };
        } else {
            state = reader.read(&input, &mut body);
            input.clear();
        }
    }
    Refusal::new(response, body, state == BodyState::Complete)
}

fn failed(error: io::Error) -> ConnectError {
    match is_timeout(&error) {
        true => ConnectError::Timeout,
        false => ConnectError::Io(error),
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
    close_timeout: Duration,
    error: Option<ConnectError>,
    #[cfg(feature = "tls")]
    tls: ClientTls,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            handshake: ClientOptions::new(),
            limits: HandshakeLimits::default(),
            config: Config::new(entropy::fill),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            error: None,
            #[cfg(feature = "tls")]
            tls: ClientTls::default(),
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

    /// The deadline over TCP, TLS and the opening handshake together. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long the peer has to finish the closing handshake. Default: 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Whose certificates are trusted. Default: the platform's roots.
    #[cfg(feature = "tls")]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.tls.roots = roots;
        self
    }

    /// Trusts the certificates in `pem` beside the roots.
    #[cfg(feature = "tls")]
    pub fn trust_pem(mut self, pem: &[u8]) -> Self {
        if let Err(error) = self.tls.trust(pem) {
            self.fail(ConnectError::TlsUnavailable(error));
        }
        self
    }

    /// Shows this certificate chain to a server that asks for one; both are PEM, the key unencrypted.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Self {
        if let Err(error) = self.tls.identify(chain, key) {
            self.fail(ConnectError::TlsUnavailable(error));
        }
        self
    }

    /// **Takes any certificate from anybody.** The connection is encrypted, and whoever sits in between can read it all.
    /// For tests against a server of one's own.
    #[cfg(feature = "tls")]
    pub fn danger_accept_any_certificate(mut self, insecure: bool) -> Self {
        self.tls.insecure = insecure;
        self
    }

    /// Uses this TLS configuration, and none of the trust options.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls.own = Some(config);
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Options`] for the first option that was not valid, [`ConnectError::TlsUnavailable`] for a certificate
    /// that cannot be read.
    pub fn build(self) -> Result<Client, ConnectError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        Ok(Client {
            shared: Arc::new(Shared {
                handshake: self.handshake,
                limits: self.limits,
                config: Arc::new(self.config),
                handshake_timeout: self.handshake_timeout,
                close_timeout: self.close_timeout,
                #[cfg(feature = "tls")]
                tls: self.tls,
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

/// The shortest time to connect in that the system takes.
const SHORTEST: Duration = Duration::from_millis(1);
