//! Accepting connections, one by one: [`accept`], [`accept_tls`] and [`Upgrade`].

use std::io;
#[cfg(feature = "_rustls")]
use std::net::TcpStream;
#[cfg(feature = "_rustls")]
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use sockeye_proto::connection::{Connection, Role};
use sockeye_proto::handshake::http1::{self, Parsed, RequestReader};
use sockeye_proto::handshake::server::{self, Accepted, Request};
use sockeye_proto::handshake::{Headers, OriginPolicy, Rejection, RejectionCause};

use super::deadline::{Deadline, is_timeout};
use super::socket::WebSocket;
#[cfg(feature = "_rustls")]
use super::stream::Stream;
use super::transport::Transport;
use crate::error::AcceptError;
use crate::opened::Handshake;
use crate::options::ServerOptions;

/// Accepts a WebSocket over `io`, on which a client is about to send its request. Blocks for the handshake timeout of the
/// options at most.
///
/// # Errors
///
/// [`AcceptError::Rejected`] when the request is none that can be accepted; the client has been answered.
/// [`AcceptError::Timeout`] when the handshake takes longer than the options allow.
///
/// # Examples
///
/// See the [module](super).
pub fn accept<S: Transport>(io: S, options: &ServerOptions) -> Result<WebSocket<S>, AcceptError> {
    Upgrade::read(io, options)?.accept(options)
}

/// The same under TLS, whose handshake counts towards the same timeout. See
/// [`tls::server_config`](crate::transport::tls::server_config).
///
/// # Errors
///
/// [`AcceptError::Tls`], or as [`accept`].
#[cfg(feature = "_rustls")]
pub fn accept_tls(
    tcp: TcpStream,
    config: Arc<rustls::ServerConfig>,
    options: &ServerOptions,
) -> Result<WebSocket<Stream>, AcceptError> {
    Upgrade::read_tls(tcp, config, options)?.accept(options)
}

/// A request that has been read and not answered: time to look at it, and to accept, reject, or answer it with a page.
///
/// ```
/// use std::net::TcpListener;
/// use sockeye::handshake::Rejection;
/// use sockeye::{ServerOptions, blocking};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("ws://{}/secret", listener.local_addr()?);
/// # let client = std::thread::spawn(move || blocking::connect(&url));
/// let options = ServerOptions::default();
/// let (tcp, _) = listener.accept()?;
/// let upgrade = blocking::Upgrade::read(tcp, &options)?;
/// if upgrade.request().path() == "/secret" {
///     upgrade.reject(Rejection::new(401))?;
/// } else {
///     let mut ws = upgrade.accept(&options)?;
///     ws.send("welcome")?;
/// }
/// # assert!(client.join().unwrap().unwrap_err().to_string().contains("401"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Upgrade<S> {
    io: S,
    request: Request,
    input: BytesMut,
    deadline: Deadline,
}

#[cfg(feature = "_rustls")]
impl Upgrade<Stream> {
    /// Does a TLS handshake over `tcp` and reads the head of a request from it.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Tls`], or as [`read`](Self::read).
    pub fn read_tls(
        tcp: TcpStream,
        config: Arc<rustls::ServerConfig>,
        options: &ServerOptions,
    ) -> Result<Self, AcceptError> {
        let deadline = Deadline::within(options.shared.handshake_timeout);
        tcp.set_nodelay(true)?;
        let stream = Stream::server(tcp, config, deadline).map_err(|error| match is_timeout(&error) {
            true => AcceptError::Timeout,
            false => AcceptError::Tls(error),
        })?;
        Self::read_until(stream, options, deadline)
    }
}

impl<S: Transport> Upgrade<S> {
    /// Reads the head of a request from `io`.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Rejected`] when it is malformed or too large, and has been answered so.
    pub fn read(io: S, options: &ServerOptions) -> Result<Self, AcceptError> {
        Self::read_until(io, options, Deadline::within(options.shared.handshake_timeout))
    }

