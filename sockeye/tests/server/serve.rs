//! A task for each connection, and what a panic in one does.

use std::time::Duration;

use sockeye::{CloseCode, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{bound, close, connect, echo, is_echoed, raw};

/// A masked text message.
fn text(byte: u8) -> [u8; 7] {
    [0x81, 0x81, 0, 0, 0, 0, byte]
}

/// Echoes, and panics at an `x`.
async fn touchy(mut ws: sockeye::WebSocket<sockeye::transport::Stream>) -> Result<(), sockeye::Error> {
    while let Some(message) = ws.recv().await? {
        assert_ne!(message.as_text(), Some("x"), "a bug in the handler");
        ws.send(message).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_with_1011() {
    let (server, address) = bound(Server::builder()).await;
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(touchy).await }
    });
    let (mut fine, mut unlucky) = (connect(address).await.unwrap(), connect(address).await.unwrap());
    is_echoed(&mut fine).await;
    unlucky.send("x").await.unwrap();
    assert_eq!(unlucky.recv().await.unwrap(), None);
    assert_eq!(unlucky.close_received(), Some(CloseCode::INTERNAL_ERROR));
    is_echoed(&mut fine).await;
    is_echoed(&mut connect(address).await.unwrap()).await;
    while server.connections() > 1 {
        tokio::task::yield_now().await;
    }
    let (report, ended) = tokio::join!(server.shutdown(Duration::from_secs(60)), fine.recv());
    assert_eq!(ended.unwrap(), None);
    assert_eq!((report.closed, report.dropped), (1, 0));
    serving.await.unwrap();
}

/// What was answered before it, in the same burst, arrives before the Close.
#[tokio::test]
async fn a_panic_in_the_middle_of_a_burst() {
    let (server, address) = bound(Server::builder()).await;
    tokio::spawn(async move { server.serve(touchy).await });
    let mut client = raw(address).await;
    client
        .write_all(&[text(b'a'), text(b'b'), text(b'x'), text(b'c')].concat())
        .await
        .unwrap();
    let expected = [[0x81, 1, b'a'], [0x81, 1, b'b']].concat();
    let mut received = vec![0; expected.len() + close(1011, "").len()];
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(received, [expected, close(1011, "")].concat());
    client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf3]).await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

/// The place of a connection whose handler panicked is free within the close timeout, whatever the client does.
#[tokio::test(start_paused = true)]
async fn a_panic_and_a_client_that_stays() {
    let (server, address) = bound(Server::builder()).await;
    tokio::spawn({
        let server = server.clone();
        async move { server.serve(touchy).await }
    });
    let mut client = raw(address).await;
    client.write_all(&text(b'x')).await.unwrap();
    let mut told = vec![0; close(1011, "").len()];
    client.read_exact(&mut told).await.unwrap();
    assert_eq!(told, close(1011, ""));
    assert_eq!(server.connections(), 1);
    let start = tokio::time::Instant::now();
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(start.elapsed().as_secs(), 5);
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

/// A handler may end with an error; that is its own business.
#[tokio::test]
async fn an_error_of_a_handler() {
    let (server, address) = bound(Server::builder()).await;
    tokio::spawn(async move { server.serve(echo).await });
    let mut broken = raw(address).await;
    broken.write_all(&[0xff; 8]).await.unwrap();
    let mut answer = Vec::new();
    broken.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[0], 0x88);
    assert_eq!(answer[2..4], 1002_u16.to_be_bytes());
    is_echoed(&mut connect(address).await.unwrap()).await;
}

/// Dropping `serve` drops all that it has.
#[tokio::test]
async fn serve_that_is_dropped() {
    let (server, address) = bound(Server::builder()).await;
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(echo).await }
    });
    let mut ws = connect(address).await.unwrap();
    is_echoed(&mut ws).await;
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert!(ws.recv().await.is_err());
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
}
