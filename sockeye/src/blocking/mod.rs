//! The blocking API: WebSockets over std's sockets, a thread for each, without a runtime.
//!
//! The protocol is the core's, the same as in the rest of the crate; here are the transport, deadlines by the timeouts of
//! sockets, and the run loop. Nothing in it starts or needs a tokio runtime, and with the features `blocking` or
//! `blocking-tls` alone, without the default ones, tokio is not compiled.
//!
//! - A client: [`connect`], or [`Client::builder`] for options, or [`Client::connect_over`] for a transport of your own.
//! - A server: std's listener, and for each connection a thread that calls [`accept`], or [`accept_tls`], or [`Upgrade`]
//!   to look at the request first.
//! - A connection: [`WebSocket`], whole, or [split](WebSocket::split) for two threads.
//!
//! Any [`Transport`] will do; what is merely `Read + Write` becomes one by [`Untimed`], without deadlines.
//!
//! Not here: what [`Client`] lists; a listener with limits and a shutdown, which the async `Server` has; reconnecting;
//! messages in constant memory, and large ones in fragments: a message is one frame, behind which a pong waits. A send
//! blocks while the peer does not read, so nothing is dropped for want of room. Pings of one's own are sent, and not
//! measured; who closed first is not told. A thread for each connection is for dozens of them, not for thousands.
//!
//! ```
//! use std::net::TcpListener;
//! use std::thread;
//!
//! use sockeye::{CloseCode, ServerOptions, blocking};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let url = format!("ws://{}/", listener.local_addr()?);
//! let server = thread::spawn(move || {
//!     let (tcp, _) = listener.accept()?;
//!     let mut ws = blocking::accept(tcp, &ServerOptions::default())?;
//!     while let Some(message) = ws.recv()? {
//!         ws.send(message)?;
//!     }
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! let mut ws = blocking::connect(&url)?;
//! ws.send("swim")?;
//! assert_eq!(ws.recv()?, Some("swim".into()));
//! ws.close(CloseCode::NORMAL, "done")?;
//! # server.join().unwrap().unwrap();
//! # Ok(())
//! # }
//! ```

mod client;
mod clock;
mod deadline;
mod driver;
mod outbox;
mod server;
mod socket;
mod split;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

pub use self::client::{Client, ClientBuilder, connect};
#[cfg(feature = "_rustls")]
pub use self::server::accept_tls;
pub use self::server::{Upgrade, accept};
pub use self::socket::{Waited, WebSocket};
pub use self::split::{Receiver, Sender};
pub use self::stream::Stream;
pub use self::transport::{Transport, TryClone, Untimed};
