//! R4 and what a peer that breaks the protocol gets to read: the right code, also when it sent more than was read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sockeye::{CloseCode, Error, ProtocolError, Server, ServerOptions, accept};
use tokio::io::AsyncWriteExt;

use crate::common::{BINARY, CLOSE, PING, PONG, REQUEST, Raw, TEXT, masked, options, unmasked};

/// Sends `frames` to a server over TCP; answers what the server received, its error, and the frames that came back.
async fn attack(options: ServerOptions, frames: Vec<u8>) -> (Vec<sockeye::Message>, Error, Vec<u8>) {
    let server = Server::bind("127.0.0.1:0", options).await.unwrap();
    let address = server.local_addr().unwrap();
    let peer = std::thread::spawn(move || send_and_read(address, &frames));
    let mut ws = server.accept().await.unwrap().accept().await.unwrap();
    let mut received = Vec::new();
    let error = loop {
        match ws.recv().await {
            Ok(Some(message)) => received.push(message),
            Ok(None) => panic!("the violation was not told"),
            Err(error) => break error,
        }
    };
    assert_eq!(ws.recv().await.unwrap(), None);
    drop(ws);
    (received, error, peer.join().unwrap())
}

fn send_and_read(address: SocketAddr, frames: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(REQUEST).unwrap();
    tcp.write_all(frames).unwrap();
    let mut all = Vec::new();
    tcp.read_to_end(&mut all).expect("no reset takes the Close away");
    let head = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    all.split_off(head + 4)
}

fn close_code(frames: &[u8]) -> u16 {
    assert_eq!(frames[0], CLOSE, "{frames:02x?}");
    u16::from_be_bytes([frames[2], frames[3]])
}

#[tokio::test]
async fn r4_messages_before_a_malformed_frame_are_delivered() {
    let frames = [
        masked(TEXT, b"one"),
        masked(BINARY, b"two"),
        masked(PING, b"three"),
        unmasked(TEXT, b"bad"),
        masked(TEXT, b"never seen"),
    ]
    .concat();
    let (received, error, answer) = attack(ServerOptions::default(), frames).await;
    assert_eq!(received, ["one".into(), sockeye::Message::from(b"two".to_vec())]);
    assert!(matches!(error, Error::Protocol(ProtocolError::UnmaskedFrame)));
    assert_eq!(error.close_code(), Some(CloseCode::PROTOCOL_ERROR));
    let pong = unmasked(PONG, b"three");
    assert!(answer.starts_with(&pong));
    assert_eq!(close_code(&answer[pong.len()..]), 1002);
}

/// Megabytes that nobody reads stand behind the bad frame. Without care the system would answer them with a reset, which
/// takes the Close from the peer.
#[tokio::test]
async fn r4_the_close_is_read_when_much_follows_the_bad_frame() {
    let mut frames = masked(0x83, b"reserved");
    frames.resize(4 << 20, 0xff);
    let (received, error, answer) = attack(ServerOptions::default(), frames).await;
    assert!(received.is_empty());
    assert!(matches!(error, Error::Protocol(ProtocolError::ReservedOpcode(3))));
    assert_eq!(close_code(&answer), 1002);
}

/// The same behind a proper Close.
#[tokio::test]
async fn r4_the_close_is_read_when_much_follows_the_close() {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let mut frames = masked(CLOSE, &4321_u16.to_be_bytes());
    frames.extend(masked(BINARY, &[7; 100_000]));
    let peer = std::thread::spawn(move || send_and_read(address, &frames));
    let mut ws = server.accept().await.unwrap().accept().await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    drop(ws);
    assert_eq!(close_code(&peer.join().unwrap()), 4321);
}

