//! `WebSocketStream`: promises, streams, and backpressure both ways.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sockeye::events::{Exception, Failure, Opened, WebSocketError, WebSocketStream};
use sockeye::{Client, CloseCode, Error, Message};

use crate::common::{
    CLOSE, Raw, TEXT, accept, answer, close_body, close_frame, frame, listen, listen_narrow, send_until_it_waits,
};

#[tokio::test]
async fn messages_pass_and_the_close_is_told() {
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url.replace("ws:", "http:"), "chat").unwrap();
    assert_eq!(wss.url(), url);
    let mut server = Raw::accept_with(&listener, "Sec-WebSocket-Protocol: chat\r\n").await;
    let opened = wss.opened().await.unwrap();
    assert_eq!((opened.protocol.as_str(), opened.extensions.as_str()), ("chat", ""));
    opened.writable.write("to").await.unwrap();
    assert_eq!(server.frame().await, Some((TEXT, b"to".to_vec())));
    server.send(&frame(TEXT, b"fro")).await;
    assert_eq!(opened.readable.read().await.unwrap(), Some("fro".into()));

    wss.close(4000, "done").unwrap();
    assert_eq!(server.frame().await, Some((CLOSE, close_body(4000, "done"))));
    // What comes before the server's Close can still be read.
    server
        .send(&[frame(TEXT, b"late"), close_frame(4001, "bye")].concat())
        .await;
    drop(server);
    let closed = wss.closed().await.unwrap();
    assert_eq!((closed.close_code.as_u16(), &*closed.reason), (4001, "bye"));
    assert_eq!(opened.readable.read().await.unwrap(), Some("late".into()));
    assert_eq!(opened.readable.read().await.unwrap(), None);
    let error = opened.writable.write("too late").await.unwrap_err();
    assert!(matches!(error, WebSocketError::Closed));
    assert_eq!(error.close_code(), None);
}

#[tokio::test]
async fn both_ends_are_a_stream_and_a_sink() {
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    let server = tokio::spawn(async move {
        let mut server = accept(&listener).await;
        while let Some(message) = server.recv().await.unwrap() {
            server.send(message).await.unwrap();
        }
    });
    let Opened {
        mut readable,
        mut writable,
        ..
    } = wss.opened().await.unwrap();
    for n in 0..100 {
        writable.feed(Message::from(format!("{n}"))).await.unwrap();
    }
    SinkExt::<Message>::flush(&mut writable).await.unwrap();
    for n in 0..100 {
        assert_eq!(readable.next().await.unwrap().unwrap(), format!("{n}").into());
    }
    SinkExt::<Message>::close(&mut writable).await.unwrap();
    assert!(readable.next().await.is_none());
    assert_eq!(wss.closed().await.unwrap().close_code, CloseCode::NO_STATUS);
    server.await.unwrap();
}

#[tokio::test]
async fn a_close_by_the_server_ends_both_streams() {
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    server.send(&frame(CLOSE, b"")).await;
    let Opened { readable, writable, .. } = wss.opened().await.unwrap();
    assert_eq!(server.frame().await.unwrap().0, CLOSE);
    drop(server);
    assert_eq!(readable.read().await.unwrap(), None);
    assert!(matches!(writable.write("x").await, Err(WebSocketError::Closed)));
    assert_eq!(wss.closed().await.unwrap().close_code, CloseCode::NO_STATUS);
    writable.close().await.unwrap();
}

#[tokio::test]
async fn an_unclean_end_is_an_error_everywhere() {
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    server.send(&frame(TEXT, b"before")).await;
    drop(server);
    let Opened { readable, writable, .. } = wss.opened().await.unwrap();
    let lost = |error: &WebSocketError| {
        let WebSocketError::Failed(failure) = error else {
            panic!("{error:?}")
        };
        assert!(
            matches!(**failure, Failure::Connection(Error::ConnectionLost)),
            "{failure:?}"
        );
        assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
    };
    lost(&wss.closed().await.unwrap_err());
    assert_eq!(readable.read().await.unwrap(), Some("before".into()));
    lost(&readable.read().await.unwrap_err());
    assert_eq!(readable.read().await.unwrap(), None);
    lost(&writable.write("x").await.unwrap_err());
    lost(&writable.close().await.unwrap_err());
}

