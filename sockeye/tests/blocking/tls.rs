//! T1–T4 and H1 under TLS, over the blocking API.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sockeye::blocking::{self, Transport};
use sockeye::transport::tls;
use sockeye::{AcceptError, CloseCode, ConnectError, Error, Message, ServerOptions};

use crate::common::{echo, serve, tcp_pair};

/// A certificate authority, and a server of `host` that it vouches for.
fn authority(host: &str) -> (String, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let config = tls::server_config(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (issuer.pem(), config)
}

#[test]
fn a_client_and_a_server_under_tls() {
    let (pem, config) = authority("localhost");
    let (address, server) = serve(|tcp| {
        let mut ws = blocking::accept_tls(tcp, config, &ServerOptions::default()).unwrap();
        assert!(ws.transport().is_secure());
        echo(&mut ws).unwrap();
    });
    let client = blocking::Client::builder().trust_pem(pem.as_bytes()).build().unwrap();
    let mut ws = client.connect(&format!("wss://localhost:{}/", address.port())).unwrap();
    for message in [Message::from("hello"), vec![7; 1 << 20].into()] {
        ws.send(message.clone()).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(message));
    }
    let waited = ws.recv_timeout(Duration::ZERO).unwrap();
    assert_eq!(waited, blocking::Waited::TimedOut);
    ws.send("once more").unwrap();
    assert_eq!(ws.recv().unwrap(), Some("once more".into()));
    ws.close(CloseCode::NORMAL, "").unwrap();
    server.join().unwrap();
}

#[cfg(feature = "tls")]
#[test]
fn the_async_client_and_a_blocking_server_under_tls() {
    let (pem, config) = authority("localhost");
    let (address, server) = serve(|tcp| {
        let mut ws = blocking::accept_tls(tcp, config, &ServerOptions::default()).unwrap();
        echo(&mut ws).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = sockeye::Client::builder().trust_pem(pem.as_bytes()).build().unwrap();
        let mut ws = client
            .connect(&format!("wss://localhost:{}/", address.port()))
            .await
            .unwrap();
        ws.send("hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
        ws.close(CloseCode::NORMAL, "").await.unwrap();
    });
    server.join().unwrap();
}

/// T2: nobody vouches for the server, or for another name.
#[test]
fn t2_certificates_that_are_not_trusted() {
    for (host, trusted) in [("localhost", false), ("example.com", true)] {
        let (pem, config) = authority(host);
        let (address, server) = serve(|tcp| blocking::accept_tls(tcp, config, &ServerOptions::default()).map(drop));
        let mut client = blocking::Client::builder();
        if trusted {
            client = client.trust_pem(pem.as_bytes());
        }
        let connected = client
            .build()
            .unwrap()
            .connect(&format!("wss://localhost:{}/", address.port()));
        assert!(matches!(connected, Err(ConnectError::Tls(_))), "{connected:?}");
        assert!(matches!(server.join().unwrap(), Err(AcceptError::Tls(_))));
    }
}

/// T4: a server that speaks no TLS gets no request in plain text.
#[test]
fn t4_no_fall_back_to_plain_text() {
    let (address, server) = serve(|mut tcp| {
        let mut hello = [0; 1];
        std::io::Read::read_exact(&mut tcp, &mut hello).unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        hello
    });
    let connected = blocking::connect(&format!("wss://localhost:{}/", address.port()));
    assert!(matches!(connected, Err(ConnectError::Tls(_))), "{connected:?}");
    assert_eq!(server.join().unwrap(), [0x16], "a ClientHello");
}

/// T3: the end of TCP is not the end of TLS.
#[test]
fn t3_an_end_without_close_notify() {
    let (pem, config) = authority("localhost");
    let (address, server) = serve(|tcp| {
        let ws = blocking::accept_tls(tcp, config, &ServerOptions::default()).unwrap();
        ws.transport().tcp().shutdown(std::net::Shutdown::Both).unwrap();
    });
    let client = blocking::Client::builder().trust_pem(pem.as_bytes()).build().unwrap();
    let mut ws = client.connect(&format!("wss://localhost:{}/", address.port())).unwrap();
    let error = ws.recv().unwrap_err();
    assert!(matches!(&error, Error::Io(_) | Error::ConnectionLost), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
    server.join().unwrap();
}

/// H1 and T1: a ClientHello that is not there by the deadline of the handshake, which covers TLS. How that is shared out to
/// the reads is shown in `src/blocking/tests.rs`.
#[test]
fn h1_a_client_that_dawdles_in_tls() {
    let (_, config) = authority("localhost");
    let (mut near, far) = tcp_pair();
    let options = ServerOptions::builder().handshake_timeout(Duration::ZERO);
    near.write_all(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc").unwrap();
    let accepted = blocking::accept_tls(far, config, &options.build().unwrap());
    assert!(matches!(accepted, Err(AcceptError::Timeout)));
}

#[test]
fn t1_a_client_hello_of_16_mebibytes() {
    let (_, config) = authority("localhost");
    let (mut near, far) = tcp_pair();
    near.write_all(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff").unwrap();
    near.write_all(&[0; 0x4000 - 4]).unwrap();
    let accepted = blocking::accept_tls(far, config, &ServerOptions::default());
    assert!(matches!(accepted, Err(AcceptError::Tls(_))));
}

/// Two threads cannot share a TLS connection, and are told so.
#[test]
fn tls_is_not_split() {
    let (pem, config) = authority("localhost");
    let (address, server) = serve(|tcp: TcpStream| {
        let mut ws = blocking::accept_tls(tcp, config, &ServerOptions::default()).unwrap();
        ws.recv().is_err()
    });
    let client = blocking::Client::builder().trust_pem(pem.as_bytes()).build().unwrap();
    let ws = client.connect(&format!("wss://localhost:{}/", address.port())).unwrap();
    assert_eq!(ws.split().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    assert!(server.join().unwrap());
}
