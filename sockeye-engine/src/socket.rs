//! [`Socket`]: a connection, as a callback sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::{Compress, Connection};
use sockeye_proto::error::SendError;
use sockeye_proto::message::Payload;
use sockeye_proto::prepared::Prepared;

use crate::Delivery;
use crate::common::{Common, Notice};
use crate::entry::{Rest, Subscription};
use crate::filters::{TopicError, check_name};
use crate::handler::Cause;
use crate::mailbox::Command;
use crate::metrics::Count;
use crate::options::SlowSubscriber;
use crate::shared::{Handle, Publisher};
use crate::stream::Stream;
use crate::topics::Publication;

/// An open connection, for the length of a callback.
///
/// What is sent leaves in one write with all else that the turn brings for the connection, at the latest when the turn of
/// the shard's loop ends. Nothing here waits.
pub struct Socket<'a, D> {
    /// What the application keeps for the connection.
    pub data: &'a mut D,
    pub(crate) connection: &'a mut Connection,
    /// What is to be written: of this turn, or what waits for room with this turn's behind it.
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) rest: &'a mut Rest,
    pub(crate) stream: &'a mut dyn Stream,
    pub(crate) common: &'a mut Common,
}

impl<D> Socket<'_, D> {
    /// Sends a message, compressed if that was agreed on and pays.
    ///
    /// [`Delivery::Sent`]: it leaves now. [`Delivery::Queued`]: it waits until the peer has read what is before it;
    /// [`Handler::drain`](crate::Handler::drain) tells of that. [`Delivery::Dropped`]: too much waits already (one message
    /// may always wait, whatever its length), or a Close has been sent or received.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Payload<'m>>) -> Delivery {
        self.send_with(message, Compress::Auto)
    }

    /// The same with a say in its compression.
    #[inline]
    pub fn send_with<'m>(&mut self, message: impl Into<Payload<'m>>, compress: Compress) -> Delivery {
        let message = message.into();
        let length = message.as_bytes().len();
        if !self.common.topics.turn.is_empty() {
            self.catch_up();
        }
        if self.rest.blocked && !self.has_room(length) {
            return self.refuse();
        }
        let sent = if length >= UNCOPIED && !self.rest.blocked && compress == Compress::Auto {
            self.send_uncopied(message)
        } else {
            self.connection.send_with(message, compress, self.out)
        };
        if sent.is_err() {
            return Delivery::Dropped;
        }
        self.sent(1)
    }

    /// Sends a message that was encoded once for many connections.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Delivery {
        self.catch_up();
        if self.rest.blocked && !self.has_room(prepared.payload().len()) {
            return self.refuse();
        }
        match self.connection.send_prepared(prepared, self.out) {
            Ok(()) => self.sent(1),
            Err(_) => Delivery::Dropped,
        }
    }

    /// Sends a ping of at most 125 bytes. Its pong comes by [`Handler::pong`](crate::Handler::pong).
    ///
    /// # Errors
    ///
    /// [`SendError`]: a Close has been sent or received, or the payload is too long.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.connection.ping(payload, self.out)
    }

    /// Output that waits for the peer to read, in bytes.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.out.len() - self.rest.sent
    }

    /// Whether the transport has no room, so that what is sent now waits for the peer to read:
    /// [`Handler::drain`](crate::Handler::drain) tells when it has read.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.rest.blocked
    }

    /// Begins the closing handshake: nothing can be sent any more. Without effect after another Close.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidCloseCode`], [`SendError::ReasonTooLong`], [`SendError::Closed`].
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        self.catch_up();
        self.connection.close(code, reason, self.out)
    }

    /// Ends the connection when the callback returns, without a Close; what waits to be sent is lost.
    pub fn terminate(&mut self) {
        self.rest.terminate(Cause::Terminated);
    }

    /// Subscribes to a topic, or to all whose names match a filter: `+` is one segment between slashes, `#` at the end all
    /// that follow. Answers whether that is new.
    ///
    /// # Errors
    ///
    /// [`TopicError`] for what is neither, and for more subscriptions than a connection may have.
    pub fn subscribe(&mut self, filter: &str) -> Result<bool, TopicError> {
        if self.connection.state() == CloseState::Closed {
            return Ok(false);
        }
        if self.rest.subscriptions().len() >= self.common.options.max_subscriptions {
            return match self.is_subscribed(filter) {
                true => Ok(false),
                false => Err(TopicError::TooMany),
            };
        }
        let (topic, before) = self.common.topics.subscribe(filter, self.rest.key.index)?;
        let Some(before) = before else {
            return Ok(false);
        };
        let made = (self.common.turn, self.common.topics.turn.len() as u32);
        self.common.marked = self.common.turn;
        let subscriptions = &mut self.rest.extra().subscriptions;
        if subscriptions.is_empty() {
            // Most have one, and would pay for four.
            subscriptions.reserve_exact(1);
        }
        subscriptions.push(Subscription { topic, made });
        let topic = self.common.topics.name(topic);
        self.common.notices.push(Notice {
            key: self.rest.key,
            topic,
            before,
            after: before + 1,
        });
        Ok(true)
    }

    /// Ends a subscription. Answers whether there was one.
    pub fn unsubscribe(&mut self, filter: &str) -> bool {
        let Some(id) = self.common.topics.id(filter) else {
            return false;
        };
        // What was published before is still for this connection.
        self.catch_up();
        let topic = self.common.topics.name(id);
        let Some(before) = self.common.topics.unsubscribe(id, self.rest.key.index) else {
            return false;
        };
        self.rest
            .extra()
            .subscriptions
            .retain(|subscription| subscription.topic != id);
        self.common.notices.push(Notice {
            key: self.rest.key,
            topic,
            before,
            after: before - 1,
        });
        true
    }

    /// Whether the connection has this subscription.
    #[must_use]
    pub fn is_subscribed(&self, filter: &str) -> bool {
        let id = self.common.topics.id(filter);
        id.is_some_and(|id| {
            self.rest
                .subscriptions()
                .iter()
                .any(|subscription| subscription.topic == id)
        })
    }

    /// Sends a message to all who subscribe to the topic, in all shards, but not to this connection. It is encoded once,
    /// and compressed at most once for all. What a slow subscriber does not get is up to
    /// [`SlowSubscriber`](crate::SlowSubscriber).
    ///
    /// [`Delivery::Queued`]: it is on its way, [`Delivery::Dropped`]: not to another shard, where too much waits.
    ///
    /// # Errors
    ///
    /// [`TopicError`] for what is no topic's name.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Payload<'m>>) -> Result<Delivery, TopicError> {
        check_name(topic)?;
        let message = message.into();
        let mut made = None;
        let mut make = || {
            let publication = made.get_or_insert_with(|| Publication::new(Prepared::new(message)));
            Arc::clone(publication)
        };
        let common = &mut *self.common;
        if common.topics.publish(topic, Some(self.rest.key.index), &mut make) {
            common.counts.add(Count::Published, 1);
        }
        if common.shared.shards.len() == 1 {
            return Ok(Delivery::Queued);
        }
        let make = std::cell::RefCell::new(make);
        let taken = common
            .shared
            .publish(topic, Some(common.shard), || (make.borrow_mut())());
        Ok(if taken { Delivery::Queued } else { Delivery::Dropped })
    }

    /// Receives no more until [`resume`](Self::resume) or [`Handle::resume`] is called: the peer is held up, by TCP.
    pub fn pause(&mut self) {
        self.rest.paused = true;
    }

    /// Goes on receiving after [`pause`](Self::pause), behind what the turn still has to do.
    pub fn resume(&mut self) {
        if self.rest.paused {
            self.common.mailbox.post(Command::Resume(self.rest.key));
        }
    }

    /// The connection, for other threads and async code.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            mailbox: self.common.mailbox.clone(),
            key: self.rest.key,
        }
    }

    /// What publishes from any thread.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher {
            shared: self.common.shared.clone(),
        }
    }

    /// Where the peer is; behind a proxy, where that is. `None` if it is gone already.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// The certificates that the client has shown, its own first, in DER.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        self.stream.peer_certificates()
    }

    /// Whether it runs over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.rest.extra.as_ref()?.subprotocol.as_deref()
    }

    /// Whether permessage-deflate was agreed on.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.connection.deflate().is_some()
    }

    /// Where the closing handshake stands.
    #[must_use]
    pub fn state(&self) -> CloseState {
        self.connection.state()
    }

    /// A callback has panicked: the connection ends with 1011.
    #[cold]
    pub(crate) fn panicked(&mut self) {
        self.rest.extra().cause.get_or_insert(Cause::Panicked);
        let _ = self.connection.close(CloseCode::INTERNAL_ERROR, "", self.out);
    }

    /// Whether a message of this length may wait behind what waits.
    fn has_room(&self, length: usize) -> bool {
        let waiting = self.buffered_amount();
        waiting == 0 || waiting + length <= self.common.options.send_limit
    }

    #[cold]
    fn refuse(&mut self) -> Delivery {
        self.common.counts.add(Count::DroppedSend, 1);
        if self.common.options.slow == SlowSubscriber::Close {
            self.rest.terminate(Cause::TooSlow);
        }
        Delivery::Dropped
    }

    #[inline]
    fn sent(&mut self, messages: u64) -> Delivery {
        self.common.counts.add(Count::MessagesOut, messages);
        self.rest.message = self.common.now;
        if self.rest.blocked {
            return Delivery::Queued;
        }
        if self.out.len() >= MOST_UNWRITTEN {
            return self.write(&[]);
        }
        Delivery::Sent
    }

    /// Writes what there is, without waiting for the end of the turn.
    #[inline(never)]
    fn write(&mut self, then: &[u8]) -> Delivery {
        self.common.write(&mut *self.stream, self.out, then, self.rest);
        match self.rest.blocked {
            true => Delivery::Queued,
            false => Delivery::Sent,
        }
    }

    /// A large message leaves at once, with what is before it, and is copied only as far as there is no room for it.
    #[inline(never)]
    fn send_uncopied(&mut self, message: Payload<'_>) -> Result<(), SendError> {
        if self.connection.send_uncopied(message, UNCOPIED, self.out)? {
            let _ = self.write(message.as_bytes());
        }
        Ok(())
    }

    /// Puts what was published in this turn for this connection before what it is going to be sent.
    #[inline(never)]
    pub(crate) fn catch_up(&mut self) {
        let Some(extra) = &mut self.rest.extra else { return };
        if self.common.topics.dirty.is_empty() || extra.subscriptions.is_empty() {
            return;
        }
        let mut numbers: Vec<u32> = Vec::new();
        for subscription in &extra.subscriptions {
            if let Some(topic) = self.common.topics.topic(subscription.topic) {
                let from = first_of(subscription, extra.delivered, self.common.turn);
                numbers.extend(topic.pending.iter().filter(|number| **number >= from));
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        self.common.marked = self.common.turn;
        extra.delivered = (self.common.turn, self.common.topics.turn.len() as u32);
        let Ok(window) = self.connection.shared_window() else {
            return;
        };
        for number in numbers {
            let pending = &self.common.topics.turn[number as usize];
            if pending.except == Some(self.rest.key.index) {
                continue;
            }
            let frame = pending.publication.frame(window, &self.common.options.compression);
            let waiting = self.out.len() - self.rest.sent;
            if self.rest.blocked && waiting > 0 && waiting + frame.len() > self.common.options.send_limit {
                let publication = pending.publication.clone();
                self.common.drop_publication(self.rest, publication);
                continue;
            }
            self.out.extend_from_slice(frame);
            self.common.counts.add(Count::Delivered, 1);
            self.common.counts.add(Count::MessagesOut, 1);
        }
    }
}

/// The first publication of the turn that is for a subscription.
pub(crate) fn first_of(subscription: &Subscription, delivered: (u32, u32), turn: u32) -> u32 {
    let of_turn = |(made, number): (u32, u32)| if made == turn { number } else { 0 };
    of_turn(subscription.made).max(of_turn(delivered))
}

impl<D> fmt::Debug for Socket<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("state", &self.connection.state())
            .field("buffered_amount", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}

/// The length from which on a message is not copied on its way out, in bytes.
pub(crate) const UNCOPIED: usize = 8 * 1024;

/// How much output is kept for the end of a connection's turn, in bytes.
const MOST_UNWRITTEN: usize = 64 * 1024;
