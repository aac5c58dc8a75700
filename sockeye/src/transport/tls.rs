//! TLS by rustls, always with an explicit provider (ring), so that nothing depends on what the process has installed.

use std::io;
use std::sync::Arc;

/// The version of rustls whose configurations this crate takes.
pub use rustls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Stream;

/// Whom a client trusts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// Trusted beside the platform's roots.
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    /// Anybody.
    pub(crate) insecure: bool,
}

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

pub(crate) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, rustls::Error> {
    let verifier: Arc<dyn ServerCertVerifier> = if trust.insecure {
        Arc::new(Anybody(provider()))
    } else {
        Arc::new(Verifier::new_with_extra_roots(trust.extra_roots.clone(), provider())?)
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // Without it, a server that also speaks HTTP/2 might choose that.
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}

pub(crate) async fn connect(config: Arc<ClientConfig>, host: &str, tcp: TcpStream) -> io::Result<Stream> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, tcp).await?;
    Ok(Stream::tls(stream))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Takes any certificate: the connection is encrypted, and nobody knows to whom.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The only protocol that this TLS carries.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
