//! A request before it is answered (RFC 6455 §4.2), and its answer.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use sockeye_proto::connection::{Connection, Role};
use sockeye_proto::handshake::http1::{self, Parsed, RequestReader};
use sockeye_proto::handshake::server::{self, Accepted, Request};
use sockeye_proto::handshake::{Headers, OriginPolicy, Rejection, RejectionCause};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::cookies::cookies;
use super::limits::HandshakeSlot;
use super::listener::Address;
use super::place::Place;
use crate::driver::{Driver, Served};
use crate::error::AcceptError;
use crate::observe::Watch;
use crate::opened::Handshake;
use crate::options::ServerOptions;
use crate::socket::WebSocket;
use crate::transport::Stream;

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
    /// What a [`Server`](crate::Server) knows of its connection.
    admission: Option<Admission<T>>,
    watch: Watch,
}

/// A connection's standing with its server.
pub(super) struct Admission<T> {
    pub(super) served: Served<T>,
    pub(super) peer: Address,
    /// Held until the handshake is over.
    pub(super) _handshake: HandshakeSlot,
}

impl<T> fmt::Debug for Admission<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
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
        Box::pin(async move {
            let watch = Watch::server(None);
            let reading = Self::read_until(io, false, options, options.deadline(), watch.clone()).await;
            reading.inspect_err(|error| watch.failed(error))
        })
    }

    pub(super) async fn read_until(
        mut io: T,
        secure: bool,
        options: &ServerOptions,
        deadline: Instant,
        watch: Watch,
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
                        admission: None,
                        watch,
                    });
                }
                Err(error) => {
                    let rejection = Rejection::from(error);
                    let mut response = Vec::new();
                    rejection.write_http1(&mut response);
                    finish(&mut io, &response, deadline, None).await?;
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

    /// The name and value of each cookie (RFC 6265 §4.2), in the order in which they came, not decoded. Where a name
    /// repeats, browsers send the most specific one first (§5.4).
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        cookies(self.request.headers())
    }

    /// The value of the first cookie of the name, which is compared exactly.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Looks at the transport.
    #[must_use]
    pub fn transport(&self) -> &T {
        &self.io
    }

    /// Where the client is, if a [`Server`](crate::Server) accepted the connection. Behind a proxy it is the proxy.
    #[must_use]
    pub fn peer_addr(&self) -> Option<&Address> {
        self.admission.as_ref().map(|admission| &admission.peer)
    }

    /// Accepts the request, if it can be accepted by the RFC and these options.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Rejected`] otherwise; the client has been answered. [`AcceptError::Timeout`] when that takes until after
    /// the [deadline](crate::ServerOptionsBuilder::handshake_timeout), or the caller did.
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
            if let Some(place) = self.place().filter(|place| place.leaving().is_some()) {
                let rejection = unavailable("the server shuts down\n", place.retry_after())?;
                self.watch.failed(&AcceptError::ShuttingDown);
                self.answer(&rejection).await?;
                return Err(AcceptError::ShuttingDown);
            }
            let mut accepted = match options.negotiate(&self.request) {
                Ok(accepted) => accepted,
                Err(rejection) => return self.refuse(rejection).await,
            };
            adjust(&mut accepted);
            let mut response = Vec::new();
            accepted.write_http1(&mut response);
            // The application may have taken its time. Writing a response takes none, so that it would not notice.
            if Instant::now() >= self.deadline {
                self.watch.failed(&AcceptError::Timeout);
                return Err(AcceptError::Timeout);
            }
            within(self.deadline, async {
                self.io.write_all(&response).await?;
                self.io.flush().await
            })
            .await
            .inspect_err(|error| self.watch.failed(error))?;
            let connection = Connection::new(Role::Server, options.shared.config.clone());
            #[cfg(feature = "deflate")]
            let connection = connection.with_deflate(accepted.deflate());
            let handshake = Handshake::accepted(&accepted);
            let driver = Driver::new(self.io, connection, self.input, &options.shared.socket, self.watch);
            let served = self.admission.map(|admission| admission.served);
            Ok(WebSocket::new(driver.served_by(served), handshake))
        })
    }

    async fn refuse(self, rejection: Rejection) -> Result<WebSocket<T>, AcceptError> {
        self.reject(rejection.clone()).await?;
        Err(AcceptError::Rejected(rejection))
    }

    fn place(&self) -> Option<&Arc<Place>> {
        self.admission.as_ref().map(|admission| &admission.served.place)
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
    pub fn reject(self, rejection: Rejection) -> impl Future<Output = Result<(), AcceptError>> {
        Box::pin(async move {
            self.watch.rejected(&rejection);
            self.answer(&rejection).await
        })
    }

    /// Sends a refusal of which those who watch are told otherwise.
    pub(super) async fn answer(mut self, rejection: &Rejection) -> Result<(), AcceptError> {
        let mut response = Vec::new();
        rejection.write_http1(&mut response);
        self.finish(response, rejection.body()).await
    }

    /// Answers a request that is no upgrade, with a page say, and ends the connection. The response says so by
    /// `Connection: close`, and its length by `Content-Length`; `headers` has the rest. The answer to HEAD has no body.
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
            let mut headers = headers.clone();
            if !headers.contains("Connection") {
                // RFC 9112 §9.6: "A server that sends a "close" connection option MUST initiate closure of the
                // connection (see below) after it sends the response".
                headers.append("Connection", "close").map_err(io::Error::other)?;
            }
            let mut response = Vec::new();
            http1::write_response(status, &headers, body, &mut response);
            self.finish(response, body).await
        })
    }

    /// Sends a response that ends with `body`, and ends the connection.
    async fn finish(&mut self, mut response: Vec<u8>, body: &[u8]) -> Result<(), AcceptError> {
        // RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to HEAD.
        if self.request.method() == "HEAD" {
            response.truncate(response.len() - body.len());
        }
        let place = self.admission.as_ref().map(|admission| &*admission.served.place);
        finish(&mut self.io, &response, self.deadline, place).await
    }
}

impl Upgrade<Stream> {
    pub(super) fn admitted(mut self, admission: Admission<Stream>) -> Self {
        self.admission = Some(admission);
        self
    }
}

/// Writes a last response and ends the connection, such that the client gets to read it: what it still sends is read
/// and discarded, until it ends its side, the deadline passes, or the server shuts down.
async fn finish<T>(io: &mut T, response: &[u8], deadline: Instant, place: Option<&Place>) -> Result<(), AcceptError>
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
    match until_leave(place, within(deadline, drain)).await {
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

/// Ends `work` when the server shuts down.
pub(super) async fn until_leave<R>(
    place: Option<&Place>,
    work: impl Future<Output = Result<R, AcceptError>>,
) -> Result<R, AcceptError> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if place.is_some_and(|place| place.poll_leave(cx).is_ready()) {
            return Poll::Ready(Err(AcceptError::ShuttingDown));
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// A refusal for now: the client may come back, after so many seconds if that is said.
pub(super) fn unavailable(why: &str, retry_after: Option<u64>) -> io::Result<Rejection> {
    let rejection = Rejection::new(503).with_body(why);
    // RFC 9110 §15.6.4: "The server MAY send a Retry-After header field to suggest an appropriate amount of time for the
    // client to wait before retrying the request."
    match retry_after {
        Some(seconds) => rejection
            .with_header("Retry-After", seconds.to_string())
            .map_err(io::Error::other),
        None => Ok(rejection),
    }
}

/// Room for what is read to be discarded, in bytes.
const DISCARD: usize = 4 * 1024;
