//! The examples that connect.

use std::hash::{DefaultHasher, Hasher};

use sockeye::transport::Stream;
use sockeye::{CloseCode, Server, ServerOptions, WebSocket};

use crate::common::{Answer, Program, Site, directory};
use crate::process::Example;

/// The example of that name, for others to connect to.
async fn echo_server() -> (Example, String) {
    Example::serving("echo_server", &["127.0.0.1:0"]).await
}

/// A server here, and its URL.
async fn server() -> (Server, String) {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    (server, url)
}

async fn accept(server: &Server) -> WebSocket<Stream> {
    server.accept().await.unwrap().accept().await.unwrap()
}

/// Nobody listens there any more.
async fn deserted() -> String {
    server().await.1
}

/// Both clients of the terminal do the same.
async fn talks(name: &str) {
    let (_server, url) = echo_server().await;
    let mut client = Example::start(name, &[&url]);
    for line in ["hello", "Grüße", ""] {
        client.enter(line).await;
        client.prints(line).await;
    }
    client.end_of_input();
    client.ends_well(&[]).await;

    // What the server sees at the end.
    let (server, url) = server().await;
    let mut client = Example::start(name, &[&url]);
    let mut ws = accept(&server).await;
    client.end_of_input();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::NORMAL));
    client.ends_well(&[]).await;

    let ended = Example::start(name, &[&deserted().await]).ended().await;
    assert_eq!((ended.code, ended.output), (Some(1), vec![]));
    assert!(ended.talk[0].starts_with("Error: "), "{:?}", ended.talk);
}

#[tokio::test]
async fn client() {
    talks("client").await;
}

#[tokio::test]
async fn blocking() {
    talks("blocking").await;

    // The server closes, and the terminal does not.
    let (server, url) = server().await;
    let mut client = Example::start("blocking", &[&url]);
    let mut ws = accept(&server).await;
    ws.send("the last word").await.unwrap();
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    client.ends_well(&["the last word"]).await;
}

#[tokio::test]
async fn tls() {
    Example::start("tls", &[]).ends_well(&["hello, whom I know"]).await;
}

