//! Spans and events, as a subscriber gets them.

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sockeye::{Client, CloseCode, ConnectError, Error, Server, ServerOptions, Timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::common::{bound, connect, raw};
use crate::support::{Raw, TEXT, unmasked};

/// Lines, one a span or event.
#[derive(Clone, Default)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Lines {
    fn push(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn has(&self, parts: &[&str]) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sockeye")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        let mut line = format!("span {id} {}", attributes.metadata().name());
        attributes.record(&mut Fields(&mut line));
        self.push(line);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut line = format!("span {}", span.into_u64());
        values.record(&mut Fields(&mut line));
        self.push(line);
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = format!("event in {:?}", event.parent().map(Id::into_u64));
        event.record(&mut Fields(&mut line));
        self.push(line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is told while `scenario` runs, on a clock that goes on when there is nothing else to do.
fn told<F: Future>(scenario: impl FnOnce() -> F) -> (F::Output, Lines) {
    let lines = Lines::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let output = tracing::subscriber::with_default(lines.clone(), || runtime.block_on(scenario()));
    // What the runtime still holds ends with it.
    tracing::subscriber::with_default(lines.clone(), || drop(runtime));
    (output, lines)
}

#[track_caller]
fn assert_told(lines: &Lines, expected: &[&[&str]]) {
    for parts in expected {
        assert!(lines.has(parts), "{parts:?} in {:#?}", lines.lines.lock().unwrap());
    }
}

#[test]
fn a_connection_has_a_span_with_its_peer_and_its_end() {
    let ((client, server), lines) = told(closed_by_the_client);
    assert_told(
        &lines,
        &[
            &["connection", "role=\"server\""],
            &["connection", "role=\"client\""],
            &["span ", &format!("peer={client}")],
            &["span ", &format!("peer={server}")],
            &["span ", &format!("url=ws://{server}")],
            &["message=open"],
            &["message=Close received", "code=4001", "reason=enough"],
            &["message=ended", "code=4001", "sent=4001", "clean=true"],
            &["message=handler failed", "error=not my day"],
        ],
    );
    let spans = lines.spans.load(Ordering::Relaxed);
    assert_eq!(spans, 2, "one for each connection");
}

/// The addresses of the client and the server.
async fn closed_by_the_client() -> (String, String) {
    let (server, address) = bound(Server::builder()).await;
    let serving = server.clone();
    tokio::spawn(async move {
        serving
            .serve(|mut ws| async move {
                while ws.recv().await.is_ok_and(|message| message.is_some()) {}
                Err::<(), _>("not my day")
            })
            .await;
    });
    let mut ws = connect(address).await.unwrap();
    let peer = ws.with_transport(|stream| stream.local_addr().unwrap().to_string());
    ws.close(CloseCode::new(4001), "enough").await.unwrap();
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    (peer, address.to_string())
}

/// RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
#[test]
fn a_violation_is_told_with_the_code_that_was_sent() {
    let ((), lines) = told(|| async {
        let (server, address) = bound(Server::builder()).await;
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(|mut ws| async move { ws.recv().await.map(drop) }).await });
        let io = raw(address).await;
        let mut peer = Raw {
            io,
            head: String::new(),
            masks: false,
        };
        peer.send(&unmasked(TEXT, b"naked")).await;
        assert_eq!(peer.close_code().await, Some(1002));
        drop(peer);
        while server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    });
    let error = "error=\"the peer broke the protocol: ";
    assert_told(
        &lines,
        &[&["message=ended", "code=1006", "sent=1002", "clean=false", error]],
    );
}

#[test]
fn a_timeout_is_told() {
    let ((), lines) = told(|| async {
        let (near, far) = tokio::io::duplex(4096);
        let peer = tokio::spawn(Raw::client(far, &[]));
        let mut ws = sockeye::accept(near, &ServerOptions::default()).await.unwrap();
        let peer = peer.await.unwrap();
        let error = ws.recv().await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Timeout::Pong)), "{error}");
        drop((ws, peer));
    });
    let error = "error=\"no answer to a ping\"";
    assert_told(&lines, &[&["message=ended", "code=1006", "clean=false", error]]);
    assert!(!lines.has(&["message=ended", "sent="]), "no Close was sent");
}