#[tokio::test]
async fn a_failed_attempt_rejects_both_promises() {
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    drop(answer(&listener, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await);
    for error in [
        wss.opened().await.map(|_| ()).unwrap_err(),
        wss.closed().await.unwrap_err(),
    ] {
        let WebSocketError::Failed(failure) = error else {
            panic!("{error:?}")
        };
        assert!(matches!(*failure, Failure::Connect(_)));
    }
    // Nothing happens.
    wss.close(None, "").unwrap();
}

#[tokio::test]
async fn a_close_before_it_is_open_gives_up() {
    let (_listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    assert_eq!(wss.close(1001, ""), Err(Exception::InvalidAccessError { code: 1001 }));
    wss.close(None, "").unwrap();
    let error = wss.opened().await.unwrap_err();
    assert!(matches!(error, WebSocketError::Failed(failure) if matches!(*failure, Failure::Cancelled)));
    assert!(wss.closed().await.is_err());
}

#[tokio::test]
async fn a_write_is_done_once_buffered_and_waits_while_too_much_is() {
    let (listener, url) = listen_narrow();
    let wss = WebSocketStream::new(&url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    let Opened { writable, .. } = wss.opened().await.unwrap();
    // More than a transport takes that nobody reads from; the first is always taken.
    writable.write(vec![1; 12 << 20]).await.unwrap();
    {
        let mut second = pin!(writable.write("second"));
        for _ in 0..1000 {
            let polled = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            tokio::task::yield_now().await;
        }
        let reading = async {
            assert_eq!(server.message().await.unwrap().1.len(), 12 << 20);
        };
        let (written, ()) = tokio::join!(second, reading);
        written.unwrap();
    }
    assert_eq!(server.frame().await, Some((TEXT, b"second".to_vec())));
    // One that was dropped before it was done has written nothing.
    writable.write(vec![1; 12 << 20]).await.unwrap();
    let mut dropped = Box::pin(writable.write("dropped"));
    assert!(poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await.is_pending());
    drop(dropped);
    wss.close(1000, "").unwrap();
    assert_eq!(server.message().await.unwrap().1.len(), 12 << 20);
    assert_eq!(server.frame().await, Some((CLOSE, close_body(1000, ""))));
}

#[tokio::test]
async fn what_is_not_read_makes_the_server_wait() {
    const ALL: usize = 32 << 20;
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    let server = Raw::accept(&listener).await;
    let Opened { readable, .. } = wss.opened().await.unwrap();
    let sending = send_until_it_waits(server, ALL).await;
    let mut messages = 0;
    while readable.read().await.unwrap().is_some() {
        messages += 1;
    }
    assert_eq!(messages, ALL / 1024);
    assert_eq!(sending.await.unwrap().unwrap().0, CLOSE);
}

#[tokio::test]
async fn a_cancelled_readable_closes_and_discards() {
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    let Opened { readable, .. } = wss.opened().await.unwrap();
    server.send(&frame(TEXT, &[b'x'; 1000]).repeat(1000)).await;
    readable.cancel(3000, "enough").unwrap();
    assert_eq!(server.frame().await, Some((CLOSE, close_body(3000, "enough"))));
    server.send(&close_frame(3000, "")).await;
    drop(server);
    assert_eq!(readable.read().await.unwrap(), None);
    assert_eq!(wss.closed().await.unwrap().close_code.as_u16(), 3000);
}

#[tokio::test]
async fn a_closing_stream_that_nobody_reads_ends() {
    for (patience, clean) in [(5, false), (60, true)] {
        let (listener, url) = listen().await;
        let client = Client::builder()
            .close_timeout(Duration::from_secs(patience))
            .build()
            .unwrap();
        let wss = WebSocketStream::with_client(&client, &url, ()).unwrap();
        let mut server = Raw::accept(&listener).await;
        let Opened { readable, .. } = wss.opened().await.unwrap();
        wss.close(1000, "").unwrap();
        assert_eq!(server.frame().await.unwrap().0, CLOSE);
        server
            .send(&[frame(TEXT, &[b'x'; 1000]).repeat(300), close_frame(1000, "")].concat())
            .await;
        drop(server);
        tokio::time::pause();
        assert_eq!(wss.closed().await.is_ok(), clean);
        assert_eq!(readable.read().await.is_ok(), clean);
        assert_eq!(readable.read().await.unwrap(), None);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn dropped_it_goes_away() {
    let (listener, url) = listen().await;
    let wss = WebSocketStream::new(&url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    let Opened { readable, writable, .. } = wss.opened().await.unwrap();
    drop(wss);
    drop(readable);
    writable.write("last words").await.unwrap();
    drop(writable);
    assert_eq!(server.frame().await, Some((TEXT, b"last words".to_vec())));
    assert_eq!(server.frame().await, Some((CLOSE, close_body(1001, ""))));
}
