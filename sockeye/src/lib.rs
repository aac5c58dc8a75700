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
//! - A client that comes back: [`reconnect`].
//! - A connection: [`WebSocket`], whole or [split](WebSocket::split).
//! - The browser's API, names and order of events included: [`events`].
//!
//! The protocol itself is in [`sockeye_proto`], without I/O; what this crate adds is the transport, deadlines, and
//! futures that may be dropped.
//!
//! # Features
//!
//! - `deflate` (default): permessage-deflate.
//! - `tls` (default): wss: by rustls, with ring as its provider and the platform's roots. Brings `tokio`.
//! - `tokio` (default): everything but the module `blocking`.
//! - `tracing`: a span for each connection, and events of its beginning and end; see [Observability](#observability).
//! - `metrics`: counters of connections and handshakes, through the facade of that name.
//! - `webpki-roots`: Mozilla's roots in the program, for machines that have none; for `tls` or `blocking-tls`.
//! - `blocking`: the module `blocking`, the same over std's sockets, a thread a connection. Without the default features
//!   no runtime is compiled.
//! - `blocking-tls`: wss: there, by the same rustls, without tokio.
//! - `hyper` and `axum`: the modules `hyper` and `axum`, connections out of others' servers.
//! - `http2`: extended CONNECT (RFC 8441) in those.
//! - `json` and `msgpack`: serde's formats for [`codec`].
//!
//! # Observability
//!
//! With the feature `tracing`, each connection, but for those of the module `blocking`, has a span `connection` with `id`,
//! `role`, `peer` where it is known and, at a client, `url`. Events in it: `open`, `Close received` (`code`, `reason`), `ended`
//! (`code` of the peer's Close, `sent` for ours, `clean`, `error`), `handshake failed` and `handler failed` (`error`).
//!
//! With the feature `metrics`, there are the counters `sockeye_connections_opened_total`, `sockeye_connections_closed_total`,
//! `sockeye_handshakes_failed_total`, `sockeye_accept_errors_total` and `sockeye_handlers_failed_total`, and the gauge
//! `sockeye_connections`.
//!
//! [docs/observability.md](https://github.com/sockeye-ws/sockeye/blob/main/docs/observability.md) has their levels and labels.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "tokio"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "the documentation is that of all features"
    )
)]
#![cfg_attr(
    not(any(feature = "tokio", feature = "blocking")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "without anything that connects, only the words of the API are left"
    )
)]

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "tokio")]
mod byte_stream;
#[cfg(feature = "tokio")]
mod client;
pub mod codec;
#[cfg(feature = "tokio")]
mod driver;
mod entropy;
mod error;
#[cfg(feature = "tokio")]
pub mod events;
#[cfg(feature = "tokio")]
mod flusher;
#[cfg(feature = "tokio")]
mod handle;
#[cfg(feature = "hyper")]
pub mod hyper;
mod input;
#[cfg(feature = "tokio")]
mod observe;
mod opened;
mod options;
#[cfg(feature = "tokio")]
mod outlet;
#[cfg(feature = "tokio")]
mod output;
mod pool;
#[cfg(feature = "tokio")]
mod reader;
#[cfg(feature = "tokio")]
pub mod reconnect;
#[cfg(feature = "tokio")]
mod sending;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod socket;
#[cfg(feature = "tokio")]
mod split;
pub mod transport;
#[cfg(feature = "tokio")]
mod writer;

#[cfg(feature = "tokio")]
pub use self::byte_stream::ByteStream;
#[cfg(feature = "tokio")]
pub use self::client::{Client, ClientBuilder, Resolve, Resolving, connect};
#[cfg(feature = "tokio")]
pub use self::driver::{ClosedBy, Delivery, RoundTrip};
pub use self::error::{AcceptError, ConnectError, Error, Full};
pub use self::error::{ProxyError, ProxyUrlError, RedirectError, Refusal, SocksReply};
pub use self::options::{ServerOptions, ServerOptionsBuilder};
#[cfg(feature = "tokio")]
pub use self::reader::MessageReader;
#[cfg(feature = "tokio")]
pub use self::sending::Sending;
#[cfg(feature = "tokio")]
pub use self::server::{
    Address, HandlerOutput, Incoming, Limits, Listener, Server, ServerBuilder, ShutdownReport, Upgrade, accept,
};
#[cfg(feature = "tls")]
pub use self::server::{ServerTls, ServerTlsBuilder, TlsError};
#[cfg(feature = "tokio")]
pub use self::socket::WebSocket;
#[cfg(feature = "tokio")]
pub use self::split::{Receiver, ReuniteError, Sender};
#[cfg(feature = "tokio")]
pub use self::writer::MessageWriter;
pub use sockeye_proto::close::{CloseCode, CloseFrame, CloseState};
pub use sockeye_proto::connection::{Compress, Event, Receive};
#[cfg(feature = "deflate")]
pub use sockeye_proto::deflate::DeflateOptions;
pub use sockeye_proto::error::{ProtocolError, SendError};
pub use sockeye_proto::handshake;
pub use sockeye_proto::keepalive::{Timeout, Timing};
pub use sockeye_proto::message::{Message, MessageKind, Payload};
pub use sockeye_proto::prepared::Prepared;
pub use sockeye_proto::uri;
pub use sockeye_proto::utf8::Utf8Bytes;
