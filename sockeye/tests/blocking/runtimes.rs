//! Blocking ends against async ones, and the example against the async server.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use sockeye::blocking;
use sockeye::{Client, CloseCode, CloseState, Server, ServerOptions};

use crate::common::{echo, serve};
use crate::peers::{messages, server_options, with_deflate};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
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
