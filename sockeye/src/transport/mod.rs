//! What a WebSocket runs over: sockets, and TLS on them.

#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "_rustls")]
pub mod tls;

#[cfg(feature = "tokio")]
pub use self::stream::Stream;
