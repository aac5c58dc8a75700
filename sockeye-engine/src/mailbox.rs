//! What other threads ask of a shard.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sockeye_proto::close::CloseCode;
use sockeye_proto::message::Message;

use crate::report::Tally;
use crate::slab::Key;
use crate::topics::Publication;
use crate::wire::Acceptor;

/// What a shard is to do between two looks at its connections.
pub(crate) enum Command {
    Send(Key, Message),
    Close(Key, CloseCode, Box<str>),
    Terminate(Key),
    Subscribe(Key, Box<str>),
    Unsubscribe(Key, Box<str>),
    Resume(Key),
    Wake(Key),
    Publish(Arc<str>, Arc<Publication>),
    /// What was decided about a handshake: an `Answer` of the handler's data.
    Decide(Key, Box<dyn Any + Send>),
    /// A connection that another shard has accepted.
    Adopt(Acceptor, mio::net::TcpStream),
    /// Takes leave of all within the time.
    Shutdown(Duration, Arc<Tally>),
}

impl Command {
    /// What it takes in memory, beside itself.
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Send(_, message) => message.len(),
                Self::Publish(_, publication) => publication.plain.payload().len(),
                Self::Subscribe(_, topic) | Self::Unsubscribe(_, topic) => topic.len(),
                _ => 0,
            }
    }

    fn is_message(&self) -> bool {
        matches!(self, Self::Send(..) | Self::Publish(..))
    }

    /// Whether it may be refused when there is too much.
    fn is_data(&self) -> bool {
        matches!(self, Self::Send(..) | Self::Publish(..) | Self::Subscribe(..))
    }
}

/// Commands that a shard has not got to.
pub(crate) struct Mailbox {
    queue: Mutex<Vec<Command>>,
    /// Bytes in the queue.
    weight: AtomicUsize,
    /// The most bytes of data.
    limit: usize,
    /// Messages that were refused.
    dropped: AtomicU64,
    /// Whether the shard knows that there is something.
    told: AtomicBool,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Mailbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            queue: Mutex::default(),
            weight: AtomicUsize::new(0),
            limit,
            dropped: AtomicU64::new(0),
            told: AtomicBool::new(false),
            wake: OnceLock::new(),
        }
    }

    /// Sets how the shard's thread is woken, once.
    pub(crate) fn set_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
        // Commands may have come before.
        self.wake();
    }

    /// Answers whether the command was taken: data is not, when too much waits already.
    pub(crate) fn post(&self, command: Command) -> bool {
        let weight = command.weight();
        if command.is_data() && self.weight.load(Ordering::Relaxed).saturating_add(weight) > self.limit {
            self.dropped
                .fetch_add(u64::from(command.is_message()), Ordering::Relaxed);
            return false;
        }
        self.weight.fetch_add(weight, Ordering::Relaxed);
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        if !self.told.swap(true, Ordering::AcqRel) {
            self.wake();
        }
        true
    }

    /// Takes all that is there into `commands`, which is empty.
    pub(crate) fn take(&self, commands: &mut Vec<Command>) {
        // Before the look: what comes after it wakes again.
        self.told.store(false, Ordering::Release);
        std::mem::swap(
            &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner),
            commands,
        );
        let weight: usize = commands.iter().map(Command::weight).sum();
        self.weight.fetch_sub(weight, Ordering::Relaxed);
    }

    /// How many messages there was no room for.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Has the shard take a turn.
    pub(crate) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_for_all_that_comes_before_the_next_look() {
        let mailbox = Mailbox::new(1 << 20);
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        mailbox.set_wake(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let key = Key::from_u64(1);
        let base = woken.load(Ordering::Relaxed);
        for _ in 0..10 {
            assert!(mailbox.post(Command::Terminate(key)));
        }
        assert_eq!(woken.load(Ordering::Relaxed) - base, 1);
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        assert_eq!(commands.len(), 10);
        mailbox.post(Command::Terminate(key));
        assert_eq!(woken.load(Ordering::Relaxed) - base, 2);
    }

    #[test]
    fn data_beyond_the_limit_is_refused_and_the_rest_is_not() {
        let mailbox = Mailbox::new(1000);
        let key = Key::from_u64(1);
        let send = || Command::Send(key, vec![0; 400].into());
        assert!(mailbox.post(send()) && mailbox.post(send()));
        assert!(!mailbox.post(send()));
        assert!(!mailbox.post(Command::Subscribe(key, "x".repeat(400).into())));
        assert_eq!(mailbox.dropped(), 1, "a subscription is no message");
        assert!(mailbox.post(Command::Close(key, CloseCode::NORMAL, "".into())));
        mailbox.take(&mut Vec::new());
        assert!(mailbox.post(send()));
    }
}
