//! What all threads know of the shards: where to post commands, and which topics have subscribers there.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};

use sockeye_proto::close::CloseCode;
use sockeye_proto::message::{Message, Payload};
use sockeye_proto::prepared::Prepared;

use crate::Delivery;
use crate::filters::{Filters, TopicError, check_name};
use crate::mailbox::{Command, Mailbox};
use crate::metrics::ShardMetrics;
use crate::slab::Key;
use crate::topics::Publication;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) shards: Vec<Link>,
    /// Open connections and handshakes, of all shards.
    pub(crate) connections: AtomicUsize,
}

/// The way to a shard.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) metrics: Arc<ShardMetrics>,
}

impl Shared {
    pub(crate) fn new(shards: usize, mailbox_limit: usize) -> Arc<Self> {
        let link = |_| Link {
            mailbox: Arc::new(Mailbox::new(mailbox_limit)),
            interest: Arc::default(),
            metrics: Arc::default(),
        };
        Arc::new(Self {
            shards: (0..shards).map(link).collect(),
            connections: AtomicUsize::new(0),
        })
    }

    /// Publishes to all shards but one where somebody subscribes. Answers whether none had to refuse it.
    pub(crate) fn publish(&self, name: &str, but: Option<usize>, make: impl Fn() -> Arc<Publication>) -> bool {
        let mut made: Option<(Arc<str>, Arc<Publication>)> = None;
        let mut taken = true;
        for (number, shard) in self.shards.iter().enumerate() {
            if Some(number) == but || !shard.interest.has(name) {
                continue;
            }
            let (name, publication) = made.get_or_insert_with(|| (Arc::from(name), make()));
            if !shard.mailbox.post(Command::Publish(name.clone(), publication.clone())) {
                taken = false;
            }
        }
        taken
    }
}

/// The filters that have subscribers in a shard, for those who publish elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Interest(RwLock<Filters<()>>);

impl Interest {
    pub(crate) fn add(&self, filter: &str) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(filter, ());
    }

    pub(crate) fn remove(&self, filter: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(filter);
    }

    fn has(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).matches(name)
    }
}

/// Publishes to topics from any thread, or from async code. Cheap to clone.
///
/// The messages of one publisher reach each subscriber in the order in which they were published.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub(crate) shared: Arc<Shared>,
}

impl Publisher {
    /// Sends a message to all who subscribe to the topic. It is encoded once, and compressed at most once for all; to
    /// nobody it costs a look at the subscriptions of each shard.
    ///
    /// Never blocks. Each subscriber has a limit for what waits for it, and each shard for what waits to be published
    /// there: [`Delivery::Dropped`] says that a shard was full and its subscribers will not get the message,
    /// [`Delivery::Queued`] that it is on its way to all.
    ///
    /// # Errors
    ///
    /// [`TopicError`] for what is no topic's name.
    pub fn publish<'a>(&self, topic: &str, message: impl Into<Payload<'a>>) -> Result<Delivery, TopicError> {
        check_name(topic)?;
        let message = message.into();
        let taken = self
            .shared
            .publish(topic, None, || Publication::new(Prepared::new(message)));
        Ok(if taken { Delivery::Queued } else { Delivery::Dropped })
    }
}

/// A connection, from any thread or async code. Cheap to clone.
///
/// It stays correct when the connection is gone: then nothing that it is asked to do happens, also if another connection
/// has taken the place.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) key: Key,
}

impl Handle {
    /// Sends a message, in the order of the calls. [`Delivery::Queued`]: it is on its way to the shard, where it is sent,
    /// or dropped if the peer reads too slowly. [`Delivery::Dropped`]: too much is on its way already.
    pub fn send(&self, message: impl Into<Message>) -> Delivery {
        match self.mailbox.post(Command::Send(self.key, message.into())) {
            true => Delivery::Queued,
            false => Delivery::Dropped,
        }
    }

    /// Begins the closing handshake. A reason of more than 123 bytes is cut, and 1000 stands in for a code that must not be
    /// sent (RFC 6455 §7.4).
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.mailbox.post(Command::Close(self.key, code, reason.into()));
    }

    /// Ends the connection at once and without a Close.
    pub fn terminate(&self) {
        self.mailbox.post(Command::Terminate(self.key));
    }

    /// Subscribes the connection to a topic or filter. [`Delivery::Dropped`]: too much waits for the shard.
    ///
    /// # Errors
    ///
    /// [`TopicError`] for what is neither.
    pub fn subscribe(&self, filter: &str) -> Result<Delivery, TopicError> {
        crate::filters::check_filter(filter)?;
        Ok(match self.mailbox.post(Command::Subscribe(self.key, filter.into())) {
            true => Delivery::Queued,
            false => Delivery::Dropped,
        })
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, filter: &str) {
        self.mailbox.post(Command::Unsubscribe(self.key, filter.into()));
    }

    /// Calls [`Handler::woken`](crate::Handler::woken) with the connection, on its shard's thread: for a handler that keeps
    /// what other threads have for the connection in a place of its own, and wants to be told when there is something.
    pub fn wake(&self) {
        self.mailbox.post(Command::Wake(self.key));
    }

    /// Goes on receiving after [`Socket::pause`](crate::Socket::pause).
    pub fn resume(&self) {
        self.mailbox.post(Command::Resume(self.key));
    }
}
