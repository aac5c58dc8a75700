//! Certificates: by name, of clients, and new ones without a restart. Each test has a CA of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use sockeye::transport::{Stream, tls};
use sockeye::{AcceptError, Client, ConnectError, Listener, Server, ServerOptions, ServerTls, TlsError, WebSocket};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, Identity};
use crate::common::{bound, echo, is_echoed};

fn with(identities: &[&Identity]) -> sockeye::ServerTlsBuilder {
    identities.iter().fold(ServerTls::builder(), |tls, identity| {
        tls.certificate(
            identity.certificate.pem().as_bytes(),
            identity.key.serialize_pem().as_bytes(),
        )
    })
}

async fn serve(tls: ServerTls) -> SocketAddr {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default())
        .await
        .unwrap()
        .with_tls(tls);
    let address = server.local_addr().unwrap();
    tokio::spawn(async move { server.serve(echo).await });
    address
}

/// The certificate that a client sees which asks for `name`.
async fn seen(config: Arc<ClientConfig>, address: SocketAddr, name: &str) -> CertificateDer<'static> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = name.to_owned().try_into().unwrap();
    let stream = TlsConnector::from(config).connect(name, tcp).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// A new connection sees the new certificate, also with a client that could resume its session; the old connection goes on.
#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let authority = Authority::new();
    let (old, new) = (authority.issue("localhost"), authority.issue("localhost"));
    let tls = with(&[&old]).build().unwrap();
    let address = serve(tls.clone()).await;
    let config = authority.client(None);
    let client = Client::builder().tls_config(config.clone()).build().unwrap();
    let url = format!("wss://localhost:{}/", address.port());
    let mut before = client.connect(&url).await.unwrap();
    is_echoed(&mut before).await;
    assert_eq!(seen(config.clone(), address, "localhost").await, *old.certificate.der());

    tls.replace(with(&[&new]).build().unwrap());
    assert_eq!(seen(config.clone(), address, "localhost").await, *new.certificate.der());
    is_echoed(&mut client.connect(&url).await.unwrap()).await;
    is_echoed(&mut before).await;

    // What a reload cannot read leaves all as it is.
    assert!(
        ServerTls::builder()
            .certificate(b"nothing", b"nothing")
            .build()
            .is_err()
    );
    assert_eq!(seen(config, address, "localhost").await, *new.certificate.der());
}

#[tokio::test]
async fn the_certificate_for_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let identities = ["one.example", "two.example", "*.wild.example"].map(|name| authority.issue(name));
    let [one, two, wild] = &identities;
    let address = serve(with(&[one, two, wild]).build().unwrap()).await;
    let config = authority.client(None);
    for (name, identity) in [
        ("one.example", one),
        ("two.example", two),
        ("TWO.example", two),
        ("a.wild.example", wild),
    ] {
        let certificate = seen(config.clone(), address, name).await;
        assert_eq!(certificate, *identity.certificate.der(), "{name}");
    }
    // For others it is the first, which they do not take.
    for name in ["three.example", "a.b.wild.example"] {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connected = TlsConnector::from(config.clone())
            .connect(name.try_into().unwrap(), tcp)
            .await;
        assert!(connected.is_err(), "{name}");
    }
}

/// Connects, and answers both ends or both errors.
async fn meet(
    server: ServerTls,
    client: Arc<ClientConfig>,
) -> (
    Result<WebSocket<Stream>, AcceptError>,
    Result<WebSocket<Stream>, ConnectError>,
) {
    let (listening, address) = bound(Server::builder()).await;
    let listening = listening.with_tls(server);
    let client = Client::builder().tls_config(client).build().unwrap();
    let url = format!("wss://localhost:{}/", address.port());
    tokio::join!(
        async { listening.accept().await.unwrap().accept().await },
        client.connect(&url)
    )
}

#[tokio::test]
async fn a_client_certificate_is_required() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, alice, mallory) = (
        authority.issue("localhost"),
        authority.issue("alice"),
        other.issue("alice"),
    );
    let tls = with(&[&server])
        .require_client_certificate(authority.pem().as_bytes())
        .build()
        .unwrap();
    let (near, far) = meet(tls.clone(), authority.client(Some(&alice))).await;
    let (near, _far) = (near.unwrap(), far.unwrap());
    assert_eq!(near.peer_certificates().unwrap(), [alice.certificate.der().clone()]);

    for identity in [None, Some(&mallory)] {
        let (near, far) = meet(tls.clone(), authority.client(identity)).await;
        assert!(matches!(near, Err(AcceptError::Tls(_))), "{near:?}");
        assert!(far.is_err());
    }
}

#[tokio::test]
async fn a_client_certificate_is_requested() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, alice, mallory) = (
        authority.issue("localhost"),
        authority.issue("alice"),
        other.issue("alice"),
    );
    let tls = with(&[&server])
        .request_client_certificate(authority.pem().as_bytes())
        .build()
        .unwrap();
    for (identity, expected) in [
        (None, None),
        (Some(&alice), Some(vec![alice.certificate.der().clone()])),
    ] {
        let (near, far) = meet(tls.clone(), authority.client(identity)).await;
        let (near, _far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.peer_certificates(), expected);
    }
    let (near, _) = meet(tls, authority.client(Some(&mallory))).await;
    assert!(matches!(near, Err(AcceptError::Tls(_))), "{near:?}");
}