#[test]
fn a_transport_that_broke_is_told() {
    let ((), lines) = told(|| async {
        let (near, far) = tokio::io::duplex(4096);
        let peer = tokio::spawn(Raw::client(far, &[]));
        let mut ws = sockeye::accept(near, &ServerOptions::default()).await.unwrap();
        drop(peer.await.unwrap());
        ws.send("into the void").await.unwrap_err();
    });
    assert_told(
        &lines,
        &[&["message=ended", "clean=false", "error=\"the connection failed: "]],
    );
}

/// The URL is told without what is secret in it.
#[test]
fn a_client_that_is_refused_tells_by_whom_and_how() {
    let (address, lines) = told(|| async {
        let (server, address) = bound(Server::builder()).await;
        tokio::spawn(async move { server.serve(|_| async {}).await });
        let client = Client::builder().origin("https://evil.example").build().unwrap();
        let url = format!("ws://ann:hunter2@{address}/rooms?token=abc");
        let error = client.connect(&url).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused(_)), "{error}");
        address
    });
    let failed = "message=handshake failed";
    assert_told(
        &lines,
        &[
            &["span ", &format!("url=ws://{address}")],
            &["event in Some(", failed, "error=the server answered with status 403"],
            &["event in Some(", failed, "with status 403: the origin is not allowed"],
        ],
    );
    for secret in ["ann", "hunter2", "rooms", "abc"] {
        assert!(!lines.has(&[secret]), "{:#?}", lines.lines.lock().unwrap());
    }
}

#[test]
fn a_client_that_finds_nobody_tells_so() {
    let ((), lines) = told(|| async {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        connect(address).await.unwrap_err();
    });
    assert_told(&lines, &[&["message=handshake failed", "error=could not connect: "]]);
}

/// A handshake over a transport of the caller's, on both sides.
#[test]
fn handshakes_over_other_transports_tell_of_their_failure() {
    let ((), lines) = told(|| async {
        let (near, far) = tokio::io::duplex(4096);
        drop(far);
        let client = Client::builder().build().unwrap();
        client.connect_over(near, "wss://example.com/").await.unwrap_err();
        let (near, far) = tokio::io::duplex(4096);
        drop(far);
        sockeye::accept(near, &ServerOptions::default()).await.unwrap_err();
    });
    let failed = ["event in Some(1)", "message=handshake failed"];
    assert_told(&lines, &[&["span 1", "url=wss://example.com"], &failed]);
    assert_told(&lines, &[&["event in Some(2)", "message=handshake failed"]]);
}

#[cfg(feature = "hyper")]
#[test]
fn hyper_tells_of_refusals_and_connections() {
    use sockeye::hyper::Upgrade;
    use tokio::net::TcpStream;
    let ((), lines) = told(|| async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|mut request| async move {
                let response = match Upgrade::new(&mut request).accept(&ServerOptions::default()) {
                    Ok((response, upgrading)) => {
                        tokio::spawn(async move { upgrading.await.unwrap().recv().await });
                        response
                    }
                    Err(refusal) => refusal.response::<http_body_util::Full<hyper::body::Bytes>>(),
                };
                Ok::<_, std::convert::Infallible>(response)
            });
            while let Ok((tcp, _)) = listener.accept().await {
                let io = hyper_util::rt::TokioIo::new(tcp);
                let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                tokio::spawn(connection.with_upgrades());
            }
        });
        let stranger = Client::builder().origin("https://evil.example").build().unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        stranger.connect_over(tcp, "ws://localhost/").await.unwrap_err();
        let mut ws = connect(address).await.unwrap();
        ws.close(CloseCode::new(4002), "").await.unwrap();
    });
    assert_told(
        &lines,
        &[
            &["message=handshake failed", "with status 403: the origin is not allowed"],
            &["message=Close received", "code=4002"],
        ],
    );
}
