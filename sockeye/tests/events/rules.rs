//! Rules 1 to 7: URL, protocols, handshake, states, sending, what is buffered, binary messages.

use sockeye::events::{BinaryType, Data, Event, Exception, Failure, ReadyState, SyntaxError, WebSocket};
use sockeye::handshake::HandshakeError;
use sockeye::uri::UriError;
use sockeye::{Client, ConnectError, Receive};

use crate::common::{
    BINARY, CLOSE, Raw, TEXT, accept, answer, close_frame, connecting, expect, frame, header, life, listen,
    listen_narrow, log, nothing_happens, open,
};

#[tokio::test]
async fn rule_01_the_url_is_serialised_as_ws_or_wss() {
    for (given, url) in [
        ("ws://example.com", "ws://example.com/"),
        ("wss://example.com/chat?room=1", "wss://example.com/chat?room=1"),
        ("http://example.com/", "ws://example.com/"),
        ("https://example.com/", "wss://example.com/"),
        ("HTTP://EXAMPLE.com:80", "ws://example.com/"),
        ("https://example.com:443/a", "wss://example.com/a"),
        ("http://example.com:443/", "ws://example.com:443/"),
        ("ws://[2001:DB8::1]:9000/", "ws://[2001:db8::1]:9000/"),
        ("http://user:p%40ss@example.com/", "ws://user:p%40ss@example.com/"),
    ] {
        assert_eq!(WebSocket::new(given, ()).unwrap().url(), url);
    }
}

#[tokio::test]
async fn rule_01_other_urls_are_syntax_errors() {
    for (url, cause) in [
        ("ftp://example.com/", UriError::Scheme),
        ("example.com", UriError::Scheme),
        ("/chat", UriError::Scheme),
        ("", UriError::Scheme),
        ("ws://", UriError::Host),
        ("ws://example.com:99999/", UriError::Port),
        ("ws://example.com/a b", UriError::IllegalByte(b' ')),
        ("ws://example.com/#there", UriError::Fragment),
        ("https://example.com/#", UriError::Fragment),
    ] {
        let error = WebSocket::new(url, ()).unwrap_err();
        assert_eq!(error, Exception::SyntaxError(SyntaxError::Url(cause)), "{url}");
        assert_eq!(error.name(), "SyntaxError");
    }
}

#[tokio::test]
async fn rule_01_an_http_url_connects() {
    let (listener, url) = listen().await;
    let ws = WebSocket::new(&url.replace("ws://", "http://"), ()).unwrap();
    assert_eq!(ws.url(), url);
    let (_server, event) = tokio::join!(accept(&listener), ws.next_event());
    assert!(matches!(event, Some(Event::Open)), "{event:?}");
}

#[test]
fn outside_a_runtime_the_constructor_answers() {
    assert_eq!(WebSocket::new("ws://127.0.0.1/", ()).unwrap_err(), Exception::NoRuntime);
}

#[tokio::test]
async fn rule_02_protocols_are_offered_as_given() {
    let (listener, url) = listen().await;
    let one = WebSocket::new(&url, "chat").unwrap();
    let server = Raw::accept_with(&listener, "Sec-WebSocket-Protocol: chat\r\n").await;
    assert_eq!(header(&server.head, "Sec-WebSocket-Protocol"), Some("chat"));
    expect(&one, "open").await;
    assert_eq!(one.protocol(), "chat");

    let two = WebSocket::new(&url, ["chat.v2", "chat"]).unwrap();
    let server = Raw::accept_with(&listener, "Sec-WebSocket-Protocol: chat\r\n").await;
    assert_eq!(header(&server.head, "Sec-WebSocket-Protocol"), Some("chat.v2, chat"));
    expect(&two, "open").await;
    assert_eq!(two.protocol(), "chat");

    let none = WebSocket::new(&url, ()).unwrap();
    let server = Raw::accept(&listener).await;
    assert_eq!(header(&server.head, "Sec-WebSocket-Protocol"), None);
    expect(&none, "open").await;
    assert_eq!(none.protocol(), "");
}

