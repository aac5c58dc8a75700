//! WebSockets inside an axum 0.8 server: [`WebSocketUpgrade`], an extractor.
//!
//! Over HTTP/1.1 the route is a `get`. With the feature `http2` here and in axum, clients can come by an extended CONNECT
//! (RFC 8441) as well, whose method is CONNECT: the route is an `any` then.
//!
//! ```
//! use axum::{Router, response::Response, routing::any};
//! use sockeye::axum::WebSocketUpgrade;
//!
//! async fn echo(ws: WebSocketUpgrade) -> Response {
//!     ws.subprotocols(["chat.v2", "chat"]).max_message_size(64 * 1024).on_upgrade(async |mut ws| {
//!         while let Ok(Some(message)) = ws.recv().await {
//!             if ws.send(message).await.is_err() {
//!                 break;
//!             }
//!         }
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/echo", any(echo));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}/echo", listener.local_addr()?);
//! # tokio::spawn(async move {
//! axum::serve(listener, app).await?;
//! # Ok::<_, std::io::Error>(())
//! # });
//! # let mut ws = sockeye::Client::builder().subprotocol("chat").build()?.connect(&url).await?;
//! # assert_eq!(ws.subprotocol(), Some("chat"));
//! # ws.send("swim").await?;
//! # assert_eq!(ws.recv().await?, Some("swim".into()));
//! # Ok(())
//! # }
//! ```
//!
//! # Options for all routes
//!
//! A [`ServerOptions`] in the request's extensions is where the extractor starts from. It is built once, its mistakes are
//! told when the server starts, and connections share it:
//!
//! ```
//! use axum::{Extension, Router};
//! use sockeye::ServerOptions;
//!
//! let options = ServerOptions::builder().max_message_size(64 * 1024).build()?;
//! let app: Router = Router::new().layer(Extension(options));
//! # Ok::<_, sockeye::handshake::OptionsError>(())
//! ```
//!
//! # Other requests
//!
//! One that asks for no WebSocket is refused with 426, and one that does, but not as the RFC wants it, with 400 or 405
//! ([`Refusal`]). For a route that also has a page, extract `Option<WebSocketUpgrade>`: it is `None` for the former.

//! # Shutdown
//!
//! Neither [`Server::shutdown`](crate::Server::shutdown) nor axum's graceful shutdown reaches a connection that has been
//! upgraded. The program tells the tasks that have one, which say goodbye with code 1001 as [`hyper`](crate::hyper) shows:
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, extract::State, response::Response, routing::any};
//! use sockeye::CloseCode;
//! use sockeye::axum::WebSocketUpgrade;
//! use tokio::{sync::watch, time::timeout};
//!
//! async fn silence(ws: WebSocketUpgrade, State(mut leaving): State<watch::Receiver<()>>) -> Response {
//!     ws.on_upgrade(async move |mut ws| {
//!         tokio::select! {
//!             _ = ws.recv() => {}
//!             _ = leaving.changed() => {
//!                 let _ = ws.close(CloseCode::GOING_AWAY, "the server shuts down").await;
//!             }
//!         }
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}/", listener.local_addr()?);
//! # let (stop, stopped) = tokio::sync::oneshot::channel();
//! # let client = tokio::spawn(async move {
//! #     let mut ws = sockeye::connect(&url).await.unwrap();
//! #     stop.send(()).unwrap();
//! #     assert_eq!(ws.recv().await.unwrap(), None);
//! #     assert_eq!(ws.close_received(), Some(CloseCode::GOING_AWAY));
//! # });
//! # let signal = async { stopped.await.unwrap() };
//! let (leave, leaving) = watch::channel(());
//! let app = Router::new().route("/", any(silence)).with_state(leaving);
//! axum::serve(listener, app).with_graceful_shutdown(signal).await?;
//! leave.send_replace(());
//! // Each connection has a receiver until it has ended.
//! let all_ended = timeout(Duration::from_secs(10), leave.closed()).await;
//! # all_ended?;
//! # client.await?;
//! # Ok(())
//! # }
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use sockeye_proto::handshake::server::{Accepted, Request};
use sockeye_proto::handshake::{OriginPolicy, Rejection, RejectionCause};

use crate::error::AcceptError;
use crate::hyper::Upgrade;
pub use crate::hyper::{Refusal, Upgraded, Upgrading};
use crate::options::ServerOptions;
use crate::socket::WebSocket;

/// A request for a WebSocket; see the [module](self).
///
/// The extractor has checked everything but the origin, which [`on_upgrade`](Self::on_upgrade) and
/// [`accept`](Self::accept) check by the policy that is set then. By default a page may connect to its own host only.
#[must_use = "the client waits for the response"]
pub struct WebSocketUpgrade {
    upgrade: Upgrade,
    options: ServerOptions,
    subprotocols: Vec<Cow<'static, str>>,
    failed: Option<Box<dyn FnOnce(AcceptError) + Send>>,
}

