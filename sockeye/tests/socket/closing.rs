//! Who closed, with what code and reason, and what an end without a Close looks like.

use sockeye::{CloseCode, CloseState, ClosedBy, Error, ServerOptions, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{CLOSE, REQUEST, Raw, TEXT, masked, options, pair, read_head, unmasked};

#[tokio::test]
async fn both_ends_tell_codes_reasons_and_who_closed() {
    let (mut near, mut far) = pair(1024).await;
    assert_eq!((near.closed_by(), near.close_sent()), (None, None));
    let closing = near.close(CloseCode::new(4001), "done here");
    let (closed, received) = tokio::join!(closing, far.recv());
    closed.unwrap();
    assert_eq!(received.unwrap(), None);
    assert_eq!(
        (near.closed_by(), far.closed_by()),
        (Some(ClosedBy::Us), Some(ClosedBy::Peer))
    );
    for code in [
        near.close_sent(),
        near.close_received(),
        far.close_sent(),
        far.close_received(),
    ] {
        assert_eq!(code, Some(CloseCode::new(4001)));
    }
    assert_eq!(
        (near.close_reason_sent(), near.close_reason_received()),
        ("done here", "")
    );
    assert_eq!(
        (far.close_reason_sent(), far.close_reason_received()),
        ("", "done here")
    );
    assert_eq!((near.state(), far.state()), (CloseState::Closed, CloseState::Closed));
}

/// RFC 6455 §7.1.5, §7.1.1: two Closes that cross are both a first one; each end has sent before it received.
#[tokio::test]
async fn both_ends_close_at_once() {
    let (mut near, mut far) = pair(1024).await;
    let (a, b) = tokio::join!(
        near.close(CloseCode::NORMAL, "near"),
        far.close(CloseCode::GOING_AWAY, "far")
    );
    a.unwrap();
    b.unwrap();
    assert_eq!(near.closed_by(), Some(ClosedBy::Us));
    assert_eq!(near.close_reason_sent(), "near");
    // Either it was polled before the other's Close came, or it answered it.
    let crossed = far.closed_by() == Some(ClosedBy::Us);
    assert_eq!(far.close_sent() == Some(CloseCode::GOING_AWAY), crossed);
    assert_eq!(far.close_reason_received(), "near");
}

#[tokio::test]
async fn a_violation_tells_what_was_said_about_it() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let (sender, mut receiver) = ws.unwrap().split();
    peer.send(&unmasked(TEXT, b"unmasked")).await;
    peer.io.shutdown().await.unwrap();
    assert!(matches!(receiver.recv().await, Err(Error::Protocol(_))));
    let (first, body) = peer.frame().await.unwrap();
    assert_eq!((first, &body[..2]), (CLOSE, &1002_u16.to_be_bytes()[..]));
    for (code, by) in [
        (sender.close_sent(), sender.closed_by()),
        (receiver.close_sent(), receiver.closed_by()),
    ] {
        assert_eq!((code, by), (Some(CloseCode::PROTOCOL_ERROR), Some(ClosedBy::Us)));
    }
    assert_eq!(sender.close_reason_sent().as_bytes(), &body[2..]);
    assert_eq!(sender.close_received(), None);
}

/// The peer ends its side of the transport and would still read: WebSocket has no such state, the connection is lost.
#[tokio::test]
async fn a_transport_half_closed_without_a_close_is_lost() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    peer.send(&masked(TEXT, b"last words")).await;
    peer.io.shutdown().await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("last words".into()));
    let lost = ws.recv().await.unwrap_err();
    assert!(matches!(lost, Error::ConnectionLost));
    assert_eq!(lost.close_code(), Some(CloseCode::ABNORMAL));
    assert_eq!((ws.closed_by(), ws.state()), (None, CloseState::Closed));
    assert!(ws.send("nobody knows").await.is_err());
}

/// The peer's side of the transport ends right behind its Close, which is answered all the same.
#[tokio::test]
async fn a_transport_half_closed_behind_a_close_gets_the_answer() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    peer.send(&masked(CLOSE, b"\x03\xe8bye")).await;
    peer.io.shutdown().await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(peer.close_code().await, Some(1000));
    assert_eq!(ws.close_reason_received(), "bye");
}

#[tokio::test]
async fn a_connection_that_is_dropped_ends_without_a_close() {
    let (near, mut far) = pair(1024).await;
    drop(near);
    assert!(matches!(far.recv().await, Err(Error::ConnectionLost)));
    assert_eq!(far.close_received(), None);
}

#[tokio::test]
async fn halves_reunite_if_they_are_the_only_ones() {
    let (near, mut far) = pair(1024).await;
    let (sender, receiver) = near.split();
    assert_eq!(sender.headers().iter().count(), receiver.headers().iter().count());
    assert_eq!((sender.subprotocol(), receiver.is_compressed()), (None, false));
    let clone = sender.clone();
    let error = receiver.reunite(sender).unwrap_err();
    drop(clone);
    let (sender, receiver) = (error.0, error.1);
    let (other, _receiver) = pair(1024).await.0.split();
    let error = receiver.reunite(other).unwrap_err();
    let mut near = error.1.reunite(sender).unwrap();
    near.send("one again").await.unwrap();
    assert_eq!(far.recv().await.unwrap(), Some("one again".into()));
}

#[tokio::test]
async fn prepared_messages_go_to_whole_and_split_connections() {
    let prepared = sockeye::Prepared::new("for all");
    let (mut one, mut first) = pair(1024).await;
    let (two, mut second) = pair(1024).await;
    let (two, _receiver) = two.split();
    one.send_prepared(&prepared).await.unwrap();
    two.send_prepared(&prepared).await.unwrap();
    assert_eq!(first.recv().await.unwrap(), Some("for all".into()));
    assert_eq!(second.recv().await.unwrap(), Some("for all".into()));
}

/// Encoded once and compressed once: the same bytes go to all who negotiated compression, whatever else they agreed on.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_prepared_message_is_compressed_once() {
    let options = sockeye::DeflateOptions::server();
    let text = "to all ".repeat(100);
    let prepared = sockeye::Prepared::new(text.as_str()).with_compression(&options);
    assert_eq!(prepared.shared_frame(15).as_ptr(), prepared.shared_frame(15).as_ptr());
    let server = ServerOptions::builder().deflate(options).build().unwrap();
    let mut frames = Vec::new();
    for extensions in [
        "",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    ] {
        let (near, mut far) = tokio::io::duplex(4096);
        let request = String::from_utf8(REQUEST.to_vec()).unwrap();
        let request = request.replacen("Connection", &format!("{extensions}Connection"), 1);
        far.write_all(request.as_bytes()).await.unwrap();
        let mut ws = accept(near, &server).await.unwrap();
        let head = read_head(&mut far).await;
        assert_eq!(head.contains("permessage-deflate"), !extensions.is_empty());
        ws.send_prepared(&prepared).await.unwrap();
        let mut frame = vec![0; prepared.shared_frame(if extensions.is_empty() { 0 } else { 15 }).len()];
        far.read_exact(&mut frame).await.unwrap();
        frames.push(frame);
    }
    assert_eq!(frames[0], **prepared.plain_frame());
    assert_eq!(frames[0][0], TEXT);
    assert_eq!(frames[1][0], TEXT | 0x40);
    assert!(frames[1].len() < text.len() / 5);
    assert_eq!(frames[1], frames[2]);
    assert_eq!(frames[1], **prepared.shared_frame(15));
}
