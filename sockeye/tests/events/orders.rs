//! The order of events in each kind of life, as callbacks and the stream tell it: the name, the state at that time, and what
//! the event carries.

use sockeye::events::{Failure, WebSocket};
use sockeye::{Client, CloseCode, ConnectError, Error};

use crate::common::{
    Raw, accept, answer, close_body, connected, connecting, expect, frame, life, listen, log, read_head,
};

#[tokio::test]
async fn a_clean_close_by_the_client() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    let server = tokio::spawn(async move {
        let mut server = accept(&listener).await;
        server.send("hello").await.unwrap();
        while let Some(message) = server.recv().await.unwrap() {
            server.send(message).await.unwrap();
        }
    });
    expect(&ws, "open").await;
    ws.send("swim").unwrap();
    expect(&ws, "message").await;
    expect(&ws, "message").await;
    ws.close(1000, "done").unwrap();
    let expected = ["open 1", "message 1 hello", "message 1 swim", "close 3 1000 \"\" clean"];
    assert_eq!(life(&ws, &log).await, expected);
    server.await.unwrap();
}

#[tokio::test]
async fn a_clean_close_by_the_server() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    let server = tokio::spawn(async move {
        let mut server = accept(&listener).await;
        server.send("one").await.unwrap();
        server.send(vec![2]).await.unwrap();
        server.close(CloseCode::GOING_AWAY, "restart").await.unwrap();
    });
    let expected = [
        "open 1",
        "message 1 one",
        "message 1 binary",
        "close 3 1001 \"restart\" clean",
    ];
    assert_eq!(life(&ws, &log).await, expected);
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_handshake() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    drop(answer(&listener, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    let failure = ws.failure().unwrap();
    assert!(failure.to_string().contains("403"), "{failure}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let ws = WebSocket::new("ws://nowhere.invalid/", ()).unwrap();
    let log = log(&ws);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    assert!(matches!(
        *ws.failure().unwrap(),
        Failure::Connect(ConnectError::Resolve(_))
    ));
}

/// The same whatever the machine's own resolver does with such names.
#[tokio::test]
async fn a_name_that_a_resolver_of_ones_own_does_not_know() {
    let client = Client::builder()
        .resolver(|_: String, _: u16| async { Err(std::io::ErrorKind::NotFound.into()) })
        .build()
        .unwrap();
    let ws = WebSocket::with_client(&client, "ws://nowhere/", ()).unwrap();
    let log = log(&ws);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    assert!(matches!(
        *ws.failure().unwrap(),
        Failure::Connect(ConnectError::Resolve(_))
    ));
}

#[tokio::test]
async fn a_transport_that_is_reset() {
    let (ws, log, mut server) = connected().await;
    server.send(&frame(0x81, b"and then")).await;
    // A reset takes along what has not been read.
    expect(&ws, "open").await;
    expect(&ws, "message").await;
    server.io.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(
        life(&ws, &log).await,
        ["open 1", "message 1 and then", "error 3", "close 3 1006 \"\" unclean"]
    );
    let failure = ws.failure().unwrap();
    assert!(
        matches!(&*failure, Failure::Connection(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionReset),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_dropped_transport() {
    let (ws, log, mut server) = connected().await;
    server.send(&frame(0x81, b"and then")).await;
    drop(server);
    assert_eq!(
        life(&ws, &log).await,
        ["open 1", "message 1 and then", "error 3", "close 3 1006 \"\" unclean"]
    );
    let failure = ws.failure().unwrap();
    assert!(
        matches!(&*failure, Failure::Connection(Error::ConnectionLost)),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_transport_dropped_in_the_handshake() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    drop(answer(&listener, "HTTP/1.1 101 Switching Pro").await);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    let failure = ws.failure().unwrap();
    assert!(
        matches!(&*failure, Failure::Connect(ConnectError::Io(_))),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_protocol_error_by_the_server() {
    for (bytes, code) in [
        // A reserved opcode, a masked frame, text that is none, a message that is too long.
        (frame(0x83, b""), 1002),
        (vec![0x81, 0x81, 0, 0, 0, 0, b'x'], 1002),
        (frame(0x81, &[0xff]), 1007),
        (vec![0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0], 1009),
    ] {
        let (ws, log, mut server) = connected().await;
        server.send(&frame(0x81, b"good")).await;
        server.send(&bytes).await;
        let (first, body) = server.frame().await.unwrap();
        assert_eq!((first, &body[..2]), (0x88, &close_body(code, "")[..]));
        drop(server);
        assert_eq!(
            life(&ws, &log).await,
            ["open 1", "message 1 good", "error 3", "close 3 1006 \"\" unclean"]
        );
        let failure = ws.failure().unwrap();
        let Failure::Connection(error @ Error::Protocol(_)) = &*failure else {
            panic!("{failure:?}")
        };
        assert_eq!(error.close_code(), Some(CloseCode::new(code)));
    }
}

#[tokio::test]
async fn a_close_while_connecting() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    // Before the task of the connection had a turn.
    ws.close(None, "").unwrap();
    assert_eq!(ws.ready_state().as_u16(), 2);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    drop(listener);
}

#[tokio::test]
async fn a_close_from_within_a_callback() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    let told = log.clone();
    ws.on_open(move |ws| {
        told.lock().unwrap().push("open".into());
        ws.send("one").unwrap();
        ws.close(1000, "two").unwrap();
    });
    let server = tokio::spawn(async move {
        let mut server = accept(&listener).await;
        assert_eq!(server.recv().await.unwrap(), Some("one".into()));
        assert_eq!(server.recv().await.unwrap(), None);
    });
    assert_eq!(life(&ws, &log).await, ["open", "close 3 1000 \"\" clean"]);
    server.await.unwrap();
}

#[tokio::test]
async fn a_drop_tells_nothing() {
    let (listener, url) = listen().await;
    let ws = WebSocket::new(&url, ()).unwrap();
    let log = log(&ws);
    let mut server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    drop(ws);
    assert_eq!(server.frame().await, Some((0x88, close_body(1001, ""))));
    assert_eq!(*log.lock().unwrap(), ["open 1"]);

    // A loop that runs keeps the object, as listeners keep it in a page; without the loop it is gone.
    let ws = WebSocket::new(&url, ()).unwrap();
    let running = tokio::spawn(ws.run());
    drop(ws);
    let (mut io, _) = listener.accept().await.unwrap();
    read_head(&mut io).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(tokio::io::AsyncReadExt::read(&mut io, &mut [0]).await.unwrap_or(0), 0);
}
