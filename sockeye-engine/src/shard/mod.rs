//! A shard: connections, their timers and topics, and the handler, on one thread.
//!
//! It knows no system's way of waiting: the [event loop](crate::event_loop), or a test, tells it which streams can be read
//! and written, what time it is, and when a turn ends.

mod commands;
mod deliver;
mod end;
mod opening;
mod receive;
mod time;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::close::{CloseCode, CloseState};

use crate::common::Common;
use crate::entry::{Entry, Phase, Rest};
use crate::handler::{Cause, Handler};
use crate::mailbox::Command;
use crate::metrics::Counts;
use crate::options::Options;
use crate::pool::Pool;
use crate::shared::Shared;
use crate::slab::{Key, Slab};
use crate::socket::Socket;
use crate::stream::Stream;
use crate::timers::{Tick, Wheel};
use crate::topics::Topics;

#[cfg(test)]
mod tests;

use self::time::Leaving;

/// A connection that speaks something else than WebSocket, and what it has said.
pub(crate) type HandOver<S> = Box<dyn FnMut(S, Vec<u8>)>;

pub(crate) struct Shard<H: Handler, S> {
    handler: H,
    slab: Slab<Entry<H::Data, S>>,
    common: Common,
    wheel: Wheel,
    /// Where all connections read into.
    buffer: Vec<u8>,
    /// What the connection that is worked on has to send.
    output: Vec<u8>,
    /// Connections that have more to read, of which no event will tell.
    unread: Vec<Key>,
    /// Connections whose request is on its way or thought about, and those that are beyond the limit.
    opening: usize,
    hand_over: Option<HandOver<S>>,
    leaving: Option<Leaving>,
    commands: Vec<Command>,
    due: Vec<(Key, Tick)>,
    subscribers: Vec<u32>,
}

impl<H: Handler, S: Stream> Shard<H, S> {
    pub(crate) fn new(
        handler: H,
        options: Arc<Options>,
        shard: usize,
        shared: Arc<Shared>,
        hand_over: Option<HandOver<S>>,
    ) -> Self {
        let link = &shared.shards[shard];
        Self {
            handler,
            slab: Slab::new(),
            common: Common {
                options,
                shard,
                mailbox: link.mailbox.clone(),
                topics: Topics::new(link.interest.clone()),
                shared,
                turn: 1,
                marked: 0,
                now: 0,
                counts: Counts::default(),
                pool: Pool::default(),
                notices: Vec::new(),
                corked: Vec::new(),
                watch: Vec::new(),
                dropped: Vec::new(),
            },
            wheel: Wheel::new(),
            buffer: vec![0; BUFFER],
            output: Vec::new(),
            unread: Vec::new(),
            opening: 0,
            hand_over,
            leaving: None,
            commands: Vec::new(),
            due: Vec::new(),
            subscribers: Vec::new(),
        }
    }

    /// Connections of any kind.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is work that no event will bring back.
    pub(crate) fn has_work(&self) -> bool {
        !self.unread.is_empty() || !self.common.topics.turn.is_empty()
    }

    /// Whether as many requests are on their way as may be.
    pub(crate) fn is_busy(&self) -> bool {
        self.opening >= self.common.options.max_handshakes
    }

    /// Ends a turn: what was published is delivered, what waits for that is written.
    pub(crate) fn end_turn(&mut self, took: Duration) {
        let mut rounds = 0;
        while !self.common.topics.turn.is_empty() && rounds < ROUNDS {
            self.deliver();
            rounds += 1;
        }
        let mut corked = std::mem::take(&mut self.common.corked);
        for key in corked.drain(..) {
            if let Some(entry) = self.slab.get_mut(key) {
                entry.rest.corked = false;
                self.settle(key);
            }
        }
        if self.common.corked.is_empty() {
            self.common.corked = corked;
        }
        let metrics = &self.common.shared.shards[self.common.shard].metrics;
        metrics.turned(&self.common.counts, took);
    }

