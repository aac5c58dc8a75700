//! Rules 8 to 12: closing, in every way.

use std::net::TcpListener as StdListener;

use sockeye::events::{Exception, Failure, ReadyState, SyntaxError, WebSocket};
use sockeye::{Client, ConnectError, Error, ProtocolError};
use tokio::io::AsyncReadExt;

use crate::common::{
    BINARY, CLOSE, Raw, TEXT, accept, close_body, close_frame, connected, connecting, expect, frame, life, listen,
    listen_narrow, log, open, read_head,
};

#[tokio::test]
async fn rule_08_code_and_reason_are_checked_before_the_state() {
    let (ws, listener) = connecting().await;
    let check = |ws: &WebSocket| {
        let state = ws.ready_state();
        for code in [0, 999, 1001, 1005, 1006, 1011, 2999, 5000, 65535] {
            assert_eq!(ws.close(code, ""), Err(Exception::InvalidAccessError { code }));
            // The code comes first.
            assert_eq!(
                ws.close(code, &"x".repeat(124)),
                Err(Exception::InvalidAccessError { code })
            );
        }
        for reason in ["x".repeat(124), "ü".repeat(62)] {
            let error = Exception::SyntaxError(SyntaxError::ReasonTooLong { length: 124 });
            assert_eq!(ws.close(3000, &reason), Err(error.clone()));
            assert_eq!(ws.close(None, &reason), Err(error));
        }
        assert_eq!(ws.ready_state(), state);
    };
    check(&ws);
    let mut server = accept(&listener).await;
    expect(&ws, "open").await;
    check(&ws);
    // 41 characters of three bytes fit.
    ws.close(4999, &"→".repeat(41)).unwrap();
    check(&ws);
    let Ok(None) = server.recv().await else {
        panic!("the close is clean")
    };
    assert_eq!(server.close_received(), Some(sockeye::CloseCode::new(4999)));
    drop(server);
    expect(&ws, "close").await;
    check(&ws);
    assert_eq!(ws.ready_state(), ReadyState::Closed);
}

#[tokio::test]
async fn rule_08_the_close_says_what_was_given() {
    let cases: [(Option<u16>, &str, Vec<u8>); 5] = [
        (None, "", vec![]),
        (Some(1000), "", close_body(1000, "")),
        (Some(3000), "bye", close_body(3000, "bye")),
        (Some(4999), "", close_body(4999, "")),
        // Without a code there is no place for a reason.
        (None, "bye", close_body(1000, "bye")),
    ];
    for (code, reason, body) in cases {
        let (ws, mut server) = open().await;
        ws.close(code, reason).unwrap();
        // A second one says nothing.
        ws.close(4000, "again").unwrap();
        assert_eq!(server.frame().await, Some((CLOSE, body.clone())));
        server.send(&frame(CLOSE, &body)).await;
        server.finish().await;
    }
}

#[tokio::test]
async fn rule_08_what_was_sent_before_still_goes_out() {
    let (ws, mut server) = open().await;
    for n in 0..10u8 {
        ws.send(vec![n; 1 << 20]).unwrap();
    }
    ws.close(1000, "").unwrap();
    for n in 0..10u8 {
        let (first, payload) = server.frame().await.unwrap();
        assert_eq!((first, payload.len(), payload[0]), (BINARY, 1 << 20, n));
    }
    assert_eq!(server.frame().await, Some((CLOSE, close_body(1000, ""))));
    assert_eq!(ws.buffered_amount(), 0);
}

