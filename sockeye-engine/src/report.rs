//! How a shutdown went.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, PoisonError};

/// What became of the connections when an engine shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that finished the closing handshake.
    pub closed: usize,
    /// Connections that did not, and were ended.
    pub dropped: usize,
}

/// The counts of all shards, as they end.
#[derive(Debug)]
pub(crate) struct Tally {
    closed: AtomicUsize,
    dropped: AtomicUsize,
    /// Shards that have not ended.
    left: Mutex<usize>,
    ended: Condvar,
}

impl Tally {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            closed: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            left: Mutex::new(shards),
            ended: Condvar::new(),
        }
    }

    pub(crate) fn count(&self, clean: bool) {
        let count = if clean { &self.closed } else { &self.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn shard_ended(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.ended.notify_all();
        }
    }

    pub(crate) fn wait(&self) -> ShutdownReport {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left > 0 {
            left = self.ended.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        ShutdownReport {
            closed: self.closed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}