    /// Which connections the system is to tell of room from now on, and which no more: those whose output has none, or has
    /// left, since this was last asked.
    pub(crate) fn rewatch(&mut self, mut watch: impl FnMut(&mut S, Key, bool)) {
        for key in self.common.watch.drain(..) {
            if let Some(entry) = self.slab.get_mut(key)
                && entry.rest.watched != entry.rest.blocked
            {
                entry.rest.watched = entry.rest.blocked;
                watch(&mut entry.stream, key, entry.rest.blocked);
            }
        }
    }

    /// A connection's queue has room.
    #[inline(never)]
    pub(crate) fn writable(&mut self, key: Key) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        match entry.stream.flush() {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => {
                self.end(key, Cause::Lost);
                return;
            }
        }
        if !entry.rest.blocked {
            if matches!(entry.phase, Phase::Lingering) {
                self.linger(key);
            }
            return;
        }
        let before = entry.queue.as_ref().map_or(0, |queue| queue.len()) - entry.rest.sent;
        entry.rest.blocked = false;
        Self::flush(&mut self.common, &mut self.output, entry);
        let after = entry.queue.as_ref().map_or(0, |queue| queue.len()) - entry.rest.sent;
        if after < before {
            // It reads, and so it lives.
            entry.rest.heard(self.common.now);
            if matches!(entry.phase, Phase::Open(..)) {
                self.with_socket(key, H::drain);
                if let Some(entry) = self.slab.get_mut(key)
                    && let Phase::Open(connection, _) = &mut entry.phase
                {
                    let out = entry.queue.as_deref_mut().unwrap_or(&mut self.output);
                    connection.resume_output(out);
                }
            }
        }
        self.settle(key);
    }

    /// Has the handler do something with an open connection. To be [settled](Self::settle) afterwards.
    fn with_socket(&mut self, key: Key, work: impl FnOnce(&mut H, &mut Socket<'_, H::Data>)) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        let Phase::Open(connection, data) = &mut entry.phase else {
            return;
        };
        let mut socket = Socket {
            data,
            connection,
            out: entry.queue.as_deref_mut().unwrap_or(&mut self.output),
            rest: &mut entry.rest,
            stream: &mut entry.stream,
            common: &mut self.common,
        };
        let handler = &mut self.handler;
        call(&mut socket, |socket| work(handler, socket));
    }

    /// What is to be done after anything has happened to a connection: to tell of subscriptions, to write, to see whether
    /// it is over. Whatever is in [`output`](Self::output) is this connection's.
    fn settle(&mut self, key: Key) {
        if !self.common.notices.is_empty() {
            self.tell_of_subscriptions();
        }
        let Some(entry) = self.slab.get_mut(key) else {
            self.output.clear();
            return;
        };
        if Self::leave_with_output(&mut self.common, &mut self.output, entry) {
            self.conclude(key);
        }
    }

    /// Writes what a connection has to send; answers whether there is more to be done than to wait for what comes.
    #[inline(always)]
    fn leave_with_output(common: &mut Common, output: &mut Vec<u8>, entry: &mut Entry<H::Data, S>) -> bool {
        Self::flush(common, output, entry);
        let Phase::Open(connection, _) = &mut entry.phase else {
            return true;
        };
        if entry.queue.is_none() && !connection.is_between_messages() {
            // The answer to a ping that had to wait behind what has just left: nothing else may ever bring it up.
            connection.resume_output(output);
            if !output.is_empty() {
                Self::flush_apart(common, output, entry);
                return true;
            }
        }
        entry.rest.terminated | entry.rest.hung_up || connection.state() != CloseState::Open
    }

    /// Sees whether a connection is over, or about to be.
    #[inline(never)]
    fn conclude(&mut self, key: Key) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        if entry.rest.terminated {
            self.end(key, Cause::Lost);
            return;
        }
        match &entry.phase {
            Phase::Open(connection, _) => match connection.state() {
                CloseState::Open if entry.rest.hung_up => self.end(key, Cause::Lost),
                CloseState::Open => {}
                CloseState::Closing => self.await_close(key),
                CloseState::Closed => self.over(key),
            },
            Phase::Lingering => self.linger(key),
            Phase::Opening(_) | Phase::Deciding(_) if entry.rest.hung_up => self.end(key, Cause::Lost),
            Phase::Opening(_) | Phase::Deciding(_) => {}
        }
    }

    /// One write of what a connection has to send, unless there is no room or the turn brings more.
    #[inline]
    fn flush(common: &mut Common, output: &mut Vec<u8>, entry: &mut Entry<H::Data, S>) {
        let usual = entry.queue.is_none() && !entry.rest.terminated && !entry.rest.blocked;
        if !usual {
            Self::flush_apart(common, output, entry);
        } else if !output.is_empty() {
            common.write(&mut entry.stream, output, &[], &mut entry.rest);
            if !output.is_empty() {
                Self::keep_output(common, output, entry);
            }
        }
    }

    #[inline(never)]
    fn flush_apart(common: &mut Common, output: &mut Vec<u8>, entry: &mut Entry<H::Data, S>) {
        let Entry {
            stream, queue, rest, ..
        } = &mut *entry;
        let Some(out) = queue else {
            if rest.terminated {
                output.clear();
            }
            // What a callback could not write must not be tried again before there is room.
            if !rest.blocked && !output.is_empty() {
                common.write(stream, output, &[], rest);
            }
            if !output.is_empty() {
                Self::keep_output(common, output, entry);
            }
            return;
        };
        if !(rest.blocked || rest.corked || rest.terminated || out.is_empty()) {
            common.write(stream, out, &[], rest);
        }
        common.recount(rest, out.len() - rest.sent);
        if out.is_empty()
            && !rest.corked
            && let Some(out) = queue.take()
        {
            common.pool.put_output(out);
        }
    }

    /// The rest of the output waits for room in a queue of the connection's own.
    #[cold]
    fn keep_output(common: &mut Common, output: &mut Vec<u8>, entry: &mut Entry<H::Data, S>) {
        let mut queue = common.pool.take_output();
        queue.extend_from_slice(&output[entry.rest.sent..]);
        entry.rest.sent = 0;
        output.clear();
        output.shrink_to(BUFFER);
        common.recount(&mut entry.rest, queue.len());
        entry.queue = Some(queue);
    }

    /// Tells the handler of subscriptions that were made or ended.
    #[cold]
    fn tell_of_subscriptions(&mut self) {
        for notice in std::mem::take(&mut self.common.notices) {
            let handler = &mut self.handler;
            if let Some(entry) = self.slab.get_mut(notice.key)
                && let Phase::Open(_, data) = &mut entry.phase
                && guard(|| handler.subscription(data, &notice.topic, notice.before, notice.after)).is_err()
            {
                self.panicked(notice.key);
            }
        }
    }

    /// A callback has panicked: its connection ends with 1011.
    fn panicked(&mut self, key: Key) {
        if let Some(entry) = self.slab.get_mut(key)
            && let Phase::Open(connection, _) = &mut entry.phase
        {
            let out = &mut **entry.queue.get_or_insert_with(|| self.common.pool.take_output());
            entry.rest.extra().cause.get_or_insert(Cause::Panicked);
            // RFC 6455 §7.4.1: "1011 indicates that a server is terminating the connection because it encountered an
            // unexpected condition that prevented it from fulfilling the request."
            let _ = connection.close(CloseCode::INTERNAL_ERROR, "", out);
            if !entry.rest.corked {
                entry.rest.corked = true;
                self.common.corked.push(key);
            }
        }
    }

    /// Has the wheel look at a connection then, if it does not sooner.
    fn look_at(wheel: &mut Wheel, rest: &mut Rest, at: Tick) {
        if at < rest.due {
            rest.due = at;
            wheel.insert(rest.key, at);
        }
    }
}

/// Calls a callback; if it panics, its connection ends with 1011.
fn call<D>(socket: &mut Socket<'_, D>, callback: impl FnOnce(&mut Socket<'_, D>)) {
    if guard(|| callback(socket)).is_err() {
        socket.panicked();
    }
}

/// Catches a panic. What the handler keeps is the application's to make sense of; the engine's own state is never changed
/// half while a callback runs.
#[inline]
fn guard<R>(work: impl FnOnce() -> R) -> Result<R, ()> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| tracing::error!("a callback panicked"))
}

/// The size of the buffer that all connections of a shard read into, in bytes.
const BUFFER: usize = 64 * 1024;

/// How often what a callback publishes while messages are delivered is delivered in the same turn.
const ROUNDS: usize = 4;
