//! WebSocket for tokio: client and server, RFC 6455 and permessage-deflate (RFC 7692).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ws = sockeye::connect("wss://example.com/chat").await?;
//! while let Some(message) = ws.recv().await? {
//!     ws.send(message).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - A client: [`connect`], or [`Client::builder`] for options.
//! - A server: [`Server`], or [`accept`] over a transport of your own, or [`Upgrade`] to look at a request before it is
//!   answered.
//! - A connection: [`WebSocket`], whole or [split](WebSocket::split).
//!
//! The protocol itself is in [`sockeye_proto`], without I/O; what this crate adds is the transport, deadlines, and
//! futures that may be dropped.
//!
//! # Features
//!
//! - `deflate` (default): permessage-deflate.
//! - `tls` (default): wss: by rustls, with ring as its provider and the platform's roots.
//! - `webpki-roots`: Mozilla's roots in the program, for machines that have none.
#![forbid(unsafe_code)]

mod byte_stream;
mod client;
mod driver;
mod entropy;
mod error;
mod flusher;
mod handle;
mod input;
mod options;
mod outlet;
mod output;
mod pool;
mod reader;
mod sending;
mod server;
mod socket;
mod split;
pub mod transport;
mod writer;

pub use self::byte_stream::ByteStream;
pub use self::client::{Client, ClientBuilder, connect};
pub use self::client::{ProxyError, ProxyUrlError, RedirectError, Refusal, Resolve, Resolving, SocksReply};
pub use self::driver::{ClosedBy, Delivery, RoundTrip};
pub use self::error::{AcceptError, ConnectError, Error};
pub use self::reader::MessageReader;
pub use self::sending::Sending;
pub use self::server::{Incoming, Server, ServerOptions, ServerOptionsBuilder, Upgrade, accept};
pub use self::socket::WebSocket;
pub use self::split::{Receiver, ReuniteError, Sender};
pub use self::writer::MessageWriter;
pub use sockeye_proto::close::{CloseCode, CloseFrame, CloseState};
pub use sockeye_proto::connection::{Compress, Event, Receive};
#[cfg(feature = "deflate")]
pub use sockeye_proto::deflate::DeflateOptions;
pub use sockeye_proto::error::{ProtocolError, SendError};
pub use sockeye_proto::handshake;
pub use sockeye_proto::keepalive::Timeout;
pub use sockeye_proto::message::{Message, MessageKind, Payload};
pub use sockeye_proto::prepared::Prepared;
pub use sockeye_proto::uri;
pub use sockeye_proto::utf8::Utf8Bytes;
