//! `/topic/NAME` of `sockeye serve`, its rooms on several shards, its metrics, and its page under TLS.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use sockeye::transport::Stream;
use sockeye::{CloseCode, Message, WebSocket};
use support::{Running, Server, closed, file, head, upgrade};

#[test]
fn a_terminal_is_a_publisher_and_a_subscriber() {
    let server = Server::start("serve", &[]);
    let news = server.url("/topic/news");
    let mut people: Vec<_> = (0..3).map(|_| Running::start(&["connect", &news])).collect();
    for one in &mut people {
        one.talk_until("connected to");
    }
    people[0].type_line("hello");
    for one in &mut people[1..] {
        assert_eq!(one.line(), "hello\n");
    }
    // The first line that the first of them gets is none of its own.
    people[1].type_line("smörgås");
    assert_eq!(people[0].line(), "smörgås\n");
    for one in people {
        assert_eq!(one.end().code, 0);
    }
}

#[test]
fn what_a_publisher_says_before_it_leaves_reaches_all() {
    let server = Server::start("serve", &["--threads", "2"]);
    let news = server.url("/topic/news");
    let mut reader = Running::start(&["connect", &news]);
    reader.talk_until("connected to");
    let lines: String = (0..2000).map(|number| format!("{number}\n")).collect();
    let ended = support::run(&["connect", &news], lines.as_bytes());
    assert_eq!((ended.code, ended.stdout()), (0, ""), "{}", ended.stderr);
    for number in 0..2000 {
        assert_eq!(reader.line(), format!("{number}\n"));
    }
}

#[tokio::test]
async fn text_and_binary_pass_unchanged_on_all_shards_and_each_topic_by_itself() {
    let server = Server::start("serve", &["--threads", "4", "--compress"]);
    let mut publisher = server.connect("/topic/a/b").await;
    // So many that they are on several shards.
    let mut subscribers = Vec::new();
    for path in ["/topic/a/b", "/topic/a/+", "/topic/%23"] {
        for _ in 0..8 {
            subscribers.push(server.connect(path).await);
        }
    }
    let mut elsewhere = server.connect("/topic/a").await;
    let messages = [
        Message::from("text"),
        Message::from(""),
        Message::from(vec![0xff, 0, 13, 10]),
        Message::from("again and ".repeat(10_000)),
    ];
    for message in &messages {
        publisher.send(message.clone()).await.unwrap();
    }
    for ws in &mut subscribers {
        for message in &messages {
            assert_eq!(ws.recv().await.unwrap().as_ref(), Some(message));
        }
    }
    // What comes first there is what is said there.
    server.connect("/topic/a").await.send("here").await.unwrap();
    assert_eq!(elsewhere.recv().await.unwrap(), Some("here".into()));
}

#[tokio::test]
async fn a_filter_is_for_listening_and_a_wildcard_is_a_segment() {
    let server = Server::start("serve", &[]);
    let mut listener = server.connect("/topic/a/+").await;
    listener.send("to whom?").await.unwrap();
    let (code, reason) = closed(&mut listener).await;
    assert_eq!(code, CloseCode::POLICY_VIOLATION);
    assert!(reason.contains("wildcard"), "{reason}");
    let mut wrong = server.connect("/topic/c++").await;
    assert_eq!(closed(&mut wrong).await.0, CloseCode::POLICY_VIOLATION);
    for path in ["/topic/", "/topic"] {
        let response = server.request(&upgrade(path, ""));
        assert!(
            response.starts_with("HTTP/1.1 404 ") && response.contains("/topic/NAME"),
            "{response}"
        );
    }
}

