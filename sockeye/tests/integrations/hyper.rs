//! hyper 1, without a framework.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sockeye::handshake::{HandshakeLimits, Rejection};
use sockeye::hyper::Upgrade;
use sockeye::{AcceptError, Client, CloseCode, DeflateOptions, Error, ProtocolError, ServerOptions, WebSocket};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::common::{REQUEST, ask, check_statuses, echo, refused, talk, talk_with_everything};

type Answer = Response<Full<Bytes>>;

/// Serves connections with what `answer` makes of each request.
async fn serve(answer: impl Fn(Request<Incoming>) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let response = answer(request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

/// Accepts by these options and sends back what comes; other requests get a page.
async fn serve_echo(options: ServerOptions) -> SocketAddr {
    serve(move |mut request| {
        let upgrade = Upgrade::new(&mut request);
        if !upgrade.is_websocket() {
            return Response::new("a page".into());
        }
        match upgrade.accept(&options) {
            Ok((response, upgrading)) => {
                tokio::spawn(async move { echo(upgrading.await.unwrap()).await });
                response
            }
            Err(refusal) => refusal.response(),
        }
    })
    .await
}

#[tokio::test]
async fn subprotocol_and_compression() {
    let options = ServerOptions::builder()
        .subprotocol("chat")
        .deflate(DeflateOptions::server());
    talk_with_everything(serve_echo(options.build().unwrap()).await).await;
}

#[tokio::test]
async fn requests_that_are_not_accepted() {
    check_statuses(serve_echo(ServerOptions::default()).await).await;
}

#[tokio::test]
async fn other_requests_get_a_page() {
    let address = serve_echo(ServerOptions::default()).await;
    let (status, response) = ask(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(status, 200);
    assert!(response.ends_with("a page"));
    assert_eq!(ask(address, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.0, 200);
}

#[tokio::test]
async fn h7_a_page_of_another_host() {
    let address = serve_echo(ServerOptions::default()).await;
    let client = Client::builder().origin("https://evil.example");
    assert_eq!(refused(address, client).await.0, 403);
    let client = Client::builder().origin(&format!("http://{address}"));
    talk(address, client).await;
}

/// A function chooses the subprotocol, here as in a server of our own; one that makes it up is the server's mistake.
#[tokio::test]
async fn a_subprotocol_by_function() {
    let options = ServerOptions::builder().choose_subprotocol(|request, offered| match request.path() {
        "/last" => offered.last().copied(),
        _ => Some("made up"),
    });
    let address = serve_echo(options.build().unwrap()).await;
    let client = Client::builder().subprotocol("a").subprotocol("b").build().unwrap();
    let ws = client.connect(&format!("ws://{address}/last")).await.unwrap();
    assert_eq!(ws.subprotocol(), Some("b"));
    assert_eq!(refused(address, Client::builder().subprotocol("a")).await.0, 500);
}

/// M12: the limits of messages are the core's.
#[tokio::test]
async fn m12_the_limit_of_messages() {
    let address = serve_echo(ServerOptions::builder().max_message_size(1000).build().unwrap()).await;
    let mut ws = Client::builder()
        .build()
        .unwrap()
        .connect(&format!("ws://{address}/"))
        .await
        .unwrap();
    ws.send("x".repeat(1000)).await.unwrap();
    assert!(ws.recv().await.unwrap().is_some());
    ws.send("x".repeat(1001)).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::MESSAGE_TOO_BIG));
}

/// M12: and so are those of the request, where they are lower than hyper's.
#[tokio::test]
async fn m12_the_limits_of_the_request() {
    let limits = HandshakeLimits {
        first_line: 100,
        header: 200,
        headers: 10,
        total: 1000,
    };
    let address = serve_echo(ServerOptions::builder().handshake_limits(limits).build().unwrap()).await;
    let with = |headers: &str| REQUEST.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n\r\n"), 1);
    for (request, status) in [
        (with("A: b"), 101),
        (REQUEST.replacen("GET /", &format!("GET /{}", "a".repeat(100)), 1), 414),
        (with(&format!("A: {}", "b".repeat(200))), 431),
        (with("A: b\r\n".repeat(6).trim_end()), 431),
        (
            with(&format!(
                "A: {0}\r\nB: {0}\r\nC: {0}\r\nD: {0}\r\nE: {0}",
                "b".repeat(190)
            )),
            431,
        ),
    ] {
        assert_eq!(ask(address, &request).await.0, status, "{request}");
    }
}

/// What the client sends in the same write as its request belongs to the connection.
#[tokio::test]
async fn a_message_in_the_same_write_as_the_request() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = serve_echo(ServerOptions::default()).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let eager = [REQUEST.as_bytes(), b"\x81\x85\0\0\0\0eager"].concat();
    tcp.write_all(&eager).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\x81\x05eager") {
        assert_ne!(tcp.read_buf(&mut received).await.unwrap(), 0);
    }
}

