//! TLS in the shards: T1 to T4, certificates of both sides, sessions, and connections that agree on HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, HandshakeKind};
use sockeye::{Client, CloseCode, ServerOptions, ServerTls};
use sockeye_engine::{Cause, Engine, ManualClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::{Authority, Identity};
use crate::common::{Raw, Running, TEXT, ask, masked, pass_time, run};

fn certificate(identity: &Identity) -> sockeye::ServerTlsBuilder {
    ServerTls::builder().certificate(
        identity.certificate.pem().as_bytes(),
        identity.key.serialize_pem().as_bytes(),
    )
}

fn start(tls: &ServerTls, options: ServerOptions) -> Running {
    run(Engine::builder(options)
        .listen_tls("127.0.0.1:0", tls)
        .unwrap()
        .threads(1))
}

/// An engine with a certificate for `localhost`, and a client's configuration that trusts it.
fn secure(options: ServerOptions) -> (Running, Arc<ClientConfig>) {
    let authority = Authority::new();
    let tls = certificate(&authority.issue("localhost")).build().unwrap();
    (start(&tls, options), authority.client(None))
}

/// The same by a clock of the test's.
fn secure_by_hand() -> (Running, Arc<ClientConfig>, ManualClock) {
    let (authority, clock) = (Authority::new(), ManualClock::new());
    let tls = certificate(&authority.issue("localhost")).build().unwrap();
    let builder = Engine::builder(ServerOptions::default()).listen_tls("127.0.0.1:0", &tls);
    let running = run(builder.unwrap().threads(1).clock(&clock));
    (running, authority.client(None), clock)
}

/// What a client has for TLS and its request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

async fn over_tls(running: &Running, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(config.clone());
    let name = "localhost".try_into().unwrap();
    connector.connect(name, running.tcp().await).await.unwrap()
}

fn url(running: &Running) -> String {
    format!("wss://localhost:{}/", running.address().port())
}

#[tokio::test]
async fn messages_of_16_mebibytes_both_ways() {
    const LENGTH: usize = 16 << 20;
    let options = ServerOptions::builder().max_message_size(LENGTH as u64);
    let (running, config) = secure(options.build().unwrap());
    let client = Client::builder().tls_config(config).max_message_size(LENGTH as u64);
    let mut ws = client.build().unwrap().connect(&url(&running)).await.unwrap();
    let bytes: Vec<u8> = (0..LENGTH).map(|at| (at * 7 + at / 251) as u8).collect();
    let message = sockeye::Message::from(bytes);
    assert!(ask(&mut ws, message.clone()).await == message);
    // And what the client asks for in one small frame.
    assert_eq!(ask(&mut ws, "large 300000").await.len(), 300_000);
    ws.close(CloseCode::NORMAL, "").await.unwrap();
}

#[tokio::test]
async fn beyond_the_limit_the_handshake_is_finished_and_answered_with_503() {
    let authority = Authority::new();
    let tls = certificate(&authority.issue("localhost")).build().unwrap();
    let clock = ManualClock::new();
    // No pings, for which the time would be too short that passes at the end.
    let options = ServerOptions::builder().ping_interval(None).build().unwrap();
    let builder = Engine::builder(options).listen_tls("127.0.0.1:0", &tls);
    let builder = builder.unwrap().threads(1).max_connections(1).max_handshakes(2);
    let running = run(builder.clock(&clock));
    let client = Client::builder().tls_config(authority.client(None)).build().unwrap();
    let mut ws = client.connect(&url(&running)).await.unwrap();
    assert_eq!(ask(&mut ws, "in").await, "in".into());
    for _ in 0..3 {
        match client.connect(&url(&running)).await {
            Err(sockeye::ConnectError::Refused(refusal)) => {
                assert_eq!(refusal.status(), 503);
                assert_eq!(refusal.retry_after(), Some(Duration::from_secs(5)));
            }
            other => panic!("{other:?}"),
        }
    }
    // One that does not finish its handshake has no more time than others.
    let mut halfway = running.tcp().await;
    halfway.write_all(b"\x16\x03\x01").await.unwrap();
    assert_eq!(pass_time(&clock, halfway.read(&mut [0; 64])).await.unwrap(), 0);
    assert_eq!(ask(&mut ws, "still in").await, "still in".into());
}

#[tokio::test]
async fn certificates_of_clients_are_shown() {
    let authority = Authority::new();
    let tls = certificate(&authority.issue("localhost"))
        .request_client_certificate(authority.0.pem().as_bytes())
        .build()
        .unwrap();
    let running = start(&tls, ServerOptions::default());
    let ours = authority.issue("somebody");
    let config = authority.client(Some(&ours));
    let mut ws = Client::builder()
        .tls_config(config)
        .build()
        .unwrap()
        .connect(&url(&running))
        .await
        .unwrap();
    let shown = ask(&mut ws, "peer").await;
    assert_eq!(shown.as_bytes(), &ours.certificate.der()[..]);
    let config = authority.client(None);
    let mut ws = Client::builder()
        .tls_config(config)
        .build()
        .unwrap()
        .connect(&url(&running))
        .await
        .unwrap();
    assert!(ask(&mut ws, "peer").await.is_empty());
    // T2: of an authority that is not trusted.
    let stranger = Authority::new().issue("somebody");
    let config = authority.client(Some(&stranger));
    let refused = Client::builder()
        .tls_config(config)
        .build()
        .unwrap()
        .connect(&url(&running))
        .await;
    assert!(refused.is_err());
    running
        .until("sockeye_engine_handshakes_total{outcome=\"failed\"}", 1)
        .await;
}

#[tokio::test]
async fn certificates_are_replaced_while_it_runs() {
    let authority = Authority::new();
    let (old, new) = (authority.issue("localhost"), authority.issue("localhost"));
    let tls = certificate(&old).build().unwrap();
    let running = start(&tls, ServerOptions::default());
    let config = authority.client(None);
    let client = Client::builder().tls_config(config.clone()).build().unwrap();
    let seen = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let mut before = client.connect(&url(&running)).await.unwrap();
    assert_eq!(seen(&over_tls(&running, &config).await), *old.certificate.der());
    tls.replace(certificate(&new).build().unwrap());
    assert_eq!(seen(&over_tls(&running, &config).await), *new.certificate.der());
    assert_eq!(ask(&mut before, "goes on").await, "goes on".into());
    let mut after = client.connect(&url(&running)).await.unwrap();
    assert_eq!(ask(&mut after, "new").await, "new".into());
}

#[tokio::test]
async fn sessions_are_resumed() {
    let (running, config) = secure(ServerOptions::default());
    for (round, kind) in [HandshakeKind::Full, HandshakeKind::Resumed].into_iter().enumerate() {
        let stream = over_tls(&running, &config).await;
        // Tickets come with the first answer.
        let mut raw = Raw::client(stream, &masked(TEXT, b"hello")).await;
        assert_eq!(raw.frame().await, Some((TEXT, b"hello".to_vec())));
        assert_eq!(raw.io.get_ref().1.handshake_kind(), Some(kind), "round {round}");
    }
}

#[tokio::test]
async fn http_2_by_alpn_goes_on_elsewhere() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let authority = Authority::new();
    let tls = certificate(&authority.issue("localhost")).build().unwrap();
    let mut offered = (*tls.config()).clone();
    offered.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
    let tls = ServerTls::from(Arc::new(offered));
    let builder = Engine::builder(ServerOptions::default())
        .listen_tls("127.0.0.1:0", &tls)
        .unwrap();
    let running = run(builder.threads(1).hand_over(move |handed| {
        let _ = give.send(handed);
    }));
    // The preface may come with the end of the handshake, or later.
    for early in [true, false] {
        let mut config = Arc::unwrap_or_clone(authority.client(None));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let serving = async {
            let handed = given.recv().await.unwrap();
            assert_eq!(handed.alpn(), Some(&b"h2"[..]));
            assert!(handed.is_secure());
            let mut stream = handed.into_stream().unwrap();
            let mut read = vec![0; PREFACE.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, PREFACE);
            // Larger than what TLS and TCP hold.
            stream.write_all(&vec![7; 8 << 20]).await.unwrap();
            stream.flush().await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        };
        let asking = async {
            let mut stream = over_tls(&running, &Arc::new(config)).await;
            let (first, then) = if early {
                (PREFACE, &b""[..])
            } else {
                (&b""[..], PREFACE)
            };
            stream.write_all(first).await.unwrap();
            stream.flush().await.unwrap();
            if !early {
                tokio::task::yield_now().await;
            }
            stream.write_all(then).await.unwrap();
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            assert!(read == vec![7; 8 << 20], "{} bytes", read.len());
            stream.shutdown().await.unwrap();
        };
        tokio::join!(serving, asking);
    }
    // A client that speaks HTTP/1.1 is served here, and a plain request under TLS is given away too.
    let config = authority.client(None);
    let client = Client::builder().tls_config(config.clone()).build().unwrap();
    let mut ws = client.connect(&url(&running)).await.unwrap();
    assert_eq!(ask(&mut ws, "here").await, "here".into());
    let mut stream = over_tls(&running, &config).await;
    const PLAIN: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nmore";
    stream.write_all(PLAIN).await.unwrap();
    let handed = given.recv().await.unwrap();
    assert!(handed.received().starts_with(b"GET / ") && handed.alpn() != Some(b"h2"));
    let mut served = handed.into_stream().unwrap();
    let mut read = vec![0; PLAIN.len()];
    served.read_exact(&mut read).await.unwrap();
    assert_eq!(read, PLAIN);
}

