//! What a well-behaved pair does: messages of all lengths, the closing handshake in all its orders, the traits.

use futures_util::{SinkExt, StreamExt};
use sockeye::{
    Client, CloseCode, CloseFrame, CloseState, Error, Event, Message, Receive, SendError, Server, ServerOptions,
    Upgrade, accept,
};
use tokio::io::AsyncWriteExt;

use crate::common::{CLOSE, PONG, Raw, TEXT, masked, options, pair, pair_over};

#[tokio::test]
async fn subprotocol_and_headers_are_visible_on_both_ends() {
    let options = ServerOptions::builder()
        .subprotocol("chat")
        .subprotocol("chat.v2")
        .header("X-Served-By", "a test")
        .build()
        .unwrap();
    let client = Client::builder()
        .subprotocol("unknown")
        .subprotocol("chat.v2")
        .subprotocol("chat")
        .header("X-From", "a client")
        .build()
        .unwrap();
    let (near, far) = tokio::io::duplex(1024);
    let (near, far) = tokio::join!(client.connect_over(near, "ws://me:secret@localhost/x?y=z"), async {
        let upgrade = Upgrade::read(far, &options).await.unwrap();
        let headers = upgrade.request().headers().clone();
        (upgrade.accept(&options).await.unwrap(), headers)
    });
    let (near, (far, request)) = (near.unwrap(), far);
    assert_eq!(near.subprotocol(), Some("chat.v2"));
    assert_eq!(far.subprotocol(), Some("chat.v2"));
    assert_eq!(near.headers().text("x-served-by"), Some("a test"));
    assert_eq!(request.text("x-from"), Some("a client"));
    assert_eq!(request.text("host"), Some("localhost"));
    assert_eq!(request.text("authorization"), Some("Basic bWU6c2VjcmV0"));
}

#[tokio::test]
async fn a_url_with_an_ipv6_address() {
    let Ok(server) = Server::bind("[::1]:0", ServerOptions::default()).await else {
        return; // This system has no IPv6.
    };
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (near, far) = tokio::join!(sockeye::connect(&url), async {
        server.accept().await.unwrap().accept().await
    });
    near.unwrap();
    far.unwrap();
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compression_is_used_both_ways_where_both_want_it() {
    let text = Message::from("again and ".repeat(500));
    for (wanted, offered) in [(true, true), (true, false), (false, true), (false, false)] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (client, _) = options(wanted);
        let (_, server) = options(offered);
        let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, &server));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.is_compressed(), wanted && offered);
        assert_eq!(far.is_compressed(), wanted && offered);
        for _ in 0..3 {
            near.send(text.clone()).await.unwrap();
            assert_eq!(far.recv().await.unwrap(), Some(text.clone()));
            far.send(text.clone()).await.unwrap();
            assert_eq!(near.recv().await.unwrap(), Some(text.clone()));
        }
    }
}

async fn messages_of_all_lengths(deflate: bool) {
    let (near, far) = tokio::io::duplex(10_000);
    let (near, mut far) = pair_over(near, far, deflate).await;
    let echo = tokio::spawn(async move {
        while let Some(message) = far.recv().await.unwrap() {
            far.send(message).await.unwrap();
        }
    });
    let (sender, mut receiver) = near.split();
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        let text: String = "sockeye ".chars().cycle().take(length).collect();
        let binary: Vec<u8> = (0..length).map(|n| (n * n / 7) as u8).collect();
        for message in [Message::from(text), Message::from(binary)] {
            let (sent, received) = tokio::join!(sender.send(message.clone()), receiver.recv());
            sent.unwrap();
            assert!(received.unwrap() == Some(message), "{length}");
        }
    }
    sender.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(receiver.recv().await.unwrap(), None);
    echo.await.unwrap();
}

