//! WebSockets inside a hyper 1 server: the handshake is checked by the core, hyper speaks the HTTP around it.
//!
//! [`Upgrade::new`] looks at a request and [`Upgrade::accept`] answers with the response to send and a future of the
//! [`WebSocket`]; a request that cannot be accepted becomes a [`Refusal`], which is a response too. The connection must
//! be served with upgrades: hyper's `with_upgrades`, or hyper-util's `serve_connection_with_upgrades`.
//!
//! Over HTTP/1.1 this is the upgrade of RFC 6455 §4. With the feature `http2` it is the extended CONNECT of RFC 8441 too,
//! if the server's builder was told to `enable_connect_protocol`; without the feature that is answered with 501.
//!
//! Not here: TLS, deadlines of the request's head and its total size, which are hyper's. The number of headers and their
//! length are held against [`HandshakeLimits`] as well.
//!
//! Not here either: shutdown. [`Server::shutdown`](crate::Server::shutdown) does not reach connections out of another server,
//! and that server forgets them when it has upgraded them. So each task that has one is told by the program, and then says
//! goodbye with code 1001; `recv` may be dropped at any point:
//!
//! ```
//! use sockeye::{CloseCode, Error, WebSocket};
//! use tokio::io::{AsyncRead, AsyncWrite};
//! use tokio::sync::watch;
//!
//! async fn echo<T>(mut ws: WebSocket<T>, mut leaving: watch::Receiver<()>) -> Result<(), Error>
//! where
//!     T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
//! {
//!     loop {
//!         tokio::select! {
//!             message = ws.recv() => match message? {
//!                 Some(message) => ws.send(message).await?,
//!                 None => return Ok(()),
//!             },
//!             // Also when the sender is gone.
//!             _ = leaving.changed() => {
//!                 return ws.close(CloseCode::GOING_AWAY, "the server shuts down").await;
//!             }
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (near, far) = tokio::io::duplex(1024);
//! # let client = tokio::spawn(async move {
//! #     let client = sockeye::Client::builder().build().unwrap();
//! #     let mut ws = client.connect_over(near, "ws://localhost/").await.unwrap();
//! #     ws.send("swim").await.unwrap();
//! #     assert_eq!(ws.recv().await.unwrap(), Some("swim".into()));
//! #     ws
//! # });
//! # let ws = sockeye::accept(far, &sockeye::ServerOptions::default()).await?;
//! let (leave, leaving) = watch::channel(());
//! let connection = tokio::spawn(echo(ws, leaving));
//! # let mut client = client.await?;
//! // When the server shuts down: each connection has a receiver until it has ended.
//! leave.send_replace(());
//! # let received = tokio::spawn(async move { (client.recv().await, client.close_received()) });
//! let all_ended = tokio::time::timeout(std::time::Duration::from_secs(10), leave.closed()).await;
//! # all_ended?;
//! # connection.await??;
//! # let (end, code) = received.await?;
//! # assert_eq!((end?, code), (None, Some(CloseCode::GOING_AWAY)));
//! # Ok(())
//! # }
//! ```
//!
//! # Example
//!
//! ```
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//! use hyper_util::rt::TokioIo;
//! use sockeye::ServerOptions;
//! use sockeye::hyper::Upgrade;
//!
//! fn answer(mut request: Request<Incoming>, options: &ServerOptions) -> Response<Full<Bytes>> {
//!     let upgrade = Upgrade::new(&mut request);
//!     if !upgrade.is_websocket() {
//!         return Response::new("a page".into());
//!     }
//!     match upgrade.accept(options) {
//!         Ok((response, upgrading)) => {
//!             tokio::spawn(async move {
//!                 let mut ws = upgrading.await?;
//!                 while let Some(message) = ws.recv().await? {
//!                     ws.send(message).await?;
//!                 }
//!                 Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//!             });
//!             response
//!         }
//!         Err(refusal) => refusal.response(),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}/", listener.local_addr()?);
//! # let client = tokio::spawn(async move {
//! #     let mut ws = sockeye::connect(&url).await.unwrap();
//! #     ws.send("swim").await.unwrap();
//! #     assert_eq!(ws.recv().await.unwrap(), Some("swim".into()));
//! #     ws.close(sockeye::CloseCode::NORMAL, "").await.unwrap();
//! # });
//! let options = ServerOptions::default();
//! let (tcp, _) = listener.accept().await?;
//! let service = service_fn(|request| {
//!     let response = answer(request, &options);
//!     async move { Ok::<_, std::convert::Infallible>(response) }
//! });
//! hyper::server::conn::http1::Builder::new()
//!     .serve_connection(TokioIo::new(tcp), service)
//!     .with_upgrades()
//!     .await?;
//! # client.await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::hyper::upgrade::OnUpgrade;
use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use sockeye_proto::connection::{Connection, Role};
use sockeye_proto::handshake::server::{self, Accepted, Request};
use sockeye_proto::handshake::{
    HandshakeLimits, HeadError, Headers, HttpVersion, OriginPolicy, Rejection, RejectionCause,
};
use tokio::time::timeout_at;

