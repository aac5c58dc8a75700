//! The request before it is accepted, and the ways to answer it.

use sockeye::handshake::{Headers, OriginPolicy, Rejection, RejectionCause};
use sockeye::{AcceptError, Client, ConnectError, Listener, Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{bound, http, raw, upgrade};

#[tokio::test]
async fn all_that_there_is_to_know() {
    let (server, address) = bound(Server::builder()).await;
    let client = Client::builder()
        .header("X-Team", "red")
        .cookie("session=abc; theme=\"dark\"")
        .build()
        .unwrap();
    let connecting = tokio::spawn(async move { client.connect(&format!("ws://{address}/a%20b?x=1&y=2")).await });
    let request = server.accept().await.unwrap().upgrade().await.unwrap();
    assert_eq!(request.request().path(), "/a%20b");
    assert_eq!(request.request().query(), Some("x=1&y=2"));
    assert_eq!(request.request().headers().text("x-team"), Some("red"));
    assert_eq!(request.request().authority(), Some(address.to_string().as_str()));
    assert!(!request.request().secure());
    assert!(request.is_websocket());
    let cookies: Vec<_> = request.cookies().collect();
    assert_eq!(cookies, [("session", "abc"), ("theme", "dark")]);
    assert_eq!(request.cookie("session"), Some("abc"));
    assert_eq!(request.cookie("Session"), None);
    let peer = request.peer_addr().unwrap().clone();
    let ws = request.accept(&ServerOptions::default()).await.unwrap();
    let client = connecting.await.unwrap().unwrap();
    assert_eq!(peer.tcp(), client.with_transport(|stream| stream.local_addr().ok()));
    assert_eq!(ws.headers().iter().count(), 0, "nothing of the request is kept");
}

/// The decision may take its time, and asks others.
#[tokio::test]
async fn a_decision_that_is_awaited() {
    let (server, address) = bound(Server::builder()).await;
    tokio::spawn(async move {
        server
            .serve_requests(|request| async move {
                let token = request.request().query().map(str::to_owned);
                // Stands for a look into a database.
                let known = tokio::spawn(async move { token.as_deref() == Some("token=good") }).await?;
                if known {
                    request.accept(&ServerOptions::default()).await?.send("in").await?;
                } else {
                    let rejection = Rejection::new(401)
                        .with_header("WWW-Authenticate", "Bearer")?
                        .with_body("who are you?");
                    request.reject(rejection).await?;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })
            .await;
    });
    let mut ws = sockeye::connect(&format!("ws://{address}/?token=good")).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("in".into()));
    let answer = http(address, &upgrade("/?token=bad", "")).await;
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
    assert!(answer.contains("WWW-Authenticate: Bearer\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nwho are you?"), "{answer}");
}

#[tokio::test]
async fn a_page_for_those_who_want_one() {
    let (server, address) = bound(Server::builder()).await;
    tokio::spawn(async move {
        server
            .serve_requests(|request| async move {
                assert!(!request.is_websocket());
                let mut headers = Headers::new();
                headers.append("Content-Type", "text/html")?;
                request.respond(200, &headers, b"<p>hello").await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })
            .await;
    });
    let answer = http(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for header in ["Content-Type: text/html", "Content-Length: 8", "Connection: close"] {
        assert_eq!(answer.matches(&format!("{header}\r\n")).count(), 1, "{answer}");
    }
    assert!(answer.ends_with("\r\n\r\n<p>hello"), "{answer}");
    let answer = http(address, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(
        answer.contains("Content-Length: 8\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

/// H7, by a whole server.
#[tokio::test]
async fn h7_pages_of_another_origin() {
    let (server, address) = bound(Server::builder()).await;
    tokio::spawn(async move { server.serve(|_ws| async {}).await });
    let own = format!("http://{address}");
    let ask = async |origin: &str| {
        let request = upgrade("/", &format!("Origin: {origin}\r\n")).replace("localhost", &address.to_string());
        http(address, &request).await
    };
    assert!(ask(&own).await.starts_with("HTTP/1.1 101 "));
    for origin in [
        "http://evil.example".to_owned(),
        format!("{own}.evil.example"),
        format!("http://127.0.0.1:{}", address.port().wrapping_add(1)),
        "http://127.0.0.1".to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        let answer = ask(&origin).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
    }
    // A program has none.
    assert!(http(address, &upgrade("/", "")).await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn h7_any_origin_and_a_list() {
    let list = OriginPolicy::List(vec!["https://app.example".parse().unwrap()]);
    for (policy, expected) in [(OriginPolicy::Any, [101, 101]), (list, [101, 403])] {
        let options = ServerOptions::builder().origin(policy).build().unwrap();
        let (server, address) = bound(Server::builder().options(options)).await;
        tokio::spawn(async move { server.serve(|_ws| async {}).await });
        for (origin, status) in ["https://app.example", "https://evil.example"].iter().zip(expected) {
            let answer = http(address, &upgrade("/", &format!("Origin: {origin}\r\n"))).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {answer}");
        }
    }
}

/// H8: what the client sends behind its request is not looked at before the application has decided.
#[tokio::test]
async fn h8_nothing_is_read_before_the_decision() {
    let (server, address) = bound(Server::builder()).await;
    let client = tokio::spawn(async move {
        let request = [upgrade("/", "").as_bytes(), &[0x81, 0x81, 0, 0, 0, 0, b'a']].concat();
        let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        tcp.write_all(&request).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let request = server.accept().await.unwrap().upgrade().await.unwrap();
    request.reject(Rejection::new(403)).await.unwrap();
    let answer = client.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

async fn subprotocol(options: ServerOptions, offered: &[&str]) -> Result<Option<String>, ConnectError> {
    let (server, address) = bound(Server::builder().options(options)).await;
    tokio::spawn(async move { server.serve(|mut ws| async move { ws.recv().await.map(drop) }).await });
    let mut client = Client::builder();
    for name in offered {
        client = client.subprotocol(name);
    }
    let ws = client.build().unwrap().connect(&format!("ws://{address}/")).await?;
    Ok(ws.subprotocol().map(str::to_owned))
}

/// RFC 6455 §4.1: the client's list is "ordered by preference".
#[tokio::test]
async fn a_subprotocol_of_a_list() {
    let options = ServerOptions::builder()
        .subprotocol("b")
        .subprotocol("a")
        .build()
        .unwrap();
    assert_eq!(
        subprotocol(options.clone(), &["x", "a", "b"]).await.unwrap().as_deref(),
        Some("a")
    );
    assert_eq!(subprotocol(options.clone(), &["x"]).await.unwrap(), None);
    assert_eq!(subprotocol(options, &[]).await.unwrap(), None);
}

#[tokio::test]
async fn a_subprotocol_by_function() {
    let options = ServerOptions::builder()
        .subprotocol("a")
        .choose_subprotocol(|request, offered| {
            assert_eq!(request.path(), "/");
            offered.iter().copied().filter(|name| name.starts_with('v')).max()
        })
        .build()
        .unwrap();
    assert_eq!(
        subprotocol(options.clone(), &["v1", "v3", "v2"])
            .await
            .unwrap()
            .as_deref(),
        Some("v3")
    );
    // The function has the last word.
    assert_eq!(subprotocol(options, &["a"]).await.unwrap(), None);
    let wrong = ServerOptions::builder()
        .choose_subprotocol(|_, _| Some("made-up"))
        .build()
        .unwrap();
    let refused = subprotocol(wrong, &["a"]).await.unwrap_err();
    assert!(refused.to_string().contains("500"), "{refused}");
}

#[tokio::test]
async fn what_is_no_upgrade_gets_426() {
    let (server, address) = bound(Server::builder()).await;
    let asking = tokio::spawn(async move { http(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await });
    let accepted = server.accept().await.unwrap().accept().await;
    let Err(AcceptError::Rejected(rejection)) = accepted else {
        panic!("{accepted:?}");
    };
    assert_eq!(rejection.cause(), RejectionCause::NotUpgrade);
    let answer = asking.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 426 ") && answer.contains("Upgrade: websocket\r\n"),
        "{answer}"
    );
}

/// A Unix domain socket and a socket that was bound before, by one server.
#[cfg(unix)]
#[tokio::test]
async fn listeners_of_all_kinds() {
    let directory = Directory::new();
    let path = directory.0.join("chat.sock");
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    let second = std::os::unix::net::UnixListener::bind(directory.0.join("second.sock")).unwrap();
    let server = Server::builder()
        .listener(Listener::bind_unix(&path).unwrap())
        .listener(Listener::from_std(bound).unwrap())
        .listener(Listener::from_std_unix(second).unwrap())
        .build();
    assert_eq!(server.local_addr().unwrap(), address);
    let shown: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], format!("unix:{}", path.display()));
    assert_eq!(shown[1], address.to_string());

    tokio::spawn({
        let server = server.clone();
        async move { server.serve(crate::common::echo).await }
    });
    let client = Client::builder().build().unwrap();
    for name in ["chat.sock", "second.sock"] {
        let stream = tokio::net::UnixStream::connect(directory.0.join(name)).await.unwrap();
        let mut ws = client.connect_over(stream, "ws://localhost/").await.unwrap();
        ws.send("by file").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("by file".into()));
        ws.close(sockeye::CloseCode::NORMAL, "").await.unwrap();
    }
    raw(address).await;
}

/// A directory that is gone with the test.
#[cfg(unix)]
struct Directory(std::path::PathBuf);

#[cfg(unix)]
impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sockeye-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

#[cfg(unix)]
impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