#[tokio::test]
async fn violations_reach_the_peer_with_their_codes() {
    let continuation = [masked(0x01, b"a"), masked(TEXT, b"b")].concat();
    for (frames, code) in [
        (masked(TEXT, b"\xff"), 1007),
        ([masked(0x01, b"\xf0\x9f"), masked(0x80, b"\x98")].concat(), 1007),
        // Invalid at its first byte, long before its end.
        (masked(TEXT, &[0xff; 70_000])[..200].to_vec(), 1007),
        (masked(CLOSE, b"\x03\xe8\xff"), 1007),
        (masked(CLOSE, b"\x03"), 1002),
        (masked(CLOSE, &1005_u16.to_be_bytes()), 1002),
        (masked(0x80, b"orphan"), 1002),
        (continuation, 1002),
        (masked(0x09, b""), 1002),
        (masked(PING, &[0; 126]), 1002),
        (masked(0xc1, b"rsv1"), 1002),
        (masked(BINARY, &vec![0; (1 << 20) + 1])[..14].to_vec(), 1009),
        (vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
        ([masked(0x02, b""), masked(0x00, b"").repeat(5000)].concat(), 1008),
    ] {
        let (near, far) = tokio::io::duplex(1 << 17);
        let (_, server) = options(false);
        let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
        let mut ws = ws.unwrap();
        let serving = tokio::spawn(async move {
            let error = ws.recv().await.unwrap_err();
            assert_eq!(ws.recv().await.unwrap(), None);
            error
        });
        peer.send(&frames).await;
        assert_eq!(peer.close_code().await, Some(code), "{:02x?}", &frames[..2]);
        // The server has ended its side; nothing comes behind the Close.
        assert_eq!(peer.frame().await, None);
        drop(peer);
        assert_eq!(serving.await.unwrap().close_code(), Some(CloseCode::new(code)));
    }
}

#[tokio::test]
async fn violations_of_a_server_reach_it() {
    let (near, far) = tokio::io::duplex(4096);
    let (client, _) = options(false);
    let frame = masked(TEXT, b"masked");
    let (ws, mut peer) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, &frame));
    let mut ws = ws.unwrap();
    let receiving = tokio::spawn(async move { ws.recv().await });
    assert_eq!(peer.close_code().await, Some(1002));
    drop(peer);
    assert!(matches!(
        receiving.await.unwrap(),
        Err(Error::Protocol(ProtocolError::MaskedFrame))
    ));
}

/// F7: a Close in mid-message delivers no part of it.
#[tokio::test]
async fn f7_close_in_the_middle_of_a_message() {
    let (near, far) = tokio::io::duplex(4096);
    let (_, server) = options(false);
    let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    peer.send(&[masked(0x01, b"half a "), masked(CLOSE, b"")].concat())
        .await;
    assert_eq!(ws.unwrap().recv().await.unwrap(), None);
    assert_eq!(peer.frame().await, Some((CLOSE, Vec::new())));
}

/// The transport ends in the middle of a frame, a message, a header: lost, once, then nothing.
#[tokio::test]
async fn an_end_without_a_close_is_1006_once() {
    for cut in [
        &b""[..],
        &masked(TEXT, b"whole")[..3],
        &masked(TEXT, b"whole")[..8],
        &masked(0x01, b"part"),
    ] {
        let (near, far) = tokio::io::duplex(4096);
        let (_, server) = options(false);
        let (ws, mut peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
        let mut ws = ws.unwrap();
        peer.send(cut).await;
        drop(peer);
        let error = ws.recv().await.unwrap_err();
        assert!(matches!(error, Error::ConnectionLost));
        assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
        assert_eq!(ws.recv().await.unwrap(), None);
        assert!(ws.send("").await.is_err());
    }
}

/// A reset is an error of the transport, and 1006.
#[tokio::test]
async fn a_reset_is_1006_once() {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let tcp = tokio::net::TcpStream::connect(server.local_addr().unwrap())
        .await
        .unwrap();
    let (ws, peer) = tokio::join!(
        async { server.accept().await.unwrap().accept().await },
        Raw::client(tcp, b"")
    );
    let mut ws = ws.unwrap();
    peer.io.set_zero_linger().unwrap();
    drop(peer);
    let error = ws.recv().await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::ABNORMAL));
    assert_eq!(ws.recv().await.unwrap(), None);
}

/// M7: reading pauses for a peer that pings and does not read, and goes on when it does.
#[tokio::test(start_paused = true)]
async fn m7_reading_goes_on_when_the_pongs_are_read() {
    let (near, far) = tokio::io::duplex(1024);
    let (_, server) = options(false);
    let (ws, peer) = tokio::join!(accept(near, &server), Raw::client(far, b""));
    let mut ws = ws.unwrap();
    let serving = tokio::spawn(async move { ws.recv().await.unwrap() });
    let (reader, mut writer) = tokio::io::split(peer.io);
    let mut frames = masked(PING, &[b'p'; 125]).repeat(5000);
    frames.extend(masked(PING, b"the last"));
    frames.extend(masked(TEXT, b"at last"));
    let writing = tokio::spawn(async move { writer.write_all(&frames).await.map(|()| writer) });
    // The clock moves when nobody can do anything any more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!writing.is_finished());
    let mut peer = Raw {
        io: tokio::io::join(reader, tokio::io::sink()),
        head: peer.head,
        masks: peer.masks,
    };
    let mut pongs = 0;
    while let Some((first, payload)) = peer.frame().await {
        assert_eq!(first, PONG);
        pongs += 1;
        if payload == b"the last" {
            break;
        }
    }
    // Those that could not be answered in time were passed over.
    assert!(pongs < 5000, "{pongs}");
    drop(writing.await.unwrap().unwrap());
    assert_eq!(serving.await.unwrap(), Some("at last".into()));
}
