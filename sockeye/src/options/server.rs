//! What a server allows, by connection: subprotocols, origins, compression, sizes and deadlines of the handshakes.
//!
//! Not here: how many connections there may be, which is [`Limits`](crate::Limits), and TLS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::connection::Config;
use sockeye_proto::handshake::server::{self, Accepted, Request};
use sockeye_proto::handshake::{HandshakeLimits, OptionsError, OriginPolicy, Rejection};
use sockeye_proto::keepalive::Timing;

use super::{SocketOptions, message_options, socket_options};
use crate::entropy;

/// What a server allows and limits. One value serves all connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) handshake: server::ServerOptions,
    pub(crate) limits: HandshakeLimits,
    pub(crate) config: Arc<Config>,
    pub(crate) socket: SocketOptions,
    pub(crate) handshake_timeout: Duration,
    choose: Option<Choose>,
}

/// Chooses among the subprotocols that a client offers.
#[derive(Clone)]
struct Choose(Arc<Choice>);

type Choice = dyn for<'a> Fn(&Request, &[&'a str]) -> Option<&'a str> + Send + Sync;

impl fmt::Debug for Choose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choose")
    }
}

impl ServerOptions {
    /// A builder with the defaults: no compression, messages up to 1 MiB, pages of the same host only, 10 s for the
    /// handshake.
    pub fn builder() -> ServerOptionsBuilder {
        ServerOptionsBuilder::default()
    }

    /// Checks a request (RFC 6455 §4.2.1) and makes the response: for servers that read requests themselves.
    ///
    /// # Errors
    ///
    /// The [`Rejection`] that answers it.
    pub fn negotiate(&self, request: &Request) -> Result<Accepted, Rejection> {
        let mut accepted = server::accept(request, &self.shared.handshake)?;
        if let Some(Choose(choose)) = &self.shared.choose {
            let offered: Vec<&str> = accepted.offered_subprotocols().collect();
            let chosen = choose(request, &offered).map(str::to_owned);
            // A name that the function made up.
            let known = accepted.set_subprotocol(chosen.as_deref());
            known.map_err(|_| Rejection::new(500))?;
        }
        Ok(accepted)
    }

    /// The limits and options of the connections.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.shared.config
    }

    /// When connections ping, and when they end.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.shared.socket.timing
    }

    /// How large the head of a request may be.
    #[must_use]
    pub fn handshake_limits(&self) -> HandshakeLimits {
        self.shared.limits
    }

    /// How long a handshake may take.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        self.shared.handshake_timeout
    }

    /// How much output may wait for a peer, in bytes.
    #[must_use]
    pub fn send_queue(&self) -> usize {
        self.shared.socket.send_queue
    }

    /// How messages are compressed, if clients may ask for it.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(&self) -> Option<sockeye_proto::deflate::DeflateOptions> {
        self.shared.handshake.deflate().copied()
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
    error: Option<OptionsError>,
}

impl Default for ServerOptionsBuilder {
    fn default() -> Self {
        Self {
            shared: Shared {
                handshake: server::ServerOptions::new(),
                limits: HandshakeLimits::default(),
                config: Arc::new(Config::new(entropy::fill)),
                handshake_timeout: Duration::from_secs(10),
                socket: SocketOptions::server(),
                choose: None,
            },
            error: None,
        }
    }
}

impl ServerOptionsBuilder {
    /// Adds a subprotocol that the server speaks. The client's order of preference decides among them.
    pub fn subprotocol(self, name: &str) -> Self {
        self.option(|handshake| handshake.add_subprotocol(name))
    }

    /// Chooses the subprotocol by a function of the request and of what the client offers, in the client's order; `None`
    /// is a connection without one. It has the last word over [`subprotocol`](Self::subprotocol). An answer that was
    /// not offered is a mistake of the function, and the client gets 500.
    ///
    /// ```
    /// let options = sockeye::ServerOptions::builder()
    ///     // The newest version of ours that the client speaks.
    ///     .choose_subprotocol(|_request, offered| {
    ///         offered.iter().copied().filter(|name| name.starts_with("chat.v")).max()
    ///     })
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn choose_subprotocol(
        mut self,
        choose: impl for<'a> Fn(&Request, &[&'a str]) -> Option<&'a str> + Send + Sync + 'static,
    ) -> Self {
        self.shared.choose = Some(Choose(Arc::new(choose)));
        self
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
        self.config_mut().deflate = options;
        self
    }

    /// How large the request's head may be; a larger one is answered with 414 or 431. Default: 8 KiB for the first line and for
    /// each header, 100 headers, 64 KiB in all, which is what a handshake may take of memory.
    pub fn handshake_limits(mut self, limits: HandshakeLimits) -> Self {
        self.shared.limits = limits;
        self
    }

    /// The deadline over TLS and the opening handshake together, the application's decision included. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.shared.handshake_timeout = timeout;
        self
    }

    /// The options.
    ///
    /// # Errors
    ///
    /// The first that was not valid.
    pub fn build(self) -> Result<ServerOptions, OptionsError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        Ok(ServerOptions {
            shared: Arc::new(self.shared),
        })
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.shared.config)
    }

    fn option(mut self, set: impl FnOnce(&mut server::ServerOptions) -> Result<(), OptionsError>) -> Self {
        if let Err(error) = set(&mut self.shared.handshake) {
            self.error.get_or_insert(error);
        }
        self
    }
}

message_options!(ServerOptionsBuilder);
socket_options!(ServerOptionsBuilder, shared.socket);