/// The request can be looked at, the response be added to, and the WebSocket knows the rest.
#[tokio::test]
async fn the_request_and_the_response() {
    let (sender, mut accepted) = mpsc::channel::<WebSocket<_>>(1);
    let address = serve(move |mut request| {
        let upgrade = Upgrade::new(&mut request);
        if upgrade.request().headers().text("Authorization") != Some("Bearer fish") {
            let rejection = Rejection::new(401).with_header("WWW-Authenticate", "Bearer").unwrap();
            return upgrade.refuse(rejection.with_body("who are you?")).response();
        }
        assert_eq!((upgrade.request().path(), upgrade.request().query()), ("/", None));
        let accepted = upgrade.accept_with(&ServerOptions::default(), |accepted| {
            accepted.set_subprotocol(Some("b")).unwrap();
            accepted.add_header("Set-Cookie", "id=1").unwrap();
        });
        let (response, upgrading) = accepted.unwrap();
        let sender = sender.clone();
        tokio::spawn(async move { sender.send(upgrading.await.unwrap()).await });
        response
    })
    .await;
    let (status, headers) = refused(address, Client::builder()).await;
    assert_eq!((status, headers.text("WWW-Authenticate")), (401, Some("Bearer")));

    let client = Client::builder()
        .bearer_auth("fish")
        .subprotocol("a")
        .subprotocol("b")
        .build()
        .unwrap();
    let mut ws = client.connect(&format!("ws://{address}/")).await.unwrap();
    assert_eq!(
        (ws.subprotocol(), ws.headers().text("Set-Cookie")),
        (Some("b"), Some("id=1"))
    );
    let mut server = accepted.recv().await.unwrap();
    assert_eq!(server.subprotocol(), Some("b"));

    // And it ends as any other.
    ws.send("\u{fffd}").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some("\u{fffd}".into()));
    let (closed, received) = tokio::join!(server.close(CloseCode::GOING_AWAY, ""), ws.recv());
    closed.unwrap();
    assert_eq!(received.unwrap(), None);
}

/// A violation is answered and told, through hyper's transport too.
#[tokio::test]
async fn a_violation() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (sender, mut errors) = mpsc::channel(1);
    let address = serve(move |mut request| {
        let (response, upgrading) = Upgrade::new(&mut request).accept(&ServerOptions::default()).unwrap();
        let sender = sender.clone();
        tokio::spawn(async move { sender.send(upgrading.await.unwrap().recv().await).await });
        response
    })
    .await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(&[REQUEST.as_bytes(), b"\x83\x80\0\0\0\0"].concat())
        .await
        .unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer[body], 0x88);
    assert_eq!(answer[body + 2..body + 4], 1002_u16.to_be_bytes());
    drop(tcp);
    let error = errors.recv().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::ReservedOpcode(3))));
}

/// A server that was told to upgrade nothing: the response is sent, and the future fails.
#[tokio::test]
async fn a_connection_without_upgrades() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asking = tokio::spawn(async move { ask(address, REQUEST).await });
    let (sender, mut outcomes) = mpsc::channel(1);
    let (tcp, _) = listener.accept().await.unwrap();
    let service = service_fn(|mut request| {
        let (response, upgrading) = Upgrade::new(&mut request).accept(&ServerOptions::default()).unwrap();
        let sender = sender.clone();
        tokio::spawn(async move { sender.send(upgrading.await.map(drop)).await });
        let response: Answer = response;
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
    let _ = connection.await;
    assert!(matches!(outcomes.recv().await.unwrap(), Err(AcceptError::Io(_))));
    asking.abort();
}

/// And one that hyper has nothing to upgrade for: made by hand, or upgraded by somebody else.
#[tokio::test]
async fn a_request_that_cannot_be_upgraded() {
    let mut request = Request::builder()
        .header("Host", "localhost")
        .header("Connection", "upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .uri("/")
        .body(())
        .unwrap();
    let refusal = Upgrade::new(&mut request)
        .accept::<Full<Bytes>>(&ServerOptions::default())
        .unwrap_err();
    assert_eq!(refusal.response::<Full<Bytes>>().status(), 500);
}

/// H8: a response that the application never sends.
#[tokio::test]
async fn h8_the_response_is_never_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asking = tokio::spawn(async move { ask(address, REQUEST).await });
    let (tcp, _) = listener.accept().await.unwrap();
    let (sender, mut outcomes) = mpsc::channel(1);
    let service = service_fn(|mut request| {
        let options = ServerOptions::builder()
            .handshake_timeout(Duration::ZERO)
            .build()
            .unwrap();
        let (response, upgrading) = Upgrade::new(&mut request).accept::<Full<Bytes>>(&options).unwrap();
        let sender = sender.clone();
        tokio::spawn(async move { sender.send(upgrading.await.map(drop)).await });
        async move {
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
    let outcome = tokio::select! {
        outcome = outcomes.recv() => outcome.unwrap(),
        _ = connection.with_upgrades() => panic!("the connection has ended"),
    };
    assert!(matches!(outcome, Err(AcceptError::Timeout)));
    asking.abort();
}
