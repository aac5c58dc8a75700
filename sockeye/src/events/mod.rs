//! The browser's API: [`WebSocket`] with its events, and [`WebSocketStream`], by the [WHATWG WebSockets
//! standard](https://websockets.spec.whatwg.org/).
//!
//! For code that is ported from JavaScript, or written by people who think in it. States, the order of events, close codes
//! and what is refused are the standard's. The protocol is RFC 6455's, and TLS, headers, proxies and limits are those of a
//! [`Client`](crate::Client). What a page must not know and a program may, is beside it: the [`Failure`] behind an `error`.
//!
//! | JavaScript | here |
//! |---|---|
//! | `new WebSocket(url, protocols)` | [`WebSocket::new`], [`WebSocket::with_client`] |
//! | `url`, `readyState`, `bufferedAmount`, `extensions`, `protocol` | [`url`](WebSocket::url), [`ready_state`](WebSocket::ready_state), [`buffered_amount`](WebSocket::buffered_amount), [`extensions`](WebSocket::extensions), [`protocol`](WebSocket::protocol) |
//! | `binaryType` | [`binary_type`](WebSocket::binary_type), [`set_binary_type`](WebSocket::set_binary_type) |
//! | `send(data)`, `close(code, reason)` | [`send`](WebSocket::send), [`close`](WebSocket::close) |
//! | `onopen`, `onmessage`, `onerror`, `onclose` | [`on_open`](WebSocket::on_open), [`on_message`](WebSocket::on_message), [`on_error`](WebSocket::on_error), [`on_close`](WebSocket::on_close) |
//! | the event loop | [`run`](WebSocket::run), [`next_event`](WebSocket::next_event), or the [`Stream`](futures_core::Stream) of [`Event`]s |
//! | exceptions | [`Exception`] |
//!
//! # The event loop
//!
//! A script runs to its end before an event is dispatched, so it cannot miss one: the standard counts on it. A task of a
//! multi-threaded runtime has no such end, so here the program says when events are dispatched: **while it awaits
//! [`run`](WebSocket::run) or [`next_event`](WebSocket::next_event), or polls the stream, and at no other time.** Each event
//! changes the state, then its callback is called, then it is handed to whoever waits. Callbacks are never called at the same
//! time, nor from within each other.
//!
//! The connection itself has a task of its own, and goes on meanwhile. Of what arrives undispatched, it keeps 256 messages or
//! 64 KiB, whichever is first, with one message always taken, and then makes the server wait. A browser would go on to fill
//! its memory.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = sockeye::Server::bind("127.0.0.1:0", sockeye::ServerOptions::default()).await?;
//! # let url = format!("http://{}/", server.local_addr()?);
//! # tokio::spawn(async move {
//! #     let mut ws = server.accept().await.unwrap().accept().await.unwrap();
//! #     while let Some(message) = ws.recv().await.unwrap() { ws.send(message).await.unwrap(); }
//! # });
//! use sockeye::events::WebSocket;
//!
//! let ws = WebSocket::new(&url, ())?;
//! ws.on_open(|ws| ws.send("swim").expect("it is open"));
//! ws.on_message(|ws, event| {
//!     assert_eq!(event.data.as_text(), Some("swim"));
//!     ws.close(1000, "done").expect("the arguments are valid");
//! });
//! ws.on_error(|_, event| eprintln!("{}", event.cause));
//! let close = ws.run().await;
//! assert!(close.was_clean);
//! # Ok(())
//! # }
//! ```

mod arguments;
mod event;
mod exception;
mod link;
mod stream;
mod task;
mod websocket;

pub use self::arguments::Protocols;
pub use self::event::{BinaryType, Blob, CloseEvent, Data, ErrorEvent, Event, Failure, MessageEvent, ReadyState};
pub use self::exception::{Exception, SyntaxError};
pub use self::stream::{CloseInfo, Opened, Readable, WebSocketError, WebSocketStream, Writable};
pub use self::websocket::WebSocket;
