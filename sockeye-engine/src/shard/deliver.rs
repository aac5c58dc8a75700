//! The end of a turn: what was published goes to all who subscribe, in one write each.

use std::sync::Arc;

use sockeye_proto::message::{MessageKind, Payload};

use super::Shard;
use crate::common::Common;
use crate::entry::{Entry, Phase, Rest};
use crate::handler::{Cause, Handler};
use crate::metrics::Count;
use crate::socket::first_of;
use crate::stream::{Stream, write_now};
use crate::topics::{Compression, Pending, Publication, TopicId};

/// What was published in a turn.
struct Batch {
    turn: u32,
    pending: Vec<Pending>,
    topics: Vec<Dirty>,
}

/// A topic that was published to.
struct Dirty {
    id: TopicId,
    /// Which of the turn's publications are for it.
    numbers: Vec<u32>,
    /// The subscribers for whom one of them is not, in order.
    excepts: Vec<u32>,
    /// All of its frames behind each other, by window bits.
    forms: Vec<(u8, Vec<u8>)>,
}

impl<H: Handler, S: Stream> Shard<H, S> {
    /// Delivers what was published in this turn so far, and begins another.
    pub(super) fn deliver(&mut self) {
        let mut batch = self.take_batch();
        let mut troubled = Vec::new();
        let mut subscribers = std::mem::take(&mut self.subscribers);
        let alone = batch.topics.len() == 1;
        // Most turns leave no marks. To look for them in each connection is as much as what else there is to do for it here.
        let marked = self.common.marked == batch.turn;
        let options = self.common.options.clone();
        for at in 0..batch.topics.len() {
            subscribers.clear();
            if let Some(topic) = self.common.topics.topic(batch.topics[at].id) {
                subscribers.extend(topic.subscribers());
            }
            for index in &subscribers {
                let Some((key, entry)) = self.slab.at(*index) else {
                    continue;
                };
                let Phase::Open(connection, _) = &mut entry.phase else {
                    continue;
                };
                // A Close has been sent or received.
                let Ok(window) = connection.shared_window() else {
                    continue;
                };
                let excepts = &batch.topics[at].excepts;
                let all = excepts.is_empty() || excepts.binary_search(index).is_err();
                let plain = all && (!marked || is_plain(&entry.rest, batch.turn));
                if plain && (alone || entry.rest.subscriptions().len() == 1) {
                    batch.topics[at].prepare(&batch.pending, window, &options.compression);
                    let dirty = &batch.topics[at];
                    let form = dirty.form(&batch.pending, window, &options.compression);
                    send(entry, &mut self.common, form, &batch.pending, &dirty.numbers, window);
                } else {
                    let Some(numbers) = merged(&mut entry.rest, &batch) else {
                        continue;
                    };
                    let mut frames = Vec::new();
                    for number in &numbers {
                        let publication = &batch.pending[*number as usize].publication;
                        frames.extend_from_slice(publication.frame(window, &options.compression));
                    }
                    send(entry, &mut self.common, &frames, &batch.pending, &numbers, window);
                }
                if entry.rest.terminated {
                    troubled.push(key);
                }
            }
        }
        self.subscribers = subscribers;
        for key in troubled {
            self.settle(key);
        }
        self.tell_of_drops();
        self.recycle(batch);
    }

    fn take_batch(&mut self) -> Batch {
        let topics = &mut self.common.topics;
        // A topic that was left and made anew in between may be there twice.
        topics.dirty.sort_unstable();
        topics.dirty.dedup();
        let pending = std::mem::take(&mut topics.turn);
        let dirty = topics.take_dirty().map(|(id, numbers, excepts)| Dirty {
            id,
            numbers,
            excepts,
            forms: Vec::new(),
        });
        let batch = Batch {
            turn: self.common.turn,
            topics: dirty.collect(),
            pending,
        };
        topics.bytes = 0;
        // 0 is the mark of those that have none.
        self.common.turn = self.common.turn.wrapping_add(1).max(1);
        batch
    }

    /// Gives the storage of a batch back.
    fn recycle(&mut self, batch: Batch) {
        let Batch {
            mut pending, topics, ..
        } = batch;
        pending.clear();
        if self.common.topics.turn.is_empty() && pending.capacity() <= RETAINED {
            self.common.topics.turn = pending;
        }
        for dirty in topics {
            self.common.topics.put_numbers(dirty.id, dirty.numbers);
        }
    }

    /// Tells the handler which publications did not reach whom.
    fn tell_of_drops(&mut self) {
        for (key, publication) in std::mem::take(&mut self.common.dropped) {
            let plain = &publication.plain;
            let message = match plain.kind() {
                MessageKind::Text => match std::str::from_utf8(plain.payload()) {
                    Ok(text) => Payload::Text(text),
                    Err(_) => continue,
                },
                MessageKind::Binary => Payload::Binary(plain.payload()),
            };
            self.with_socket(key, |handler, socket| handler.dropped(socket, message));
            self.settle(key);
        }
    }
}

