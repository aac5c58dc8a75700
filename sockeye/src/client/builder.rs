//! [`ClientBuilder`]: the options of a client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::TcpKeepalive;
use sockeye_proto::connection::{Config, Receive};
use sockeye_proto::handshake::client::ClientOptions;
use sockeye_proto::handshake::{HandshakeLimits, OptionsError};

use super::dial::{ATTEMPT_DELAY_MIN, Dialing, Resolve};
use super::proxy::{Environment, Proxies, Proxy, ProxyError};
use super::{Client, Shared};
use crate::entropy;
use crate::error::ConnectError;
use crate::options::{SocketOptions, socket_options};
#[cfg(feature = "tls")]
use crate::transport::tls::{ClientTls, Roots, rustls};

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
    dialing: Dialing,
    proxies: Proxies,
    redirects: u8,
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
            socket: SocketOptions::client(),
            error: None,
            dialing: Dialing::default(),
            proxies: Proxies::None,
            redirects: 0,
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

    /// The deadline over name resolution, TCP, the proxy, TLS and the opening handshake together, redirects included.
    /// Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Asks this for the addresses of hosts, in place of the system's resolver; of a proxy's host too. Names are not asked
    /// for where a proxy resolves them (`http`, `https`, `socks5h`).
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.dialing.resolver = Some(Arc::new(resolver));
        self
    }

    /// Connects from this address of the machine, and to addresses of its family alone. Default: the system chooses.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.dialing.local_address = Some(address);
        self
    }

    /// How long one address of a host has to answer before the next is tried beside it (RFC 8305 §5). Default: 250 ms; less
    /// than 10 ms counts as 10 ms.
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.dialing.attempt_delay = delay.max(ATTEMPT_DELAY_MIN);
        self
    }

    /// Has the kernel probe a connection that was idle for `idle`, every `interval`, in whole seconds, so that one whose
    /// other end has vanished fails. Default: off. Pings find that out too, and also whether the program still answers.
    pub fn tcp_keepalive(mut self, idle: Duration, interval: Duration) -> Self {
        self.dialing.keepalive = Some(TcpKeepalive::new().with_time(idle).with_interval(interval));
        self
    }

    /// Goes through this proxy: `scheme://[user[:password]@]host[:port]`, with `http` (CONNECT, and Basic authentication),
    /// `https` (the same under TLS), `socks5` (names are resolved here) or `socks5h` (the proxy resolves them).
    ///
    /// ```
    /// # fn main() -> Result<(), sockeye::ConnectError> {
    /// let client = sockeye::Client::builder().proxy("socks5h://alice:s3cret@127.0.0.1:1080").build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn proxy(mut self, url: &str) -> Self {
        match Proxy::parse(url) {
            Ok(proxy) => self.proxies = Proxies::All(proxy),
            Err(error) => self.fail(ProxyError::Url(error).into()),
        }
        self
    }

    /// Goes through the proxies that the environment names, as it is now: `HTTP_PROXY` for `ws:`, `HTTPS_PROXY` for `wss:`,
    /// `ALL_PROXY` for both where they are not set, in lower case first; but not to what `NO_PROXY` lists: names with all
    /// below them, addresses, networks (`10.0.0.0/8`), each with or without a port, or `*`, separated by commas.
    ///
    /// `HTTP_PROXY` in upper case is ignored where `REQUEST_METHOD` is set, in a CGI program.
    pub fn proxy_from_env(mut self) -> Self {
        match Environment::read() {
            Ok(environment) => self.proxies = Proxies::Environment(environment),
            Err(error) => self.fail(error.into()),
        }
        self
    }

    /// Goes through no proxy, the default: takes back what was said before.
    pub fn no_proxy(mut self) -> Self {
        self.proxies = Proxies::None;
        self
    }

    /// Follows up to `at_most` redirects, in a row; more than 10 counts as 10. Default: 0, a redirect is a
    /// [`ConnectError::Refused`].
    ///
    /// Another origin (scheme, host or port) gets no credentials: not those of the URL, nor the Authorization and Cookie
    /// headers, nor the client's certificate. **Headers with secrets under other names go along**, and so does what a
    /// [`tls_config`](Self::tls_config) shows. `wss:` never leads to `ws:`.
    pub fn follow_redirects(mut self, at_most: u8) -> Self {
        self.redirects = at_most.min(REDIRECTS_MAX);
        self
    }

    /// Whose certificates are taken. Default: the platform's, or those in `SSL_CERT_FILE`.
    #[cfg(feature = "tls")]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.tls.roots = roots;
        self
    }

    /// Trusts the certificates in `pem` beside the [`roots`](Self::roots).
    #[cfg(feature = "tls")]
    pub fn trust_pem(mut self, pem: &[u8]) -> Self {
        if let Err(error) = self.tls.trust(pem) {
            self.fail(ConnectError::TlsUnavailable(error));
        }
        self
    }

    /// Shows this certificate to a server that asks for one (mTLS): its chain, the leaf first, and its private key, both
    /// PEM. A proxy and a server to which a redirect leads do not get it.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Self {
        if let Err(error) = self.tls.identify(chain, key) {
            self.fail(ConnectError::TlsUnavailable(error));
        }
        self
    }

    /// **Takes any certificate from anybody.** The connection is encrypted, and whoever sits in between can read it all.
    /// For tests against a server of one's own. It does not concern proxies.
    #[cfg(feature = "tls")]
    pub fn danger_accept_any_certificate(mut self, insecure: bool) -> Self {
        self.tls.insecure = insecure;
        self
    }

    /// Uses this TLS configuration for servers, and none of the options above. A server that picks another ALPN protocol
    /// than `http/1.1` is an error.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls.own = Some(config);
        self
    }

    /// Uses this TLS configuration for `https:` proxies. Default: one of [`roots`](Self::roots) and
    /// [`trust_pem`](Self::trust_pem).
    #[cfg(feature = "tls")]
    pub fn proxy_tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls.own_proxy = Some(config);
        self
    }

    /// The client. Roots are read when the first `wss:` URL is connected to.
    ///
    /// # Errors
    ///
    /// The first option that was not valid: [`ConnectError::Options`], [`ConnectError::TlsUnavailable`] for certificates
    /// and keys, [`ConnectError::Proxy`] for a proxy's URL.
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
                socket: self.socket,
                dialing: self.dialing,
                proxies: self.proxies,
                redirects: self.redirects,
                #[cfg(feature = "tls")]
                tls: Arc::new(self.tls),
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

/// The most redirects that are followed; a chain of more leads in circles.
const REDIRECTS_MAX: u8 = 10;

socket_options!(ClientBuilder, socket);
