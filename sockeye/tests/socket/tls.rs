//! T1–T4 and H1 under TLS. No test installs a provider for the process, and none is needed.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sockeye::transport::tls;
use sockeye::{AcceptError, Client, ClientBuilder, CloseCode, ConnectError, Error, Server, ServerOptions};
use tokio::io::AsyncWriteExt;
use tokio::time::advance;

use crate::common::{Raw, StillClock, TEXT, masked, settle};

/// A certificate authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// The configuration of a server that has a certificate for `host`.
    fn server(&self, host: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Arc<rustls::ServerConfig> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        tls::server_config(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }
}

async fn serve(config: Arc<rustls::ServerConfig>, options: ServerOptions) -> (Server, SocketAddr) {
    let server = Server::bind("127.0.0.1:0", options).await.unwrap().with_tls(config);
    assert!(server.is_secure());
    let address = server.local_addr().unwrap();
    (server, address)
}

/// Connects to a server with this configuration at `localhost`, and says hello.
async fn meet(config: Arc<rustls::ServerConfig>, client: ClientBuilder) -> Result<(), ConnectError> {
    let (server, address) = serve(config, ServerOptions::default()).await;
    let client = client.build().unwrap();
    let serving = tokio::spawn(async move {
        let mut ws = server.accept().await.unwrap().accept().await?;
        while let Some(message) = ws.recv().await.unwrap() {
            ws.send(message).await.unwrap();
        }
        Ok::<_, AcceptError>(())
    });
    let connected = client.connect(&format!("wss://localhost:{}/", address.port())).await;
    let mut ws = match connected {
        Ok(ws) => ws,
        Err(error) => {
            assert!(matches!(
                serving.await.unwrap(),
                Err(AcceptError::Tls(_) | AcceptError::Io(_))
            ));
            return Err(error);
        }
    };
    assert!(ws.with_transport(sockeye::transport::Stream::is_secure));
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    serving.await.unwrap().unwrap();
    Ok(())
}

#[tokio::test]
async fn an_authority_that_is_trusted() {
    let authority = Authority::new();
    let client = Client::builder().trust_pem(authority.pem().as_bytes());
    meet(authority.server("localhost", |_| {}), client).await.unwrap();
}

#[tokio::test]
async fn t2_an_unknown_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = Client::builder().trust_pem(other.pem().as_bytes());
    let met = meet(authority.server("localhost", |_| {}), client).await;
    assert!(matches!(met, Err(ConnectError::Tls(_))), "{met:?}");
}

#[tokio::test]
async fn t2_a_certificate_for_another_host() {
    let authority = Authority::new();
    let client = Client::builder().trust_pem(authority.pem().as_bytes());
    let met = meet(authority.server("other.example", |_| {}), client).await;
    assert!(matches!(met, Err(ConnectError::Tls(_))), "{met:?}");
}

