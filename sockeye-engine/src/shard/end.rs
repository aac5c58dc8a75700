//! How a connection ends.

use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::Connection;

use super::{Shard, guard};
use crate::entry::{Extra, Phase, Rest};
use crate::handler::{Cause, End, Handler};
use crate::metrics::Count;
use crate::slab::Key;
use crate::stream::Stream;
use crate::timers::NEVER;

impl<H: Handler, S: Stream> Shard<H, S> {
    /// A Close has been sent: the peer has some time for its own.
    pub(super) fn await_close(&mut self, key: Key) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        let rest = &mut entry.rest;
        if rest.hung_up {
            self.end(key, Cause::Lost);
            return;
        }
        if rest.close_by == NEVER {
            rest.close_by = self.common.now.saturating_add(self.common.options.times.close);
            Self::look_at(&mut self.wheel, rest, rest.close_by);
        }
    }

    /// Both sides have sent a Close, or the peer has broken the protocol: the handler is told, and what is left leaves.
    pub(super) fn over(&mut self, key: Key) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        // RFC 6455 §7.1.1: the peer is to end the transport only after the server has.
        let close_by = self.common.now.saturating_add(self.common.options.times.close);
        entry.rest.close_by = entry.rest.close_by.min(close_by);
        let phase = std::mem::replace(&mut entry.phase, Phase::Lingering);
        let at = entry.rest.close_by;
        Self::look_at(&mut self.wheel, &mut entry.rest, at);
        if let Some(input) = entry.input.take() {
            self.common.pool.put_input(input);
        }
        if let Phase::Open(connection, data) = phase {
            self.closed(key, &connection, data, None);
        }
        self.linger(key);
    }

    /// Ends the sending side when all has left, and all when the peer has ended its own, for which a shutdown does not wait.
    pub(super) fn linger(&mut self, key: Key) {
        let leaving = self.leaving.is_some();
        let Some(entry) = self.slab.get_mut(key) else { return };
        let rest = &mut entry.rest;
        if entry.queue.is_none() && !rest.shut_down {
            let ended = match entry.stream.flush() {
                Ok(false) => return,
                Ok(true) => entry.stream.shutdown(),
                Err(error) => Err(error),
            };
            rest.shut_down = true;
            rest.hung_up |= ended.is_err();
        }
        if rest.shut_down && (rest.hung_up || leaving) {
            self.remove(key);
        }
    }

    /// Ends a connection at once.
    pub(super) fn end(&mut self, key: Key, cause: Cause) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        match std::mem::replace(&mut entry.phase, Phase::Lingering) {
            Phase::Open(connection, data) => self.closed(key, &connection, data, Some(cause)),
            Phase::Opening(_) | Phase::Deciding(_) => {
                if !entry.rest.surplus {
                    self.opening -= 1;
                }
                self.common.counts.add(Count::Failed, 1);
            }
            Phase::Lingering => {}
        }
        self.remove(key);
    }

    /// Forgets a connection whose WebSocket is over; its stream ends.
    fn remove(&mut self, key: Key) {
        let Some(mut entry) = self.slab.remove(key) else { return };
        self.common.recount(&mut entry.rest, 0);
        if entry.rest.surplus {
            // Nothing else limits how many of those there are who do not go once they are refused.
            self.opening -= 1;
        }
        if let Some(queue) = entry.queue {
            self.common.pool.put_output(queue);
        }
        if let Some(input) = entry.input {
            self.common.pool.put_input(input);
        }
        self.common.give_back(&entry.rest);
        if self.slab.len() == 0 {
            self.give_storage_back();
        }
    }

    /// All have gone. What the shard has kept of so many lies between what they have given back, and an allocator returns
    /// only what is in one piece.
    fn give_storage_back(&mut self) {
        self.wheel.clear();
        self.common.pool.clear();
    }

    /// The WebSocket of a connection is over: it leaves its topics, and the handler is told.
    fn closed(&mut self, key: Key, connection: &Connection, mut data: H::Data, cause: Option<Cause>) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        let extra = entry.rest.extra.take();
        let Extra {
            subscriptions,
            cause: first,
            reason,
            ..
        } = extra.map_or_else(Extra::default, |extra| *extra);
        for subscription in subscriptions {
            let topic = self.common.topics.name(subscription.topic);
            if let Some(before) = self.common.topics.unsubscribe(subscription.topic, key.index) {
                let handler = &mut self.handler;
                let _ = guard(|| handler.subscription(&mut data, &topic, before, before - 1));
            }
        }
        let received = connection.close_received();
        let violation = first == Some(Cause::Violation);
        let clean = received.is_some() && connection.close_sent().is_some() && !violation;
        let end = End {
            code: received.unwrap_or(CloseCode::ABNORMAL),
            reason: &reason,
            clean: clean && connection.state() == CloseState::Closed,
            sent: connection.close_sent(),
            cause: first.or(cause),
        };
        let counts = &mut self.common.counts;
        counts.subtract(Count::Open, 1);
        counts.add(
            if end.clean {
                Count::ClosedClean
            } else {
                Count::ClosedUnclean
            },
            1,
        );
        if let Some(leaving) = &self.leaving {
            leaving.tally.count(end.clean);
        }
        let handler = &mut self.handler;
        let _ = guard(|| handler.close(data, end));
    }
}

impl Rest {
    /// The peer's Close has come with this reason.
    pub(super) fn close_came(&mut self, reason: &str) {
        if !reason.is_empty() {
            self.extra().reason = reason.into();
        }
    }
}
