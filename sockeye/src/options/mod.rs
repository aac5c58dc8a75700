//! Options, each described once for all who take it: clients and servers, async and blocking.
//!
//! A builder holds its options in one of the structs here and takes its methods from the macros beside them, so that what an
//! option means and what it costs stands in one place. Not here: what only one of the builders has.

mod client;
mod message;
mod server;
mod socket;

#[cfg(feature = "_rustls")]
pub(crate) use self::client::tls_options;
pub(crate) use self::client::{ClientSettings, client_options};
pub(crate) use self::message::message_options;
pub use self::server::{ServerOptions, ServerOptionsBuilder};
pub(crate) use self::socket::{SocketOptions, socket_options};
