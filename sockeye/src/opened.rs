//! [`Handshake`]: what the opening handshake left to know, kept with each connection.

use sockeye_proto::handshake::Headers;

/// What the opening handshake left to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshake {
    pub(crate) subprotocol: Option<Box<str>>,
    /// The peer's headers: a client has those of the response, a server those of the request.
    pub(crate) headers: Headers,
}