#[tokio::test]
async fn proxy() {
    let arguments = |port: u16| {
        let port = port.to_string();
        ["-i", "127.0.0.1", "-p", &port, "-u", "alice", "-P", "s3cret"]
            .map(str::to_owned)
            .to_vec()
    };
    let Some(proxy) = Program::start("microsocks", arguments) else {
        return;
    };
    let by = |credentials: &str| format!("socks5h://{credentials}@127.0.0.1:{}", proxy.port);
    let (_server, url) = echo_server().await;
    let through = format!("connected by way of 127.0.0.1:{}", proxy.port);
    let mut client = Example::start("proxy", &[&url, &by("alice:s3cret")]);
    client.ends_well(&[&through, "hello"]).await;

    let ended = Example::start("proxy", &[&url, &by("alice:guess")]).ended().await;
    assert_eq!((ended.code, ended.output), (Some(1), vec![]));
    assert_eq!(ended.talk, ["the proxy wants other credentials"]);

    let site = Site::new(|_| {
        let refusal = b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n\x1b[2J gone".to_vec();
        Answer::Bytes(refusal)
    });
    let url = site.await.url("/");
    let ended = Example::start("proxy", &[&url, &by("alice:s3cret")]).ended().await;
    assert_eq!((ended.code, ended.output), (Some(1), vec![]));
    assert_eq!(ended.talk, [r"the server answered 403: \u{1b}[2J gone"]);
}

/// Without a proxy, and none in the environment.
#[tokio::test]
async fn proxy_that_is_none() {
    let (_server, url) = echo_server().await;
    let address = url.split('/').nth(2).unwrap();
    let mut client = Example::start("proxy", &[&url]);
    client
        .ends_well(&[&format!("connected by way of {address}"), "hello"])
        .await;
}

/// It logs in, takes up where it left off, and ends when the server is done with it.
#[tokio::test]
async fn reconnect() {
    let (server, url) = server().await;
    let mut client = Example::start("reconnect", &[&url]);
    for (round, code) in [(0, CloseCode::SERVICE_RESTART), (1, CloseCode::NORMAL)] {
        let request = server.accept().await.unwrap().upgrade().await.unwrap();
        let token = request.request().headers().text("Authorization");
        assert_eq!(token, Some("Bearer secret"));
        let mut ws = request.accept(&ServerOptions::default()).await.unwrap();
        let subscription = format!("subscribe from {}", round * 2);
        assert_eq!(ws.recv().await.unwrap(), Some(subscription.into()));
        for number in 1..=2 {
            let news = format!("news {round}.{number}");
            ws.send(news.clone()).await.unwrap();
            client.prints(&news).await;
        }
        let connecting = format!("connecting, attempt {}", round + 1);
        // The first may be over before anybody watches.
        match client.talk().await {
            open if open == "open" && round == 0 => {}
            line => assert_eq!((line, client.talk().await), (connecting, "open".into())),
        }
        ws.close(code, "").await.unwrap();
        if round == 0 {
            let waiting = client.talk().await;
            assert!(waiting.contains("1012") && waiting.contains("; again in "), "{waiting}");
        }
    }
    let ended = client.ended().await;
    assert_eq!((ended.code, ended.output), (Some(0), vec![]));
    assert!(
        ended.talk.iter().all(|line| line.starts_with("closed: ")),
        "{:?}",
        ended.talk
    );
}

#[tokio::test]
async fn streaming_upload() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut hash = DefaultHasher::new();
    hash.write(&bytes);
    let directory = directory("streaming_upload");
    let file = directory.join("upload.bin");
    std::fs::write(&file, &bytes).unwrap();
    let mut upload = Example::start("streaming_upload", &[file.to_str().unwrap()]);
    let receipt = format!("the server says: 3000000 bytes, hash {:016x}", hash.finish());
    upload.ends_well(&["sent 3000000 bytes", &receipt]).await;
    std::fs::remove_dir_all(directory).unwrap();

    let ended = Example::start("streaming_upload", &[file.to_str().unwrap()])
        .ended()
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[tokio::test]
async fn event_api() {
    let (_server, url) = echo_server().await;
    let mut page = Example::start("event_api", &[&url.replace("ws:", "http:")]);
    let open = format!("open: {url}");
    page.ends_well(&[
        &open,
        "message: message 1",
        "message: message 2",
        "message: message 3",
        // The code comes back from the server, the reason does not.
        "close: 1000 normal closure \"\", clean: true",
        "read: Some(Text(9 bytes: \"message 1\"))",
        "read: Some(Text(9 bytes: \"message 2\"))",
        "read: Some(Text(9 bytes: \"message 3\"))",
        "closed: 1000 normal closure",
    ])
    .await;

    let ended = Example::start("event_api", &[&deserted().await]).ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.output[0].starts_with("error: "), "{ended:?}");
    assert_eq!(ended.output[1], "close: 1006 abnormal closure \"\", clean: false");
}

/// More than either process may use.
#[tokio::test]
async fn large_message() {
    const MEBIBYTES: u64 = 32;
    let (mut server, url) = Example::serving("large_message", &["serve", "127.0.0.1:0"]).await;
    let mut client = Example::start("large_message", &["send", &url, &MEBIBYTES.to_string()]);
    let (echoed, sent) = (server.line().await, client.line().await);
    let length = MEBIBYTES << 20;
    assert!(
        echoed.starts_with(&format!("echoed {length} bytes; peak memory ")),
        "{echoed}"
    );
    assert!(
        sent.starts_with(&format!("{length} bytes there and back in ")),
        "{sent}"
    );
    client.ends_well(&[]).await;
    #[cfg(target_os = "linux")]
    for line in [echoed, sent] {
        let peak: u64 = line.rsplit(' ').nth(1).unwrap().parse().unwrap();
        assert!(peak < MEBIBYTES * 1024 / 2, "{line}");
    }

    let ended = Example::start("large_message", &["send"]).ended().await;
    assert_eq!((ended.code, ended.output), (Some(2), vec![]));
}