#[tokio::test]
async fn t2_an_expired_certificate() {
    let authority = Authority::new();
    let client = Client::builder().trust_pem(authority.pem().as_bytes());
    let config = authority.server("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let met = meet(config, client).await;
    assert!(matches!(met, Err(ConnectError::Tls(_))), "{met:?}");
}

#[tokio::test]
async fn t2_any_certificate_where_the_caller_says_so() {
    let authority = Authority::new();
    let config = authority.server("other.example", |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let client = Client::builder().danger_accept_any_certificate(true);
    meet(config, client).await.unwrap();
}

#[test]
fn t2_no_certificate_to_trust() {
    for pem in [
        &b""[..],
        b"no PEM",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        assert!(matches!(
            Client::builder().trust_pem(pem).build(),
            Err(ConnectError::TlsUnavailable(_))
        ));
    }
}

/// T3: the TCP connection ends without close_notify, which anybody on the way could have done.
#[tokio::test]
async fn t3_an_end_without_close_notify_is_1006() {
    let authority = Authority::new();
    let (server, address) = serve(authority.server("localhost", |_| {}), ServerOptions::default()).await;
    let client = Client::builder().trust_pem(authority.pem().as_bytes()).build().unwrap();
    let url = format!("wss://localhost:{}/", address.port());
    let (near, far) = tokio::join!(client.connect(&url), async {
        server.accept().await.unwrap().accept().await
    });
    let (near, mut far) = (near.unwrap(), far.unwrap());
    // Dropped, the client ends TCP and says nothing.
    drop(near);
    let error = far.recv().await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
    assert_eq!(far.recv().await.unwrap(), None);
}

/// T4: a server that speaks plain text is no server for `wss:`.
#[tokio::test]
async fn t4_wss_never_falls_back_to_plain_text() {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
    for client in [Client::builder(), Client::builder().danger_accept_any_certificate(true)] {
        let client = client.build().unwrap();
        let (near, far) = tokio::join!(client.connect(&url), async {
            server.accept().await.unwrap().accept().await
        });
        assert!(matches!(near, Err(ConnectError::Tls(_))), "{near:?}");
        assert!(
            matches!(far, Err(AcceptError::Rejected(_) | AcceptError::Io(_))),
            "{far:?}"
        );
    }
}

/// A client without TLS at a server with it: an error on the server's side, and the server goes on.
#[tokio::test]
async fn t4_plain_text_at_a_tls_server() {
    let authority = Authority::new();
    let (server, address) = serve(authority.server("localhost", |_| {}), ServerOptions::default()).await;
    let url = format!("ws://localhost:{}/", address.port());
    let (near, far) = tokio::join!(sockeye::connect(&url), async {
        server.accept().await.unwrap().accept().await
    });
    assert!(near.is_err());
    assert!(matches!(far, Err(AcceptError::Tls(_))), "{far:?}");
}

/// What an attacker sends before TLS stands, what is left of it at the deadline, and a proper client afterwards.
async fn t1(hello: &'static [u8], drip: bool) {
    let _clock = StillClock::new();
    let authority = Authority::new();
    let (server, address) = serve(authority.server("localhost", |_| {}), ServerOptions::default()).await;
    let (sent, has_sent) = tokio::sync::oneshot::channel();
    let attacker = std::thread::spawn(move || {
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        if drip {
            for byte in hello {
                if tcp.write_all(&[*byte]).is_err() {
                    break;
                }
            }
        } else {
            tcp.write_all(hello).unwrap();
        }
        sent.send(()).unwrap();
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let accepting = tokio::spawn(server.accept().await.unwrap().accept());
    has_sent.await.unwrap();
    settle().await;
    advance(HANDSHAKE_TIMEOUT).await;
    let accepted = accepting.await.unwrap();
    assert!(
        matches!(accepted, Err(AcceptError::Tls(_) | AcceptError::Timeout)),
        "{accepted:?}"
    );
    attacker.join().unwrap();
    let serving = tokio::spawn(async move { server.accept().await.unwrap().accept().await.unwrap().recv().await });
    let client = Client::builder().trust_pem(authority.pem().as_bytes()).build().unwrap();
    let mut ws = client
        .connect(&format!("wss://localhost:{}/", address.port()))
        .await
        .unwrap();
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(serving.await.unwrap().unwrap(), None);
}

/// What a client has for TLS and its request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// One record of handshake type 1 whose length says 16 MiB.
const HUGE_HELLO: &[u8] = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03";

#[tokio::test(start_paused = true)]
async fn t1_a_client_hello_that_claims_16_mib() {
    t1(HUGE_HELLO, false).await;
}

#[tokio::test(start_paused = true)]
async fn t1_a_client_hello_in_fragments() {
    // Records of one byte each, of a message that never ends.
    t1(
        b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00\x16\x03\x01\x00\x01\x40\x16\x03\x01\x00\x01\x00",
        true,
    )
    .await;
}

/// H1: the deadline covers TLS too.
#[tokio::test(start_paused = true)]
async fn h1_a_client_that_says_nothing_before_tls() {
    t1(b"", false).await;
}

#[tokio::test(start_paused = true)]
async fn h1_a_client_that_says_nothing_after_tls() {
    let _clock = StillClock::new();
    let authority = Authority::new();
    let (server, address) = serve(authority.server("localhost", |_| {}), ServerOptions::default()).await;
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let accepting = tokio::spawn(server.accept().await.unwrap().accept());
    let connecting = connector(&authority).connect("localhost".try_into().unwrap(), tcp);
    let stream = connecting.await.unwrap();
    settle().await;
    assert!(!accepting.is_finished());
    advance(HANDSHAKE_TIMEOUT).await;
    let accepted = accepting.await.unwrap();
    assert!(matches!(accepted, Err(AcceptError::Timeout)), "{accepted:?}");
    drop(stream);
}

/// R4 under TLS: the Close is in a record of its own before close_notify, and is not lost.
#[tokio::test]
async fn r4_a_violation_under_tls() {
    let authority = Authority::new();
    let (server, address) = serve(authority.server("localhost", |_| {}), ServerOptions::default()).await;
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let peer = async {
        let name = "localhost".try_into().unwrap();
        let stream = connector(&authority).connect(name, tcp).await.unwrap();
        let mut peer = Raw::client(stream, b"").await;
        peer.send(
            &[
                masked(TEXT, b"good"),
                masked(TEXT, b"\xff"),
                masked(TEXT, &[b'x'; 100_000]),
            ]
            .concat(),
        )
        .await;
        let code = peer.close_code().await;
        peer.io.shutdown().await.unwrap();
        code
    };
    let serving = async {
        let mut ws = server.accept().await.unwrap().accept().await.unwrap();
        (ws.recv().await, ws.recv().await, ws.recv().await)
    };
    let (code, (message, violation, end)) = tokio::join!(peer, serving);
    assert_eq!(code, Some(1007));
    assert_eq!(message.unwrap(), Some("good".into()));
    assert!(matches!(violation, Err(Error::Protocol(_))), "{violation:?}");
    assert_eq!(end.unwrap(), None);
}

/// TLS for a peer that speaks bytes.
fn connector(authority: &Authority) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

#[tokio::test]
async fn no_provider_of_the_process_is_used_or_installed() {
    let authority = Authority::new();
    let client = Client::builder().trust_pem(authority.pem().as_bytes());
    meet(authority.server("localhost", |_| {}), client).await.unwrap();
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}