#[tokio::test]
async fn rule_02_protocols_are_tokens_and_unique() {
    for name in ["", "a b", "a,b", "chat\r\n", "(chat)", "schön", "a/b"] {
        let error = WebSocket::new("ws://127.0.0.1/", name).unwrap_err();
        assert_eq!(error, Exception::SyntaxError(SyntaxError::Protocol(name.into())));
    }
    for names in [["chat", "chat"], ["chat", "CHAT"]] {
        let error = WebSocket::new("ws://127.0.0.1/", names).unwrap_err();
        let repeated = SyntaxError::ProtocolRepeated(names[1].into());
        assert_eq!(error, Exception::SyntaxError(repeated));
    }
    // Also with those that the client would offer anyway.
    let client = Client::builder().subprotocol("chat").build().unwrap();
    let error = WebSocket::with_client(&client, "ws://127.0.0.1/", "chat").unwrap_err();
    assert_eq!(error.name(), "SyntaxError");
}

#[tokio::test]
async fn rule_03_any_status_but_101_fails() {
    for status in [
        "200 OK",
        "204 No Content",
        "302 Found",
        "401 Unauthorized",
        "503 Service Unavailable",
    ] {
        let (listener, url) = listen().await;
        let ws = WebSocket::new(&url, ()).unwrap();
        let log = log(&ws);
        let response = format!("HTTP/1.1 {status}\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
        drop(answer(&listener, &response).await);
        assert_eq!(
            life(&ws, &log).await,
            ["error 3", "close 3 1006 \"\" unclean"],
            "{status}"
        );
        assert!(matches!(*ws.failure().unwrap(), Failure::Connect(_)));
    }
}

#[tokio::test]
async fn rule_03_redirects_fail_also_where_the_client_follows_them() {
    let (listener, url) = listen().await;
    let client = Client::builder().follow_redirects(5).build().unwrap();
    let ws = WebSocket::with_client(&client, &url, ()).unwrap();
    let log = log(&ws);
    let response = format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
    drop(answer(&listener, &response).await);
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    let failure = ws.failure().unwrap();
    let Failure::Connect(ConnectError::Refused(refusal)) = &*failure else {
        panic!("{failure:?}")
    };
    assert_eq!(refusal.status(), 302);
}

#[tokio::test]
async fn rule_03_a_protocol_is_chosen_if_any_was_offered() {
    let (listener, url) = listen().await;
    let ws = WebSocket::new(&url, ["chat.v2", "chat"]).unwrap();
    let log = log(&ws);
    let mut server = Raw::accept(&listener).await;
    assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
    assert!(matches!(*ws.failure().unwrap(), Failure::NoProtocol));
    assert_eq!(server.frame().await, None);
}

#[tokio::test]
async fn rule_03_a_protocol_that_was_not_offered_fails() {
    for offered in [vec![], vec!["chat"]] {
        let (listener, url) = listen().await;
        let ws = WebSocket::new(&url, offered).unwrap();
        let log = log(&ws);
        let _server = Raw::accept_with(&listener, "Sec-WebSocket-Protocol: talk\r\n").await;
        assert_eq!(life(&ws, &log).await, ["error 3", "close 3 1006 \"\" unclean"]);
        let failure = ws.failure().unwrap();
        let expected = HandshakeError::SubprotocolNotOffered;
        assert!(
            matches!(&*failure, Failure::Connect(ConnectError::Handshake(error)) if *error == expected),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn rule_04_states_change_by_events() {
    let (listener, url) = listen().await;
    let ws = WebSocket::new(&url, "chat").unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Connecting);
    let mut server = Raw::accept_with(&listener, "Sec-WebSocket-Protocol: chat\r\n").await;
    // Whatever the task knows by now, nothing has been dispatched.
    tokio::task::yield_now().await;
    assert_eq!(ws.ready_state().as_u16(), 0);
    assert_eq!((ws.protocol().as_str(), ws.extensions().as_str()), ("", ""));
    expect(&ws, "open").await;
    assert_eq!(ws.ready_state().as_u16(), 1);
    assert_eq!(ws.protocol(), "chat");

    server.send(&close_frame(1001, "")).await;
    assert_eq!(server.frame().await.unwrap().0, CLOSE);
    // The server's Close has come, and the transport is still there.
    assert_eq!(ws.ready_state().as_u16(), 1);
    nothing_happens(&ws).await;
    assert_eq!(ws.ready_state().as_u16(), 2);
    drop(server);
    expect(&ws, "close").await;
    assert_eq!(ws.ready_state().as_u16(), 3);
    assert!(ws.next_event().await.is_none());
}

#[tokio::test]
async fn rule_04_close_sets_closing_at_once() {
    let (ws, listener) = connecting().await;
    let _server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    ws.close(None, "").unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Closing);
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn rule_04_attributes_are_set_before_open_fires() {
    let (listener, url) = listen().await;
    let options = sockeye::DeflateOptions::client();
    let client = Client::builder().deflate(options).build().unwrap();
    let ws = WebSocket::with_client(&client, &url, "chat").unwrap();
    assert_eq!(ws.extensions(), "");
    let (seen, told) = std::sync::mpsc::channel();
    ws.on_open(move |ws| {
        seen.send((ws.ready_state(), ws.protocol(), ws.extensions())).unwrap();
    });
    let headers = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let _server = Raw::accept_with(&listener, headers).await;
    expect(&ws, "open").await;
    let expected = (ReadyState::Open, "chat".to_owned(), "permessage-deflate".to_owned());
    assert_eq!(told.recv().unwrap(), expected);
}

#[tokio::test]
async fn rule_05_sending_depends_on_the_state() {
    let (ws, listener) = connecting().await;
    let mut server = Raw::accept(&listener).await;
    assert_eq!(ws.send("early"), Err(Exception::InvalidStateError));
    assert_eq!(ws.buffered_amount(), 0);
    expect(&ws, "open").await;
    ws.send("in time").unwrap();
    assert_eq!(server.frame().await, Some((TEXT, b"in time".to_vec())));

    ws.close(1000, "").unwrap();
    let before = ws.buffered_amount();
    ws.send("late").unwrap();
    assert_eq!(ws.buffered_amount(), before + 4);
    assert_eq!(server.frame().await, Some((CLOSE, vec![3, 232])));
    server.send(&close_frame(1000, "")).await;
    drop(server);
    expect(&ws, "close").await;
    ws.send(vec![0; 100]).unwrap();
    assert_eq!(ws.buffered_amount(), 104);
}

#[tokio::test]
async fn rule_06_the_buffered_amount_is_payload() {
    let (ws, mut server) = open().await;
    // The task of the connection shares this thread, and has no turn in between.
    ws.send("🐟").unwrap();
    ws.send(vec![0; 70_000]).unwrap();
    ws.send("").unwrap();
    assert_eq!(ws.buffered_amount(), 70_004);
    for length in [4, 70_000, 0] {
        assert_eq!(server.frame().await.unwrap().1.len(), length);
    }
    assert_eq!(ws.buffered_amount(), 0);
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn rule_06_compression_does_not_change_what_is_counted() {
    let (listener, url) = listen().await;
    let options = sockeye::DeflateOptions::client();
    let client = Client::builder().deflate(options).build().unwrap();
    let ws = WebSocket::with_client(&client, &url, ()).unwrap();
    let mut server = Raw::accept_with(&listener, "Sec-WebSocket-Extensions: permessage-deflate\r\n").await;
    expect(&ws, "open").await;
    ws.send(vec![0; 70_000]).unwrap();
    ws.send("🐟").unwrap();
    assert_eq!(ws.buffered_amount(), 70_004);
    let (first, payload) = server.frame().await.unwrap();
    assert!(
        first == 0xc2 && payload.len() < 1000,
        "{first:#x}, {} bytes",
        payload.len()
    );
    server.frame().await.unwrap();
    assert_eq!(ws.buffered_amount(), 0);
}

#[tokio::test]
async fn rule_06_the_buffered_amount_falls_as_the_network_takes_bytes_and_stays_after_the_end() {
    let (listener, url) = listen_narrow();
    let ws = WebSocket::new(&url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    let size = 12 << 20;
    ws.send(vec![1; size]).unwrap();
    ws.send("behind it").unwrap();
    let whole = size as u64 + 9;
    assert_eq!(ws.buffered_amount(), whole);
    // The server takes a part, so the transport has taken at least as much.
    let mut part = vec![0; 1 << 20];
    tokio::io::AsyncReadExt::read_exact(&mut server.io, &mut part)
        .await
        .unwrap();
    let left = ws.buffered_amount();
    // Of the server's bytes some are headers of frames of 256 KiB, which do not count.
    assert!(left > 9 && left <= whole - (part.len() as u64 - 5 * 14), "{left}");
    drop(server);
    expect(&ws, "error").await;
    expect(&ws, "close").await;
    let left = ws.buffered_amount();
    assert!(left > 9 && left < whole, "{left}");
    ws.send("x").unwrap();
    assert_eq!(ws.buffered_amount(), left + 1);
}

#[tokio::test]
async fn a_large_message_lets_a_pong_pass() {
    let (listener, url) = listen_narrow();
    let ws = WebSocket::new(&url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    // Characters of three bytes, which no fragment cuts.
    let text = "→".repeat(4 << 20);
    ws.send(text.as_str()).unwrap();
    ws.send("behind it").unwrap();
    server.send(&frame(0x89, b"are you there?")).await;
    let (mut payload, mut frames, mut pong_before_end) = (Vec::new(), 0, false);
    loop {
        let (first, bytes) = server.frame().await.unwrap();
        if first == 0x8a {
            assert_eq!(bytes, b"are you there?");
            pong_before_end = payload.len() < text.len();
            continue;
        }
        assert!(std::str::from_utf8(&bytes).is_ok());
        payload.extend(bytes);
        frames += 1;
        if first & 0x80 != 0 {
            break;
        }
    }
    assert!(payload == text.as_bytes() && pong_before_end);
    assert_eq!(frames, 49);
    assert_eq!(server.frame().await, Some((TEXT, b"behind it".to_vec())));
    assert_eq!(ws.buffered_amount(), 0);
}

#[tokio::test]
async fn rule_07_the_binary_type_is_read_when_a_message_is_dispatched() {
    let (ws, listener) = connecting().await;
    assert_eq!(ws.binary_type().as_str(), "blob");
    let mut server = Raw::accept(&listener).await;
    let two = [frame(BINARY, b"one"), frame(BINARY, b"two"), frame(TEXT, b"text")].concat();
    server.send(&two).await;
    expect(&ws, "open").await;
    let Event::Message(first) = expect(&ws, "message").await else {
        unreachable!()
    };
    let Data::Blob(blob) = first.data else {
        panic!("{first:?}")
    };
    assert_eq!(&blob.into_bytes()[..], b"one");

    ws.set_binary_type(BinaryType::ArrayBuffer);
    let Event::Message(second) = expect(&ws, "message").await else {
        unreachable!()
    };
    assert_eq!(second.data, Data::ArrayBuffer(b"two".as_slice().into()));
    let Event::Message(third) = expect(&ws, "message").await else {
        unreachable!()
    };
    assert_eq!(third.data.as_text(), Some("text"));
}

#[tokio::test]
async fn rule_07_a_blob_may_come_in_pieces() {
    let (listener, url) = listen().await;
    let client = Client::builder().receive(Receive::Chunks).build().unwrap();
    let ws = WebSocket::with_client(&client, &url, ()).unwrap();
    let mut server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    let pieces = [
        frame(0x02, b"up"),
        frame(0x00, b""),
        frame(0x80, b"stream"),
        frame(0x02, b"down"),
        frame(0x80, b"stream"),
        frame(0x01, &"→".as_bytes()[..1]),
        frame(0x80, &"→".as_bytes()[1..]),
    ];
    server.send(&pieces.concat()).await;
    let Event::Message(first) = expect(&ws, "message").await else {
        unreachable!()
    };
    let Data::Blob(blob) = first.data else {
        panic!("{first:?}")
    };
    assert_eq!(
        blob.chunks().map(|chunk| &chunk[..]).collect::<Vec<_>>(),
        [&b"up"[..], b"stream"]
    );
    assert_eq!(blob.size(), 8);

    ws.set_binary_type(BinaryType::ArrayBuffer);
    let Event::Message(second) = expect(&ws, "message").await else {
        unreachable!()
    };
    assert_eq!(second.data, Data::ArrayBuffer(b"downstream".as_slice().into()));
    let Event::Message(third) = expect(&ws, "message").await else {
        unreachable!()
    };
    assert_eq!(third.data.as_text(), Some("→"));
}
