//! RFC 8441: WebSockets over streams of HTTP/2, by an extended CONNECT. The client is hyper's, and speaks frames by hand.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::any;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sockeye::axum::WebSocketUpgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::echo;

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route(
        "/echo",
        any(async |ws: WebSocketUpgrade| ws.subprotocols(["chat"]).on_upgrade(echo)),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn connect(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(address: SocketAddr) -> http::request::Builder {
    Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{address}/echo"))
        .extension(Protocol::from_static("websocket"))
        .header("Sec-WebSocket-Version", "13")
}

async fn send(sender: &mut SendRequest<Empty<Bytes>>, request: http::request::Builder) -> Response<Incoming> {
    sender.ready().await.unwrap();
    sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_websocket_on_a_stream() {
    let address = serve().await;
    let mut sender = connect(address).await;
    // The server's settings, which allow the extended CONNECT, come with its first answer at the latest.
    let page = Request::builder().uri(format!("http://{address}/echo"));
    assert_eq!(send(&mut sender, page).await.status(), 426);

    let mut response = send(&mut sender, request(address).header("Sec-WebSocket-Protocol", "chat")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "chat");
    // RFC 8441 §5: there is neither an accept value nor a switch of protocols.
    for absent in ["Sec-WebSocket-Accept", "Upgrade", "Connection"] {
        assert!(!response.headers().contains_key(absent), "{absent}");
    }
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"\x81\x84\0\0\0\0swim").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x81\x04swim");

    // More than a window of the stream holds.
    let length = 1_u32 << 20;
    let frame = [
        b"\x82\xff\0\0\0\0".as_slice(),
        &length.to_be_bytes(),
        &[0; 4],
        &vec![7; 1 << 20],
    ]
    .concat();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        writing.write_all(&frame).await.unwrap();
        writing
    });
    let mut large = vec![0; 10 + (1 << 20)];
    reading.read_exact(&mut large).await.unwrap();
    assert!(large[10..].iter().all(|&byte| byte == 7));
    let mut writing = writing.await.unwrap();
    writing.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    let mut close = [0; 4];
    reading.read_exact(&mut close).await.unwrap();
    assert_eq!(&close, b"\x88\x02\x03\xe8");
    assert_eq!(reading.read(&mut close).await.unwrap(), 0);

    // The connection is there for others.
    let another = send(&mut sender, request(address)).await;
    assert_eq!(another.status(), 200);
}

#[tokio::test]
async fn streams_that_are_no_websockets() {
    let address = serve().await;
    let mut sender = connect(address).await;
    let page = Request::builder().uri(format!("http://{address}/echo"));
    let response = send(&mut sender, page).await;
    assert_eq!(response.status(), 426);
    // RFC 9113 §8.2.2: no connection-specific headers.
    assert!(!response.headers().contains_key("Upgrade"));
    let post = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}/echo"));
    assert_eq!(send(&mut sender, post).await.status(), 405);
    let version = request(address).header("Sec-WebSocket-Version", "13");
    assert_eq!(send(&mut sender, version).await.status(), 400);
    let other = request(address).extension(Protocol::from_static("connect-udp"));
    assert_eq!(send(&mut sender, other).await.status(), 501);
    let page_of_another_host = request(address).header("Origin", "https://evil.example");
    assert_eq!(send(&mut sender, page_of_another_host).await.status(), 403);
}
