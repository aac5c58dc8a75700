//! Failures of TLS: those of the transport are passing, those of the certificate are not.

use rcgen::{CertificateParams, KeyPair};
use sockeye::reconnect::{Cause, Reconnecting};
use sockeye::transport::tls;
use sockeye::{Client, ConnectError};
use tokio::io::AsyncReadExt;
use tokio::time::advance;

use crate::common::{Server, StillClock, builder, until_closed, until_open, until_waiting};

fn certificate(host: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_trusted() {
    let _clock = StillClock::new();
    let (pem, key) = certificate("localhost");
    let config = tls::server_config(pem.as_bytes(), key.as_bytes()).unwrap();
    let server = sockeye::Server::bind("127.0.0.1:0", sockeye::ServerOptions::default())
        .await
        .unwrap()
        .with_tls(config);
    let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
    let client = builder(url).start().unwrap();
    let refused = tokio::spawn(async move { server.accept().await.unwrap().accept().await.is_err() });
    let cause = until_closed(&mut client.states()).await;
    assert!(matches!(*cause, Cause::Connect(ConnectError::Tls(_))), "{cause:?}");
    assert!(refused.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_in_the_tls_handshake() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(format!("wss://127.0.0.1:{}/", server.port())).start().unwrap();
    let mut states = client.states();
    for _ in 0..2 {
        let mut tcp = server.tcp().await;
        tcp.read_u8().await.unwrap();
        drop(tcp);
        let (delay, cause) = until_waiting(&mut states).await;
        assert!(matches!(*cause, Cause::Connect(ConnectError::Tls(_))), "{cause:?}");
        advance(delay).await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_under_tls() {
    let _clock = StillClock::new();
    let (pem, key) = certificate("localhost");
    let config = tls::server_config(pem.as_bytes(), key.as_bytes()).unwrap();
    let server = sockeye::Server::bind("127.0.0.1:0", sockeye::ServerOptions::default())
        .await
        .unwrap()
        .with_tls(config);
    let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
    let client = Client::builder().danger_accept_any_certificate(true).build().unwrap();
    let mut client = Reconnecting::builder(client, url).random(|| u64::MAX).start().unwrap();
    let mut states = client.states();
    for number in 0..3 {
        client.send(number.to_string()).await.unwrap();
        let mut ws = server.accept().await.unwrap().accept().await.unwrap();
        until_open(&mut states).await;
        let message = ws.recv().await.unwrap().unwrap();
        assert_eq!(message, number.to_string().into());
        ws.send(message).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(number.to_string().into()));
        drop(ws);
        advance(until_waiting(&mut states).await.0).await;
    }
}