impl WebSocketUpgrade {
    fn checked(upgrade: Upgrade, parts: &Parts) -> Self {
        let options = parts.extensions.get::<ServerOptions>();
        Self {
            upgrade,
            options: options.unwrap_or(&DEFAULTS).clone(),
            subprotocols: Vec::new(),
            failed: None,
        }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.upgrade.request()
    }

    /// Takes all options from `options`: what was set before is gone, but for the subprotocols, which add up.
    pub fn with_options(mut self, options: &ServerOptions) -> Self {
        self.options = options.clone();
        self
    }

    /// Says whether the client is known to have come by TLS; see [`Upgrade::with_secure`].
    pub fn with_secure(mut self, secure: bool) -> Self {
        self.upgrade = self.upgrade.with_secure(secure);
        self
    }

    /// Adds subprotocols that the server speaks. The client's order of preference decides among them.
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item: Into<Cow<'static, str>>>,
    {
        self.subprotocols.extend(names.into_iter().map(Into::into));
        self
    }

    /// Which pages may connect; others get 403. Default: those from the host that they connect to. Programs that send no
    /// `Origin` are allowed.
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        Arc::make_mut(&mut self.options.shared)
            .handshake
            .set_origin_policy(policy);
        self
    }

    /// Accepts permessage-deflate (RFC 7692) from clients that offer it. Default: off.
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, options: sockeye_proto::deflate::DeflateOptions) -> Self {
        let shared = Arc::make_mut(&mut self.options.shared);
        shared.handshake.set_deflate(Some(options));
        Arc::make_mut(&mut shared.config).deflate = options;
        self
    }

    /// The longest message that is received, in bytes, also after inflating. Default: 1 MiB.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        let shared = Arc::make_mut(&mut self.options.shared);
        Arc::make_mut(&mut shared.config).max_message_size = bytes;
        self
    }

    /// What to do when the connection breaks before it is upgraded. Default: nothing.
    pub fn on_failed_upgrade(mut self, callback: impl FnOnce(AcceptError) + Send + 'static) -> Self {
        self.failed = Some(Box::new(callback));
        self
    }

    /// The response to return from the handler; `callback` runs in a task of its own when the WebSocket is there.
    ///
    /// A request that is not accepted, because of its origin say, gets a [`Refusal`] and no callback.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn on_upgrade<F, Fut>(mut self, callback: F) -> Response
    where
        F: FnOnce(WebSocket<Upgraded>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let failed = self.failed.take();
        let (response, upgrading) = match self.accept() {
            Ok(accepted) => accepted,
            Err(refusal) => return refusal.into_response(),
        };
        tokio::spawn(async move {
            match upgrading.await {
                Ok(ws) => callback(ws).await,
                Err(error) => {
                    if let Some(failed) = failed {
                        failed(error);
                    }
                }
            }
        });
        response
    }

    /// The response to return from the handler, and the WebSocket, to be awaited in another task.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the response to return instead.
    pub fn accept(self) -> Result<(Response, Upgrading), Refusal> {
        self.accept_with(|_| {})
    }

    /// The same with a last word on the response: its headers and the subprotocol.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn accept_with(self, adjust: impl FnOnce(&mut Accepted)) -> Result<(Response, Upgrading), Refusal> {
        let subprotocols = self.subprotocols;
        self.upgrade.accept_with(&self.options, |accepted| {
            choose_subprotocol(accepted, &subprotocols);
            adjust(accepted);
        })
    }

    /// The response that refuses the request, for reasons of the application's: who asks is not logged in, say.
    #[must_use]
    pub fn reject(self, rejection: Rejection) -> Response {
        self.upgrade.refuse(rejection).into_response()
    }
}

/// The client's first choice among those that the route speaks, if the options named none.
fn choose_subprotocol(accepted: &mut Accepted, known: &[Cow<'static, str>]) {
    if accepted.subprotocol().is_some() {
        return;
    }
    let chosen = accepted
        .offered_subprotocols()
        .find(|offered| known.iter().any(|name| name == offered))
        .map(str::to_owned);
    if let Some(chosen) = chosen {
        // It was offered, and that is all that can be wrong with it.
        let _ = accepted.set_subprotocol(Some(&chosen));
    }
}

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let upgrade = Upgrade::from_parts(parts);
        upgrade.check().map_err(|rejection| upgrade.refuse(rejection))?;
        Ok(Self::checked(upgrade, parts))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Refusal> {
        let upgrade = Upgrade::from_parts(parts);
        match upgrade.check() {
            Ok(()) => Ok(Some(Self::checked(upgrade, parts))),
            Err(rejection) if rejection.cause() == RejectionCause::NotUpgrade => Ok(None),
            Err(rejection) => Err(upgrade.refuse(rejection)),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.response::<Body>()
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("request", self.request())
            .field("options", &self.options)
            .field("subprotocols", &self.subprotocols)
            .finish_non_exhaustive()
    }
}

/// What all connections share whose routes set nothing.
static DEFAULTS: LazyLock<ServerOptions> = LazyLock::new(ServerOptions::default);