/// Whether all of a topic's publications are for this subscriber.
fn is_plain(rest: &Rest, turn: u32) -> bool {
    let extra = rest.extra.as_ref();
    extra.is_some_and(|extra| {
        extra.delivered.0 != turn
            && extra
                .subscriptions
                .iter()
                .all(|subscription| subscription.made.0 != turn)
    })
}

impl Dirty {
    /// Puts all frames of the topic behind each other, if that has not been done.
    #[inline]
    fn prepare(&mut self, pending: &[Pending], window: u8, compression: &Compression) {
        if self.numbers.len() > 1 && !self.forms.iter().any(|(bits, _)| *bits == window) {
            let mut frames = Vec::new();
            for number in &self.numbers {
                frames.extend_from_slice(pending[*number as usize].publication.frame(window, compression));
            }
            self.forms.push((window, frames));
        }
    }

    /// All frames of the topic, which are [prepared](Self::prepare).
    #[inline]
    fn form<'a>(&'a self, pending: &'a [Pending], window: u8, compression: &Compression) -> &'a [u8] {
        if let [number] = self.numbers[..] {
            return pending[number as usize].publication.frame(window, compression);
        }
        let form = self.forms.iter().find(|(bits, _)| *bits == window);
        form.map_or(&[], |(_, frames)| frames)
    }
}

/// The publications of all its topics for a subscriber, in order, each once; `None` if it has had them.
fn merged(rest: &mut Rest, batch: &Batch) -> Option<Vec<u32>> {
    let index = rest.key.index;
    let extra = rest.extra.as_mut()?;
    if extra.served == batch.turn {
        return None;
    }
    extra.served = batch.turn;
    let mut numbers = Vec::new();
    for subscription in &extra.subscriptions {
        let Ok(at) = batch.topics.binary_search_by_key(&subscription.topic, |dirty| dirty.id) else {
            continue;
        };
        let from = first_of(subscription, extra.delivered, batch.turn);
        let others = batch.topics[at].numbers.iter().copied();
        numbers
            .extend(others.filter(|number| *number >= from && batch.pending[*number as usize].except != Some(index)));
    }
    numbers.sort_unstable();
    numbers.dedup();
    (!numbers.is_empty()).then_some(numbers)
}

/// Sends frames to a subscriber in one write, or queues as many as it may have waiting.
fn send<D, S: Stream>(
    entry: &mut Entry<D, S>,
    common: &mut Common,
    frames: &[u8],
    pending: &[Pending],
    numbers: &[u32],
    window: u8,
) {
    let Entry {
        stream, queue, rest, ..
    } = entry;
    rest.message = common.now;
    if let Some(queue) = queue {
        for number in numbers {
            let publication = &pending[*number as usize].publication;
            keep(queue, rest, common, publication, window, 0);
        }
        common.recount(rest, queue.len() - rest.sent);
        if !rest.blocked && !rest.corked {
            rest.corked = true;
            common.corked.push(rest.key);
        }
        return;
    }
    let Ok(written) = write_now(stream, frames, &[]) else {
        rest.terminate(Cause::Lost);
        return;
    };
    common.counts.add(Count::BytesOut, written as u64);
    if written == frames.len() {
        common.counts.add(Count::Delivered, numbers.len() as u64);
        common.counts.add(Count::MessagesOut, numbers.len() as u64);
        return;
    }
    common.block(rest);
    let mut waiting = common.pool.take_output();
    let mut start = 0;
    for number in numbers {
        let publication = &pending[*number as usize].publication;
        let length = publication.frame(window, &common.options.compression).len();
        let end = start + length;
        if end <= written {
            common.counts.add(Count::Delivered, 1);
            common.counts.add(Count::MessagesOut, 1);
        } else {
            // What has left of a frame obliges to send the rest.
            keep(
                &mut waiting,
                rest,
                common,
                publication,
                window,
                written.saturating_sub(start),
            );
        }
        start = end;
    }
    common.recount(rest, waiting.len());
    *queue = Some(waiting);
}

/// Appends what is left of a frame to what waits, if it may wait.
fn keep(
    queue: &mut Vec<u8>,
    rest: &mut Rest,
    common: &mut Common,
    publication: &Arc<Publication>,
    window: u8,
    sent: usize,
) {
    let compression = common.options.compression;
    let frame = publication.frame(window, &compression);
    let waiting = queue.len() - rest.sent;
    if rest.blocked && sent == 0 && waiting > 0 && waiting + frame.len() > common.options.send_limit {
        common.drop_publication(rest, publication.clone());
        return;
    }
    queue.extend_from_slice(&frame[sent..]);
    common.counts.add(Count::Delivered, 1);
    common.counts.add(Count::MessagesOut, 1);
}

/// A list of publications for which storage is kept.
const RETAINED: usize = 4096;
