//! `sockeye echo`, the built program, over real sockets.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::{self, Read, Write};
use std::process::Stdio;

use sockeye::{Client, CloseCode, DeflateOptions, Error, Message};
use support::{Running, Server, closed, file, head, run, sockeye, upgrade};

/// By tasks, and by callbacks.
const COMMANDS: [&str; 2] = ["echo", "echo --engine"];

#[test]
fn the_first_lines_are_where_it_listens_one_a_listener() {
    for command in COMMANDS {
        let mut program =
            Running::spawn(
                sockeye().args(
                    command
                        .split(' ')
                        .chain(["--listen", "127.0.0.1:0", "--listen", "localhost:0"]),
                ),
            );
        let mut ports = Vec::new();
        for _ in 0..2 {
            let line = program.line();
            let port = line
                .strip_prefix("listening on ws://")
                .and_then(|rest| rest.strip_suffix("/\n"))
                .and_then(|address| address.rsplit_once(':'))
                .and_then(|(_, port)| port.parse::<u16>().ok());
            ports.push(port.expect(&line));
        }
        assert!(!ports.contains(&0) && ports[0] != ports[1], "{ports:?}");
    }
}

#[tokio::test]
async fn text_and_binary_come_back_on_any_path_from_any_origin() {
    for command in COMMANDS {
        let server = Server::start(command, &["--threads", "1"]);
        let client = Client::builder().origin("https://elsewhere.example").build().unwrap();
        let mut ws = client.connect(&server.url("/any/path?query")).await.unwrap();
        for message in [
            Message::from("smörgås"),
            Message::from(""),
            Message::from(vec![0, 255, 13, 10]),
        ] {
            ws.send(message.clone()).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some(message));
        }
        ws.close(CloseCode::NORMAL, "").await.unwrap();
        assert!(!ws.is_compressed());
    }
}

#[tokio::test]
async fn the_first_subprotocol_of_the_client_that_the_server_speaks_is_chosen() {
    for command in COMMANDS {
        let server = Server::start(command, &["--subprotocol", "one", "--subprotocol", "two"]);
        let client = Client::builder()
            .subprotocol("zero")
            .subprotocol("two")
            .subprotocol("one");
        let ws = client.build().unwrap().connect(&server.url("/")).await.unwrap();
        assert_eq!(ws.subprotocol(), Some("two"));
    }
}

#[tokio::test]
async fn compression_is_agreed_on_when_it_was_asked_for() {
    for command in COMMANDS {
        let server = Server::start(command, &["--compress", "--threads", "2"]);
        let client = Client::builder().deflate(DeflateOptions::client()).build().unwrap();
        let mut ws = client.connect(&server.url("/")).await.unwrap();
        assert!(ws.is_compressed());
        let message = Message::from("again and ".repeat(1000));
        ws.send(message.clone()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(message));
    }
}

#[tokio::test]
async fn a_message_past_the_limit_closes_with_1009() {
    for command in COMMANDS {
        let server = Server::start(command, &["--max-message", "1KiB"]);
        let mut ws = server.connect("/").await;
        ws.send("x".repeat(1024)).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().map(|message| message.len()), Some(1024));
        ws.send("x".repeat(1025)).await.unwrap();
        assert_eq!(closed(&mut ws).await.0, CloseCode::MESSAGE_TOO_BIG);
    }
}

#[test]
fn a_request_that_is_no_upgrade_gets_426() {
    for command in COMMANDS {
        let server = Server::start(command, &[]);
        let response = server.request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
        assert!(response.ends_with("this is a WebSocket endpoint\n"), "{response}");
        let response = server.request("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(
            response.starts_with("HTTP/1.1 426 ") && response.ends_with("\r\n\r\n"),
            "{response}"
        );
    }
}

