//! Whom a client trusts, and as whom it appears: roots, client certificates, and the configurations made of them.
//!
//! Configurations are made when they are first needed, since to read the platform's roots takes milliseconds that a client
//! of `ws:` URLs has no reason to spend. Revocation is not checked but where the platform does it.

use std::env;
use std::fs;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::{ALPN_HTTP1, certificates, provider};

/// Whose certificates a client takes, beside those that it is given itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Roots {
    /// The operating system's, by its own verifier where it has one (the default). If `SSL_CERT_FILE` is set, the
    /// certificates in that file instead, on every platform, and nobody's else: `SSL_CERT_DIR` has no say beside it. If
    /// `SSL_CERT_DIR` alone is set, where the system has no verifier of its own (Linux, the BSDs), the certificates in
    /// those directories instead.
    #[default]
    Platform,
    /// Those of Mozilla, as they were when the program was built: for images without any.
    #[cfg(feature = "webpki-roots")]
    Webpki,
    /// Nobody's.
    None,
}

/// Whom TLS is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The server of the URL.
    Server,
    /// A server of another origin, to which the first one has sent us. It does not get to see the client's certificate,
    /// which is a credential (THREATS H10).
    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "the blocking client follows no redirects")
    )]
    Stranger,
    /// A proxy. It does not get the client's certificate either, and is trusted no more for the server's certificate not
    /// being looked at.
    Proxy,
}

/// The TLS of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientTls {
    pub(crate) roots: Roots,
    /// Trusted beside the roots.
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    /// Any certificate of a server's.
    pub(crate) insecure: bool,
    /// What the client shows to a server that asks.
    identity: Option<CertifiedKey>,
    /// The caller's own configuration for servers.
    pub(crate) own: Option<Arc<ClientConfig>>,
    /// The caller's own configuration for proxies.
    pub(crate) own_proxy: Option<Arc<ClientConfig>>,
    made: [OnceLock<Arc<ClientConfig>>; 3],
}

impl ClientTls {
    /// Trusts the certificates in `pem` beside the roots.
    pub(crate) fn trust(&mut self, pem: &[u8]) -> Result<(), String> {
        self.extra_roots.extend(certificates(pem)?);
        Ok(())
    }

    /// Shows this certificate to a server that asks for one.
    pub(crate) fn identify(&mut self, chain: &[u8], key: &[u8]) -> Result<(), String> {
        let chain = certificates(chain)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the private key cannot be read: {error}"))?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| format!("the certificate and the key do not belong together: {error}"))?;
        self.identity = Some(certified);
        Ok(())
    }

    /// The configuration for this peer, if it has been made.
    pub(crate) fn config(&self, peer: Peer) -> Option<Arc<ClientConfig>> {
        let own = match peer {
            Peer::Server | Peer::Stranger => &self.own,
            Peer::Proxy => &self.own_proxy,
        };
        own.as_ref().or_else(|| self.made(peer).get()).cloned()
    }

    /// Makes the configuration for this peer. May read files.
    pub(crate) fn make(&self, peer: Peer) -> Result<Arc<ClientConfig>, String> {
        let verifier: Arc<dyn ServerCertVerifier> = if self.insecure && peer != Peer::Proxy {
            Arc::new(Anybody(provider()))
        } else {
            self.verifier()?
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) if peer == Peer::Server => {
                let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(identity.clone()));
                builder.with_client_cert_resolver(resolver)
            }
            _ => builder.with_no_client_auth(),
        };
        // Without it, a server that also speaks HTTP/2 might choose that.
        config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        Ok(self.made(peer).get_or_init(|| Arc::new(config)).clone())
    }

    fn made(&self, peer: Peer) -> &OnceLock<Arc<ClientConfig>> {
        let [server, stranger, proxy] = &self.made;
        match peer {
            // Without an identity to hide, both are the same, and share their session tickets.
            Peer::Stranger if self.identity.is_some() => stranger,
            Peer::Server | Peer::Stranger => server,
            Peer::Proxy => proxy,
        }
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let mut roots: Vec<_> = match self.roots {
            Roots::Platform => match env::var_os(CERT_FILE).filter(|path| !path.is_empty()) {
                Some(path) => fs::read(&path)
                    .map_err(|error| error.to_string())
                    .and_then(|pem| certificates(&pem))
                    .map_err(|error| format!("{CERT_FILE}: {}: {error}", path.display()))?,
                None => {
                    return Verifier::new_with_extra_roots(self.extra_roots.clone(), provider())
                        .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>)
                        .map_err(|error| error.to_string());
                }
            },
            #[cfg(feature = "webpki-roots")]
            Roots::Webpki => Vec::new(),
            Roots::None => Vec::new(),
        };
        roots.extend(self.extra_roots.iter().cloned());
        let mut store = RootCertStore::empty();
        #[cfg(feature = "webpki-roots")]
        if self.roots == Roots::Webpki {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for root in roots {
            store.add(root).map_err(|error| error.to_string())?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider())
            .build()
            .map_err(|_| "there is nobody to trust: no roots, and no certificate beside them")?;
        Ok(verifier)
    }
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

/// A file of certificates to trust, by OpenSSL's convention.
const CERT_FILE: &str = "SSL_CERT_FILE";
