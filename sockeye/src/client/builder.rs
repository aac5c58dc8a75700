//! [`ClientBuilder`]: the options of a client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::TcpKeepalive;
use sockeye_proto::handshake::OptionsError;
use sockeye_proto::handshake::client::ClientOptions;

use super::dial::{ATTEMPT_DELAY_MIN, Dialing, Resolve};
use super::proxy::{Environment, Proxies, Proxy};
use super::{Client, Shared};
use crate::error::{ConnectError, ProxyError};
#[cfg(feature = "tls")]
use crate::options::tls_options;
use crate::options::{ClientSettings, SocketOptions, client_options, message_options, socket_options};

/// The options of a [`Client`]. The first that is not valid is told by [`build`](Self::build).
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    settings: ClientSettings,
    socket: SocketOptions,
    error: Option<ConnectError>,
    dialing: Dialing,
    proxies: Proxies,
    redirects: u8,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            settings: ClientSettings::default(),
            socket: SocketOptions::client(),
            error: None,
            dialing: Dialing::default(),
            proxies: Proxies::None,
            redirects: 0,
        }
    }
}

impl ClientBuilder {
    /// The deadline over name resolution, TCP, the proxy, TLS and the opening handshake together, redirects included.
    /// Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
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

    /// Uses this TLS configuration for `https:` proxies. Default: one of [`roots`](Self::roots) and
    /// [`trust_pem`](Self::trust_pem).
    #[cfg(feature = "tls")]
    pub fn proxy_tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.settings.tls_mut().own_proxy = Some(config);
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
                settings: self.settings,
                socket: self.socket,
                dialing: self.dialing,
                proxies: self.proxies,
                redirects: self.redirects,
            }),
        })
    }
}

/// The most redirects that are followed; a chain of more leads in circles.
const REDIRECTS_MAX: u8 = 10;

client_options!(ClientBuilder);
message_options!(ClientBuilder);
socket_options!(ClientBuilder, socket);
#[cfg(feature = "tls")]
tls_options!(ClientBuilder);
