//! What the request says, and what is never shown of it (H6, H10).

#[cfg(feature = "deflate")]
use sockeye::DeflateOptions;
use sockeye::handshake::{Headers, OriginPolicy};
use sockeye::{Client, ClientBuilder, ConnectError, ServerOptions, Upgrade};

use crate::common::{Answer, Site, client};

/// The headers that arrive from this client.
async fn request(builder: ClientBuilder, url: &str) -> Headers {
    let (near, far) = tokio::io::duplex(4096);
    let options = ServerOptions::builder().origin(OriginPolicy::Any).build().unwrap();
    let client = builder.build().unwrap();
    let (connected, headers) = tokio::join!(client.connect_over(near, url), async {
        let upgrade = Upgrade::read(far, &options).await.unwrap();
        let headers = upgrade.request().headers().clone();
        upgrade.accept(&options).await.unwrap();
        headers
    });
    connected.unwrap();
    headers
}

#[tokio::test]
async fn headers_of_the_request() {
    let builder = Client::builder()
        .header("X-One", "1")
        .header("X-One", "2")
        .origin("https://example.com")
        .cookie("id=1; theme=dark")
        .bearer_auth("a.token");
    let headers = request(builder, "ws://user:password@example.com:81/").await;
    assert_eq!(headers.values("x-one").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(headers.text("Origin"), Some("https://example.com"));
    assert_eq!(headers.text("Cookie"), Some("id=1; theme=dark"));
    assert_eq!(headers.text("Host"), Some("example.com:81"));
    // What the options say comes before what the URL does.
    assert_eq!(headers.values("Authorization").collect::<Vec<_>>(), [b"Bearer a.token"]);

    let basic = Client::builder().basic_auth("Aladdin", "open sesame");
    let headers = request(basic, "ws://localhost/").await;
    assert_eq!(
        headers.text("Authorization"),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    let headers = request(Client::builder(), "ws://Aladdin:open%20sesame@localhost/").await;
    assert_eq!(
        headers.text("Authorization"),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    let headers = request(Client::builder(), "ws://localhost/").await;
    assert!(!headers.contains("Authorization") && !headers.contains("Origin"));
}

#[test]
fn h6_no_option_ends_a_line() {
    let builders: [fn(&str) -> ClientBuilder; 6] = [
        |bad| Client::builder().header("X", bad),
        |bad| Client::builder().header(bad, "x"),
        |bad| Client::builder().origin(bad),
        |bad| Client::builder().cookie(bad),
        |bad| Client::builder().bearer_auth(bad),
        |bad| Client::builder().subprotocol(bad),
    ];
    for bad in ["a\r\nEvil: 1", "a\nb", "a\rb", "a\0b"] {
        for builder in builders {
            assert!(matches!(builder(bad).build(), Err(ConnectError::Options(_))), "{bad:?}");
        }
        assert!(Client::builder().basic_auth("u", bad).build().is_err());
        assert!(Client::builder().basic_auth(bad, "p").build().is_err());
        let proxy = Client::builder().proxy(&format!("http://{bad}")).build();
        assert!(matches!(proxy, Err(ConnectError::Proxy(_))), "{bad:?}");
    }
}

#[tokio::test]
async fn h6_no_url_ends_a_line() {
    for url in [
        "ws://localhost/\r\nEvil: 1",
        "ws://local\nhost/",
        "ws://localhost/?\r",
        "ws://a%0d%0ab@localhost/",
    ] {
        assert!(
            matches!(client().connect(url).await, Err(ConnectError::Uri(_))),
            "{url:?}"
        );
    }
}

#[test]
fn credentials_are_not_shown() {
    let builder = Client::builder()
        .basic_auth("alice", "s3cret")
        .cookie("session=s3cret")
        .proxy("http://alice:s3cret@localhost");
    let bearer = Client::builder().bearer_auth("s3cret");
    for shown in [
        format!("{builder:?}"),
        format!("{bearer:?}"),
        format!("{:?}", builder.build().unwrap()),
        format!("{:?}", bearer.build().unwrap()),
    ] {
        assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    }
}

#[tokio::test]
async fn the_response_stays_readable() {
    let site = Site::new(|_| Answer::Upgrade).await;
    let ws = client().connect(&site.url("/path?query")).await.unwrap();
    assert_eq!(ws.headers().text("X-Who"), Some("me"));
    assert_eq!(ws.headers().text("Upgrade"), Some("websocket"));
    assert!(site.heads()[0].starts_with("GET /path?query HTTP/1.1\r\n"));
    assert_eq!(
        (ws.subprotocol(), ws.headers().text("Sec-WebSocket-Extensions")),
        (None, None)
    );
}

/// What was agreed on, as the connection knows it and as the server said it.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn the_response_says_what_was_chosen() {
    let options = ServerOptions::builder()
        .subprotocol("chat")
        .deflate(DeflateOptions::server())
        .build()
        .unwrap();
    let (near, far) = tokio::io::duplex(4096);
    let client = Client::builder()
        .subprotocol("nope")
        .subprotocol("chat")
        .deflate(DeflateOptions::client())
        .build()
        .unwrap();
    let (ws, accepted) = tokio::join!(
        client.connect_over(near, "ws://localhost/"),
        sockeye::accept(far, &options)
    );
    let (ws, _accepted) = (ws.unwrap(), accepted.unwrap());
    assert_eq!(ws.subprotocol(), Some("chat"));
    assert_eq!(ws.headers().text("Sec-WebSocket-Protocol"), Some("chat"));
    assert!(ws.is_compressed());
    let extensions = ws.headers().text("Sec-WebSocket-Extensions").unwrap();
    assert!(extensions.starts_with("permessage-deflate"), "{extensions}");
}

/// A connection may be made in a task of its own, on whatever thread.
#[tokio::test]
async fn a_task_of_its_own() {
    let site = Site::new(|_| Answer::Upgrade).await;
    let url = site.url("/");
    let connecting = tokio::spawn(async move { client().connect(&url).await });
    connecting.await.unwrap().unwrap();
}
