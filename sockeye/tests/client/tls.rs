//! TLS: whom the client trusts (T2, T4), as whom it appears, and who gets to see that (H10).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use sockeye::transport::tls::{self, Roots};
use sockeye::{Client, ClientBuilder, ConnectError};

use crate::common::{Answer, Site, directory, echo, exchange, in_environment, redirect};

/// A certificate authority of our own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One with a name of its own, or another of the same name would seem to have issued what it did not.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name` and its key, both PEM.
    fn issue(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A certificate of a client's and its key, both PEM.
    fn client(&self) -> (String, String) {
        self.issue("client.example", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// The configuration of a server that is `name`.
    pub(crate) fn server(&self, name: &str) -> Arc<ServerConfig> {
        self.server_with(name, |_| {})
    }

    fn server_with(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let (chain, key) = self.issue(name, adjust);
        tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    /// The same for a server that wants to know who the client is, by this authority too; of one that does not say, if
    /// `required` is not set.
    fn asking_server(&self, required: bool) -> Arc<ServerConfig> {
        let (chain, key) = self.issue("localhost", |_| {});
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots().into(), Arc::clone(&provider));
        let verifier = if required {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A client that trusts this authority, and the platform's.
    fn trusted(&self) -> ClientBuilder {
        Client::builder().trust_pem(self.pem().as_bytes())
    }
}

/// Connects to an echo with this configuration, as `localhost`.
async fn meet(config: Arc<ServerConfig>, client: ClientBuilder) -> Result<(), ConnectError> {
    let address = echo(|server| server.with_tls(config)).await;
    let url = format!("wss://localhost:{}/", address.port());
    let ws = client.build()?.connect(&url).await?;
    ws.with_transport(|stream| assert!(stream.is_secure()));
    exchange(ws).await;
    Ok(())
}

/// What rustls minds about a certificate.
fn complaint(met: Result<(), ConnectError>) -> CertificateError {
    let Err(ConnectError::Tls(error)) = met else {
        panic!("{met:?}");
    };
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(error)) => error.clone(),
        _ => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn t2_whom_the_client_trusts() {
    let (authority, other) = (Authority::new(), Authority::new());
    meet(authority.server("localhost"), authority.trusted()).await.unwrap();
    let only = authority.trusted().roots(Roots::None);
    meet(authority.server("localhost"), only).await.unwrap();

    let unknown = complaint(meet(authority.server("localhost"), other.trusted()).await);
    assert_eq!(unknown, CertificateError::UnknownIssuer);
    let unknown = complaint(meet(authority.server("localhost"), Client::builder()).await);
    assert_eq!(unknown, CertificateError::UnknownIssuer);
    let name = complaint(meet(authority.server("other.example"), authority.trusted()).await);
    assert!(
        matches!(name, CertificateError::NotValidForNameContext { .. }),
        "{name:?}"
    );
    let expired = authority.server_with("localhost", |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let expired = complaint(meet(expired, authority.trusted()).await);
    assert!(
        matches!(expired, CertificateError::ExpiredContext { .. }),
        "{expired:?}"
    );
    let early = authority.server_with("localhost", |params| params.not_before = date_time_ymd(3000, 1, 1));
    let early = complaint(meet(early, authority.trusted()).await);
    assert!(
        matches!(early, CertificateError::NotValidYetContext { .. }),
        "{early:?}"
    );
}

#[tokio::test]
async fn nobody_to_trust_is_an_error_and_no_panic() {
    let met = meet(
        Authority::new().server("localhost"),
        Client::builder().roots(Roots::None),
    )
    .await;
    assert!(matches!(met, Err(ConnectError::TlsUnavailable(_))), "{met:?}");
    // It is no matter for those who do not use TLS.
    let site = Site::new(|_| Answer::Upgrade).await;
    let client = Client::builder().roots(Roots::None).build().unwrap();
    client.connect(&site.url("/")).await.unwrap();
}

#[cfg(feature = "webpki-roots")]
#[tokio::test]
async fn mozillas_roots() {
    let authority = Authority::new();
    let webpki = || Client::builder().roots(Roots::Webpki);
    let unknown = complaint(meet(authority.server("localhost"), webpki()).await);
    assert_eq!(unknown, CertificateError::UnknownIssuer);
    let both = webpki().trust_pem(authority.pem().as_bytes());
    meet(authority.server("localhost"), both).await.unwrap();
}

#[tokio::test]
async fn ssl_cert_file_names_whom_to_trust() {
    let directory = directory("ssl-cert-file");
    let path = directory.join("ca.pem");
    let authority = Authority::new();
    std::fs::write(&path, authority.pem()).unwrap();
    let address = echo(|server| server.with_tls(authority.server("localhost"))).await;
    let url = format!("wss://localhost:{}/", address.port());
    let other = directory.join("other");
    std::fs::write(&other, Authority::new().pem()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let other = other.to_str().unwrap().to_owned();
    // The directory, in which both are, does not count beside the file.
    let directories = directory.to_str().unwrap().to_owned();
    for (variables, expected) in [
        (vec![("SSL_CERT_FILE", path.clone())], "trusted"),
        (vec![("SSL_CERT_FILE", path + ".not")], "unreadable"),
        (vec![("SSL_CERT_FILE", other.clone())], "untrusted"),
        (
            vec![("SSL_CERT_FILE", other), ("SSL_CERT_DIR", directories.clone())],
            "untrusted",
        ),
        #[cfg(target_os = "linux")]
        (vec![("SSL_CERT_DIR", directories)], "trusted"),
    ] {
        let more = [
            ("SOCKEYE_TEST_URL", url.clone()),
            ("SOCKEYE_TEST_EXPECTED", expected.to_owned()),
        ];
        in_environment("tls::a_client_with_ssl_cert_file", [&variables[..], &more].concat()).await;
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// The other process of the test above; by itself it has nothing to do.
#[tokio::test]
async fn a_client_with_ssl_cert_file() {
    let Ok(url) = std::env::var("SOCKEYE_TEST_URL") else {
        return;
    };
    let expected = std::env::var("SOCKEYE_TEST_EXPECTED").unwrap();
    match (&*expected, sockeye::connect(&url).await) {
        ("trusted", Ok(ws)) => exchange(ws).await,
        ("untrusted", Err(ConnectError::Tls(_))) => {}
        ("unreadable", Err(ConnectError::TlsUnavailable(why))) => assert!(why.contains("SSL_CERT_FILE"), "{why}"),
        (_, other) => panic!("{other:?}, and not {expected}"),
    }
}

#[tokio::test]
async fn mtls_with_a_certificate() {
    let authority = Authority::new();
    let (chain, key) = authority.client();
    let client = authority.trusted().client_certificate(chain.as_bytes(), key.as_bytes());
    meet(authority.asking_server(true), client).await.unwrap();
}

#[tokio::test]
async fn mtls_without_a_certificate() {
    let authority = Authority::new();
    meet(authority.asking_server(false), authority.trusted()).await.unwrap();
    let met = meet(authority.asking_server(true), authority.trusted()).await;
    let Err(ConnectError::Tls(error)) = met else {
        panic!("{met:?}");
    };
    let cause = error.get_ref().unwrap().downcast_ref();
    let expected = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
    assert_eq!(cause, Some(&expected));
}

#[tokio::test]
async fn mtls_with_a_certificate_of_another_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (chain, key) = other.client();
    let client = authority.trusted().client_certificate(chain.as_bytes(), key.as_bytes());
    let met = meet(authority.asking_server(true), client).await;
    assert!(matches!(met, Err(ConnectError::Tls(_))), "{met:?}");
}

#[test]
fn a_certificate_and_a_key_that_are_none() {
    let authority = Authority::new();
    let ((chain, key), (_, other_key)) = (authority.client(), authority.client());
    for (chain, key) in [("", key.as_str()), (&chain, ""), (&chain, &other_key), (&key, &chain)] {
        let built = Client::builder()
            .client_certificate(chain.as_bytes(), key.as_bytes())
            .build();
        assert!(matches!(built, Err(ConnectError::TlsUnavailable(_))), "{built:?}");
    }
}

/// H10: a client's certificate is a credential. The second server would take it, and does not get to see it.
#[tokio::test]
async fn h10_a_redirect_to_another_origin_does_not_show_the_certificate() {
    let authority = Authority::new();
    let asking = echo(|server| server.with_tls(authority.asking_server(true))).await;
    let there = format!("wss://localhost:{}/", asking.port());
    let url = there.clone();
    let site = Site::new(move |_| redirect(302, &there)).await;
    let (chain, key) = authority.client();
    let client = authority
        .trusted()
        .client_certificate(chain.as_bytes(), key.as_bytes())
        .follow_redirects(1)
        .build()
        .unwrap();
    exchange(client.connect(&url).await.unwrap()).await;
    let connected = client.connect(&site.url("/")).await;
    assert!(matches!(connected, Err(ConnectError::Tls(_))), "{connected:?}");
}

/// T4, H10: from TLS to plain text, whatever a server says.
#[tokio::test]
async fn h10_no_redirect_from_wss_to_ws() {
    use sockeye::handshake::Rejection;
    use sockeye::uri::UriError;
    use sockeye::{AcceptError, RedirectError, Server, ServerOptions};
    let plain = Site::new(|_| Answer::Upgrade).await;
    let authority = Authority::new();
    let server = Server::bind("127.0.0.1:0", ServerOptions::default())
        .await
        .unwrap()
        .with_tls(authority.server("localhost"));
    let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
    let there = plain.url("/");
    let serving = tokio::spawn(async move {
        let upgrade = server.accept().await.unwrap().upgrade().await?;
        let rejection = Rejection::new(302).with_header("Location", &there).unwrap();
        // The client may leave before it has read to the end.
        let _ = upgrade.reject(rejection).await;
        Ok::<_, AcceptError>(())
    });
    let client = authority.trusted().follow_redirects(5).build().unwrap();
    let connected = client.connect(&url).await;
    assert!(
        matches!(
            connected,
            Err(ConnectError::Redirect(RedirectError::Location(UriError::Downgrade)))
        ),
        "{connected:?}"
    );
    serving.await.unwrap().unwrap();
    assert_eq!(plain.heads().len(), 0);
}

pub(crate) fn own(authority: &Authority, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

#[tokio::test]
async fn a_configuration_of_ones_own() {
    let authority = Authority::new();
    let client = Client::builder().tls_config(own(&authority, &[]));
    meet(authority.server("localhost"), client).await.unwrap();
}

/// A server that would go on in HTTP/2 is not spoken to in HTTP/1.1.
#[tokio::test]
async fn another_protocol_by_alpn() {
    let authority = Authority::new();
    let mut server = ServerConfig::clone(&authority.server("localhost"));
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = Arc::new(server);
    let both = Client::builder().tls_config(own(&authority, &[b"h2", b"http/1.1"]));
    let met = meet(Arc::clone(&server), both).await;
    assert!(matches!(met, Err(ConnectError::Tls(_))), "{met:?}");
    meet(server, authority.trusted()).await.unwrap();
}

/// T4: a server that speaks plain text is no server for `wss:`, nor a proxy for `https:`.
#[tokio::test]
async fn t4_no_fall_back_to_plain_text() {
    let site = Site::new(|_| Answer::Upgrade).await;
    let authority = Authority::new();
    let url = format!("wss://localhost:{}/", site.address.port());
    let connected = authority.trusted().build().unwrap().connect(&url).await;
    assert!(matches!(connected, Err(ConnectError::Tls(_))), "{connected:?}");
    let proxy = format!("https://localhost:{}", site.address.port());
    let client = authority.trusted().proxy(&proxy).build().unwrap();
    let connected = client.connect("ws://127.0.0.1:9/").await;
    assert!(
        matches!(connected, Err(ConnectError::Proxy(sockeye::ProxyError::Tls(_)))),
        "{connected:?}"
    );
}
