//! How a shutdown went.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What became of the connections when an engine shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that finished the closing handshake.
    pub closed: usize,
    /// Connections that did not, and were ended.
    pub dropped: usize,
}

/// The counts of all shards.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    closed: AtomicUsize,
    dropped: AtomicUsize,
}

impl Tally {
    pub(crate) fn count(&self, clean: bool) {
        let count = if clean { &self.closed } else { &self.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> ShutdownReport {
        ShutdownReport {
            closed: self.closed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}
