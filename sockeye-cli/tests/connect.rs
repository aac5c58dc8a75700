//! `sockeye connect`, the built program, against servers that behave and servers that do not.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::{self, Read, Write};
use std::process::Stdio;
use std::thread;

use sockeye::transport::Stream;
use sockeye::{CloseCode, MessageKind, ServerOptions, Upgrade, WebSocket};
use support::{Ended, Running, Server, handshake, head, listen, run, sockeye};

#[test]
fn lines_go_out_as_messages_and_messages_come_in_as_lines() {
    let server = Server::start("echo", &["--subprotocol", "chat", "--compress"]);
    let arguments = ["connect", &server.url("/"), "--subprotocol", "chat", "--compress"];
    let ended = run(&arguments, "hello\nsmörgås\r\n\nno line end".as_bytes());
    assert_eq!(ended.stdout(), "hello\nsmörgås\n\nno line end\n");
    assert_eq!(ended.code, 0);
    let url = server.url("/");
    assert_eq!(
        ended.stderr,
        format!("sockeye: connected to {url}, subprotocol chat, compressed\nsockeye: closed: 1000 normal closure\n")
    );
}

#[test]
fn what_is_sent_faster_than_it_comes_back_is_neither_lost_nor_reordered() {
    let server = Server::start("echo", &[]);
    let mut input = String::new();
    for n in 0..50_000 {
        input += &format!("{n}\n");
    }
    let ended = run(&["connect", &server.url("/")], input.as_bytes());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout() == input);
}

