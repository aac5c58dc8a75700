//! TLS of a server: certificates by name, certificates of clients, and new ones without a restart.
//!
//! By rustls, always with an explicit provider (ring), so that nothing depends on what the process has installed.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::listener::Accepted;
use crate::socket::WebSocket;
use crate::transport::Stream;
use crate::transport::tls::{ALPN_HTTP1, certificates, provider};

/// The TLS of a server, shared by all who clone it, and replaced for all of them at once.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Server, ServerOptions, ServerTls};
///
/// let load = || -> Result<ServerTls, Box<dyn std::error::Error>> {
///     let (chain, key) = (std::fs::read("chain.pem")?, std::fs::read("key.pem")?);
///     Ok(ServerTls::builder().certificate(&chain, &key).build()?)
/// };
/// let tls = load()?;
/// let server = Server::bind("0.0.0.0:443", ServerOptions::default()).await?.with_tls(tls.clone());
/// // Later, when the certificate has been renewed: connections that come from now on see the new one.
/// tls.replace(load()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServerTls {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl ServerTls {
    /// A builder without a certificate, of which there must be one at least.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder::default()
    }

    /// Replaces the configuration. Handshakes that have begun go on with the old one, and so do connections; later ones
    /// have the new one. Sessions of the old one are not resumed, so that nobody goes on with a certificate, or a client's,
    /// that is trusted no more.
    pub fn replace(&self, with: impl Into<Self>) {
        let with = with.into().config();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = with;
    }

    /// What a handshake that begins now works by.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn accept(&self, accepted: Accepted) -> io::Result<Stream> {
        let acceptor = TlsAcceptor::from(self.config());
        match accepted {
            Accepted::Tcp(tcp) => acceptor.accept(tcp).await.map(Stream::tls),
            #[cfg(unix)]
            Accepted::Unix(unix) => acceptor.accept(unix).await.map(Stream::unix_tls),
        }
    }
}

/// A configuration of your own. It should offer `http/1.1` by ALPN, if anything.
impl From<Arc<ServerConfig>> for ServerTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self {
            current: Arc::new(RwLock::new(config)),
        }
    }
}

/// Sets up the TLS of a server. The first part that is not valid is told by [`build`](Self::build).
#[derive(Debug, Default)]
#[must_use]
pub struct ServerTlsBuilder {
    certificates: Vec<Arc<CertifiedKey>>,
    clients: Clients,
    error: Option<TlsError>,
}

/// Which certificates clients must have.
#[derive(Debug, Default)]
enum Clients {
    #[default]
    None,
    Optional(RootCertStore),
    Required(RootCertStore),
}

impl ServerTlsBuilder {
    /// Adds a certificate chain and its private key, both PEM. With several, a client gets the first that is valid for the
    /// name that it asks for (SNI, RFC 6066 §3), wildcards included, and the very first if none is or it asks for none.
    pub fn certificate(mut self, chain: &[u8], key: &[u8]) -> Self {
        match certified(chain, key) {
            Ok(certificate) => self.certificates.push(Arc::new(certificate)),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Asks clients for a certificate that was issued, through any chain, by one of those in `roots` (PEM), and ends the
    /// handshake with those who have none.
    pub fn require_client_certificate(mut self, roots: &[u8]) -> Self {
        match store(roots) {
            Ok(store) => self.clients = Clients::Required(store),
            Err(error) => self.fail(error),
        }
        self
    }

    /// The same, and takes clients without a certificate as well; one that is not trusted ends the handshake.
    pub fn request_client_certificate(mut self, roots: &[u8]) -> Self {
        match store(roots) {
            Ok(store) => self.clients = Clients::Optional(store),
            Err(error) => self.fail(error),
        }
        self
    }

    /// The TLS.
    ///
    /// # Errors
    ///
    /// The first part that was not valid; [`TlsError::NoCertificate`] without any certificate.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let clients: Arc<dyn ClientCertVerifier> = match self.clients {
            Clients::None => Arc::new(NoClientAuth),
            Clients::Optional(roots) => WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError::ClientRoots(error.to_string()))?,
            Clients::Required(roots) => WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| TlsError::ClientRoots(error.to_string()))?,
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Rustls)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(ByName(self.certificates)));
        config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        Ok(Arc::new(config).into())
    }

    fn fail(&mut self, error: TlsError) {
        self.error.get_or_insert(error);
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(chain).map_err(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::PrivateKey(error.to_string()))?;
    // Fails if the two do not belong together.
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Rustls)
}

fn store(roots: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for root in certificates(roots).map_err(TlsError::ClientRoots)? {
        store
            .add(root)
            .map_err(|error| TlsError::ClientRoots(error.to_string()))?;
    }
    Ok(store)
}

/// Certificates in order of preference.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.0.len() > 1
            && let Some(name) = hello.server_name()
            && let Ok(name) = ServerName::try_from(name)
            && let Some(certificate) = self.0.iter().find(|certificate| is_valid_for(certificate, &name))
        {
            return Some(certificate.clone());
        }
        self.0.first().cloned()
    }
}

fn is_valid_for(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certificate
        .end_entity_cert()
        .ok()
        .and_then(|certificate| ParsedCertificate::try_from(certificate).ok())
        .is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// Who the client is, where the server asked for a certificate.
impl Stream {
    /// The certificates of the client, its own first, verified. `None` if it has none or there is no TLS.
    ///
    /// On a client's end it is `None`.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.server_session()?.peer_certificates()
    }

    /// The name by which the client knows the server (SNI), if it told.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_session()?.server_name()
    }
}

impl WebSocket<Stream> {
    /// The certificates of a server's client, its own first, verified. `None` if it has none or there is no TLS.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.with_transport(|stream| stream.peer_certificates().map(<[_]>::to_vec))
    }
}

/// TLS cannot be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate was given.
    NoCertificate,
    /// The chain is no PEM, or has no certificate in it.
    Certificate(String),
    /// The private key is no PEM, or of no known kind.
    PrivateKey(String),
    /// Those who issue certificates of clients cannot be read.
    ClientRoots(String),
    /// The certificate and the key do not serve.
    Rustls(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("a TLS server needs a certificate"),
            Self::Certificate(why) => f.write_str(why),
            Self::PrivateKey(why) => write!(f, "the private key cannot be read: {why}"),
            Self::ClientRoots(why) => write!(f, "the roots of clients' certificates do not serve: {why}"),
            Self::Rustls(error) => write!(f, "the certificate and the key do not serve: {error}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rustls(error) => Some(error),
            _ => None,
        }
    }
}