#[tokio::test]
async fn rule_08_closing_before_open_fails_the_connection() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    let (mut io, _) = listener.accept().await.unwrap();
    read_head(&mut io).await;
    ws.close(1000, "never mind").unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    assert!(matches!(*ws.failure().unwrap(), Failure::Cancelled));
    // No byte more, and no Close.
    assert_eq!(io.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn rule_08_closing_before_open_is_dispatched_fails_the_connection_too() {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    let mut server = accept(&listener).await;
    server.send("greeting").await.unwrap();
    ws.close(1000, "").unwrap();
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    assert_eq!((ws.protocol(), ws.extensions()), Default::default());
}

#[tokio::test]
async fn rule_09_no_message_after_close() {
    let (ws, log, mut server) = connected().await;
    server
        .send(&[frame(TEXT, b"1"), frame(TEXT, b"2"), frame(TEXT, b"3")].concat())
        .await;
    expect(&ws, "open").await;
    expect(&ws, "message").await;
    ws.close(None, "").unwrap();
    assert_eq!(server.frame().await, Some((CLOSE, vec![])));
    // Nor those that come before the server's Close.
    server
        .send(&[frame(TEXT, b"4"), close_frame(1000, "bye")].concat())
        .await;
    drop(server);
    assert_eq!(
        life(&ws, &log).await,
        ["open 1", "message 1 1", "close 3 1000 \"bye\" clean"]
    );
}

#[tokio::test]
async fn rule_10_the_code_is_the_one_that_came() {
    for (sent, told) in [
        (frame(CLOSE, b""), "close 3 1005 \"\" clean"),
        (close_frame(1000, "bye"), "close 3 1000 \"bye\" clean"),
        (close_frame(1011, "ö"), "close 3 1011 \"ö\" clean"),
        (close_frame(4321, ""), "close 3 4321 \"\" clean"),
    ] {
        let (ws, log, mut server) = connected().await;
        server.send(&sent).await;
        let answer = server.frame().await.unwrap();
        assert_eq!(answer.0, CLOSE);
        drop(server);
        assert_eq!(life(&ws, &log).await, ["open 1", told]);
        assert!(ws.failure().is_none());
    }
}

#[tokio::test]
async fn rule_10_the_answer_to_our_close_may_say_something_else() {
    let (ws, log, mut server) = connected().await;
    expect(&ws, "open").await;
    ws.close(4000, "mine").unwrap();
    assert_eq!(server.frame().await, Some((CLOSE, close_body(4000, "mine"))));
    server.send(&close_frame(4001, "yours")).await;
    drop(server);
    assert_eq!(life(&ws, &log).await, ["open 1", "close 3 4001 \"yours\" clean"]);
}

#[tokio::test]
async fn rule_10_after_a_failure_the_peers_close_is_ignored() {
    let (ws, log, mut server) = connected().await;
    // RSV2, and a Close that looks as if all was well.
    server
        .send(&[frame(TEXT, b"good"), frame(0xa1, b"bad"), close_frame(1000, "fine")].concat())
        .await;
    assert_eq!(
        server.frame().await.map(|(first, body)| (first, body[..2].to_vec())),
        Some((CLOSE, vec![3, 234]))
    );
    drop(server);
    assert_eq!(
        life(&ws, &log).await,
        ["open 1", "message 1 good", "error 3", "close 3 1006 \"\" unclean"]
    );
    let failure = ws.failure().unwrap();
    let Failure::Connection(Error::Protocol(ProtocolError::ReservedBits)) = &*failure else {
        panic!("{failure:?}")
    };
}

#[tokio::test]
async fn rule_10_a_close_that_is_not_answered_is_unclean() {
    let (ws, log, mut server) = connected().await;
    expect(&ws, "open").await;
    ws.close(1000, "").unwrap();
    assert_eq!(server.frame().await.unwrap().0, CLOSE);
    tokio::time::pause();
    assert_eq!(
        life(&ws, &log).await,
        ["open 1", "error 3", "close 3 1006 \"\" unclean"]
    );
    let failure = ws.failure().unwrap();
    assert!(
        matches!(*failure, Failure::Connection(Error::Timeout(_))),
        "{failure:?}"
    );
    assert_eq!(server.io.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn rule_10_a_peer_that_takes_nothing_does_not_hold_up_the_end() {
    let (listener, url) = listen_narrow();
    let ws = WebSocket::new(&url, ()).unwrap();
    let log = log(&ws);
    let _server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    ws.send(vec![0; 12 << 20]).unwrap();
    ws.close(1000, "").unwrap();
    tokio::time::pause();
    assert_eq!(
        life(&ws, &log).await,
        ["open 1", "error 3", "close 3 1006 \"\" unclean"]
    );
    let failure = ws.failure().unwrap();
    assert!(
        matches!(*failure, Failure::Connection(Error::Timeout(_))),
        "{failure:?}"
    );
    assert!(ws.buffered_amount() > 0);
}

/// How an attempt to connect to `url` ended, which the events do not tell.
async fn failure(ws: WebSocket) -> std::sync::Arc<Failure> {
    let log = log(&ws);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    ws.failure().unwrap()
}

#[tokio::test]
async fn rule_11_failures_look_alike_and_have_a_cause() {
    // Nobody listens.
    let free = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cause = failure(WebSocket::new(&format!("ws://{free}/"), ()).unwrap()).await;
    assert!(
        matches!(&*cause, Failure::Connect(ConnectError::Connect(_))),
        "{cause:?}"
    );

    // Not HTTP.
    let (listener, url) = listen().await;
    let ws = WebSocket::new(&url, ()).unwrap();
    drop(crate::common::answer(&listener, "SSH-2.0-OpenSSH\r\n\r\n").await);
    let cause = failure(ws).await;
    assert!(
        matches!(&*cause, Failure::Connect(ConnectError::Handshake(_))),
        "{cause:?}"
    );

    // Not a word.
    let ws = WebSocket::new(&url, ()).unwrap();
    drop(listener.accept().await.unwrap());
    let cause = failure(ws).await;
    assert!(matches!(&*cause, Failure::Connect(ConnectError::Io(_))), "{cause:?}");
    assert!(std::error::Error::source(&*cause).is_some());
}

#[tokio::test]
async fn rule_11_a_handshake_without_end_fails_at_its_deadline() {
    let (ws, listener) = connecting().await;
    let (mut io, _) = listener.accept().await.unwrap();
    read_head(&mut io).await;
    tokio::time::pause();
    let cause = failure(ws).await;
    assert!(matches!(&*cause, Failure::Connect(ConnectError::Timeout)), "{cause:?}");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn rule_11_tls_failures_too() {
    let (listener, url) = listen().await;
    let ws = WebSocket::new(&url.replace("ws://", "wss://"), ()).unwrap();
    let server = async {
        let (mut io, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut io, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        io
    };
    let (_io, cause) = tokio::join!(server, failure(ws));
    assert!(matches!(&*cause, Failure::Connect(ConnectError::Tls(_))), "{cause:?}");
}

#[tokio::test]
async fn rule_12_dropped_while_connecting_it_gives_up() {
    let (ws, listener) = connecting().await;
    let (mut io, _) = listener.accept().await.unwrap();
    read_head(&mut io).await;
    drop(ws);
    assert_eq!(io.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn rule_12_dropped_while_open_it_goes_away() {
    let (ws, listener) = connecting().await;
    let clone = ws.clone();
    let mut server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    ws.send("last words").unwrap();
    drop(ws);
    clone.send("very last words").unwrap();
    drop(clone);
    assert_eq!(server.frame().await, Some((TEXT, b"last words".to_vec())));
    assert_eq!(server.frame().await, Some((TEXT, b"very last words".to_vec())));
    assert_eq!(server.frame().await, Some((CLOSE, close_body(1001, ""))));
    server.send(&close_frame(1001, "")).await;
    drop(server);
}

#[tokio::test]
async fn rule_12_dropped_while_closing_it_closes_as_it_was_told() {
    let (listener, url) = listen().await;
    let client = Client::builder().build().unwrap();
    let ws = WebSocket::with_client(&client, &url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    ws.close(4000, "done").unwrap();
    drop(ws);
    assert_eq!(server.frame().await, Some((CLOSE, close_body(4000, "done"))));
    server.send(&close_frame(4000, "")).await;
    server.finish().await;
}

#[tokio::test]
async fn rule_12_dropped_while_messages_wait_it_goes_away() {
    let (ws, mut server) = open().await;
    // More than is kept for an event loop that does not run.
    server.send(&frame(TEXT, &[b'x'; 1000]).repeat(1000)).await;
    drop(ws);
    assert_eq!(server.frame().await, Some((CLOSE, close_body(1001, ""))));
}