#[test]
fn binary_lines_are_any_bytes_and_text_must_be_utf8() {
    let server = Server::start("echo", &[]);
    let bytes = b"\xff\x00\r\n\x1b[2J\n";
    let ended = run(&["connect", &server.url("/"), "--binary"], bytes);
    assert_eq!((ended.code, ended.stdout.as_slice()), (0, &bytes[..]));
    let ended = run(&["connect", &server.url("/")], b"good\n\xff\n");
    assert_eq!((ended.code, ended.stdout()), (2, "good\n"));
    assert!(
        ended.stderr.contains("line 2 of stdin is not UTF-8"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_binary_flag_decides_the_kind_of_message() {
    for (flags, kind) in [(&[][..], MessageKind::Text), (&["--binary"], MessageKind::Binary)] {
        let (ended, received) = against(flags, b"x\n", |mut ws| async move {
            let message = ws.recv().await.unwrap().unwrap();
            ws.close(CloseCode::NORMAL, "").await.unwrap();
            message.kind()
        });
        assert_eq!((ended.code, received), (0, kind), "{}", ended.stderr);
    }
}

#[test]
fn headers_are_sent_as_given() {
    let (url, server) = serve_request(|request| async move {
        let headers = request.request().headers().clone();
        let mut ws = request.accept(&ServerOptions::default()).await.unwrap();
        while ws.recv().await.unwrap().is_some() {}
        headers
    });
    let ended = run(&["connect", &url, "-H", "X-Token: a:b c", "--header", "X-More:1"], b"");
    let headers = server.join().unwrap();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(headers.text("X-Token"), Some("a:b c"));
    assert_eq!(headers.text("X-More"), Some("1"));
}

#[test]
fn the_servers_close_decides_the_exit_code() {
    let cases = [
        (CloseCode::NORMAL, "", 0, "1000 normal closure"),
        (CloseCode::GOING_AWAY, "restart", 0, "1001 going away (restart)"),
        (CloseCode::NO_STATUS, "", 0, "1005 no status received"),
        (
            CloseCode::INTERNAL_ERROR,
            "oops\u{1b}",
            1,
            "1011 internal error (oops\\u{1b})",
        ),
        (CloseCode::new(4001), "", 1, "4001"),
    ];
    for (code, reason, exit, shown) in cases {
        // stdin stays open: it is the server that ends this.
        let (ended, ()) = against_open(&[], move |mut ws| async move {
            ws.send("before").await.unwrap();
            ws.close(code, reason).await.unwrap();
        });
        assert_eq!((ended.code, ended.stdout()), (exit, "before\n"), "{}", ended.stderr);
        assert!(
            ended.stderr.ends_with(&format!("the peer closed: {shown}\n")),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn an_end_without_a_close_is_abnormal() {
    let (ended, ()) = against_open(&[], |ws| async move { drop(ws) });
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("1006 abnormal closure"), "{}", ended.stderr);
}

#[test]
fn a_message_past_the_limit_is_told_and_abnormal() {
    let (ended, code) = against_open(&["--max-message", "10"], |mut ws| async move {
        ws.send("more than 10 bytes").await.unwrap();
        while ws.recv().await.unwrap().is_some() {}
        ws.close_received()
    });
    assert_eq!(
        (ended.code, ended.stdout(), code),
        (1, "", Some(CloseCode::MESSAGE_TOO_BIG))
    );
    assert!(ended.stderr.contains("1009 message too big"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--max-message SIZE"), "{}", ended.stderr);
}

#[test]
fn messages_that_come_after_our_close_are_printed() {
    let (address, listener) = listen();
    let server = thread::spawn(move || {
        let mut tcp = handshake(&listener);
        // RFC 6455 §5.2: FIN and opcode 8, a mask, two bytes: the code. The mask and the code are eight bytes more.
        let mut close = [0; 8];
        tcp.read_exact(&mut close).unwrap();
        assert_eq!(close[..2], [0x88, 0x82]);
        tcp.write_all(b"\x81\x04late\x88\x02\x03\xe8").unwrap();
    });
    let ended = run(&["connect", &format!("ws://{address}/")], b"");
    server.join().unwrap();
    assert_eq!((ended.code, ended.stdout()), (0, "late\n"), "{}", ended.stderr);
}

#[test]
fn a_refusal_is_told_with_its_status() {
    let server = Server::start("serve", &[]);
    let ended = run(
        &["connect", &server.url("/chat"), "-H", "Origin: https://evil.example"],
        b"",
    );
    assert_eq!((ended.code, ended.stdout()), (1, ""));
    assert!(ended.stderr.contains("status 403"), "{}", ended.stderr);

    for (response, shown) in [
        (
            "HTTP/1.1 301 Moved\r\nLocation: wss://other.example/\r\n\r\n",
            "wss://other.example/",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "no WebSocket handshake"),
    ] {
        let (address, listener) = listen();
        let server = thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            head(&mut tcp);
            tcp.write_all(response.as_bytes()).unwrap();
        });
        let ended = run(&["connect", &format!("ws://{address}/")], b"");
        server.join().unwrap();
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains(shown), "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_is_not_there_is_exit_code_2() {
    let (address, listener) = listen();
    drop(listener);
    let ended = run(&["connect", &format!("ws://{address}/")], b"");
    assert_eq!((ended.code, ended.stdout()), (2, ""));
    assert!(ended.stderr.contains("could not connect"), "{}", ended.stderr);
}

#[test]
fn an_interrupt_closes_with_1000() {
    let (address, listener) = listen();
    let server = thread::spawn(move || {
        let mut tcp = handshake(&listener);
        let mut close = [0; 8];
        tcp.read_exact(&mut close).unwrap();
        let code = [close[6] ^ close[2], close[7] ^ close[3]];
        tcp.write_all(&[&b"\x88\x02"[..], &code].concat()).unwrap();
        u16::from_be_bytes(code)
    });
    let mut program = Running::start(&["connect", &format!("ws://{address}/")]);
    program.talk_until("connected");
    program.signal("-INT");
    assert_eq!(server.join().unwrap(), 1000);
    let ended = program.end();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_second_interrupt_does_not_wait_for_the_peer() {
    let (address, listener) = listen();
    let mut program = Running::start(&["connect", &format!("ws://{address}/")]);
    let mut tcp = handshake(&listener);
    program.talk_until("connected");
    program.signal("-INT");
    tcp.read_exact(&mut [0; 8]).unwrap();
    program.signal("-INT");
    assert_eq!(program.end().code, 1);
}

#[test]
fn a_stdout_that_nobody_reads_is_success() {
    let server = Server::start("echo", &[]);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut child = sockeye()
        .args(["connect", &server.url("/")])
        .stdin(Stdio::piped())
        .stdout(writer)
        .spawn()
        .unwrap();
    // stdin stays open: the first message that comes back is the end.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Runs against a server of one connection, with this on stdin.
fn against<R, F>(
    flags: &[&str],
    input: &[u8],
    serve: impl FnOnce(WebSocket<Stream>) -> F + Send + 'static,
) -> (Ended, R)
where
    R: Send + 'static,
    F: Future<Output = R>,
{
    let (url, server) = serve_one(serve);
    let ended = run(&[&["connect", &url], flags].concat(), input);
    (ended, server.join().unwrap())
}

/// The same with a stdin that stays open until the program has ended.
fn against_open<R, F>(flags: &[&str], serve: impl FnOnce(WebSocket<Stream>) -> F + Send + 'static) -> (Ended, R)
where
    R: Send + 'static,
    F: Future<Output = R>,
{
    let (url, server) = serve_one(serve);
    let mut program = Running::start(&[&["connect", &url], flags].concat());
    let stdin = program.stdin.take();
    let ended = program.end();
    drop(stdin);
    (ended, server.join().unwrap())
}

fn serve_one<R, F>(serve: impl FnOnce(WebSocket<Stream>) -> F + Send + 'static) -> (String, thread::JoinHandle<R>)
where
    R: Send + 'static,
    F: Future<Output = R>,
{
    serve_request(async move |request| serve(request.accept(&ServerOptions::default()).await.unwrap()).await)
}

fn serve_request<R, F>(serve: impl FnOnce(Upgrade<Stream>) -> F + Send + 'static) -> (String, thread::JoinHandle<R>)
where
    R: Send + 'static,
    F: Future<Output = R>,
{
    let (address, listener) = listen();
    listener.set_nonblocking(true).unwrap();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let server = sockeye::Server::from_listener(listener, ServerOptions::default());
            serve(server.accept().await.unwrap().upgrade().await.unwrap()).await
        })
    });
    (format!("ws://{address}/"), server)
}
