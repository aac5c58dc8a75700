//! `sockeye serve`, the built program: its page, its refusals, and its endpoints.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::Write;

use serde_json::{Value, json};
use sockeye::transport::Stream;
use sockeye::{Client, CloseCode, DeflateOptions, Message, WebSocket};
use support::{Server, closed, head, upgrade};

#[test]
fn the_first_line_is_where_it_listens() {
    let mut program = support::Running::start(&["serve", "--listen", "127.0.0.1:0"]);
    let line = program.line();
    assert!(
        line.starts_with("listening on http://127.0.0.1:") && line.ends_with("/\n"),
        "{line}"
    );
}

#[test]
fn the_upgrade_of_rfc_6455_1_3_gets_its_accept_value() {
    let server = Server::start("serve", &[]);
    let mut tcp = server.tcp();
    tcp.write_all(upgrade("/echo", "").as_bytes()).unwrap();
    let head = head(&mut tcp);
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(
        head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{head}"
    );
}

#[test]
fn every_file_of_the_page_is_there_with_its_headers() {
    let server = Server::start("serve", &[]);
    let files = [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/common.js", "text/javascript; charset=utf-8"),
        ("/ticker.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/healthz", "text/plain; charset=utf-8"),
    ];
    for (path, content_type) in files {
        let response = server.request(&format!("GET {path}?v=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        for header in [
            &format!("Content-Type: {content_type}"),
            "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-cache",
            "Connection: close",
            &format!("Content-Length: {}", body.len()),
        ] {
            assert!(
                head.lines().any(|line| line == header),
                "{path}: {header} is not in {head}"
            );
        }
        let response = server.request(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(response.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
    assert!(
        server
            .request("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .ends_with("\r\n\r\nok")
    );
}

#[test]
fn everything_else_is_refused_by_its_status() {
    let server = Server::start("serve", &[]);
    let plain = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (request, status) in [
        (plain("GET", "/nothing"), 404),
        (upgrade("/nothing", ""), 404),
        (upgrade("/", ""), 404),
        (plain("POST", "/"), 405),
        (plain("DELETE", "/healthz"), 405),
        (plain("POST", "/chat"), 405),
        (plain("GET", "/chat"), 426),
        (upgrade("/echo", "Content-Length: 5\r\n"), 400),
    ] {
        let response = server.request(&request);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}{response}"
        );
    }
}

#[test]
fn h7_pages_of_another_origin_are_refused() {
    let server = Server::start("serve", &["--origin", "https://friend.example"]);
    for path in ["/echo", "/chat", "/ticker"] {
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
            "http://localhost:81",
        ] {
            let response = server.request(&upgrade(path, &format!("Origin: {origin}\r\n")));
            assert!(response.starts_with("HTTP/1.1 403 "), "{origin}: {response}");
        }
        for origin in ["http://localhost", "https://friend.example"] {
            let mut tcp = server.tcp();
            tcp.write_all(upgrade(path, &format!("Origin: {origin}\r\n")).as_bytes())
                .unwrap();
            assert!(head(&mut tcp).starts_with("HTTP/1.1 101 "), "{origin}");
        }
    }
}

#[tokio::test]
async fn echo_echoes() {
    let server = Server::start("serve", &[]);
    let mut ws = server.connect("/echo").await;
    for message in [Message::from("text"), Message::from(vec![0xff])] {
        ws.send(message.clone()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(message));
    }
}

#[tokio::test]
async fn two_people_chat_and_see_each_other_come_and_go() {
    let server = Server::start("serve", &[]);
    let mut ada = server.connect("/chat").await;
    let mut bob = server.connect("/chat").await;
    say(&mut ada, &json!({"type": "join", "room": "lobby", "name": "Ada"})).await;
    let joined = json!({"type": "joined", "room": "lobby", "name": "Ada", "people": ["Ada"]});
    assert_eq!(hear(&mut ada).await, joined);
    assert_eq!(hear(&mut ada).await, people(&["Ada"]));
    say(&mut bob, &json!({"type": "join", "room": " lobby ", "name": "Bob"})).await;
    let joined = json!({"type": "joined", "room": "lobby", "name": "Bob", "people": ["Ada", "Bob"]});
    assert_eq!(hear(&mut bob).await, joined);
    for ws in [&mut ada, &mut bob] {
        assert_eq!(hear(ws).await, people(&["Ada", "Bob"]));
    }

    say(&mut ada, &json!({"type": "say", "text": " <b>hello</b> 🐟 "})).await;
    for ws in [&mut ada, &mut bob] {
        let mut message = hear(ws).await;
        assert!(message["at"].take().as_u64().is_some());
        let text = " <b>hello</b> 🐟 ";
        assert_eq!(
            message,
            json!({"type": "message", "name": "Ada", "text": text, "at": null})
        );
    }

    // Another name in the same room, and then another room.
    say(&mut bob, &json!({"type": "join", "room": "lobby", "name": "Robert"})).await;
    assert_eq!(hear(&mut ada).await, people(&["Ada", "Robert"]));
    assert_eq!(hear(&mut bob).await["name"], "Robert");
    assert_eq!(hear(&mut bob).await, people(&["Ada", "Robert"]));
    say(&mut bob, &json!({"type": "join", "room": "pool", "name": "Robert"})).await;
    assert_eq!(hear(&mut ada).await, people(&["Ada"]));
    let joined = json!({"type": "joined", "room": "pool", "name": "Robert", "people": ["Robert"]});
    assert_eq!(hear(&mut bob).await, joined);

    say(&mut bob, &json!({"type": "join", "room": "lobby", "name": "Bob"})).await;
    assert_eq!(hear(&mut ada).await, people(&["Ada", "Bob"]));
    bob.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(hear(&mut ada).await, people(&["Ada"]));
}

#[tokio::test]
async fn commands_that_cannot_be_followed_get_an_error_and_nothing_else() {
    let server = Server::start("serve", &[]);
    let mut ws = server.connect("/chat").await;
    let long = "ö".repeat(33);
    for command in [
        json!({"type": "say", "text": "too early"}),
        json!({"type": "join", "room": "lobby", "name": "  "}),
        json!({"type": "join", "room": "lobby", "name": long}),
        json!({"type": "join", "room": "", "name": "Ada"}),
        json!({"type": "join", "room": long, "name": "Ada"}),
    ] {
        say(&mut ws, &command).await;
        let error = hear(&mut ws).await;
        assert_eq!(error["type"], "error", "{command}: {error}");
    }
    say(
        &mut ws,
        &json!({"type": "join", "room": "ö".repeat(32), "name": "ö".repeat(32)}),
    )
    .await;
    assert_eq!(hear(&mut ws).await["type"], "joined");
    assert_eq!(hear(&mut ws).await["type"], "people");
    // An error stands behind the answers to what was asked before it.
    say(&mut ws, &json!({"type": "say", "text": "ö".repeat(2000)})).await;
    say(&mut ws, &json!({"type": "say", "text": "ö".repeat(2001)})).await;
    say(&mut ws, &json!({"type": "say", "text": " "})).await;
    assert_eq!(hear(&mut ws).await["type"], "message");
    assert_eq!(hear(&mut ws).await["type"], "error");
    assert_eq!(hear(&mut ws).await["type"], "error");
}

#[tokio::test]
async fn what_is_no_command_closes_the_chat() {
    let server = Server::start("serve", &[]);
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for text in [
        "{",
        "[]",
        "42",
        r#"{"type":"shout"}"#,
        r#"{"type":"say"}"#,
        r#"{"text":"x"}"#,
        &deep,
    ] {
        let mut ws = server.connect("/chat").await;
        ws.send(text).await.unwrap();
        let (code, reason) = closed(&mut ws).await;
        assert_eq!(code, CloseCode::POLICY_VIOLATION, "{text}");
        assert!(!reason.is_empty());
    }
    let mut ws = server.connect("/chat").await;
    ws.send(Message::from(vec![1, 2, 3])).await.unwrap();
    assert_eq!(closed(&mut ws).await.0, CloseCode::UNSUPPORTED_DATA);
}

#[tokio::test]
async fn m8_a_member_that_does_not_read_is_dropped_and_the_others_go_on() {
    let server = Server::start("serve", &["--threads", "1"]);
    let mut slow = server.connect("/chat").await;
    say(&mut slow, &json!({"type": "join", "room": "lobby", "name": "Slow"})).await;
    assert_eq!(hear(&mut slow).await["type"], "joined");
    let mut ada = server.connect("/chat").await;
    say(&mut ada, &json!({"type": "join", "room": "lobby", "name": "Ada"})).await;
    assert_eq!(hear(&mut ada).await["people"], json!(["Slow", "Ada"]));
    assert_eq!(hear(&mut ada).await, people(&["Slow", "Ada"]));
    // 12 KB each in JSON, into buffers of the system that hold a few megabytes.
    let words = json!({"type": "say", "text": "\u{1}".repeat(2000)});
    let mut said = 0;
    loop {
        say(&mut ada, &words).await;
        let event = hear(&mut ada).await;
        said += 1;
        assert_eq!(event["type"], "message");
        assert!(said < 20_000, "somebody who does not read is still in the room");
        // The members are told right behind the message that was one too many.
        say(&mut ada, &json!({"type": "say", "text": ""})).await;
        let event = hear(&mut ada).await;
        if event["type"] == "people" {
            assert_eq!(event, people(&["Ada"]));
            break;
        }
        assert_eq!(event["type"], "error");
    }
    // What had been sent before is there to read, and then it is said why there is no more.
    assert_eq!(closed(&mut slow).await.0, CloseCode::POLICY_VIOLATION);
}

#[tokio::test]
async fn messages_for_many_are_compressed_for_those_who_agreed() {
    let server = Server::start("serve", &["--compress"]);
    let client = Client::builder().deflate(DeflateOptions::client()).build().unwrap();
    let mut ada = client.connect(&server.url("/chat")).await.unwrap();
    let mut bob = server.connect("/chat").await;
    assert!(ada.is_compressed() && !bob.is_compressed());
    for (ws, name) in [(&mut ada, "Ada"), (&mut bob, "Bob")] {
        say(ws, &json!({"type": "join", "room": "lobby", "name": name})).await;
        while hear(ws).await["type"] != "people" {}
    }
    assert_eq!(hear(&mut ada).await, people(&["Ada", "Bob"]));
    let text = "again and ".repeat(100);
    say(&mut bob, &json!({"type": "say", "text": text})).await;
    for ws in [&mut ada, &mut bob] {
        assert_eq!(hear(ws).await["text"], json!(text));
    }
}

#[tokio::test]
async fn the_ticker_tells_its_history_and_goes_on_from_there() {
    let server = Server::start("serve", &["--compress"]);
    let client = Client::builder().deflate(DeflateOptions::client()).build().unwrap();
    let mut ws = client.connect(&server.url("/ticker")).await.unwrap();
    let history = hear(&mut ws).await;
    assert_eq!(
        (&history["type"], &history["symbol"]),
        (&json!("history"), &json!("SOCK"))
    );
    let mut ticks = history["ticks"].as_array().unwrap().clone();
    assert_eq!(ticks.len(), 120);
    ws.send("what is sent here means nothing").await.unwrap();
    for _ in 0..3 {
        let tick = hear(&mut ws).await;
        assert_eq!((&tick["type"], &tick["symbol"]), (&json!("tick"), &json!("SOCK")));
        ticks.push(tick);
    }
    assert!(ticks.is_sorted_by_key(|tick| tick["at"].as_u64().unwrap()));
    assert!(ticks.iter().all(|tick| tick["price"].as_f64().unwrap() > 0.0));
}

#[tokio::test]
async fn a_signal_closes_every_endpoint_with_1001_and_ends_with_0() {
    let server = Server::start("serve", &[]);
    let mut sockets = Vec::new();
    for path in ["/echo", "/chat", "/ticker"] {
        sockets.push(server.connect(path).await);
    }
    server.program.signal("-TERM");
    for ws in &mut sockets {
        assert_eq!(closed(ws).await.0, CloseCode::GOING_AWAY);
        assert!(matches!(ws.recv().await, Ok(None)));
    }
    assert_eq!(server.program.end().code, 0);
}

async fn say(ws: &mut WebSocket<Stream>, command: &Value) {
    ws.send(command.to_string()).await.unwrap();
}

async fn hear(ws: &mut WebSocket<Stream>) -> Value {
    let message = ws.recv().await.unwrap().expect("the server closed");
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}

fn people(names: &[&str]) -> Value {
    json!({"type": "people", "people": names})
}
