//! `sockeye echo --engine --processes N`: several processes at one port.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod support;

use std::net::TcpListener;
use std::process::Command;

use sockeye::{CloseCode, Message};
use support::{Server, run};

/// The processes that this one has started.
fn children(process: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    listed.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

#[tokio::test]
async fn connections_spread_over_the_processes_and_all_take_leave() {
    let mut server = Server::start("echo --engine", &["--processes", "3"]);
    let processes = children(server.program.id());
    assert_eq!(processes.len(), 3);
    let descriptors = |process: &u32| std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let idle: Vec<_> = processes.iter().map(descriptors).collect();
    let mut sockets = Vec::new();
    for number in 0..60 {
        let mut ws = server.connect("/").await;
        let message = Message::from(format!("hello {number}"));
        ws.send(message.clone()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(message));
        sockets.push(ws);
    }
    // That one of three has none of 60 happens once in 10^10.
    let full = processes.iter().map(descriptors);
    assert!(full.zip(idle).all(|(full, idle)| full > idle), "each has some");

    server.program.signal("-TERM");
    for mut ws in sockets {
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_received(), Some(CloseCode::GOING_AWAY));
    }
    let talk = server.program.talk_until("ended; ");
    assert_eq!(talk, "sockeye: ended; connections: 60 closed, 0 dropped\n");
    let ended = server.program.end();
    assert_eq!((ended.code, ended.stdout(), &*ended.stderr), (0, "", ""));
}

#[tokio::test]
async fn sigint_ends_them_too_and_a_second_signal_does_not_wait() {
    let server = Server::start("echo --engine", &["--processes", "2"]);
    let mut ws = server.connect("/").await;
    server.program.signal("-INT");
    // The Close is not answered: it would be waited for.
    assert!(matches!(ws.recv().await, Ok(None)));
    drop(ws);
    server.program.signal("-INT");
    assert_eq!(server.program.end().code, 0);
}

#[tokio::test]
async fn one_that_is_killed_is_told_of_and_the_others_go_on() {
    let mut server = Server::start("echo --engine", &["--processes", "2", "--threads", "2"]);
    let processes = children(server.program.id());
    let killed = Command::new("kill").args(["-KILL", &processes[1].to_string()]).status();
    assert!(killed.unwrap().success());
    let talk = server.program.talk_until("too early");
    assert!(talk.contains("signal: 9"), "{talk}");
    let mut ws = server.connect("/").await;
    ws.send("still here").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("still here".into()));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    server.program.signal("-TERM");
    let ended = server.program.end();
    assert_eq!(ended.code, 2);
    assert_eq!(ended.stderr, "sockeye: ended; connections: 0 closed, 0 dropped\n");
}

#[test]
fn all_end_with_the_one_that_has_started_them() {
    let mut server = Server::start("echo --engine", &["--processes", "2"]);
    server.program.signal("-KILL");
    assert_eq!(server.program.talk_to_the_end(), "");
    assert!(std::net::TcpStream::connect(&server.address).is_err());
}

#[test]
fn several_listeners_have_a_line_each() {
    let mut server = Server::start("echo --engine", &["--processes", "2", "--listen", "[::1]:0"]);
    let line = server.program.line();
    assert!(line.starts_with("listening on ws://[::1]:"), "{line}");
    let address = line
        .trim_end()
        .trim_start_matches("listening on ws://")
        .trim_end_matches('/');
    assert!(std::net::TcpStream::connect(address).is_ok());
    assert!(std::net::TcpStream::connect(&server.address).is_ok());
}

#[test]
fn what_cannot_be_is_told_in_one_sentence() {
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = bound.local_addr().unwrap().to_string();
    for (arguments, sentence) in [
        ("echo --processes 2", "--engine"),
        ("echo --engine --processes 0", "0 is not in 1..=1024"),
        ("echo --engine --processes 1025", "1025 is not in 1..=1024"),
        ("echo --engine --processes two", "'two'"),
        ("echo --engine --processes 2 --tls-self-signed", "--tls-self-signed"),
        ("echo --engine --processes 2 --max-per-address 1", "--max-per-address"),
        ("serve --processes 2", "--processes"),
        (
            &*format!("echo --engine --processes 2 --listen {taken}"),
            &*format!("cannot listen on {taken}"),
        ),
        ("echo --engine --processes 2 --cert no/such --key no/such", "no/such"),
    ] {
        let ended = run(&arguments.split(' ').collect::<Vec<_>>(), b"");
        assert_eq!((ended.code, ended.stdout()), (2, ""), "{arguments}: {}", ended.stderr);
        assert!(ended.stderr.contains(sentence), "{arguments}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
