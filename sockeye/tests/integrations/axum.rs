//! axum 0.8.

use std::net::SocketAddr;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sockeye::axum::WebSocketUpgrade;
use sockeye::handshake::{Origin, OriginPolicy, Rejection};
use sockeye::{AcceptError, Client, CloseCode, DeflateOptions, ServerOptions};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::common::{REQUEST, ask, check_statuses, echo, refused, talk, talk_with_everything};

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn route<H, T>(handler: H) -> Router
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    Router::new().route("/", any(handler))
}

#[tokio::test]
async fn subprotocol_and_compression() {
    let handler = async |ws: WebSocketUpgrade| {
        ws.subprotocols(["chat"])
            .deflate(DeflateOptions::server())
            .on_upgrade(echo)
    };
    talk_with_everything(serve(route(handler)).await).await;
}

/// The same from options that all routes share.
#[tokio::test]
async fn shared_options() {
    let options = ServerOptions::builder()
        .subprotocol("chat")
        .deflate(DeflateOptions::server())
        .build()
        .unwrap();
    let handler = async |ws: WebSocketUpgrade| ws.on_upgrade(echo);
    talk_with_everything(serve(route(handler).layer(Extension(options.clone()))).await).await;
    let handler = async move |ws: WebSocketUpgrade| ws.with_options(&options).on_upgrade(echo);
    talk_with_everything(serve(route(handler)).await).await;
}

#[tokio::test]
async fn requests_that_are_not_accepted() {
    let address = serve(route(async |ws: WebSocketUpgrade| ws.on_upgrade(echo))).await;
    check_statuses(address).await;
    let (status, response) = ask(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(status, 426);
    assert!(response.contains("upgrade: websocket\r\n"), "{response}");
}

#[tokio::test]
async fn a_page_and_a_websocket_on_one_route() {
    let handler = async |ws: Option<WebSocketUpgrade>| match ws {
        Some(ws) => ws.on_upgrade(echo),
        None => "a page".into_response(),
    };
    let address = serve(Router::new().route("/", get(handler))).await;
    let (status, response) = ask(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(status, 200);
    assert!(response.ends_with("a page"));
    assert_eq!(ask(address, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.0, 200);
    // What asks for a WebSocket, and not well, gets no page.
    assert_eq!(ask(address, REQUEST.replacen("13", "8", 1)).await.0, 426);
    assert_eq!(ask(address, REQUEST.replacen("GET", "POST", 1)).await.0, 405);
    talk(address, Client::builder()).await;
}

#[tokio::test]
async fn h7_pages_of_other_hosts() {
    let handler = async |Path(policy): Path<String>, ws: WebSocketUpgrade| {
        let ours = Origin::parse("https://good.example").unwrap();
        match &*policy {
            "any" => ws.origin(OriginPolicy::Any),
            "list" => ws.origin(OriginPolicy::List(vec![ours])),
            "secure" => ws.with_secure(true),
            _ => ws,
        }
        .on_upgrade(echo)
    };
    let address = serve(Router::new().route("/{policy}", any(handler))).await;
    let same = format!("http://{address}");
    for (policy, origin, status) in [
        ("default", "https://good.example", 403),
        ("default", &same, 101),
        ("secure", &same, 403),
        ("list", "https://good.example", 101),
        ("list", "https://good.example.evil.example", 403),
        ("list", &same, 403),
        ("any", "null", 101),
    ] {
        let request = REQUEST
            .replacen("GET /", &format!("GET /{policy}"), 1)
            .replacen("localhost", &address.to_string(), 1)
            .replacen("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"), 1);
        assert_eq!(ask(address, &request).await.0, status, "{policy} {origin}");
    }
    let client = Client::builder().origin("https://evil.example");
    let mut url = format!("ws://{address}/default");
    assert!(client.build().unwrap().connect(&url).await.is_err());
    url.truncate(url.len() - "default".len());
    let client = Client::builder().origin("https://evil.example").build().unwrap();
    client.connect(&format!("{url}any")).await.unwrap();
}

/// M12: the limits are the core's.
#[tokio::test]
async fn m12_the_limit_of_messages() {
    let address = serve(route(async |ws: WebSocketUpgrade| {
        ws.max_message_size(1000).on_upgrade(echo)
    }))
    .await;
    let mut ws = Client::builder()
        .build()
        .unwrap()
        .connect(&format!("ws://{address}/"))
        .await
        .unwrap();
    ws.send("x".repeat(1001)).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::MESSAGE_TOO_BIG));
}

/// A handler that refuses, one that keeps the future, and one that has the last word on the response.
#[tokio::test]
async fn handlers_of_all_kinds() {
    async fn refuse(ws: WebSocketUpgrade) -> Response {
        assert_eq!(ws.request().path(), "/");
        ws.reject(Rejection::new(401).with_header("WWW-Authenticate", "Bearer").unwrap())
    }
    let (status, headers) = refused(serve(route(refuse)).await, Client::builder()).await;
    assert_eq!((status, headers.text("WWW-Authenticate")), (401, Some("Bearer")));

    let (sender, mut accepted) = mpsc::channel(1);
    let handler = async move |ws: WebSocketUpgrade| {
        let (response, upgrading) = ws.accept_with(|accepted| {
            accepted.set_subprotocol(Some("b")).unwrap();
        })?;
        tokio::spawn(async move { sender.send(upgrading.await.unwrap()).await });
        Ok::<_, sockeye::axum::Refusal>(([("Set-Cookie", "id=1")], response))
    };
    let address = serve(route(handler)).await;
    let client = Client::builder().subprotocol("a").subprotocol("b").build().unwrap();
    let ws = client.connect(&format!("ws://{address}/")).await.unwrap();
    assert_eq!(
        (ws.subprotocol(), ws.headers().text("Set-Cookie")),
        (Some("b"), Some("id=1"))
    );
    assert_eq!(accepted.recv().await.unwrap().subprotocol(), Some("b"));
}

/// A server that was told to upgrade nothing: the callback for that is called.
#[tokio::test]
async fn an_upgrade_that_fails() {
    let (sender, mut failures) = mpsc::unbounded_channel();
    let handler = async move |ws: WebSocketUpgrade| {
        ws.on_failed_upgrade(move |error| sender.send(error).unwrap())
            .on_upgrade(echo)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asking = tokio::spawn(async move { ask(address, REQUEST).await });
    let (tcp, _) = listener.accept().await.unwrap();
    let service = TowerToHyperService::new(route(handler));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
    let _ = connection.await;
    assert!(matches!(failures.recv().await, Some(AcceptError::Io(_))));
    asking.abort();
}

/// The example, as people run it.
#[tokio::test]
async fn the_example_serves() {
    let tests = std::env::current_exe().unwrap();
    let examples = tests
        .parent()
        .and_then(std::path::Path::parent)
        .unwrap()
        .join("examples");
    let mut example = std::process::Command::new(examples.join("axum").with_extension(std::env::consts::EXE_EXTENSION))
        .arg("127.0.0.1:0")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("cargo builds the examples when it builds all targets");
    let stdout = example.stdout.take().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let address: SocketAddr = url["ws://".len()..url.len() - 1].parse().unwrap();
    let (status, page) = ask(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(status == 200 && page.contains("<title>Echo</title>"));
    let mut ws = sockeye::connect(&url).await.unwrap();
    ws.send("swim").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("swim".into()));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    example.kill().unwrap();
    example.wait().unwrap();
}
