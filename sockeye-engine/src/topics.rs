//! The topics of a shard: who subscribes to what, and what was published in this turn.
//!
//! A message that is published is kept until the turn ends; then each subscriber gets all that came for it in one write.
//! A message to nobody is not even encoded.

use std::collections::BTreeSet;
use std::sync::Arc;
#[cfg(feature = "deflate")]
use std::sync::OnceLock;

use sockeye_proto::prepared::Prepared;

use crate::filters::{Filters, TopicError, check_filter};
use crate::shared::Interest;

/// Which topic or filter, in this shard.
pub(crate) type TopicId = u32;

/// A message on its way to all who subscribe: encoded once, and compressed once when the first wants it so.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) plain: Prepared,
    #[cfg(feature = "deflate")]
    compressed: OnceLock<Prepared>,
}

impl Publication {
    pub(crate) fn new(plain: Prepared) -> Arc<Self> {
        Arc::new(Self {
            plain,
            #[cfg(feature = "deflate")]
            compressed: OnceLock::new(),
        })
    }

    /// The frame for a connection whose own window has so many bits; 0: without compression.
    pub(crate) fn frame(&self, window_bits: u8, compression: &Compression) -> &[u8] {
        #[cfg(feature = "deflate")]
        if window_bits > 0
            && let Some(options) = compression.0
            && self.plain.payload().len() >= options.threshold()
        {
            let compressed = self
                .compressed
                .get_or_init(|| self.plain.clone().with_compression(&options));
            return compressed.shared_frame(window_bits);
        }
        let _ = (window_bits, compression);
        self.plain.plain_frame()
    }
}

/// How published messages are compressed, if they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Compression(#[cfg(feature = "deflate")] pub(crate) Option<sockeye_proto::deflate::DeflateOptions>);

/// A publication of this turn.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) publication: Arc<Publication>,
    /// The connection that published it, and does not get it itself.
    pub(crate) except: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Topics {
    ids: Filters<TopicId>,
    list: Vec<Topic>,
    free: Vec<TopicId>,
    /// What was published in this turn, in order.
    pub(crate) turn: Vec<Pending>,
    /// Which topics were published to.
    pub(crate) dirty: Vec<TopicId>,
    /// Payload bytes of the turn.
    pub(crate) bytes: usize,
    /// What other shards and threads know of this.
    interest: Arc<Interest>,
}

#[derive(Debug, Default)]
pub(crate) struct Topic {
    name: Arc<str>,
    /// By index, which is the order in which they stand in the slab, and mostly that in which the system made their sockets: to
    /// serve a thousand in the order of a hash table took 6 to 8 % longer.
    subscribers: BTreeSet<u32>,
    /// Which publications of the turn are for it.
    pub(crate) pending: Vec<u32>,
    /// Whom one of them is not for: those who published it.
    pub(crate) excepts: Vec<u32>,
}

impl Topic {
    pub(crate) fn subscribers(&self) -> impl Iterator<Item = u32> {
        self.subscribers.iter().copied()
    }
}

impl Topics {
    pub(crate) fn new(interest: Arc<Interest>) -> Self {
        Self {
            ids: Filters::default(),
            list: Vec::new(),
            free: Vec::new(),
            turn: Vec::new(),
            dirty: Vec::new(),
            bytes: 0,
            interest,
        }
    }

    /// Adds a subscriber; answers the topic and how many it had before, `None` if it was one already.
    pub(crate) fn subscribe(&mut self, filter: &str, index: u32) -> Result<(TopicId, Option<usize>), TopicError> {
        check_filter(filter)?;
        let id = match self.ids.get(filter) {
            Some(id) => *id,
            None => self.add(filter),
        };
        let topic = &mut self.list[id as usize];
        let before = topic.subscribers.len();
        let added = topic.subscribers.insert(index);
        Ok((id, added.then_some(before)))
    }

    /// The topic of that name or filter, if somebody subscribes.
    pub(crate) fn id(&self, filter: &str) -> Option<TopicId> {
        self.ids.get(filter).copied()
    }

    pub(crate) fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.list.get(id as usize)
    }

    pub(crate) fn name(&self, id: TopicId) -> Arc<str> {
        self.topic(id).map_or_else(|| Arc::from(""), |topic| topic.name.clone())
    }

    /// Removes a subscriber; answers how many there were.
    pub(crate) fn unsubscribe(&mut self, id: TopicId, index: u32) -> Option<usize> {
        let topic = self.list.get_mut(id as usize)?;
        let before = topic.subscribers.len();
        if !topic.subscribers.remove(&index) {
            return None;
        }
        if topic.subscribers.is_empty() {
            let topic = std::mem::take(topic);
            self.ids.remove(&topic.name);
            self.interest.remove(&topic.name);
            self.free.push(id);
        }
        Some(before)
    }

    /// Keeps a message for all whose filters match, until the turn ends. `make` is asked for it if there are any.
    pub(crate) fn publish(&mut self, name: &str, except: Option<u32>, make: impl FnOnce() -> Arc<Publication>) -> bool {
        let (list, dirty) = (&mut self.list, &mut self.dirty);
        let number = self.turn.len() as u32;
        let mut any = false;
        self.ids.find(name, &mut |id| {
            let topic = &mut list[*id as usize];
            if topic.pending.is_empty() {
                dirty.push(*id);
            }
            topic.pending.push(number);
            if let Some(index) = except
                && topic.excepts.last() != Some(&index)
            {
                topic.excepts.push(index);
            }
            any = true;
        });
        if any {
            let publication = make();
            self.bytes += publication.plain.payload().len();
            self.turn.push(Pending { publication, except });
        }
        any
    }

    /// Takes the topics that were published to, with the numbers of what is for them and those for whom some of it is not, sorted.
    pub(crate) fn take_dirty(&mut self) -> impl Iterator<Item = (TopicId, Vec<u32>, Vec<u32>)> {
        let list = &mut self.list;
        self.dirty.drain(..).map(|id| {
            let topic = &mut list[id as usize];
            let mut excepts = std::mem::take(&mut topic.excepts);
            excepts.sort_unstable();
            excepts.dedup();
            (id, std::mem::take(&mut topic.pending), excepts)
        })
    }

    /// Gives the storage of such numbers back.
    pub(crate) fn put_numbers(&mut self, id: TopicId, mut numbers: Vec<u32>) {
        if let Some(topic) = self.list.get_mut(id as usize)
            && topic.pending.is_empty()
            && !topic.subscribers.is_empty()
        {
            numbers.clear();
            numbers.shrink_to(RETAINED);
            topic.pending = numbers;
        }
    }

    fn add(&mut self, filter: &str) -> TopicId {
        let topic = Topic {
            name: filter.into(),
            ..Topic::default()
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.list[id as usize] = topic;
                id
            }
            None => {
                self.list.push(topic);
                (self.list.len() - 1) as TopicId
            }
        };
        self.ids.insert(filter, id);
        self.interest.add(filter);
        id
    }
}

/// Publications of a turn for which a topic keeps room.
const RETAINED: usize = 64;