#[tokio::test]
async fn t1_a_client_hello_that_claims_16_mib() {
    // A handshake record whose message claims 2^24 − 1 bytes (RFC 8446 §4), and nothing after its first ones.
    is_given_up(&[22, 3, 1, 0, 8, 1, 0xff, 0xff, 0xff, 3, 3, 0, 0]).await;
}

#[tokio::test]
async fn t1_a_client_hello_in_fragments() {
    // A record for each byte of a message that never ends.
    let mut records = vec![22, 3, 1, 0, 4, 1, 0, 0xff, 0xff];
    for _ in 0..1000 {
        records.extend([22, 3, 1, 0, 1, 3]);
    }
    is_given_up(&records).await;
}

/// A handshake that begins so fails, and the server goes on.
async fn is_given_up(hello: &[u8]) {
    let (running, config, clock) = secure_by_hand();
    let mut tcp = running.tcp().await;
    // It may be given up before all of it is sent.
    let _ = tcp.write_all(hello).await;
    let mut rest = Vec::new();
    let _ = pass_time(&clock, tcp.read_to_end(&mut rest)).await;
    running
        .until("sockeye_engine_handshakes_total{outcome=\"failed\"}", 1)
        .await;
    over_tls(&running, &config).await;
}

#[tokio::test]
async fn h1_a_handshake_byte_by_byte_is_given_up() {
    let (running, _, clock) = secure_by_hand();
    let mut tcp = running.tcp().await;
    // Never the whole of it; each byte is something that has come.
    while tcp.write_all(&[22]).await.is_ok() {
        clock.advance(HANDSHAKE_TIMEOUT / 10);
        if running.metric("sockeye_engine_handshakes_total{outcome=\"failed\"}") > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    running
        .until("sockeye_engine_handshakes_total{outcome=\"failed\"}", 1)
        .await;
}

#[tokio::test]
async fn t3_an_end_without_close_notify_is_1006() {
    let (mut running, config) = secure(ServerOptions::default());
    let mut raw = Raw::client(over_tls(&running, &config).await, &[]).await;
    // TCP alone ends.
    raw.io.get_mut().0.shutdown().await.unwrap();
    let ended = running.ended().await;
    assert_eq!((ended.code, ended.clean, ended.cause), (1006, false, Some(Cause::Lost)));
}

#[tokio::test]
async fn t4_plain_text_at_a_tls_listener() {
    let (running, config) = secure(ServerOptions::default());
    let mut tcp = running.tcp().await;
    tcp.write_all(crate::common::REQUEST).await.unwrap();
    let mut rest = Vec::new();
    let _ = tcp.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"), "never plain text back");
    running
        .until("sockeye_engine_handshakes_total{outcome=\"failed\"}", 1)
        .await;
    over_tls(&running, &config).await;
}

#[tokio::test]
async fn r4_a_violation_under_tls() {
    let (running, config) = secure(ServerOptions::default());
    let mut raw = Raw::client(over_tls(&running, &config).await, &[]).await;
    let mut sent = masked(TEXT, b"first");
    sent.extend([TEXT, 1, b'x']);
    raw.send(&sent).await;
    assert_eq!(raw.frame().await, Some((TEXT, b"first".to_vec())));
    assert_eq!(raw.close_code().await, Some(1002));
    // close_notify comes, so the end is an end.
    let mut rest = Vec::new();
    raw.io.read_to_end(&mut rest).await.unwrap();
}