#[tokio::test]
async fn m8_a_subscriber_that_does_not_read_is_told_to_come_back_and_the_others_go_on() {
    let server = Server::start("serve", &["--threads", "1"]);
    let mut slow = server.connect("/topic/news").await;
    let mut reader = server.connect("/topic/news").await;
    let mut publisher = server.connect("/topic/news").await;
    let message = Message::from(vec![1; 64 * 1024]);
    // In step with the one that reads, so that it is never slow.
    for number in 0.. {
        assert!(
            number < 2000,
            "128 MB are more than the system holds for who does not read"
        );
        publisher.send(message.clone()).await.unwrap();
        assert_eq!(reader.recv().await.unwrap().as_ref(), Some(&message));
        let metrics = server.request("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if !metrics.contains("dropped_total{where=\"publish\"} 0") {
            break;
        }
    }
    assert_eq!(
        closed(&mut slow).await,
        (CloseCode::TRY_AGAIN_LATER, "messages were not read in time".into())
    );
}

#[tokio::test]
async fn everybody_in_a_room_hears_the_same_in_the_same_order() {
    const PEOPLE: usize = 8;
    let server = Server::start("serve", &["--threads", "4"]);
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let mut ws = server.connect("/chat").await;
        say(
            &mut ws,
            &json!({"type": "join", "room": "+/#", "name": number.to_string()}),
        )
        .await;
        assert_eq!(hear(&mut ws).await["type"], "joined");
        people.push(ws);
    }
    // Nobody waits for anybody.
    for round in 0..20 {
        for (number, ws) in people.iter_mut().enumerate() {
            let text = format!("{number}: {round}");
            say(ws, &json!({"type": "say", "text": text})).await;
            say(ws, &json!({"type": "join", "room": "+/#", "name": text})).await;
        }
    }
    let mut heard = Vec::new();
    for ws in &mut people {
        let mut events = Vec::new();
        while events.len() < PEOPLE * 20 * 2 {
            let event = hear(ws).await;
            // Those who came first have also heard the others come.
            let entered = !event["people"]
                .as_array()
                .is_some_and(|people| people.iter().any(is_new));
            if event["type"] != "joined" && !(event["type"] == "people" && entered) {
                events.push(event);
            }
        }
        heard.push(events);
    }
    assert!(heard.iter().all(|events| *events == heard[0]));
    let last = heard[0].iter().rfind(|event| event["type"] == "people").unwrap();
    assert!(
        last["people"]
            .as_array()
            .unwrap()
            .iter()
            .all(|name| name.as_str().unwrap().ends_with(": 19"))
    );
}

/// Whether it is a name from the rounds.
fn is_new(name: &Value) -> bool {
    name.as_str().unwrap().contains(':')
}

#[tokio::test]
async fn metrics_tell_what_passes() {
    let server = Server::start("serve", &["--threads", "2"]);
    let mut ws = server.connect("/echo").await;
    // The counts are those of the last turn, which the second answer shows to be over.
    for _ in 0..2 {
        ws.send("counted").await.unwrap();
        ws.recv().await.unwrap();
    }
    let response = server.request("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    for line in [
        "sockeye_engine_connections 1",
        "sockeye_engine_handshakes_total{outcome=\"accepted\"} 1",
        "# TYPE sockeye_engine_turn_seconds histogram",
    ] {
        assert!(response.lines().any(|known| known == line), "{line}: {response}");
    }
    assert!(!response.contains("messages_total{direction=\"in\"} 0"), "{response}");
}

#[test]
fn the_page_and_the_chat_are_there_under_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = file("topics-certificate.pem", &certified.cert.pem());
    let key = file("topics-key.pem", &certified.signing_key.serialize_pem());
    let server = Server::start(
        "serve",
        &["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()],
    );
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let config = Arc::new(
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    for (request, status, part) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 200, "</html>"),
        (
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            200,
            "sockeye_engine_connections 0",
        ),
        (
            "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
            405,
            "GET or HEAD",
        ),
        (upgrade("/nothing", ""), 404, "/topic/NAME"),
        (upgrade("/chat", "Origin: https://evil.example\r\n"), 403, ""),
    ] {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), server.tcp());
        tls.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        // With a close_notify, without which this is an error.
        tls.read_to_string(&mut response).unwrap();
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}{response}"
        );
        assert!(response.contains(part), "{request}{response}");
    }
}

#[test]
fn requests_that_come_together_with_many_others_are_all_answered() {
    let server = Server::start("serve", &[]);
    let mut asking: Vec<_> = (0..300).map(|_| server.tcp()).collect();
    for tcp in &mut asking {
        tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
    }
    for tcp in &mut asking {
        assert!(head(tcp).starts_with("HTTP/1.1 200 "));
        // Those that do not end their side do not hold up the others for long.
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

async fn say(ws: &mut WebSocket<Stream>, command: &Value) {
    ws.send(command.to_string()).await.unwrap();
}

async fn hear(ws: &mut WebSocket<Stream>) -> Value {
    let message = ws.recv().await.unwrap().expect("the server closed");
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}