use crate::driver::Driver;
use crate::error::AcceptError;
use crate::observe::Watch;
use crate::opened::Handshake;
use crate::options::ServerOptions;
use crate::socket::WebSocket;

/// The transport of a WebSocket that came out of a hyper server: a TCP or TLS connection, or a stream of HTTP/2.
pub type Upgraded = TokioIo<::hyper::upgrade::Upgraded>;

/// A request that may ask for a WebSocket, and has not been answered.
///
/// See the [module](self) for an example.
#[derive(Debug)]
pub struct Upgrade {
    request: Request,
    http: Version,
    on_upgrade: Option<OnUpgrade>,
    /// What the core would not have read.
    malformed: Option<HeadError>,
}

impl Upgrade {
    /// Takes what is needed out of a request, whatever it asks for.
    ///
    /// Call it once for each request: what hyper upgrades the connection with is taken out.
    pub fn new<B>(request: &mut http::Request<B>) -> Self {
        let on_upgrade = request.extensions_mut().remove();
        Self::read(
            request.method(),
            request.uri(),
            request.version(),
            request.headers(),
            request.extensions(),
            on_upgrade,
        )
    }

    /// The same for the head of a request.
    pub fn from_parts(parts: &mut Parts) -> Self {
        let on_upgrade = parts.extensions.remove();
        Self::read(
            &parts.method,
            &parts.uri,
            parts.version,
            &parts.headers,
            &parts.extensions,
            on_upgrade,
        )
    }

    fn read(
        method: &Method,
        uri: &Uri,
        http: Version,
        fields: &HeaderMap,
        extensions: &Extensions,
        on_upgrade: Option<OnUpgrade>,
    ) -> Self {
        let mut headers = Headers::new();
        let mut malformed = None;
        for (name, value) in fields {
            if headers.append(name.as_str(), value).is_err() {
                malformed = Some(HeadError::Header);
            }
        }
        let version = match http {
            Version::HTTP_09 | Version::HTTP_10 => HttpVersion::Http10,
            Version::HTTP_2 => HttpVersion::Http2,
            Version::HTTP_3 => HttpVersion::Http3,
            _ => HttpVersion::Http11,
        };
        let multiplexed = matches!(version, HttpVersion::Http2 | HttpVersion::Http3);
        // In HTTP/2 the parts of the target come in headers of their own, of which hyper makes an absolute URI.
        let target = match uri.path_and_query() {
            Some(path) if multiplexed => path.to_string(),
            _ => uri.to_string(),
        };
        let mut request = Request::new(method.to_string(), target, version, headers);
        if multiplexed && let Some(authority) = uri.authority() {
            request = request.with_authority(authority.to_string());
        }
        if let Some(protocol) = protocol(extensions) {
            request = request.with_protocol(protocol);
        }
        Self {
            request,
            http,
            on_upgrade,
            malformed,
        }
    }

    /// Says whether the client is known to have come by TLS, which hyper does not know. Default: false. It decides whether
    /// an `http:` page may count as the same host.
    #[must_use]
    pub fn with_secure(mut self, secure: bool) -> Self {
        self.request = self.request.with_secure(secure);
        self
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whether the request asks for a WebSocket at all; if not, it may want a page.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        !matches!(self.check(), Err(rejection) if rejection.cause() == RejectionCause::NotUpgrade)
    }

