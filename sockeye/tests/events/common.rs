//! Servers that follow a script, and a life of a `WebSocket` written down.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use sockeye::ServerOptions;
use sockeye::events::{Event, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

/// A server that reads a request and answers with these bytes.
pub(crate) async fn answer(listener: &TcpListener, response: &str) -> TcpStream {
    let (mut io, _) = listener.accept().await.unwrap();
    read_head(&mut io).await;
    io.write_all(response.as_bytes()).await.unwrap();
    io
}

/// A server that has done the handshake and then reads and writes bytes.
pub(crate) struct Raw {
    pub(crate) io: TcpStream,
    /// The client's request.
    pub(crate) request: String,
}

impl Raw {
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        Self::accept_with(listener, "").await
    }

    /// The response has these headers too, each with its CRLF.
    pub(crate) async fn accept_with(listener: &TcpListener, headers: &str) -> Self {
        let (mut io, _) = listener.accept().await.unwrap();
        let request = read_head(&mut io).await;
        let key = header(&request, "Sec-WebSocket-Key").unwrap();
        let accept = String::from_utf8(sockeye::handshake::accept_key(key.as_bytes()).to_vec()).unwrap();
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
        );
        io.write_all(response.as_bytes()).await.unwrap();
        Self { io, request }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// The next frame: its first byte and its payload, unmasked. `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.io.read_exact(&mut head).await.ok()?;
        let length = match head[1] & 0x7f {
            126 => u64::from(self.io.read_u16().await.ok()?),
            127 => self.io.read_u64().await.ok()?,
            short => u64::from(short),
        };
        assert_eq!(head[1] & 0x80, 0x80, "a client masks");
        let mut key = [0; 4];
        self.io.read_exact(&mut key).await.ok()?;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload).await.ok()?;
        payload
            .iter_mut()
            .zip(key.iter().cycle())
            .for_each(|(byte, key)| *byte ^= key);
        Some((head[0], payload))
    }
}

impl Raw {
    /// The next message, whole: its first byte with FIN, its payload, and in how many frames it came.
    pub(crate) async fn message(&mut self) -> Option<(u8, Vec<u8>, usize)> {
        let (first, mut payload) = self.frame().await?;
        let (mut last, mut frames) = (first, 1);
        while last & 0x80 == 0 {
            let (first, more) = self.frame().await?;
            assert_eq!(first & 0x7f, 0, "a continuation");
            payload.extend(more);
            (last, frames) = (first, frames + 1);
        }
        Some((first | 0x80, payload, frames))
    }

    /// Ends our side, and reads what is left: nothing.
    pub(crate) async fn finish(mut self) {
        self.io.shutdown().await.unwrap();
        assert_eq!(self.frame().await, None);
    }
}

/// The value of a header.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

pub(crate) async fn read_head(io: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A frame as a server sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
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

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