    fn read_until(mut io: S, options: &ServerOptions, deadline: Deadline) -> Result<Self, AcceptError> {
        let mut reader = RequestReader::new(options.shared.limits);
        let mut input = BytesMut::new();
        loop {
            if deadline.read(&mut io, &mut input).map_err(failed)? == 0 {
                return Err(AcceptError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            match reader.read(&input) {
                Ok(Parsed::Partial) => {}
                Ok(Parsed::Complete { head, consumed }) => {
                    input.advance(consumed);
                    let request = head.with_secure(io.is_secure());
                    return Ok(Self {
                        io,
                        request,
                        input,
                        deadline,
                    });
                }
                Err(error) => {
                    let rejection = Rejection::from(error);
                    let mut response = Vec::new();
                    rejection.write_http1(&mut response);
                    finish(&mut io, &response, deadline)?;
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
        let mut any = server::ServerOptions::new();
        any.set_origin_policy(OriginPolicy::Any);
        !matches!(server::accept(&self.request, &any), Err(rejection) if rejection.cause() == RejectionCause::NotUpgrade)
    }

    /// Accepts the request, if it can be accepted by the RFC and these options.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Rejected`] otherwise; the client has been answered.
    pub fn accept(self, options: &ServerOptions) -> Result<WebSocket<S>, AcceptError> {
        self.accept_with(options, |_| {})
    }

    /// The same with a last word on the response: its headers and the subprotocol.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn accept_with(
        mut self,
        options: &ServerOptions,
        adjust: impl FnOnce(&mut Accepted),
    ) -> Result<WebSocket<S>, AcceptError> {
        let mut accepted = match options.negotiate(&self.request) {
            Ok(accepted) => accepted,
            Err(rejection) => {
                self.reject(rejection.clone())?;
                return Err(AcceptError::Rejected(rejection));
            }
        };
        adjust(&mut accepted);
        let mut response = Vec::new();
        accepted.write_http1(&mut response);
        self.deadline.write(&mut self.io, &response).map_err(failed)?;
        let connection = Connection::new(Role::Server, options.shared.config.clone());
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(accepted.deflate());
        let handshake = Handshake::accepted(&accepted);
        let close_timeout = options.shared.socket.timing.close_within;
        Ok(WebSocket::new(
            self.io,
            connection,
            self.input,
            close_timeout,
            handshake,
        ))
    }

    /// Answers with a refusal and ends the connection.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Io`] or [`AcceptError::Timeout`] when the answer could not be sent.
    pub fn reject(mut self, rejection: Rejection) -> Result<(), AcceptError> {
        let mut response = Vec::new();
        rejection.write_http1(&mut response);
        self.finish(response, rejection.body())
    }

    /// Answers a request that is no upgrade, with a page say, and ends the connection: `headers` should say
    /// `Connection: close`.
    ///
    /// # Errors
    ///
    /// As [`reject`](Self::reject).
    pub fn respond(mut self, status: u16, headers: &Headers, body: &[u8]) -> Result<(), AcceptError> {
        let mut response = Vec::new();
        http1::write_response(status, headers, body, &mut response);
        self.finish(response, body)
    }

    /// Sends a response that ends with `body`, and ends the connection.
    fn finish(&mut self, mut response: Vec<u8>, body: &[u8]) -> Result<(), AcceptError> {
        // RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to HEAD.
        if self.request.method() == "HEAD" {
            response.truncate(response.len() - body.len());
        }
        finish(&mut self.io, &response, self.deadline)
    }
}

/// Writes a last response and ends the connection, such that the client gets to read it: what it still sends is read
/// and discarded, until it ends its side or the deadline passes.
fn finish(io: &mut impl Transport, response: &[u8], deadline: Deadline) -> Result<(), AcceptError> {
    deadline.write(io, response).map_err(failed)?;
    // The response is out; how the client ends the connection is its business.
    if io.shutdown().is_ok() {
        let mut discarded = BytesMut::new();
        while let Ok(1..) = deadline.read(io, &mut discarded) {
            discarded.clear();
        }
    }
    Ok(())
}

fn failed(error: io::Error) -> AcceptError {
    match is_timeout(&error) {
        true => AcceptError::Timeout,
        false => AcceptError::Io(error),
    }
}