    /// Checks everything but the origin.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        let mut options = server::ServerOptions::new();
        options.set_origin_policy(OriginPolicy::Any);
        server::accept(&self.request, &options).map(|_| ())
    }

    /// Accepts the request, if it can be accepted by the RFC and these options.
    ///
    /// The response must be sent as it is, but for further headers: hyper gives up the connection after any response that is
    /// the last, so if another one is sent in its place, drop the future. It is to be awaited in another task, since hyper
    /// upgrades the connection only when the response has gone out.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the response to send instead.
    pub fn accept<B: Default>(self, options: &ServerOptions) -> Result<(Response<B>, Upgrading), Refusal> {
        self.accept_with(options, |_| {})
    }

    /// The same with a last word on the response: its headers and the subprotocol.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn accept_with<B: Default>(
        mut self,
        options: &ServerOptions,
        adjust: impl FnOnce(&mut Accepted),
    ) -> Result<(Response<B>, Upgrading), Refusal> {
        let limits = check_limits(&self.request, &options.shared.limits);
        let accepted = match self.malformed.map_or(limits, Err) {
            Ok(()) => options.negotiate(&self.request),
            Err(error) => Err(error.into()),
        };
        let mut accepted = accepted.map_err(|rejection| self.refuse(rejection))?;
        adjust(&mut accepted);
        let Some(on_upgrade) = self.on_upgrade.take() else {
            let rejection = Rejection::new(500).with_body("this server cannot upgrade connections\n");
            return Err(self.refuse(rejection));
        };
        let mut response = response(accepted.status(), B::default());
        add_headers(&accepted.headers(), response.headers_mut());
        Ok((response, self.upgrading(on_upgrade, &accepted, options)))
    }

    /// A refusal of this request, for reasons of the application's.
    #[must_use]
    pub fn refuse(&self, rejection: Rejection) -> Refusal {
        Watch::server(None).rejected(&rejection);
        Refusal {
            rejection: Box::new(rejection),
            http: self.http,
        }
    }

    fn upgrading(self, on_upgrade: OnUpgrade, accepted: &Accepted, options: &ServerOptions) -> Upgrading {
        let connection = Connection::new(Role::Server, options.shared.config.clone());
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(accepted.deflate());
        let handshake = Handshake::accepted(accepted);
        let (deadline, socket) = (options.deadline(), options.shared.socket.clone());
        // Here and not in the future, so that its span stands in the one in which the request is answered.
        let watch = Watch::server(None);
        Upgrading(Box::pin(async move {
            let upgraded = match timeout_at(deadline, on_upgrade).await {
                Ok(upgraded) => upgraded.map_err(|error| AcceptError::Io(io::Error::other(error))),
                Err(_) => Err(AcceptError::Timeout),
            };
            let upgraded = upgraded.inspect_err(|error| watch.failed(error))?;
            let driver = Driver::new(TokioIo::new(upgraded), connection, BytesMut::new(), &socket, watch);
            Ok(WebSocket::new(driver, handshake))
        }))
    }
}

/// RFC 8441 §4: the pseudo-header `:protocol` of an extended CONNECT.
#[cfg(feature = "http2")]
fn protocol(extensions: &Extensions) -> Option<String> {
    let protocol = extensions.get::<::hyper::ext::Protocol>()?;
    Some(protocol.as_str().to_owned())
}

#[cfg(not(feature = "http2"))]
fn protocol(_extensions: &Extensions) -> Option<String> {
    None
}

/// Holds a head that hyper has read against our limits, which may be lower than hyper's.
fn check_limits(request: &Request, limits: &HandshakeLimits) -> Result<(), HeadError> {
    let first_line = request.method().len() + request.target().len() + "  HTTP/1.1".len();
    if first_line > limits.first_line {
        return Err(HeadError::FirstLineTooLong);
    }
    let mut total = first_line;
    for (count, (name, value)) in request.headers().iter().enumerate() {
        let line = name.len() + ": ".len() + value.len();
        if line > limits.header {
            return Err(HeadError::HeaderTooLong);
        }
        if count >= limits.headers {
            return Err(HeadError::TooManyHeaders);
        }
        total += line;
    }
    match total > limits.total {
        true => Err(HeadError::TooLong),
        false => Ok(()),
    }
}

/// A WebSocket that is there when hyper has sent the response and given up the connection.
///
/// # Errors
///
/// [`AcceptError::Io`] when hyper did not upgrade: the connection broke, the response was not sent, or the connection is
/// served without upgrades. [`AcceptError::Timeout`] when that takes longer than the handshake timeout of the options.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
#[must_use = "the connection is dropped with it"]
pub struct Upgrading(Pin<Box<dyn Future<Output = Result<WebSocket<Upgraded>, AcceptError>> + Send>>);

impl Future for Upgrading {
    type Output = Result<WebSocket<Upgraded>, AcceptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrading").finish_non_exhaustive()
    }
}

/// A request that was not accepted, and the response that says so.
///
/// The status is [`RejectionCause::status`]'s: 426 for a request that asks for no WebSocket or for another version of the
/// protocol, 405 for another method, 403 for the origin of a page that may not connect, 431 for headers beyond the
/// limits, else 400; 500 if hyper was not to upgrade connections, or the options chose a subprotocol that was not offered; or
/// what the application chose.
#[derive(Debug, Clone)]
pub struct Refusal {
    rejection: Box<Rejection>,
    http: Version,
}

impl Refusal {
    /// Why, by which status, headers and body.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    /// The response, for the version of HTTP in which the request came.
    #[must_use]
    pub fn response<B: From<Vec<u8>>>(&self) -> Response<B> {
        let body = self.rejection.body();
        let mut response = response(self.rejection.status(), B::from(body.to_vec()));
        let headers = response.headers_mut();
        add_headers(self.rejection.headers(), headers);
        // RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response to indicate the required
        // protocol(s)". Not so in HTTP/2, by RFC 9113 §8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing
        // connection-specific header fields."
        if self.rejection.status() == 426 && self.http < Version::HTTP_2 {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        response
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.rejection)
    }
}

fn response<B>(status: u16, body: B) -> Response<B> {
    let mut response = Response::new(body);
    // The core has no other statuses than HTTP has.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// What is in `Headers` is valid by RFC 9110, and so `HeaderMap` takes it.
fn add_headers(headers: &Headers, map: &mut HeaderMap) {
    for (name, value) in headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
}