#[test]
fn a_self_signed_certificate_is_trusted_when_told_to() {
    let mut server = Server::start("echo", &["--tls-self-signed"]);
    let url = server.url("/");
    assert!(url.starts_with("wss://"));
    let talk = server.program.talk_until("END CERTIFICATE");
    assert!(talk.contains("--insecure") && talk.contains("--ca"), "{talk}");
    let file = file("self-signed.pem", &talk[talk.find("-----BEGIN").unwrap()..]);

    for trust in [&["--insecure"][..], &["--ca", file.to_str().unwrap()]] {
        let ended = run(&[&["connect", &url], trust].concat(), b"hello\n");
        assert_eq!((ended.code, ended.stdout()), (0, "hello\n"), "{}", ended.stderr);
    }
    let ended = run(&["connect", &url], b"hello\n");
    assert_eq!((ended.code, ended.stdout()), (2, ""));
    assert!(ended.stderr.contains("--insecure"), "{}", ended.stderr);
}

#[test]
fn a_certificate_and_its_key_come_from_files() {
    for command in COMMANDS {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = file("certificate.pem", &certified.cert.pem());
        let key = file("key.pem", &certified.signing_key.serialize_pem());
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let server = Server::start(command, &["--tls", certificate, key]);
        let ended = run(&["connect", &server.url("/"), "--ca", certificate], b"hello\n");
        assert_eq!((ended.code, ended.stdout()), (0, "hello\n"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn each_signal_closes_with_1001_and_ends_with_0() {
    for (command, signal) in COMMANDS
        .into_iter()
        .flat_map(|command| [(command, "-TERM"), (command, "-INT")])
    {
        let server = Server::start(command, &[]);
        let mut ws = server.connect("/").await;
        ws.send("served").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("served".into()));
        server.program.signal(signal);
        assert_eq!(closed(&mut ws).await.0, CloseCode::GOING_AWAY);
        assert!(matches!(ws.recv().await, Ok(None)));
        assert!(matches!(ws.send("more").await, Err(Error::Send(_))));
        let ended = server.program.end();
        assert_eq!(ended.code, 0);
        assert!(
            ended.stderr.contains("connections: 1 closed, 0 dropped"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn l1_clients_that_do_not_answer_the_close_do_not_hold_up_the_end() {
    for command in COMMANDS {
        let server = Server::start(command, &["--grace", "0.1"]);
        let (mut silent, handshaking) = (server.tcp(), server.tcp());
        silent.write_all(upgrade("/", "").as_bytes()).unwrap();
        assert!(head(&mut silent).starts_with("HTTP/1.1 101 "));
        server.program.signal("-TERM");
        let mut close = Vec::new();
        silent.read_to_end(&mut close).unwrap();
        // RFC 6455 §5.5.1: opcode 8, unmasked from a server, and the code first.
        assert_eq!((close[0], &close[2..4]), (0x88, &1001_u16.to_be_bytes()[..]));
        let ended = server.program.end();
        assert_eq!(ended.code, 0);
        assert!(ended.stderr.contains("0 closed, 1 dropped"), "{}", ended.stderr);
        drop(handshaking);
    }
}

#[test]
fn out_of_file_descriptors_it_waits_and_goes_on() {
    for command in COMMANDS {
        out_of_file_descriptors(command);
    }
}

fn out_of_file_descriptors(command: &str) {
    let script = format!("ulimit -n 32; exec \"$0\" {command} --listen 127.0.0.1:0 --threads 1");
    let program = env!("CARGO_BIN_EXE_sockeye");
    let mut server = Server::of(Running::spawn(
        std::process::Command::new("sh").args(["-c", &script, program]),
    ));
    let mut crowd: Vec<_> = (0..40).map(|_| server.tcp()).collect();
    for tcp in &mut crowd {
        tcp.write_all(upgrade("/", "").as_bytes()).unwrap();
    }
    server.program.talk_until("cannot take more connections");
    // The last in the queue is served once those before it have gone.
    let mut last = crowd.pop().unwrap();
    drop(crowd);
    assert!(head(&mut last).starts_with("HTTP/1.1 101 "));
    server.program.signal("-TERM");
    last.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(server.program.end().code, 0);
}

#[test]
fn a_stdout_that_nobody_reads_is_success() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let status = sockeye()
        .args(["echo", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
