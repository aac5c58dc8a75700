//! [`Handshake`]: what the opening handshake left to know, kept with each connection.

use sockeye_proto::handshake::Headers;
use sockeye_proto::handshake::client::Established;
use sockeye_proto::handshake::server::Accepted;
use sockeye_proto::uri::WebSocketUri;

/// What the opening handshake left to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshake {
    pub(crate) subprotocol: Option<Box<str>>,
    /// Those of the response, at a client. A server keeps none, for the sake of its memory.
    pub(crate) headers: Headers,
    /// What a client asked last, which a redirect may have named. In a box, since a server's end has none.
    pub(crate) uri: Option<Box<WebSocketUri>>,
}

impl Handshake {
    /// What a server keeps.
    pub(crate) fn accepted(accepted: &Accepted) -> Self {
        Self {
            subprotocol: accepted.subprotocol().map(Into::into),
            headers: Headers::new(),
            uri: None,
        }
    }

    /// What a client keeps.
    pub(crate) fn established(established: &Established, uri: WebSocketUri) -> Self {
        Self {
            subprotocol: established.subprotocol().map(Into::into),
            headers: established.headers().clone(),
            uri: Some(Box::new(uri)),
        }
    }
}
