//! [`Handshake`]: what the opening handshake left to know, kept with each connection.

use sockeye_proto::handshake::Headers;
use sockeye_proto::handshake::client::Established;
use sockeye_proto::handshake::server::Accepted;
use sockeye_proto::uri::WebSocketUri;

/// What the opening handshake left to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshake {
    subprotocol: Option<Box<str>>,
    /// What a client has beside that. In a box, since a server's end has none of it, for the sake of its memory.
    asked: Option<Box<Asked>>,
}

/// What a client asked for, and was told.
#[derive(Debug, Clone)]
struct Asked {
    /// Those of the response.
    headers: Headers,
    /// What was asked last, which a redirect may have named.
    uri: WebSocketUri,
}

impl Handshake {
    /// What a server keeps.
    pub(crate) fn accepted(accepted: &Accepted) -> Self {
        Self {
            subprotocol: accepted.subprotocol().map(Into::into),
            asked: None,
        }
    }

    /// What a client keeps.
    pub(crate) fn established(established: &Established, uri: WebSocketUri) -> Self {
        let headers = established.headers().clone();
        Self {
            subprotocol: established.subprotocol().map(Into::into),
            asked: Some(Box::new(Asked { headers, uri })),
        }
    }

    pub(crate) fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    pub(crate) fn headers(&self) -> &Headers {
        static NONE: Headers = Headers::new();
        self.asked.as_ref().map_or(&NONE, |asked| &asked.headers)
    }

    pub(crate) fn uri(&self) -> Option<&WebSocketUri> {
        self.asked.as_ref().map(|asked| &asked.uri)
    }
}
