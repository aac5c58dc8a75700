//! `sockeye connect --reconnect`, the built program, against servers that go away and come back.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::thread;

use support::{Ended, Running, Server, handshake, listen, run};

#[test]
fn it_comes_back_to_a_server_that_was_started_again() {
    // Nobody else takes a port of this address while the server is away.
    let host = if cfg!(target_os = "linux") {
        "127.77.0.1"
    } else {
        "127.0.0.1"
    };
    let first = Server::of(Running::start(&["echo", "--listen", &format!("{host}:0")]));
    let (url, address) = (first.url("/"), first.address.clone());
    let mut program = Running::start(&["connect", "--reconnect", &url]);
    program.talk_until("connected to ");
    program.type_line("one");
    assert_eq!(program.line(), "one\n");
    first.program.signal("-TERM");
    assert_eq!(first.program.end().code, 0);
    let talk = program.talk_until("trying again in ");
    assert!(talk.contains("1001 going away"), "{talk}");
    // It waits for a connection.
    program.type_line("two");
    let again = Server::of(Running::start(&["echo", "--listen", &address]));
    let talk = program.talk_until("connected to ");
    assert!(talk.contains("connecting, attempt 2"), "{talk}");
    assert_eq!(program.line(), "two\n");
    let stdin = program.stdin.take();
    program.signal("-INT");
    let ended = program.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, "sockeye: closed\n"));
    drop(stdin);
    drop(again);
}

/// Runs against a server there until that makes it end, with a stdin that does not.
fn until_it_ends(address: &str) -> Ended {
    let mut program = Running::start(&["connect", "--reconnect", &format!("ws://{address}/")]);
    let stdin = program.stdin.take();
    let ended = program.end();
    drop(stdin);
    ended
}

#[test]
fn it_ends_with_its_input_as_it_does_without_the_flag() {
    let server = Server::start("echo", &[]);
    for flags in [&["connect"][..], &["connect", "--reconnect"]] {
        let ended = run(&[flags, &[&server.url("/")]].concat(), b"one\ntwo\n");
        assert_eq!((ended.code, ended.stdout()), (0, "one\ntwo\n"), "{}", ended.stderr);
        assert!(
            ended.stderr.ends_with("sockeye: closed: 1000 normal closure\n"),
            "{}",
            ended.stderr
        );
    }
}

/// What comes before the peer's answer is printed, and the answer decides.
#[test]
fn the_end_of_its_input_waits_for_the_peers_close() {
    for (close, code, sentence) in [
        (&b"\x88\x02\x03\xe8"[..], 0, "sockeye: closed: 1000 normal closure\n"),
        (b"\x88\x02\x03\xf0", 1, "sockeye: closed: 1008 policy violation\n"),
        (
            b"",
            1,
            "sockeye: the connection ended without a Close; close code 1006 abnormal closure\n",
        ),
    ] {
        for flags in [&["connect"][..], &["connect", "--reconnect"]] {
            let (address, listener) = listen();
            let server = thread::spawn(move || {
                let mut tcp = handshake(&listener);
                // "one", and a Close with 1000, both masked.
                tcp.read_exact(&mut [0; 9 + 8]).unwrap();
                tcp.write_all(b"\x81\x06answer").unwrap();
                tcp.write_all(close).unwrap();
            });
            let ended = run(&[flags, &[&format!("ws://{address}/")]].concat(), b"one\n");
            server.join().unwrap();
            assert_eq!((ended.code, ended.stdout()), (code, "answer\n"), "{}", ended.stderr);
            assert!(ended.stderr.ends_with(sentence), "{}", ended.stderr);
        }
    }
}

