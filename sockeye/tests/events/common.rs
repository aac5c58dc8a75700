//! Servers that follow a script, and a life of a `WebSocket` written down.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use sockeye::ServerOptions;
use sockeye::events::{Event, WebSocket};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub(crate) use crate::support::{BINARY, CLOSE, TEXT, header, read_head, send_until_it_waits, unmasked as frame};

pub(crate) type Raw = crate::support::Raw<TcpStream>;

/// A listener, and a URL that leads to it.
pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// The same, whose connections hold little that was not read: a transport that takes megabytes is slow to fill.
pub(crate) fn listen_narrow() -> (TcpListener, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// Sockeye's own server, for one connection.
pub(crate) async fn accept(listener: &TcpListener) -> sockeye::WebSocket<TcpStream> {
    let (io, _) = listener.accept().await.unwrap();
    sockeye::accept(io, &ServerOptions::default()).await.unwrap()
}

/// An object that connects, and the listener that it will find.
pub(crate) async fn connecting() -> (WebSocket, TcpListener) {
    let (listener, url) = listen().await;
    (WebSocket::new(&url, ()).unwrap(), listener)
}

/// An object that does not know yet that its server has accepted it, what its callbacks are told, and the server.
pub(crate) async fn connected() -> (WebSocket, Log, Raw) {
    let (ws, listener) = connecting().await;
    let log = log(&ws);
    let server = Raw::accept(&listener).await;
    (ws, log, server)
}

/// An object whose connection is open and has told so, and the server that it is connected to.
pub(crate) async fn open() -> (WebSocket, Raw) {
    let (ws, listener) = connecting().await;
    let server = Raw::accept(&listener).await;
    expect(&ws, "open").await;
    (ws, server)
}

/// A server that reads a request and answers with these bytes.
pub(crate) async fn answer(listener: &TcpListener, response: &str) -> TcpStream {
    let (mut io, _) = listener.accept().await.unwrap();
    read_head(&mut io).await;
    io.write_all(response.as_bytes()).await.unwrap();
    io
}

/// A Close as a server sends it.
pub(crate) fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &close_body(code, reason))
}

pub(crate) fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// What the callbacks of an object are told: each event with what it carries, and the state at that time.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what callbacks are told.
pub(crate) fn log(ws: &WebSocket) -> Log {
    let log = Log::default();
    let push = |log: &Log| {
        let log = log.clone();
        move |ws: &WebSocket, event: &Event| log.lock().unwrap().push(describe(ws, event))
    };
    let (open, message, error, close) = (push(&log), push(&log), push(&log), push(&log));
    ws.on_open(move |ws| open(ws, &Event::Open));
    ws.on_message(move |ws, event| message(ws, &Event::Message(event.clone())));
    ws.on_error(move |ws, event| error(ws, &Event::Error(event.clone())));
    ws.on_close(move |ws, event| close(ws, &Event::Close(event.clone())));
    log
}

fn describe(ws: &WebSocket, event: &Event) -> String {
    let state = ws.ready_state().as_u16();
    match event {
        Event::Open | Event::Error(_) => format!("{} {state}", event.name()),
        Event::Message(message) => format!("message {state} {}", message.data.as_text().unwrap_or("binary")),
        Event::Close(close) => {
            let (code, reason, clean) = (close.code.as_u16(), &close.reason, close.was_clean);
            format!(
                "close {state} {code} {reason:?} {}",
                if clean { "clean" } else { "unclean" }
            )
        }
    }
}

/// Dispatches all that is left, and answers the log. What the stream of events tells is the same.
pub(crate) async fn life(ws: &WebSocket, log: &Log) -> Vec<String> {
    let told = log.lock().unwrap().len();
    let mut streamed = Vec::new();
    while let Some(event) = ws.next_event().await {
        streamed.push(describe(ws, &event));
    }
    let log = log.lock().unwrap().clone();
    // A callback may have changed the state in between; names and their order are the same.
    let names = |events: &[String]| events.iter().map(|event| event[..4].to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&log[told..]), names(&streamed));
    log
}

/// Dispatches the next event, which has this name.
pub(crate) async fn expect(ws: &WebSocket, name: &str) -> Event {
    let event = ws.next_event().await.expect("there is an event");
    assert_eq!(event.name(), name, "{event:?}");
    event
}

/// Does the tasks of the event loop that are there, and asserts that no event comes of them.
pub(crate) async fn nothing_happens(ws: &WebSocket) {
    let mut next = pin!(ws.next_event());
    let next = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
    assert!(next.is_pending(), "{next:?}");
}
