//! The examples that serve.

use std::net::SocketAddr;

use sockeye::transport::tls::Roots;
use sockeye::{Client, CloseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Example;

/// The address in a URL that an example printed.
fn address(url: &str) -> SocketAddr {
    url.split('/').nth(2).unwrap().parse().unwrap()
}

/// Asks for a page, and reads the answer to its end.
async fn page(url: &str, path: &str, headers: &str) -> String {
    let mut tcp = TcpStream::connect(address(url)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

#[cfg(unix)]
#[tokio::test]
async fn server() {
    let (mut server, url) = Example::serving("server", &["127.0.0.1:0"]).await;
    assert!(url.ends_with("/echo"), "{url}");
    let healthy = page(&url, "/healthz", "").await;
    assert!(
        healthy.starts_with("HTTP/1.1 200 ") && healthy.ends_with("\r\n\r\nok\n"),
        "{healthy}"
    );
    assert!(page(&url, "/other", "").await.starts_with("HTTP/1.1 404 "));
    let Err(sockeye::ConnectError::Refused(refusal)) = sockeye::connect(&url).await else {
        panic!("it did not ask for a cookie");
    };
    assert_eq!((refusal.status(), refusal.body()), (401, &b"log in first\n"[..]));

    let client = Client::builder().cookie("session=1").build().unwrap();
    let mut ws = client.connect(&url).await.unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
    server.signal("-INT").await;
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::GOING_AWAY));
    server.ends_well(&["closed 1 connections, dropped 0"]).await;
    assert!(TcpStream::connect(address(&url)).await.is_err());
}

#[tokio::test]
async fn chat() {
    let (_server, url) = Example::serving("chat", &["127.0.0.1:0"]).await;
    // Whoever hears itself has joined.
    let mut one = Example::start("client", &[&url]);
    one.enter("one is here").await;
    one.prints("one is here").await;
    let mut two = Example::start("client", &[&url]);
    two.enter("two is here").await;
    two.prints("two is here").await;
    one.prints("two is here").await;
    one.enter("hello").await;
    for client in [&mut one, &mut two] {
        client.prints("hello").await;
        client.end_of_input();
        client.ends_well(&[]).await;
    }
}

#[tokio::test]
async fn axum() {
    let (_server, url) = Example::serving("axum", &["127.0.0.1:0"]).await;
    let page = page(&url, "/", "").await;
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("new WebSocket("),
        "{page}"
    );
    let mut client = Example::start("client", &[&url]);
    client.enter("from the terminal").await;
    client.prints("from the terminal").await;
    client.end_of_input();
    client.ends_well(&[]).await;
}

/// Who does not trust the certificate of now does not come in.
#[cfg(unix)]
#[tokio::test]
async fn tls_reload() {
    let certificates = [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    let clients = certificates.each_ref().map(|certified| {
        let builder = Client::builder().roots(Roots::None);
        builder.trust_pem(certified.cert.pem().as_bytes()).build().unwrap()
    });
    let directory = crate::common::directory("tls_reload");
    let files = ["chain.pem", "key.pem"].map(|name| directory.join(name).display().to_string());
    let write = |index: usize| {
        let certified = &certificates[index];
        std::fs::write(&files[0], certified.cert.pem()).unwrap();
        std::fs::write(&files[1], certified.signing_key.serialize_pem()).unwrap();
    };
    write(0);
    let (mut server, url) = Example::serving("tls_reload", &["127.0.0.1:0", &files[0], &files[1]]).await;
    let url = url.replace("127.0.0.1", "localhost");
    let mut kept = clients[0].connect(&url).await.unwrap();
    server.prints("a client with 0 certificates").await;

    write(1);
    server.signal("-HUP").await;
    server.prints("the new certificate is in use").await;
    assert!(clients[0].connect(&url).await.is_err());
    let mut new = clients[1].connect(&url).await.unwrap();
    server.prints("a client with 0 certificates").await;
    for ws in [&mut kept, &mut new] {
        ws.send("hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
    }

    std::fs::write(&files[0], "no certificate").unwrap();
    server.signal("-HUP").await;
    assert!(server.talk().await.starts_with("the old certificate stays: "));
    clients[1].connect(&url).await.unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn tls_reload_without_files() {
    let ended = Example::start("tls_reload", &["127.0.0.1:0"]).ended().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.talk[0].contains("two files are needed"), "{ended:?}");
}