#[test]
fn what_was_piped_in_waits_for_the_server() {
    let (address, listener) = listen();
    let server = thread::spawn(move || {
        drop(listener.accept().unwrap());
        let mut tcp = handshake(&listener);
        let mut frames = [0; 9 + 8];
        tcp.read_exact(&mut frames).unwrap();
        assert_eq!((frames[0], frames[9]), (0x81, 0x88));
        tcp.write_all(b"\x88\x02\x03\xe8").unwrap();
    });
    let ended = run(&["connect", "--reconnect", &format!("ws://{address}/")], b"one\n");
    server.join().unwrap();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for part in [
        "waiting for a connection",
        "trying again in ",
        "attempt 2",
        "closed: 1000",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn no_input_still_makes_a_connection() {
    let server = Server::start("echo", &[]);
    let ended = run(&["connect", "--reconnect", &server.url("/")], b"");
    assert_eq!((ended.code, ended.stdout()), (0, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("connected to "), "{}", ended.stderr);
}

#[test]
fn a_connection_that_is_dropped_is_made_again_and_a_good_end_is_the_end() {
    let (address, listener) = listen();
    let server = thread::spawn(move || {
        drop(handshake(&listener));
        let mut tcp = handshake(&listener);
        tcp.write_all(b"\x81\x05again\x88\x02\x03\xe8").unwrap();
        // The answer to the Close.
        tcp.read_exact(&mut [0; 8]).unwrap();
    });
    let ended = until_it_ends(&address);
    server.join().unwrap();
    assert_eq!((ended.code, ended.stdout()), (0, "again\n"), "{}", ended.stderr);
    for part in [
        "without a Close; trying again in ",
        "connecting, attempt 2",
        "the peer closed: 1000 normal closure",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert_eq!(ended.stderr.matches("connected to ").count(), 2, "{}", ended.stderr);
}

#[test]
fn what_will_not_pass_is_told_at_once_and_so_is_what_was_not_sent() {
    let (address, listener) = listen();
    let mut program = Running::start(&["connect", "--reconnect", &format!("ws://{address}/")]);
    let (mut tcp, _) = listener.accept().unwrap();
    support::head(&mut tcp);
    program.type_line("one");
    drop(program.stdin.take());
    program.talk_until("stdin has ended");
    tcp.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 8\r\n\r\nnot you\n")
        .unwrap();
    let ended = program.end();
    assert_eq!((ended.code, ended.stdout()), (1, ""));
    assert_eq!(
        ended.stderr,
        "sockeye: one message was never sent\n\
         sockeye: refused: the server answered with status 403 Forbidden\n  not you\n"
    );

    let (address, listener) = listen();
    let server = thread::spawn(move || {
        let mut tcp = handshake(&listener);
        tcp.write_all(b"\x88\x02\x03\xf0").unwrap();
        tcp.read_exact(&mut [0; 8]).unwrap();
    });
    let ended = until_it_ends(&address);
    server.join().unwrap();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("the peer closed: 1008"), "{}", ended.stderr);
}

#[test]
fn a_refusal_for_now_is_not_the_end() {
    let (address, listener) = listen();
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        support::head(&mut tcp);
        tcp.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let mut tcp = handshake(&listener);
        tcp.write_all(b"\x88\x02\x03\xe8").unwrap();
        tcp.read_exact(&mut [0; 8]).unwrap();
    });
    let ended = until_it_ends(&address);
    server.join().unwrap();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("status 503; trying again in "),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_interrupt_without_a_connection_tells_what_was_never_sent() {
    // The system accepts; nobody answers.
    let (address, _listener) = listen();
    for (lines, code, sentence) in [
        (&[][..], 0, "sockeye: closed\n"),
        (&["one"], 1, "sockeye: one message was never sent\n"),
        (&["one", "two"], 1, "sockeye: 2 messages were never sent\n"),
    ] {
        let mut program = Running::start(&["connect", "--reconnect", &format!("ws://{address}/")]);
        for line in lines {
            program.type_line(line);
        }
        drop(program.stdin.take());
        // Then all lines are in the queue.
        program.talk_until("stdin has ended");
        program.signal("-INT");
        let ended = program.end();
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stderr.ends_with(sentence), "{}", ended.stderr);
    }
}

#[test]
fn a_stdin_that_fails_and_a_stdout_that_nobody_reads_end_it() {
    let server = Server::start("echo", &[]);
    let ended = run(&["connect", "--reconnect", &server.url("/")], b"\xff\n");
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("line 1 of stdin is not UTF-8"),
        "{}",
        ended.stderr
    );

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = support::sockeye()
        .args(["connect", "--reconnect", &server.url("/")])
        .stdin(std::process::Stdio::piped())
        .stdout(writer)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
