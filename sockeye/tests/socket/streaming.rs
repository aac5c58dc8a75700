//! Messages of any length in pieces, both ways, and connections as streams of bytes.

use sockeye::{
    CloseCode, Error, Event, Message, MessageKind, ProtocolError, SendError, ServerOptions, WebSocket, accept,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::common::{CLOSE, Hesitant, PING, PONG, Raw, TEXT, at_most, masked, options, pair, pair_over};

async fn served() -> (WebSocket<DuplexStream>, Raw<DuplexStream>) {
    let (near, far) = tokio::io::duplex(4096);
    let (_, server) = options(false);
    let (ws, peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    (ws.unwrap(), peer)
}

fn bytes(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n % 249) as u8).collect()
}

#[tokio::test]
async fn a_reader_gives_out_what_has_arrived() {
    let (mut ws, mut peer) = served().await;
    let frame = masked(0x01, &[&[b'a'; 10][..], "é".as_bytes()].concat());
    // The frame is not whole, and a character neither.
    peer.send(&frame[..frame.len() - 1]).await;
    let mut message = ws.read_message().await.unwrap().unwrap();
    assert_eq!(message.kind(), MessageKind::Text);
    assert_eq!(
        message.chunk().await.unwrap().unwrap(),
        "aaaaaaaaaa\u{e9}".as_bytes()[..11]
    );
    assert!(at_most(3, message.chunk()).await.is_none());
    peer.send(&frame[frame.len() - 1..]).await;
    assert_eq!(message.chunk().await.unwrap().unwrap(), [0xa9][..]);
    peer.send(&masked(PING, b"?")).await;
    peer.send(&masked(0x80, b"end")).await;
    assert_eq!(message.chunk().await.unwrap().unwrap(), b"end"[..]);
    assert_eq!(message.chunk().await.unwrap(), None);
    assert_eq!(message.chunk().await.unwrap(), None);
    // The answer to the ping leaves with what is done next.
    assert!(at_most(1, ws.recv()).await.is_none());
    assert_eq!(peer.frame().await.unwrap(), (PONG, b"?".to_vec()));
}

#[tokio::test]
async fn a_reader_fills_the_callers_buffer() {
    let (mut ws, mut peer) = served().await;
    peer.send(&masked(0x02, &bytes(1000))).await;
    peer.send(&masked(0x80, b"")).await;
    let mut message = ws.read_message().await.unwrap().unwrap();
    let mut buffer = [0; 300];
    let mut all = Vec::new();
    loop {
        let length = message.read(&mut buffer).await.unwrap();
        if length == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..length]);
    }
    assert_eq!(all, bytes(1000));
}

/// Whole messages and pieces in turn, and readers that are dropped before the end.
#[tokio::test]
async fn what_is_not_read_is_passed_over() {
    let (mut ws, mut peer) = served().await;
    for text in ["one", "two", "three", "four", "five"] {
        peer.send(&masked(0x01, text.as_bytes())).await;
        peer.send(&masked(0x80, b"!")).await;
    }
    assert_eq!(ws.recv().await.unwrap(), Some("one!".into()));
    drop(ws.read_message().await.unwrap().unwrap());
    assert_eq!(ws.recv().await.unwrap(), Some("three!".into()));
    let mut message = ws.read_message().await.unwrap().unwrap();
    assert_eq!(message.chunk().await.unwrap().unwrap(), b"four"[..]);
    let mut text = String::new();
    let mut message = ws.read_message().await.unwrap().unwrap();
    message.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "five!");
    peer.send(&masked(0x01, b"six")).await;
    drop(ws.read_message().await.unwrap().unwrap());
    peer.send(&[masked(PONG, b""), masked(0x80, b"!")].concat()).await;
    assert!(matches!(ws.next_event().await.unwrap(), Some(Event::Pong(_))));
    assert!(at_most(3, ws.next_event()).await.is_none());
    peer.send(&masked(TEXT, b"small")).await;
    assert_eq!(ws.recv().await.unwrap(), Some("small".into()));
    peer.send(&masked(CLOSE, b"")).await;
    assert!(ws.read_message().await.unwrap().is_none());
}

