//! The flags that `sockeye echo` and `sockeye serve` have in common: the built program, over real sockets.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::{Read, Write};

use sockeye::{Client, CloseCode, ConnectError};
use support::{Server, closed, file, head, run, upgrade};

const COMMANDS: [&str; 3] = ["echo", "echo --engine", "serve"];

#[test]
fn origin_lets_in_those_that_are_named() {
    for (command, same_host) in [("echo", 403), ("echo --engine", 403), ("serve", 101)] {
        let server = Server::start(
            command,
            &["--origin", "https://one.example", "--origin", "https://two.example:444"],
        );
        for (origin, status) in [
            ("https://one.example", 101),
            ("https://two.example:444", 101),
            ("https://two.example", 403),
            ("http://one.example", 403),
            ("null", 403),
            // The host of the request, which `serve` trusts, since the page came from there.
            ("http://localhost", same_host),
        ] {
            let mut tcp = server.tcp();
            let request = upgrade("/echo", &format!("Origin: {origin}\r\n"));
            tcp.write_all(request.as_bytes()).unwrap();
            let head = head(&mut tcp);
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{command} {origin}: {head}"
            );
        }
        let mut tcp = server.tcp();
        tcp.write_all(upgrade("/echo", "").as_bytes()).unwrap();
        assert!(head(&mut tcp).starts_with("HTTP/1.1 101 "), "programs send no Origin");
    }
}

#[test]
fn header_is_sent_with_the_response() {
    for command in COMMANDS {
        let server = Server::start(command, &["-H", "X-One: 1", "--header", "Set-Cookie: id=a:b"]);
        let mut tcp = server.tcp();
        tcp.write_all(upgrade("/echo", "").as_bytes()).unwrap();
        let head = head(&mut tcp);
        assert!(head.contains("\r\nX-One: 1\r\n"), "{head}");
        assert!(head.contains("\r\nSet-Cookie: id=a:b\r\n"), "{head}");
    }
}

#[tokio::test]
async fn max_message_closes_with_1009() {
    for command in COMMANDS {
        let server = Server::start(command, &["--max-message", "2K"]);
        let mut ws = server.connect("/echo").await;
        ws.send("x".repeat(2048)).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().map(|message| message.len()), Some(2048));
        ws.send("x".repeat(2049)).await.unwrap();
        assert_eq!(closed(&mut ws).await.0, CloseCode::MESSAGE_TOO_BIG);
    }
}

#[test]
fn ping_is_sent_when_nothing_comes() {
    for command in COMMANDS {
        let server = Server::start(command, &["--ping", "0.05"]);
        let mut tcp = server.tcp();
        tcp.write_all(upgrade("/echo", "").as_bytes()).unwrap();
        head(&mut tcp);
        let mut header = [0; 2];
        tcp.read_exact(&mut header).unwrap();
        // RFC 6455 §5.5.2: FIN and opcode 9, unmasked from a server.
        assert_eq!((header[0], header[1] & 0x80), (0x89, 0));
    }
}

#[test]
fn timeout_ends_handshakes_that_do_not_come() {
    for command in COMMANDS {
        let server = Server::start(command, &["--timeout", "0.05"]);
        // The end, and not the time after which the test would give up.
        assert_eq!(server.tcp().read(&mut [0]).unwrap(), 0);
    }
}

#[tokio::test]
async fn beyond_a_limit_clients_are_asked_to_come_back() {
    for command in COMMANDS {
        for (flag, why) in [
            ("--max-connections", "the server has as many connections"),
            ("--max-per-address", "the address has as many connections"),
        ] {
            let server = Server::start(command, &[flag, "1"]);
            let ws = server.connect("/echo").await;
            let response = server.request(&upgrade("/echo", ""));
            assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
            // RFC 9110 §10.2.3.
            assert!(response.contains("\r\nRetry-After: 5\r\n"), "{response}");
            assert!(response.contains(why), "{response}");
            let refused = Client::builder().build().unwrap().connect(&server.url("/echo")).await;
            let Err(ConnectError::Refused(refusal)) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(refusal.retry_after().map(|after| after.as_secs()), Some(5));
            drop(ws);
        }
    }
}

#[test]
fn serve_has_tls_too() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = file("serve-certificate.pem", &certified.cert.pem());
    let key = file("serve-key.pem", &certified.signing_key.serialize_pem());
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    for flags in [&["--cert", certificate, "--key", key][..], &["--tls", certificate, key]] {
        let mut program = support::Running::start(&[&["serve", "--listen", "127.0.0.1:0"], flags].concat());
        let line = program.line();
        let address = line.strip_prefix("listening on https://").expect(&line).trim_end();
        let url = format!("wss://{address}echo");
        let ended = run(&["connect", &url, "--ca", certificate], b"hello\n");
        assert_eq!((ended.code, ended.stdout()), (0, "hello\n"), "{}", ended.stderr);
    }
}
