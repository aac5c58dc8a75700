//! [`Handshake`]: what the opening handshake left to know, kept with each connection.

use sockeye_proto::handshake::Headers;
use sockeye_proto::handshake::client::Established;
use sockeye_proto::handshake::server::Accepted;

/// What the opening handshake left to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshake {
    pub(crate) subprotocol: Option<Box<str>>,
    /// Those of the response, at a client. A server keeps none, for the sake of its memory.
    pub(crate) headers: Headers,
}

impl Handshake {
    /// What a server keeps.
    pub(crate) fn accepted(accepted: &Accepted) -> Self {
        Self {
            subprotocol: accepted.subprotocol().map(Into::into),
            headers: Headers::new(),
        }
    }

    /// What a client keeps.
    pub(crate) fn established(established: &Established) -> Self {
        Self {
            subprotocol: established.subprotocol().map(Into::into),
            headers: established.headers().clone(),
        }
    }
}