/// The request knows it all before it is accepted, and one server has listeners with TLS and without.
#[tokio::test]
async fn a_request_under_tls_and_one_without() {
    let authority = Authority::new();
    let (identity, alice) = (authority.issue("localhost"), authority.issue("alice"));
    let tls = with(&[&identity])
        .require_client_certificate(authority.pem().as_bytes())
        .build()
        .unwrap();
    let server = Server::builder()
        .listener(Listener::bind("127.0.0.1:0").await.unwrap().with_tls(tls))
        .listener(Listener::bind("127.0.0.1:0").await.unwrap())
        .build();
    assert!(!server.is_secure());
    let ports: Vec<_> = server
        .addresses()
        .iter()
        .map(|address| address.tcp().unwrap().port())
        .collect();
    let client = Client::builder()
        .tls_config(authority.client(Some(&alice)))
        .build()
        .unwrap();
    let connecting = tokio::spawn({
        let (client, url) = (client.clone(), format!("wss://localhost:{}/", ports[0]));
        async move { client.connect(&url).await }
    });
    let request = server.accept().await.unwrap().upgrade().await.unwrap();
    assert!(request.request().secure());
    assert_eq!(request.transport().server_name(), Some("localhost"));
    assert_eq!(
        request.transport().peer_certificates().unwrap()[0],
        *alice.certificate.der()
    );
    let (_ws, _client) = (
        request.accept(&ServerOptions::default()).await.unwrap(),
        connecting.await.unwrap().unwrap(),
    );

    let connecting = tokio::spawn(async move { client.connect(&format!("ws://localhost:{}/", ports[1])).await });
    let request = server.accept().await.unwrap().upgrade().await.unwrap();
    assert!(!request.request().secure());
    assert_eq!(request.transport().server_name(), None);
    assert_eq!(request.transport().peer_certificates(), None);
    let ws = request.accept(&ServerOptions::default()).await.unwrap();
    assert_eq!(ws.peer_certificates(), None);
    connecting.await.unwrap().unwrap();
}

/// T4: plain text where TLS is expected is an error, and never an upgrade.
#[tokio::test]
async fn t4_plain_text_at_a_tls_listener() {
    let authority = Authority::new();
    let (server, address) = bound(Server::builder()).await;
    let server = server.with_tls(with(&[&authority.issue("localhost")]).build().unwrap());
    assert!(server.is_secure());
    let asking = tokio::spawn(async move { crate::common::connect(address).await });
    let accepted = server.accept().await.unwrap().accept().await;
    assert!(matches!(accepted, Err(AcceptError::Tls(_))), "{accepted:?}");
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test]
async fn limits_are_told_under_tls_too() {
    let authority = Authority::new();
    let limits = sockeye::Limits::new().connections(0).refuse_when_full(true);
    let (server, address) = bound(Server::builder().limits(limits)).await;
    let server = server.with_tls(with(&[&authority.issue("localhost")]).build().unwrap());
    let client = Client::builder().tls_config(authority.client(None)).build().unwrap();
    let url = format!("wss://localhost:{}/", address.port());
    let (accepted, connected) = tokio::join!(
        async { server.accept().await.unwrap().accept().await },
        client.connect(&url)
    );
    assert!(matches!(accepted, Err(AcceptError::Full(_))), "{accepted:?}");
    assert!(connected.unwrap_err().to_string().contains("503"));
}

#[test]
fn what_cannot_be_set_up_is_told() {
    let authority = Authority::new();
    let (one, two) = (authority.issue("localhost"), authority.issue("localhost"));
    let (chain, key) = (one.certificate.pem(), one.key.serialize_pem());
    let builder = || ServerTls::builder().certificate(chain.as_bytes(), key.as_bytes());
    builder().build().unwrap();
    assert!(matches!(ServerTls::builder().build(), Err(TlsError::NoCertificate)));
    let foreign = ServerTls::builder().certificate(chain.as_bytes(), two.key.serialize_pem().as_bytes());
    assert!(matches!(foreign.build(), Err(TlsError::Rustls(_))));
    let swapped = ServerTls::builder().certificate(key.as_bytes(), chain.as_bytes());
    assert!(matches!(swapped.build(), Err(TlsError::Certificate(_))));
    let keyless = ServerTls::builder().certificate(chain.as_bytes(), b"");
    assert!(matches!(keyless.build(), Err(TlsError::PrivateKey(_))));
    let rootless = builder().require_client_certificate(b"");
    assert!(matches!(rootless.build(), Err(TlsError::ClientRoots(_))));
    // A configuration of one's own.
    let _own: ServerTls = tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap().into();
}
