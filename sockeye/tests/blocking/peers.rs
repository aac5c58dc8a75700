//! Blocking ends against async ones, and against each other: what is sent arrives, whoever sends it.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use sockeye::blocking::{self, Untimed};
use sockeye::{Client, CloseCode, CloseState, Compress, Event, Message, Prepared, Server, ServerOptions};

use crate::common::{echo, pair, pair_with, serve};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Messages of all sizes at which something changes, both kinds.
fn messages() -> Vec<Message> {
    let mut messages: Vec<Message> = vec!["".into(), "naïve".into(), Vec::new().into()];
    for length in [1, 125, 126, 2048, 2049, 0xffff, 0x1_0000, 1 << 20] {
        messages.push("x".repeat(length).into());
        messages.push((0..length).map(|n| (n * 31 + n / 251) as u8).collect::<Vec<_>>().into());
    }
    messages
}

fn with_deflate(client: blocking::ClientBuilder) -> blocking::ClientBuilder {
    #[cfg(feature = "deflate")]
    let client = client.deflate(sockeye::DeflateOptions::client());
    client
}

fn server_options() -> ServerOptions {
    let options = ServerOptions::builder().subprotocol("chat");
    #[cfg(feature = "deflate")]
    let options = options.deflate(sockeye::DeflateOptions::server());
    options.build().unwrap()
}

#[test]
fn a_blocking_client_and_a_tokio_server() {
    let (address, told) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        runtime().block_on(async {
            let server = Server::bind("127.0.0.1:0", server_options()).await.unwrap();
            address.send(server.local_addr().unwrap()).unwrap();
            let mut ws = server.accept().await.unwrap().accept().await.unwrap();
            while let Some(message) = ws.recv().await.unwrap() {
                ws.send(message).await.unwrap();
            }
            ws.close_received()
        })
    });
    let url = format!("ws://{}/", told.recv().unwrap());
    let client = with_deflate(blocking::Client::builder().subprotocol("chat"))
        .build()
        .unwrap();
    let mut ws = client.connect(&url).unwrap();
    assert_eq!(ws.subprotocol(), Some("chat"));
    assert_eq!(ws.is_compressed(), cfg!(feature = "deflate"));
    assert_eq!(ws.headers().text("Upgrade"), Some("websocket"));
    for message in messages() {
        ws.send(message.clone()).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(message));
    }
    ws.close(CloseCode::new(4001), "enough").unwrap();
    assert_eq!(ws.state(), CloseState::Closed);
    assert_eq!(ws.recv().unwrap(), None);
    assert_eq!(server.join().unwrap(), Some(CloseCode::new(4001)));
}

#[test]
fn a_tokio_client_and_a_blocking_server() {
    let (address, server) = serve(|tcp| {
        let mut ws = blocking::accept(blocking::Stream::from(tcp), &server_options()).unwrap();
        assert_eq!(ws.subprotocol(), Some("chat"));
        echo(&mut ws).unwrap();
        ws.close_received()
    });
    runtime().block_on(async {
        let client = Client::builder().subprotocol("chat");
        #[cfg(feature = "deflate")]
        let client = client.deflate(sockeye::DeflateOptions::client());
        let mut ws = client
            .build()
            .unwrap()
            .connect(&format!("ws://{address}/"))
            .await
            .unwrap();
        for message in messages() {
            ws.send(message.clone()).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some(message));
        }
        ws.close(CloseCode::new(4001), "enough").await.unwrap();
    });
    assert_eq!(server.join().unwrap(), Some(CloseCode::new(4001)));
}

#[test]
fn both_ends_blocking() {
    for compressed in [false, true] {
        let client = blocking::Client::builder();
        let (client, options) = match compressed {
            true => (with_deflate(client), server_options()),
            false => (client, ServerOptions::default()),
        };
        let (mut near, mut far) = pair_with(client, &options);
        let echoing = std::thread::spawn(move || echo(&mut far).unwrap());
        for message in messages() {
            near.send(message.clone()).unwrap();
            assert_eq!(near.recv().unwrap(), Some(message));
        }
        near.close(CloseCode::NORMAL, "").unwrap();
        echoing.join().unwrap();
    }
}