#[tokio::test]
async fn messages_of_all_lengths_plain() {
    messages_of_all_lengths(false).await;
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn messages_of_all_lengths_compressed() {
    messages_of_all_lengths(true).await;
}

#[tokio::test]
async fn stream_and_sink() {
    let (near, far) = pair(256).await;
    let echo = tokio::spawn(async move {
        let (sink, stream) = StreamExt::split::<Message>(far);
        // Ends with the stream, and closes the sink.
        stream.forward(sink).await
    });
    let (mut sink, mut stream) = StreamExt::split::<Message>(near);
    let sending = tokio::spawn(async move {
        for n in 0..500 {
            sink.feed(format!("message {n}").into()).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    for n in 0..500 {
        let message = stream.next().await.unwrap().unwrap();
        assert_eq!(message.as_text(), Some(format!("message {n}").as_str()));
    }
    sending.await.unwrap().close().await.unwrap();
    assert!(stream.next().await.is_none());
    echo.await.unwrap().unwrap();
}

#[tokio::test]
async fn events_tell_pongs_and_the_close() {
    let (mut near, mut far) = pair(1024).await;
    near.ping(b"payload").await.unwrap();
    far.pong(b"unsolicited").await.unwrap();
    let answering = tokio::spawn(async move {
        assert_eq!(far.next_event().await.unwrap(), Some(Event::Ping("payload".into())));
        far.close(CloseCode::new(4001), "see you").await.unwrap();
    });
    assert_eq!(
        near.next_event().await.unwrap(),
        Some(Event::Pong("unsolicited".into()))
    );
    assert_eq!(near.next_event().await.unwrap(), Some(Event::Pong("payload".into())));
    let close = CloseFrame {
        code: CloseCode::new(4001),
        reason: "see you".into(),
    };
    assert_eq!(near.next_event().await.unwrap(), Some(Event::Close(Some(close))));
    assert_eq!(near.next_event().await.unwrap(), None);
    answering.await.unwrap();
}

#[tokio::test]
async fn unsolicited_pongs_are_passed_over() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    peer.send(&[masked(PONG, b"why").repeat(10), masked(TEXT, b"this")].concat())
        .await;
    assert_eq!(ws.unwrap().recv().await.unwrap(), Some("this".into()));
}

#[tokio::test]
async fn chunks_as_they_arrive() {
    let server = ServerOptions::builder().receive(Receive::Chunks).build().unwrap();
    let (client, _) = options(false);
    let (near, far) = tokio::io::duplex(1000);
    let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, &server));
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    let sending = tokio::spawn(async move {
        near.send_fragment(&[1; 5000], false).await.unwrap();
        near.send_fragment(&[2; 5000], true).await.unwrap();
        near
    });
    let (mut length, mut chunks) = (0, 0);
    loop {
        let Some(Event::Chunk { data, fin, .. }) = far.next_event().await.unwrap() else {
            panic!("not a chunk");
        };
        length += data.len();
        chunks += 1;
        if fin {
            break;
        }
    }
    assert_eq!(length, 10_000);
    assert!(chunks >= 10);
    sending.await.unwrap();
}

/// Either end closes with any code; both learn it, and both are done.
#[tokio::test]
async fn close_codes_both_ways() {
    for (code, reason) in [(1000, ""), (1001, "restart"), (4001, "a reason"), (1005, "")] {
        for client_closes in [true, false] {
            let (near, far) = pair(1024).await;
            let (mut closing, mut other) = if client_closes { (near, far) } else { (far, near) };
            let code = CloseCode::new(code);
            let (closed, received) = tokio::join!(closing.close(code, reason), other.recv());
            closed.unwrap();
            assert_eq!(received.unwrap(), None);
            assert_eq!(closing.close_received(), Some(code));
            assert_eq!(other.close_received(), Some(code));
            for ws in [&mut closing, &mut other] {
                assert_eq!(ws.state(), CloseState::Closed);
                assert_eq!(ws.recv().await.unwrap(), None);
                assert!(matches!(ws.send("late").await, Err(Error::Send(SendError::Closed))));
                ws.close(CloseCode::NORMAL, "").await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn simultaneous_close() {
    let (mut near, mut far) = pair(1024).await;
    let (left, right) = tokio::join!(
        near.close(CloseCode::NORMAL, "left"),
        far.close(CloseCode::GOING_AWAY, "right")
    );
    left.unwrap();
    right.unwrap();
    assert_eq!(near.close_received(), Some(CloseCode::GOING_AWAY));
    assert_eq!(far.close_received(), Some(CloseCode::NORMAL));
}

#[tokio::test]
async fn a_close_that_must_not_be_sent_changes_nothing() {
    let (mut near, mut far) = pair(1024).await;
    for (code, reason) in [(1006, ""), (999, ""), (1005, "a reason"), (1000, &*"x".repeat(124))] {
        let closed = near.close(CloseCode::new(code), reason).await;
        assert!(matches!(closed, Err(Error::Send(_))), "{code}");
    }
    assert!(matches!(
        near.ping(&[0; 126]).await,
        Err(Error::Send(SendError::ControlFrameTooLong))
    ));
    assert_eq!(near.state(), CloseState::Open);
    near.send("still here").await.unwrap();
    assert_eq!(far.recv().await.unwrap(), Some("still here".into()));
}

/// The closing end still receives what was under way.
#[tokio::test]
async fn messages_under_way_are_discarded_by_close_and_read_after_a_sink_close() {
    let (mut near, mut far) = pair(4096).await;
    far.send("under way").await.unwrap();
    let (closed, received) = tokio::join!(near.close(CloseCode::NORMAL, ""), far.recv());
    closed.unwrap();
    assert_eq!(received.unwrap(), None);

    let (near, mut far) = pair(4096).await;
    far.send("under way").await.unwrap();
    let (sender, mut receiver) = near.split();
    sender.close(CloseCode::NORMAL, "").await.unwrap();
    let (received, end) = tokio::join!(receiver.recv(), far.recv());
    assert_eq!(received.unwrap(), Some("under way".into()));
    assert_eq!(end.unwrap(), None);
    assert_eq!(receiver.recv().await.unwrap(), None);
}

/// RFC 6455 §7.1.1: a peer that ends its side of TCP behind its Close closes properly.
#[tokio::test]
async fn a_half_close_behind_the_close_is_clean() {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let tcp = tokio::net::TcpStream::connect(server.local_addr().unwrap())
        .await
        .unwrap();
    let (ws, peer) = tokio::join!(
        async { server.accept().await.unwrap().accept().await },
        Raw::client(tcp, b"")
    );
    let (mut ws, mut peer) = (ws.unwrap(), peer);
    peer.send(&masked(CLOSE, &1000_u16.to_be_bytes())).await;
    peer.io.shutdown().await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(peer.close_code().await, Some(1000));
    assert_eq!(peer.frame().await, None);
}