/// A message that `recv` had begun to receive as a whole comes as one chunk.
#[tokio::test]
async fn a_reader_takes_over_from_recv() {
    let (mut ws, mut peer) = served().await;
    peer.send(&masked(0x01, b"begun ")).await;
    assert!(at_most(3, ws.recv()).await.is_none());
    peer.send(&masked(0x80, b"and done")).await;
    let mut message = ws.read_message().await.unwrap().unwrap();
    assert_eq!(message.chunk().await.unwrap().unwrap(), b"begun and done"[..]);
    assert_eq!(message.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_close_within_a_message_is_an_error() {
    let (mut ws, mut peer) = served().await;
    peer.send(&masked(0x02, b"begun")).await;
    peer.send(&masked(CLOSE, b"")).await;
    peer.io.shutdown().await.unwrap();
    let mut message = ws.read_message().await.unwrap().unwrap();
    let error = message.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    let error = error.get_ref().unwrap().downcast_ref::<Error>();
    assert!(matches!(error, Some(Error::MessageIncomplete)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn text_in_pieces_is_checked_as_it_arrives() {
    let (mut ws, mut peer) = served().await;
    peer.send(&masked(0x01, b"good\xff")).await;
    let error = ws.read_message().await.unwrap_err();
    assert!(
        matches!(error, Error::Protocol(ProtocolError::InvalidUtf8)),
        "{error:?}"
    );
    assert_eq!(peer.close_code().await, Some(1007));
}

/// M12: pieces have a limit of their own, which whole messages have not.
#[tokio::test(start_paused = true)]
async fn m12_the_limits_of_pieces_and_whole_messages() {
    let server = || {
        ServerOptions::builder()
            .max_message_size(100)
            .max_chunked_size(1000)
            .build()
            .unwrap()
    };
    for (length, whole, in_pieces) in [(100, true, true), (101, false, true), (1001, false, false)] {
        for read in [false, true] {
            let (near, far) = tokio::io::duplex(4096);
            let server = server();
            let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
            let mut ws = ws.unwrap();
            peer.send(&masked(0x82, &vec![7; length])).await;
            let received = if read {
                match ws.read_message().await {
                    Ok(message) => {
                        let mut all = Vec::new();
                        message.unwrap().read_to_end(&mut all).await.map(|_| ())
                    }
                    Err(error) => Err(error.into()),
                }
            } else {
                ws.recv().await.map(|_| ()).map_err(Into::into)
            };
            assert_eq!(
                received.is_ok(),
                if read { in_pieces } else { whole },
                "{length} {read}"
            );
            if received.is_err() {
                assert_eq!(peer.close_code().await, Some(1009));
            }
        }
    }
}

#[tokio::test]
async fn a_writer_sends_frames_as_they_fill_and_what_is_flushed() {
    let (mut ws, mut peer) = served().await;
    let writing = tokio::spawn(async move {
        let mut message = ws.write_message(MessageKind::Text);
        // Cut inside a character.
        message.write_all(b"na\xc3").await.unwrap();
        message.flush().await.unwrap();
        message.write_all(b"\xafve").await.unwrap();
        message.flush().await.unwrap();
        message.write_all("x".repeat(20_000).as_bytes()).await.unwrap();
        message.finish().await.unwrap();
        ws.send("next").await.unwrap();
        ws
    });
    assert_eq!(peer.frame().await.unwrap(), (0x01, b"na".to_vec()));
    assert_eq!(peer.frame().await.unwrap(), (0x00, "ïve".as_bytes().to_vec()));
    assert_eq!(peer.frame().await.unwrap(), (0x00, vec![b'x'; 16 * 1024]));
    assert_eq!(peer.frame().await.unwrap(), (0x80, vec![b'x'; 20_000 - 16 * 1024]));
    assert_eq!(peer.frame().await.unwrap(), (0x81, b"next".to_vec()));
    writing.await.unwrap();
}

#[tokio::test]
async fn a_writer_of_text_refuses_what_is_not() {
    let (mut near, _far) = pair(1024).await;
    let mut message = near.write_message(MessageKind::Text);
    message.write_all(b"\xc3\xc3").await.unwrap();
    assert_eq!(
        message.flush().await.unwrap_err().kind(),
        std::io::ErrorKind::InvalidData
    );
    drop(message);
    // Nothing of it was sent.
    near.send("fine").await.unwrap();
    let mut message = near.write_message(MessageKind::Text);
    message.write_all(b"\xc3").await.unwrap();
    assert!(matches!(message.finish().await, Err(Error::Io(_))));
}

#[tokio::test]
async fn a_message_without_an_end_is_followed_by_a_close_only() {
    let (mut near, mut far) = pair(1024).await;
    let mut message = near.write_message(MessageKind::Binary);
    message.write_all(b"begun").await.unwrap();
    message.flush().await.unwrap();
    drop(message);
    let sent = near.send("next").await;
    assert!(
        matches!(sent, Err(Error::Send(SendError::MessageInProgress))),
        "{sent:?}"
    );
    near.ping(b"!").await.unwrap();
    let (closed, received) = tokio::join!(near.close(CloseCode::NORMAL, ""), far.recv());
    closed.unwrap();
    assert_eq!(received.unwrap(), None);
}

/// R2: other tasks wait until a writer is done or given up.
#[tokio::test]
async fn r2_messages_of_other_tasks_wait_for_the_end_of_one_in_pieces() {
    let (near, mut far) = pair(1024).await;
    let (sender, _receiver) = near.split();
    let mut message = sender.write_message(MessageKind::Text).await.unwrap();
    message.write_all(b"first").await.unwrap();
    let others: Vec<_> = (0..3)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move {
                sender.send("second").await?;
                let mut message = sender.write_message(MessageKind::Binary).await?;
                message.write_all(b"third").await.map_err(Error::Io)?;
                message.finish().await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(sender.try_send("no").unwrap(), sockeye::Delivery::Dropped);
    sender.ping(b"in between").await.unwrap();
    message.finish().await.unwrap();
    assert_eq!(far.recv().await.unwrap(), Some("first".into()));
    for _ in 0..6 {
        let message = far.recv().await.unwrap().unwrap();
        assert!(message == Message::from("second") || message == Message::from(&b"third"[..]));
    }
    for other in others {
        other.await.unwrap().unwrap();
    }
    // One that is given up after it has begun leaves them with an error rather than waiting.
    let mut message = sender.write_message(MessageKind::Text).await.unwrap();
    message.write_all(b"begun").await.unwrap();
    message.flush().await.unwrap();
    let other = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send("after").await }
    });
    tokio::task::yield_now().await;
    drop(message);
    assert!(matches!(
        other.await.unwrap(),
        Err(Error::Send(SendError::MessageInProgress))
    ));
}

/// Echoes one message piece by piece, each call dropped after so many polls.
async fn echo(ws: WebSocket<Hesitant<DuplexStream>>, polls: usize) {
    let (sender, mut receiver) = ws.split();
    let mut message = loop {
        if let Some(message) = at_most(polls, receiver.read_message()).await {
            break message.unwrap().unwrap();
        }
    };
    let mut copy = sender.write_message(message.kind()).await.unwrap();
    loop {
        let Some(chunk) = at_most(polls, message.chunk()).await else {
            continue;
        };
        let Some(chunk) = chunk.unwrap() else { break };
        let mut left = &chunk[..];
        while !left.is_empty() {
            if let Some(written) = at_most(polls, copy.write(left)).await {
                left = &left[written.unwrap()..];
            }
        }
        let _ = at_most(polls, copy.flush()).await;
    }
    while at_most(polls, copy.shutdown()).await.transpose().unwrap().is_none() {}
    drop(copy);
    assert_eq!(receiver.recv().await.unwrap(), None);
}

/// R1: readers and writers whose futures are dropped at every await point lose nothing.
#[tokio::test]
async fn r1_readers_and_writers_cancelled_everywhere() {
    for deflate in [false, cfg!(feature = "deflate")] {
        for polls in 1..=8 {
            let (near, far) = tokio::io::duplex(48);
            let (mut near, far) = pair_over(Hesitant::new(near, 9), Hesitant::new(far, 11), deflate).await;
            let echo = tokio::spawn(echo(far, polls));
            let text = "grüße ".repeat(300);
            let (sent, received) = {
                let sent = near.send(text.clone()).await;
                (sent, near.recv().await)
            };
            sent.unwrap();
            assert_eq!(received.unwrap(), Some(text.into()));
            near.close(CloseCode::NORMAL, "").await.unwrap();
            echo.await.unwrap();
        }
    }
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_compressed_message_passes_in_pieces() {
    let (near, far) = tokio::io::duplex(4096);
    let deflate = sockeye::DeflateOptions::client();
    let client = sockeye::Client::builder().deflate(deflate).build().unwrap();
    let server = ServerOptions::builder()
        .deflate(sockeye::DeflateOptions::server())
        .max_chunked_size(1 << 30)
        .build()
        .unwrap();
    let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, &server));
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert!(near.is_compressed());
    let writing = tokio::spawn(async move {
        let mut message = near.write_message(MessageKind::Binary);
        for n in 0..1000 {
            message.write_all(&vec![(n % 7) as u8; 5000]).await.unwrap();
        }
        message.finish().await.unwrap();
        near
    });
    let mut message = far.read_message().await.unwrap().unwrap();
    let mut part = vec![0; 5000];
    for n in 0..1000 {
        message.read_exact(&mut part).await.unwrap();
        assert!(part.iter().all(|byte| *byte == (n % 7) as u8));
    }
    assert_eq!(message.chunk().await.unwrap(), None);
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_byte_stream_joins_binary_messages() {
    let (near, mut peer) = served().await;
    let mut stream = near.into_byte_stream();
    peer.send(&masked(0x82, b"one")).await;
    peer.send(&masked(0x02, b"tw")).await;
    peer.send(&masked(0x80, b"o")).await;
    peer.send(&masked(0x82, b"")).await;
    peer.send(&masked(0x82, b"three")).await;
    let mut read = [0; 11];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"onetwothree");
    stream.write_all(b"answer").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(peer.frame().await.unwrap(), (0x82, b"answer".to_vec()));
    stream.shutdown().await.unwrap();
    assert_eq!(peer.close_code().await, Some(1000));
    peer.send(&masked(0x82, b"late")).await;
    peer.send(&masked(CLOSE, b"")).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"late");
}

#[tokio::test]
async fn a_byte_stream_refuses_text_and_tells_a_lost_connection() {
    let (near, mut peer) = served().await;
    let mut stream = near.into_byte_stream();
    peer.send(&masked(TEXT, b"text")).await;
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    drop(stream);
    assert_eq!(peer.close_code().await, Some(1003));

    let (near, peer) = served().await;
    drop(peer);
    let error = near.into_byte_stream().read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

/// R2: both directions at once, by two tasks, each longer than all buffers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_byte_streams_both_ways_by_two_tasks_each() {
    const LENGTH: usize = 3_000_000;
    let (near, far) = pair(1000).await;
    let ends = [near.into_byte_stream(), far.into_byte_stream()].map(|stream| {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let writing = tokio::spawn(async move {
            let data = bytes(100_000);
            for _ in 0..LENGTH / data.len() {
                writing.write_all(&data).await.unwrap();
            }
            writing.flush().await.unwrap();
            writing
        });
        let reading = tokio::spawn(async move {
            let mut data = vec![0; 100_000];
            for _ in 0..LENGTH / data.len() {
                reading.read_exact(&mut data).await.unwrap();
                assert_eq!(data, bytes(100_000));
            }
            // The other end may still want to be read from.
            let _ = reading.read(&mut data).await;
        });
        (reading, writing)
    });
    let mut writers = Vec::new();
    let mut readers = Vec::new();
    for (reading, writing) in ends {
        readers.push(reading);
        writers.push(writing.await.unwrap());
    }
    for mut writer in writers {
        let _ = writer.shutdown().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
