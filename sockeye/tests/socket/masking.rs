//! K1: the masking keys of a client's frames, as they go over TCP, and the nonces of its handshakes.

use std::collections::HashSet;
use std::io::BufReader;

use sockeye::{Client, MessageKind, Prepared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::common::{Raw, options};

#[path = "../support/keys.rs"]
mod keys;

use self::keys::FRAMES;

/// RFC 6455 §5.3: "The masking key is a 32-bit value chosen at random by the client. When preparing a masked frame, the client
/// MUST pick a fresh masking key from the set of allowed 32-bit values."
#[tokio::test]
async fn k1_a_fresh_key_for_each_of_100_000_frames() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let peer = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let tcp = Raw::server(tcp, b"").await.io.into_std().unwrap();
        tcp.set_nonblocking(false).unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut io = BufReader::new(tcp);
            (0..FRAMES).map(|_| keys::read(&mut io).unwrap()).collect::<Vec<_>>()
        });
        reading.await.unwrap()
    });
    let mut ws = Client::builder().build().unwrap().connect(&url).await.unwrap();
    let prepared = Prepared::new("the same for all");
    for round in 0..FRAMES / 8 {
        // Payloads that stay the same, that change a little, and that are empty, in every way that there is to send.
        ws.send("the same again").await.unwrap();
        ws.send(round.to_string()).await.unwrap();
        ws.send(vec![0; 4]).await.unwrap();
        ws.send("").await.unwrap();
        ws.send_prepared(&prepared).await.unwrap();
        ws.ping(&round.to_le_bytes()).await.unwrap();
        let mut message = ws.write_message(MessageKind::Text);
        message.write_all(b"two fragments").await.unwrap();
        message.flush().await.unwrap();
        message.finish().await.unwrap();
    }
    ws.flush().await.unwrap();
    keys::judge(&peer.await.unwrap());
}

/// RFC 6455 §4.1: "The nonce MUST be selected randomly for each connection." Nor do connections begin with the same key.
#[tokio::test]
async fn k1_connections_have_nothing_in_common() {
    const CONNECTIONS: usize = 100;
    let (mut nonces, mut keys) = (HashSet::new(), HashSet::new());
    let (client, _) = options(false);
    for _ in 0..CONNECTIONS {
        let (near, far) = tokio::io::duplex(4096);
        let (connected, mut far) = tokio::join!(client.connect_over(near, "ws://localhost/"), Raw::server(far, b""));
        let mut lines = far.head.lines();
        let nonce = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        nonces.insert(nonce.unwrap().to_owned());
        connected.unwrap().send("hello").await.unwrap();
        let mut frame = [0; 11];
        far.io.read_exact(&mut frame).await.unwrap();
        keys.insert(keys::read(&mut &frame[..]).unwrap().key);
    }
    assert_eq!(nonces.len(), CONNECTIONS);
    // Two are equal in one of a million runs.
    assert!(keys.len() >= CONNECTIONS - 1, "{} keys", keys.len());
}
