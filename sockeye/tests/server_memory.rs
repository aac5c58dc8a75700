//! What a server's bookkeeping takes of the memory of an idle connection, by a counting allocator.

use std::alloc::System;
use std::future::pending;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use cap::Cap;
use sockeye::{Limits, Listener, Server, ServerOptions, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const CONNECTIONS: usize = 128;

/// Upgrades, and stays.
fn client(address: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(REQUEST).unwrap();
    tcp
}

fn read_head(tcp: &mut TcpStream) {
    let (mut byte, mut end) = ([0; 1], [0; 4]);
    while end != *b"\r\n\r\n" {
        tcp.read_exact(&mut byte).unwrap();
        end = [end[1], end[2], end[3], byte[0]];
    }
}

/// The heap of one connection that waits in `recv` in a task of its own.
async fn each<T, F>(address: SocketAddr, mut next: impl AsyncFnMut() -> F) -> usize
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = WebSocket<T>> + Send + 'static,
{
    let mut clients = Vec::with_capacity(2 * CONNECTIONS);
    let mut start = 0;
    for round in 0..2 {
        // The first round fills the pools.
        start = if round == 1 { HEAP.allocated() } else { start };
        for _ in 0..CONNECTIONS {
            let mut tcp = client(address);
            let accepting = next().await;
            tokio::spawn(async move {
                let mut ws = accepting.await;
                assert!(ws.recv().await.is_err());
                pending::<()>().await;
            });
            let head = tokio::task::spawn_blocking(move || {
                read_head(&mut tcp);
                tcp
            });
            clients.push(head.await.unwrap());
        }
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    (HEAP.allocated() - start) / CONNECTIONS
}

#[expect(clippy::async_yields_async, reason = "a task is to await it")]
#[test]
fn a_place_in_a_server_takes_little() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (alone, served) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alone = each(listener.local_addr().unwrap(), async || {
            let (tcp, _) = listener.accept().await.unwrap();
            async move { accept(tcp, &ServerOptions::default()).await.unwrap() }
        })
        .await;
        let server = Server::builder()
            .listener(Listener::bind("127.0.0.1:0").await.unwrap())
            .limits(Limits::new().connections_per_address(10 * CONNECTIONS))
            .build();
        let served = each(server.local_addr().unwrap(), async || {
            let incoming = server.accept().await.unwrap();
            async move { incoming.accept().await.unwrap() }
        })
        .await;
        (alone, served)
    });
    println!("{alone} B alone, {served} B in a server");
    // The place and its entry among the others; a task that has an `Incoming` has room for that as well.
    assert!(served <= alone + 100, "{alone} B alone, {served} B in a server");
}
