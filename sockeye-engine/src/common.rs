//! What the connections of a shard share, while one of them is worked on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::entry::Rest;
use crate::handler::Cause;
use crate::mailbox::Mailbox;
use crate::metrics::{Count, Counts};
use crate::options::{Options, SlowSubscriber};
use crate::pool::Pool;
use crate::shared::Shared;
use crate::slab::Key;
use crate::stream::{Stream, write_now};
use crate::timers::Tick;
use crate::topics::{Publication, Topics};

pub(crate) struct Common {
    pub(crate) options: Arc<Options>,
    /// Which of the shards this is.
    pub(crate) shard: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) topics: Topics,
    /// The number of the turn, by which marks in connections are known to be of this one.
    pub(crate) turn: u32,
    /// The last turn of which there are such marks.
    pub(crate) marked: u32,
    pub(crate) now: Tick,
    pub(crate) counts: Counts,
    pub(crate) pool: Pool,
    /// Subscriptions that were made or ended, of which the handler is to be told.
    pub(crate) notices: Vec<Notice>,
    /// Connections whose queue is to be written at the end of the turn.
    pub(crate) corked: Vec<Key>,
    /// Connections that the system is to tell of room, or no more.
    pub(crate) watch: Vec<Key>,
    /// Publications that did not reach a subscriber, of which the handler is to be told.
    pub(crate) dropped: Vec<(Key, Arc<Publication>)>,
}

/// A subscription that was made or ended.
pub(crate) struct Notice {
    pub(crate) key: Key,
    pub(crate) topic: Arc<str>,
    pub(crate) before: usize,
    pub(crate) after: usize,
}

impl Common {
    /// A subscriber reads too slowly for this.
    #[cold]
    pub(crate) fn drop_publication(&mut self, rest: &mut Rest, publication: Arc<Publication>) {
        self.counts.add(Count::DroppedPublish, 1);
        match self.options.slow {
            SlowSubscriber::Drop => {}
            SlowSubscriber::Tell => self.dropped.push((rest.key, publication)),
            SlowSubscriber::Close => rest.terminate(Cause::TooSlow),
        }
    }

    /// A connection is gone, and leaves its place to another.
    pub(crate) fn give_back(&self, rest: &Rest) {
        if !rest.surplus {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The transport has no room: the system is to tell when it has.
    #[cold]
    pub(crate) fn block(&mut self, rest: &mut Rest) {
        rest.blocked = true;
        if !rest.watched {
            self.watch.push(rest.key);
        }
    }

    /// Keeps the count of all that waits for peers to read.
    pub(crate) fn recount(&mut self, rest: &mut Rest, waiting: usize) {
        let more = (waiting as u64).wrapping_sub(rest.counted as u64);
        self.counts.add(Count::QueuedBytes, more);
        rest.counted = waiting;
    }

    /// One write of what waits, and then of `then`. Whatever has no room is left in `out`.
    #[inline]
    pub(crate) fn write<S: Stream + ?Sized>(
        &mut self,
        stream: &mut S,
        out: &mut Vec<u8>,
        then: &[u8],
        rest: &mut Rest,
    ) {
        let waiting = out.len() - rest.sent;
        let Ok(written) = write_now(stream, &out[rest.sent..], then) else {
            rest.terminate(Cause::Lost);
            return;
        };
        self.counts.add(Count::BytesOut, written as u64);
        if written == waiting + then.len() {
            out.clear();
            rest.sent = 0;
            rest.blocked = false;
            if rest.watched {
                self.watch.push(rest.key);
            }
            return;
        }
        self.keep_unwritten(out, then, rest, written);
    }

    /// There was room for so much only of what waited, and then of `then`.
    #[cold]
    fn keep_unwritten(&mut self, out: &mut Vec<u8>, then: &[u8], rest: &mut Rest, written: usize) {
        let waiting = out.len() - rest.sent;
        self.block(rest);
        if written >= waiting {
            out.clear();
            rest.sent = 0;
            out.extend_from_slice(&then[written - waiting..]);
        } else {
            rest.sent += written;
            out.extend_from_slice(then);
            // So that what has left does not stay for long.
            if rest.sent > out.len() / 2 {
                out.drain(..rest.sent);
                rest.sent = 0;
            }
        }
    }
}