/// The server closes, and the client is told.
#[test]
fn the_server_closes() {
    let (mut near, mut far) = pair();
    let closing = std::thread::spawn(move || far.close(CloseCode::GOING_AWAY, "restart"));
    assert_eq!(near.recv().unwrap(), None);
    assert_eq!(near.close_received(), Some(CloseCode::GOING_AWAY));
    assert_eq!(
        near.send("late").unwrap_err().to_string(),
        sockeye::SendError::Closed.to_string()
    );
    closing.join().unwrap().unwrap();
}

#[test]
fn all_that_can_be_sent() {
    let (mut near, mut far) = pair();
    let echoing = std::thread::spawn(move || {
        let mut events = Vec::new();
        while let Some(event) = far.next_event().unwrap() {
            events.push(event);
        }
        events
    });
    near.send_with("plain", Compress::Never).unwrap();
    near.send_fragment("frag", false).unwrap();
    near.ping(b"between").unwrap();
    near.send_fragment("ments", true).unwrap();
    near.send_prepared(&Prepared::new("prepared")).unwrap();
    near.pong(b"heartbeat").unwrap();
    near.feed("one").unwrap();
    near.feed("write").unwrap();
    assert!(near.buffered_amount() > 0);
    near.flush().unwrap();
    assert_eq!(near.buffered_amount(), 0);
    assert!(near.ping(&[0; 126]).is_err());
    let Some(Event::Pong(pong)) = near.next_event().unwrap() else {
        panic!("no pong");
    };
    assert_eq!(pong, b"between".as_slice());
    near.close(CloseCode::NO_STATUS, "").unwrap();

    let text = |text: &str| Event::Text(text.into());
    let expected = [
        text("plain"),
        Event::Ping(b"between".as_slice().into()),
        text("fragments"),
        text("prepared"),
        Event::Pong(b"heartbeat".as_slice().into()),
        text("one"),
        text("write"),
        Event::Close(None),
    ];
    assert_eq!(echoing.join().unwrap(), expected);
}

/// What came with the request belongs to the connection.
#[test]
fn a_message_in_the_same_write_as_the_request() {
    use crate::common::{REQUEST, TEXT, attack, masked};
    let (ws, _peer) = attack(ServerOptions::default(), &[REQUEST, &masked(TEXT, b"eager")].concat());
    assert_eq!(ws.unwrap().recv().unwrap(), Some("eager".into()));
}

/// Anything that reads and writes will do.
#[cfg(unix)]
#[test]
fn transports_without_timeouts() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || {
        let mut ws = blocking::accept(Untimed(far), &ServerOptions::default()).unwrap();
        echo(&mut ws).unwrap();
    });
    let client = blocking::Client::builder().build().unwrap();
    let mut ws = client.connect_over(Box::new(near), "ws://localhost/").unwrap();
    ws.send("swim").unwrap();
    assert_eq!(ws.recv().unwrap(), Some("swim".into()));
    ws.close(CloseCode::NORMAL, "").unwrap();
    serving.join().unwrap();
}

/// The examples of clients, as people run them.
#[test]
fn the_examples_talk_to_a_server() {
    for name in ["blocking", "client"] {
        let (address, server) = serve(|tcp| {
            let mut ws = blocking::accept(tcp, &ServerOptions::default()).unwrap();
            echo(&mut ws).unwrap();
            ws.close_received()
        });
        let mut example = example(name, &[&format!("ws://{address}/")]);
        let mut input = example.stdin.take().unwrap();
        input.write_all(b"swim\nupstream\n").unwrap();
        drop(input);
        let output = example.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(server.join().unwrap(), Some(CloseCode::NORMAL));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "swim\nupstream\n");
    }
}

/// An example of this crate, which cargo has built beside the tests.
fn example(name: &str, args: &[&str]) -> Child {
    let tests = std::env::current_exe().unwrap();
    let examples = tests
        .parent()
        .and_then(std::path::Path::parent)
        .unwrap()
        .join("examples");
    Command::new(examples.join(name).with_extension(std::env::consts::EXE_EXTENSION))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo builds the examples when it builds all targets")
}
