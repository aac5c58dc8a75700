//! What a client asks a server for and how it trusts it, whichever way it connects.

use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::connection::Config;
use sockeye_proto::handshake::HandshakeLimits;
use sockeye_proto::handshake::client::ClientOptions;

use crate::entropy;
#[cfg(feature = "_rustls")]
use crate::transport::tls::ClientTls;

/// The options that both clients have, the async one and the blocking one.
#[derive(Debug, Clone)]
pub(crate) struct ClientSettings {
    pub(crate) handshake: ClientOptions,
    pub(crate) limits: HandshakeLimits,
    pub(crate) config: Arc<Config>,
    pub(crate) handshake_timeout: Duration,
    #[cfg(feature = "_rustls")]
    pub(crate) tls: Arc<ClientTls>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            handshake: ClientOptions::new(),
            limits: HandshakeLimits::default(),
            config: Arc::new(Config::new(entropy::fill)),
            handshake_timeout: Duration::from_secs(10),
            #[cfg(feature = "_rustls")]
            tls: Arc::default(),
        }
    }
}

#[cfg(feature = "_rustls")]
impl ClientSettings {
    pub(crate) fn tls_mut(&mut self) -> &mut ClientTls {
        Arc::make_mut(&mut self.tls)
    }
}

/// The methods of a builder with `settings` of the type [`ClientSettings`] and the first `error` of its options.
macro_rules! client_options {
    ($builder:ty) => {
        impl $builder {
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

            /// Offers permessage-deflate. Default: off. While it is in use a connection owns up to 379 KiB for its
            /// compressor and 55 KiB for its inflater.
            #[cfg(feature = "deflate")]
            pub fn deflate(mut self, options: sockeye_proto::deflate::DeflateOptions) -> Self {
                self.settings.handshake.set_deflate(Some(options));
                self.config_mut().deflate = options;
                self
            }

            /// How large the response's head may be. Default: 8 KiB for the first line and for each header, 100 headers, 64 KiB
            /// in all. The headers are kept while the connection lasts.
            pub fn handshake_limits(mut self, limits: sockeye_proto::handshake::HandshakeLimits) -> Self {
                self.settings.limits = limits;
                self
            }

            fn config_mut(&mut self) -> &mut sockeye_proto::connection::Config {
                Arc::make_mut(&mut self.settings.config)
            }

            fn option(mut self, set: impl FnOnce(&mut ClientOptions) -> Result<(), OptionsError>) -> Self {
                if let Err(error) = set(&mut self.settings.handshake) {
                    self.fail(error.into());
                }
                self
            }

            fn fail(&mut self, error: ConnectError) {
                self.error.get_or_insert(error);
            }
        }
    };
}

/// The methods of the same builder that concern TLS.
#[cfg(feature = "_rustls")]
macro_rules! tls_options {
    ($builder:ty) => {
        impl $builder {
            /// Whose certificates are taken. Default: the platform's, or instead of them those that
            /// `SSL_CERT_FILE`, or else `SSL_CERT_DIR`, names.
            pub fn roots(mut self, roots: crate::transport::tls::Roots) -> Self {
                self.settings.tls_mut().roots = roots;
                self
            }

            /// Trusts the certificates in `pem` beside the [`roots`](Self::roots).
            pub fn trust_pem(mut self, pem: &[u8]) -> Self {
                if let Err(error) = self.settings.tls_mut().trust(pem) {
                    self.fail(ConnectError::TlsUnavailable(error));
                }
                self
            }

            /// Shows this certificate to a server that asks for one (mTLS): its chain, the leaf first, and its private key,
            /// both PEM, the key unencrypted. A proxy and a server to which a redirect leads do not get it.
            pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Self {
                if let Err(error) = self.settings.tls_mut().identify(chain, key) {
                    self.fail(ConnectError::TlsUnavailable(error));
                }
                self
            }

            /// **Takes any certificate from anybody.** The connection is encrypted, and whoever sits in between can read it
            /// all. For tests against a server of one's own. It does not concern proxies.
            pub fn danger_accept_any_certificate(mut self, insecure: bool) -> Self {
                self.settings.tls_mut().insecure = insecure;
                self
            }

            /// Uses this TLS configuration for servers, and none of the options above. A server that picks another ALPN
            /// protocol than `http/1.1` is an error.
            pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Self {
                self.settings.tls_mut().own = Some(config);
                self
            }
        }
    };
}

pub(crate) use client_options;
#[cfg(feature = "_rustls")]
pub(crate) use tls_options;
