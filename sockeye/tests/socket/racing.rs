//! L5: sends that race a close touch nothing that has come to belong to another connection: no buffer, no descriptor.

use sockeye::{CloseCode, Server, ServerOptions};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::common::{BINARY, CLOSE, PING, Raw, masked};

const LENGTH: usize = 1000;
/// Messages of one sender, if nobody closes before.
const FLOOD: usize = 200;

/// Each connection begins as soon as the one before it has ended on the wire, while its senders and its receiver still run:
/// it has the same descriptors, and the buffers that were given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_send_that_races_a_close() {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    for tag in 0..80_u8 {
        let (tcp, incoming) = tokio::join!(TcpStream::connect(address), server.accept());
        let (peer, ws) = tokio::join!(Raw::client(tcp.unwrap(), b""), incoming.unwrap().accept());
        let (sender, mut receiver) = ws.unwrap().split();
        for _ in 0..2 {
            let sender = sender.clone();
            tasks.spawn(async move {
                for _ in 0..FLOOD {
                    if sender.send(vec![tag; LENGTH]).await.is_err() || sender.ping(&[tag; 125]).await.is_err() {
                        break;
                    }
                }
            });
        }
        tasks.spawn(async move {
            // Each in its turn: before the first message, and among them.
            for _ in 0..tag % 16 {
                if sender.send(vec![tag; LENGTH]).await.is_err() {
                    break;
                }
            }
            let _ = sender.close(CloseCode::NORMAL, "").await;
        });
        tasks.spawn(async move { while receiver.recv().await.unwrap().is_some() {} });
        only_its_own(peer, tag).await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Reads to the end: whole frames of this connection, then a Close, then nothing.
async fn only_its_own(mut peer: Raw<TcpStream>, tag: u8) {
    loop {
        let (first, payload) = peer.frame().await.expect("the end without a Close");
        let length = match first {
            BINARY => LENGTH,
            PING => 125,
            CLOSE => break assert_eq!(payload, 1000_u16.to_be_bytes()),
            other => panic!("a frame that begins with {other:#x}"),
        };
        assert_eq!(payload.len(), length);
        assert!(payload.iter().all(|byte| *byte == tag), "bytes of another connection");
    }
    peer.send(&masked(CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(peer.frame().await, None);
}
