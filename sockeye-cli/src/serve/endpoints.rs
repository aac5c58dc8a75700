//! What each path does, as callbacks on the engine's shards.

use std::sync::Arc;

use sockeye_engine::{CloseCode, Decision, End, Handler, Payload, Rejection, Socket, Upgrade};

use super::NOT_READ;
use super::chat::{self, Rooms, Seat};
use super::ticker::Ticker;
use crate::addresses::{Addresses, Place};
use crate::echo::{Held, send_back, send_on};

/// What the connections of all shards share.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    pub(super) addresses: Addresses,
    pub(super) rooms: Arc<Rooms>,
    pub(super) ticker: Arc<Ticker>,
}

/// A connection.
pub(super) struct Visitor {
    at: Endpoint,
    _place: Place,
}

/// A path that speaks WebSocket, and what is kept there for a connection.
enum Endpoint {
    Echo(Held),
    Chat(Seat),
    Ticker,
    /// Publishes to the topic, and gets what others publish.
    Topic(Arc<str>),
}

impl Endpoint {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/echo" => Some(Self::Echo(None)),
            "/chat" => Some(Self::Chat(Seat::default())),
            "/ticker" => Some(Self::Ticker),
            _ => topic(path).map(Self::Topic),
        }
    }
}

/// Whether a path speaks WebSocket.
pub(super) fn is_endpoint(path: &str) -> bool {
    Endpoint::at(path).is_some()
}

/// The topic of `/topic/NAME`, out of the way of those that this program has for itself. A `#`, which ends a path, is said
/// by `%23`.
fn topic(path: &str) -> Option<Arc<str>> {
    let name = path.strip_prefix("/topic/").filter(|name| !name.is_empty())?;
    Some(format!("topic/{}", name.replace("%23", "#")).into())
}

impl Handler for Endpoints {
    type Data = Visitor;

    fn upgrade(&mut self, request: &mut Upgrade<'_, Visitor>) -> Decision<Visitor> {
        let Some(at) = Endpoint::at(request.request().path()) else {
            return Decision::Reject(Rejection::new(404).with_body(NO_ENDPOINT));
        };
        match self.addresses.admit(request.peer_addr()) {
            Ok(place) => Decision::Accept(Visitor { at, _place: place }),
            Err(rejection) => Decision::Reject(rejection),
        }
    }

    fn open(&mut self, socket: &mut Socket<'_, Visitor>) {
        match &socket.data.at {
            Endpoint::Ticker => self.ticker.welcome(socket),
            Endpoint::Topic(topic) => {
                let topic = topic.clone();
                if let Err(error) = socket.subscribe(&topic) {
                    close(socket, CloseCode::POLICY_VIOLATION, &error.to_string());
                }
            }
            Endpoint::Echo(_) | Endpoint::Chat(_) => {}
        }
    }

    fn message(&mut self, socket: &mut Socket<'_, Visitor>, message: Payload<'_>) {
        match &mut socket.data.at {
            Endpoint::Echo(_) => {
                let held = send_back(socket, message);
                socket.data.at = Endpoint::Echo(held);
            }
            Endpoint::Chat(seat) => {
                let mut seat = std::mem::take(seat);
                if let Err((code, reason)) = chat::hear(socket, &self.rooms, &mut seat, message) {
                    self.rooms.leave(&mut seat);
                    close(socket, code, reason);
                }
                socket.data.at = Endpoint::Chat(seat);
            }
            // What is sent there means nothing.
            Endpoint::Ticker => {}
            Endpoint::Topic(topic) => {
                let topic = topic.clone();
                if let Err(error) = socket.publish(&topic, message) {
                    close(socket, CloseCode::POLICY_VIOLATION, &error.to_string());
                }
            }
        }
    }

    fn drain(&mut self, socket: &mut Socket<'_, Visitor>) {
        if let Endpoint::Echo(held) = &mut socket.data.at {
            let held = held.take();
            let held = send_on(socket, held);
            socket.data.at = Endpoint::Echo(held);
        }
    }

    fn dropped(&mut self, socket: &mut Socket<'_, Visitor>, _message: Payload<'_>) {
        match &mut socket.data.at {
            // Nobody is in a room who does not hear what is said there.
            Endpoint::Chat(seat) => {
                self.rooms.leave(seat);
                close(socket, CloseCode::POLICY_VIOLATION, NOT_READ);
            }
            // Better told than left to miss something unawares. By this code, a client knows that it may come back.
            Endpoint::Topic(_) => close(socket, CloseCode::TRY_AGAIN_LATER, NOT_READ),
            // The next price makes up for it.
            Endpoint::Ticker | Endpoint::Echo(_) => {}
        }
    }

    fn close(&mut self, mut visitor: Visitor, _end: End<'_>) {
        if let Endpoint::Chat(seat) = &mut visitor.at {
            self.rooms.leave(seat);
        }
    }
}

/// Closes a connection, unless that has been done.
fn close(socket: &mut Socket<'_, Visitor>, code: CloseCode, reason: &str) {
    let _ = socket.close(code, reason);
}

const NO_ENDPOINT: &str = "there is no WebSocket here; try /echo, /chat, /ticker or /topic/NAME\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_the_names_that_are_asked_for() {
        for (path, expected) in [
            ("/topic/news", Some("topic/news")),
            ("/topic/a/+/c", Some("topic/a/+/c")),
            ("/topic/a/%23", Some("topic/a/#")),
            ("/topic/", None),
            ("/topic", None),
            ("/topics/news", None),
        ] {
            assert_eq!(topic(path).as_deref(), expected, "{path}");
        }
    }
}
