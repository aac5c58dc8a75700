//! The echo as callbacks on the engine's shards.
//!
//! No message is lost: who does not read what comes back is not read from either.

use sockeye_engine::{CloseState, Decision, Delivery, Engine, Handler, Message, Payload, Socket, Upgrade};

use crate::addresses::{Addresses, Place};
use crate::plan::Listening;
use crate::report::Failure;

pub(super) fn start(plan: &Listening) -> Result<Engine, Failure> {
    let addresses = plan.addresses();
    let engine = plan.engine()?.start(move |_shard| Echo {
        addresses: addresses.clone(),
    });
    engine.map_err(|error| Failure::usage(format!("the engine does not start: {error}")))
}

struct Echo {
    addresses: Addresses,
}

impl Handler for Echo {
    type Data = (Held, Place);

    fn upgrade(&mut self, request: &mut Upgrade<'_, Self::Data>) -> Decision<Self::Data> {
        match self.addresses.admit(request.peer_addr()) {
            Ok(place) => Decision::Accept((None, place)),
            Err(rejection) => Decision::Reject(rejection),
        }
    }

    fn message(&mut self, socket: &mut Socket<'_, Self::Data>, message: Payload<'_>) {
        socket.data.0 = send_back(socket, message);
    }

    fn drain(&mut self, socket: &mut Socket<'_, Self::Data>) {
        let held = socket.data.0.take();
        socket.data.0 = send_on(socket, held);
    }
}

/// A message that has to wait.
pub(crate) type Held = Option<Box<Message>>;

/// Sends a message back. If the client has not read what was sent before, nothing is received until it has, and this message
/// is given back for [`send_on`].
pub(crate) fn send_back<D>(socket: &mut Socket<'_, D>, message: Payload<'_>) -> Held {
    // After a Close nothing is sent any more (RFC 6455 §5.5.1), and so nothing is kept.
    if socket.is_blocked() && socket.state() == CloseState::Open {
        socket.pause();
        return Some(Box::new(match message {
            Payload::Text(text) => text.into(),
            Payload::Binary(bytes) => bytes.to_vec().into(),
        }));
    }
    if socket.send(message) == Delivery::Queued {
        socket.pause();
    }
    None
}

/// The client has read something. When it has read all, what was held is sent, and it is received from again.
pub(crate) fn send_on<D>(socket: &mut Socket<'_, D>, held: Held) -> Held {
    if socket.buffered_amount() > 0 {
        return held;
    }
    if let Some(message) = held {
        // One message always has room behind nothing.
        if socket.send(&*message) == Delivery::Queued {
            return None;
        }
    }
    socket.resume();
    None
}
