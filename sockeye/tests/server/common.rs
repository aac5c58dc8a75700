//! Clients, and peers that speak bytes.

use std::net::SocketAddr;

use sockeye::transport::Stream;
use sockeye::{Error, Listener, Server, ServerBuilder, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) use crate::support::{poll_once, read_head};

/// A server with a TCP listener on a free port.
pub(crate) async fn bound(builder: ServerBuilder) -> (Server, SocketAddr) {
    let server = builder.listener(Listener::bind("127.0.0.1:0").await.unwrap()).build();
    let address = server.local_addr().unwrap();
    (server, address)
}

pub(crate) async fn connect(address: SocketAddr) -> Result<WebSocket<Stream>, sockeye::ConnectError> {
    sockeye::connect(&format!("ws://{address}/")).await
}

/// The plain loop that most programs have.
pub(crate) async fn echo(mut ws: WebSocket<Stream>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Says something and hears it.
pub(crate) async fn is_echoed(ws: &mut WebSocket<Stream>) {
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
}

/// Sends `request` and reads all that comes until the server ends the connection.
pub(crate) async fn http(address: SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

/// An upgraded connection that is otherwise raw.
pub(crate) async fn raw(address: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(upgrade("/", "").as_bytes()).await.unwrap();
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    tcp
}

pub(crate) fn upgrade(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A Close as a server sends it.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = vec![0x88, u8::try_from(reason.len() + 2).unwrap()];
    frame.extend(code.to_be_bytes());
    frame.extend(reason.as_bytes());
    frame
}
