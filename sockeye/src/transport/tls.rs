//! TLS by rustls, always with an explicit provider (ring), so that nothing depends on what the process has installed.

mod trust;

use std::io;
use std::sync::Arc;

/// The version of rustls whose configurations this crate takes.
pub use rustls;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::Stream;
pub use trust::Roots;
pub(crate) use trust::{ClientTls, Peer};

/// The certificates in `pem`.
///
/// # Errors
///
/// A sentence that says what is wrong: no PEM, or no certificate in it.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("there is no certificate in the PEM data".into()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("the PEM data cannot be read: {error}")),
    }
}

/// A server's configuration: its certificate chain and private key, both PEM, for HTTP/1.1.
///
/// # Errors
///
/// A sentence that says what is wrong with the chain or the key.
///
/// # Examples
///
/// ```no_run
/// let chain = std::fs::read("chain.pem")?;
/// let key = std::fs::read("key.pem")?;
/// let config = sockeye::transport::tls::server_config(&chain, &key)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_config(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the private key cannot be read: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| format!("the certificate and the key do not serve: {error}"))?;
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}

/// Does the handshake of a client with `host` over `io`, which is TCP or a tunnel.
pub(crate) async fn connect<T>(config: Arc<ClientConfig>, host: &str, io: T) -> io::Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, io).await?;
    // A configuration of the caller's may offer other protocols, and the server may have taken one.
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN_HTTP1) | None => Ok(stream.into()),
        Some(_) => Err(io::Error::other(
            "the server chose another protocol than http/1.1 (ALPN)",
        )),
    }
}

pub(crate) async fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Stream> {
    let stream = TlsAcceptor::from(config).accept(tcp).await?;
    Ok(Stream::tls(stream))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The only protocol that this TLS carries.
const ALPN_HTTP1: &[u8] = b"http/1.1";
