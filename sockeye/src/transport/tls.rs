//! TLS by rustls, always with an explicit provider (ring), so that nothing depends on what the process has installed.

#[cfg(feature = "tls")]
mod connect;
mod trust;

use std::sync::Arc;

/// The version of rustls whose configurations this crate takes.
pub use rustls;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[cfg(feature = "tls")]
pub(super) use connect::connect;
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

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The only protocol that this TLS carries.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
