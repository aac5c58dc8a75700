//! [`Client`]: connecting, with TLS where the URL asks for it.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_proto::connection::{Connection, Role};
use sockeye_proto::handshake::client::{ClientOptions, ClientRequest, Response};
use sockeye_proto::handshake::http1::{Parsed, ResponseReader};
use sockeye_proto::handshake::{BodyReader, BodyState, HandshakeError, HandshakeLimits, OptionsError};
use sockeye_proto::uri::WebSocketUri;

use super::deadline::{Deadline, is_timeout};
use super::socket::WebSocket;
use super::stream::Stream;
use super::transport::Transport;
use crate::entropy;
use crate::error::{BODY_MAX, ConnectError, Refusal};
use crate::opened::Handshake;
#[cfg(feature = "_rustls")]
use crate::options::tls_options;
use crate::options::{ClientSettings, client_options, message_options};
#[cfg(feature = "_rustls")]
use crate::transport::tls::Peer;

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
///
/// It does less than the async client on the way to the server:
///
/// - it goes through no proxy, and does not look at `HTTP_PROXY` and its kin. [`connect_over`](Self::connect_over) takes a
///   tunnel that somebody else has made;
/// - it follows no redirects: they are [`ConnectError::Refused`], with the `Location` among the headers;
/// - it tries the addresses of a host one after the other, each with an equal share of the time that is left, and does not
///   race them (RFC 8305);
/// - it has the system's resolver alone, whose time does not count towards the deadline, and neither a local address nor TCP
///   keepalive to choose.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: ClientSettings,
    close_timeout: Duration,
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
        #[cfg(not(feature = "_rustls"))]
        if uri.secure() {
            return Err(ConnectError::TlsUnavailable(
                "the features `tls` and `blocking-tls` are off".into(),
            ));
        }
        let addresses = (uri.host(), uri.port()).to_socket_addrs();
        let addresses: Vec<_> = addresses.map_err(ConnectError::Resolve)?.collect();
        let deadline = Deadline::within(self.shared.settings.handshake_timeout);
        let tcp = connect_any(&addresses, deadline)?;
        // Messages are small and their senders have batched them: waiting for more only adds a round trip.
        tcp.set_nodelay(true).map_err(ConnectError::Connect)?;
        #[cfg(feature = "_rustls")]
        if uri.secure() {
            let tls = &self.shared.settings.tls;
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
        self.handshake(io, &uri, Deadline::within(self.shared.settings.handshake_timeout))
    }

    fn handshake<S: Transport>(
        &self,
        mut io: S,
        uri: &WebSocketUri,
        deadline: Deadline,
    ) -> Result<WebSocket<S>, ConnectError> {
        let settings = &self.shared.settings;
        let request = ClientRequest::new(uri, &settings.handshake, entropy::nonce());
        let mut head = Vec::new();
        request.write_http1(&mut head);
        deadline.write(&mut io, &head).map_err(failed)?;
        let (response, input) = read_response(&mut io, settings.limits, deadline)?;
        // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the response per HTTP
        // [RFC2616] procedures."
        if response.status() != 101 {
            return Err(ConnectError::Refused(Box::new(refusal(
                &mut io, response, input, deadline,
            ))));
        }
        let established = request.verify(&response)?;
        let connection = Connection::new(Role::Client, settings.config.clone());
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(established.deflate());
        let handshake = Handshake::established(&established, uri.clone());
        Ok(WebSocket::new(
            io,
            connection,
            input,
            self.shared.close_timeout,
            handshake,
        ))
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
    settings: ClientSettings,
    close_timeout: Duration,
    error: Option<ConnectError>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            settings: ClientSettings::default(),
            close_timeout: Duration::from_secs(5),
            error: None,
        }
    }
}

impl ClientBuilder {
    /// The deadline over TCP, TLS and the opening handshake together. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// How long the peer has to finish the closing handshake. Default: 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
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
                settings: self.settings,
                close_timeout: self.close_timeout,
            }),
        })
    }
}

/// The shortest time to connect in that the system takes.
const SHORTEST: Duration = Duration::from_millis(1);

client_options!(ClientBuilder);
message_options!(ClientBuilder);
#[cfg(feature = "_rustls")]
tls_options!(ClientBuilder);
