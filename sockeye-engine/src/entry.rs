//! What a shard keeps for each connection: little while nothing happens.

use sockeye_proto::connection::Connection;
use sockeye_proto::handshake::http1::RequestReader;
use tokio::sync::oneshot;

use crate::handler::Cause;
use crate::pool::Input;
use crate::slab::Key;
use crate::timers::{NEVER, Tick};
use crate::topics::TopicId;

pub(crate) struct Entry<D, S> {
    pub(crate) stream: S,
    pub(crate) phase: Phase<D>,
    /// The beginning of a frame that is not whole yet.
    pub(crate) input: Option<Box<Input>>,
    /// Output that waits: for room, or for the end of the turn.
    pub(crate) queue: Option<Box<Vec<u8>>>,
    pub(crate) rest: Rest,
}

pub(crate) enum Phase<D> {
    /// A request is coming.
    Opening(Box<Opening>),
    /// A request has come, and somebody thinks about it.
    Deciding(Box<Deciding>),
    Open(Connection, D),
    /// The WebSocket is over; what has to leave still leaves, and then the peer ends the transport.
    Lingering,
}

pub(crate) struct Opening {
    pub(crate) reader: RequestReader,
    pub(crate) received: Vec<u8>,
}

pub(crate) struct Deciding {
    /// What came after the request.
    pub(crate) early: Vec<u8>,
    /// Told when the connection ends, by being dropped.
    pub(crate) _gone: oneshot::Sender<()>,
}

/// The part that callbacks may change through a [`Socket`](crate::Socket).
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) key: Key,
    pub(crate) extra: Option<Box<Extra>>,
    /// How many bytes of the queue have left already.
    pub(crate) sent: usize,
    /// How many bytes of the queue are counted as waiting.
    pub(crate) counted: usize,
    /// When bytes last came, when a message last passed, and when a ping left, if nothing has come since.
    pub(crate) heard: Tick,
    pub(crate) message: Tick,
    pub(crate) pinged: Tick,
    /// When the connection has lasted long enough, and when a closing handshake has to be done.
    pub(crate) expires: Tick,
    pub(crate) close_by: Tick,
    /// When the wheel looks at it next; what else it has of this connection is out of date.
    pub(crate) due: Tick,
    /// Whether there are as many connections as may be without it: it is not counted, and gets no more than an answer.
    pub(crate) surplus: bool,
    /// Whether the transport had no room when it was last written to.
    pub(crate) blocked: bool,
    /// Whether the queue is to be written when the turn ends.
    pub(crate) corked: bool,
    /// Whether the application wants no more messages for now.
    pub(crate) paused: bool,
    /// Whether there may be more to read of which no event will tell.
    pub(crate) unread: bool,
    /// Whether the transport has failed, or is to be given up.
    pub(crate) terminated: bool,
    /// Whether the end of the peer's side is behind what is left to read.
    pub(crate) ends: bool,
    /// Whether the peer has ended its side.
    pub(crate) hung_up: bool,
    /// Whether the sending side has been ended.
    pub(crate) shut_down: bool,
}

/// What only some connections have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) subprotocol: Option<Box<str>>,
    /// Why the engine ends it, if it does.
    pub(crate) cause: Option<Cause>,
    /// The reason in the peer's Close.
    pub(crate) reason: Box<str>,
    /// Up to where, in which turn, publications have been delivered ahead of the turn's end.
    pub(crate) delivered: (u32, u32),
    /// The last turn at whose end it was served as a subscriber of several topics.
    pub(crate) served: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) topic: TopicId,
    /// In which turn it was made, and how much had been published in that before.
    pub(crate) made: (u32, u32),
}

impl Rest {
    pub(crate) fn new(key: Key, now: Tick) -> Self {
        Self {
            key,
            extra: None,
            sent: 0,
            counted: 0,
            heard: now,
            message: now,
            pinged: NEVER,
            expires: NEVER,
            close_by: NEVER,
            due: NEVER,
            surplus: false,
            blocked: false,
            corked: false,
            paused: false,
            unread: false,
            terminated: false,
            ends: false,
            hung_up: false,
            shut_down: false,
        }
    }

    /// Bytes have come: the peer lives.
    #[inline]
    pub(crate) fn heard(&mut self, now: Tick) {
        self.heard = now;
        self.pinged = NEVER;
    }

    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Gives the connection up for this reason, the first of all.
    pub(crate) fn terminate(&mut self, cause: Cause) {
        self.terminated = true;
        self.extra().cause.get_or_insert(cause);
    }

    pub(crate) fn subscriptions(&self) -> &[Subscription] {
        self.extra.as_ref().map_or(&[], |extra| &extra.subscriptions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        let size = size_of::<Entry<u64, mio::net::TcpStream>>();
        assert!(size <= 192, "{size}");
    }
}
