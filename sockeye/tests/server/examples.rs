//! The programs in `examples/`, run.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::common::{http, upgrade};

#[path = "../../examples/chat.rs"]
#[expect(dead_code, reason = "main is not called")]
mod chat;

#[path = "../../examples/server.rs"]
#[expect(dead_code, reason = "main is not called")]
mod server;

#[cfg(feature = "tls")]
#[path = "../../examples/tls_reload.rs"]
#[expect(dead_code, reason = "main is not called")]
pub(crate) mod tls_reload;

#[tokio::test]
async fn server_answers_and_takes_leave() {
    let server = server::server("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve_requests(server::answer).await }
    });
    let page = http(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.ends_with("\r\n\r\nok\n"),
        "{page}"
    );
    assert!(http(address, &upgrade("/echo", "")).await.starts_with("HTTP/1.1 401 "));
    assert!(http(address, &upgrade("/other", "")).await.starts_with("HTTP/1.1 404 "));
    let client = sockeye::Client::builder().cookie("session=1").build().unwrap();
    let mut ws = client.connect(&format!("ws://{address}/echo")).await.unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
    let (report, received) = tokio::join!(server.shutdown(Duration::from_secs(60)), ws.recv());
    assert_eq!(received.unwrap(), None);
    assert_eq!((report.closed, report.dropped), (1, 0));
    serving.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn chat_tells_everyone() {
    let server = sockeye::Server::bind("127.0.0.1:0", sockeye::ServerOptions::default())
        .await
        .unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(async move { chat::run(&server).await });
    let (mut one, mut two) = (
        sockeye::connect(&url).await.unwrap(),
        sockeye::connect(&url).await.unwrap(),
    );
    // Whoever hears itself has joined.
    two.send("two is here").await.unwrap();
    assert_eq!(two.recv().await.unwrap(), Some("two is here".into()));
    one.send("hello").await.unwrap();
    while one.recv().await.unwrap() != Some("hello".into()) {}
    assert_eq!(two.recv().await.unwrap(), Some("hello".into()));
}
