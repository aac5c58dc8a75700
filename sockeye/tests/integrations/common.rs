//! What both kinds of servers are asked.

use std::net::SocketAddr;

use sockeye::handshake::Headers;
use sockeye::{ClientBuilder, CloseCode, ConnectError, DeflateOptions, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Sends back what comes until the end.
pub(crate) async fn echo<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut ws: WebSocket<T>) {
    while let Ok(Some(message)) = ws.recv().await {
        if ws.send(message).await.is_err() {
            break;
        }
    }
}

/// Talks to an echo, and closes.
pub(crate) async fn talk(address: SocketAddr, client: ClientBuilder) -> WebSocket<sockeye::transport::Stream> {
    let client = client.build().unwrap();
    let mut ws = client.connect(&format!("ws://{address}/")).await.unwrap();
    for length in [0, 1, 126, 70_000, 1 << 20] {
        let message = "s".repeat(length);
        ws.send(message.as_str()).await.unwrap();
        assert!(ws.recv().await.unwrap() == Some(message.into()), "{length} bytes");
    }
    ws.close(CloseCode::new(4001), "enough").await.unwrap();
    assert_eq!(ws.close_received(), Some(CloseCode::new(4001)));
    ws
}

/// A conversation with all that can be agreed on.
pub(crate) async fn talk_with_everything(address: SocketAddr) {
    let client = sockeye::Client::builder()
        .subprotocol("unknown")
        .subprotocol("chat")
        .deflate(DeflateOptions::client());
    let ws = talk(address, client).await;
    assert_eq!(ws.subprotocol(), Some("chat"));
    assert!(ws.is_compressed());
    assert!(!talk(address, sockeye::Client::builder()).await.is_compressed());
}

/// The status and the headers by which a client is refused.
pub(crate) async fn refused(address: SocketAddr, client: ClientBuilder) -> (u16, Headers) {
    match client.build().unwrap().connect(&format!("ws://{address}/")).await {
        Err(ConnectError::Refused(refusal)) => (refusal.status(), refusal.headers().clone()),
        other => panic!("{other:?}"),
    }
}

/// The response to a request that is sent as it is, with a body as long as it says.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_ref()).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(tcp.read_u8().await.unwrap());
    }
    let head = String::from_utf8(response).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    if !request.as_ref().starts_with(b"HEAD") {
        tcp.read_exact(&mut body).await.unwrap();
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head + std::str::from_utf8(&body).unwrap())
}

/// Requests that are not accepted, by their status; `REQUEST` with one thing changed.
pub(crate) async fn check_statuses(address: SocketAddr) {
    let changed = |from: &str, to: &str| {
        assert!(REQUEST.contains(from));
        REQUEST.replacen(from, to, 1)
    };
    for (request, expected) in [
        (changed("Version: 13", "Version: 12"), 426),
        (changed("Sec-WebSocket-Version: 13\r\n", ""), 400),
        (changed("Connection: Upgrade", "Connection: keep-alive"), 400),
        (changed("Upgrade: websocket", "Upgrade: irc"), 400),
        (changed("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400),
        (
            changed("\r\n\r\n", "\r\nSec-WebSocket-Protocol: \"quoted\"\r\n\r\n"),
            400,
        ),
        (changed("\r\n\r\n", "\r\nSec-WebSocket-Protocol: \u{e9}\r\n\r\n"), 400),
        (changed("\r\n\r\n", "\r\nSec-WebSocket-Extensions: ;\r\n\r\n"), 400),
        (changed("GET", "POST"), 405),
        (changed("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nxx"), 400),
        (
            changed("\r\n\r\n", "\r\nOrigin: http://localhost.evil.example\r\n\r\n"),
            403,
        ),
        (changed("\r\n\r\n", "\r\nOrigin: null\r\n\r\n"), 403),
        (changed("\r\n\r\n", "\r\nOrigin: http://localhost\r\n\r\n"), 101),
        (REQUEST.to_owned(), 101),
    ] {
        let (status, response) = ask(address, &request).await;
        assert_eq!(status, expected, "{request}{response}");
        if status == 426 {
            assert!(response.contains("sec-websocket-version: 13\r\n"), "{response}");
            assert!(response.contains("upgrade: websocket\r\n"), "{response}");
        }
    }
    // Beyond ASCII: bytes for the application, no reason to panic.
    let request = [
        &REQUEST.as_bytes()[..REQUEST.len() - 2],
        b"X-Name: \xe9\xff\r\nCookie: \x80\r\n\r\n",
    ]
    .concat();
    assert_eq!(ask(address, request).await.0, 101);
    let request = [
        &REQUEST.as_bytes()[..REQUEST.len() - 2],
        b"Sec-WebSocket-Protocol: \xe9\xff\r\n\r\n",
    ]
    .concat();
    assert_eq!(ask(address, request).await.0, 400);
}
