//! A connection's place in its server: what counts it, and through which it learns that it is to leave.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{Address, ConnectionSlot, Ended};

/// A connection's place in its server, from when it is accepted until its transport is gone. The server reaches the
/// connection through it, to have it leave.
#[derive(Debug)]
pub(crate) struct Place {
    connection: ConnectionSlot,
    pub(super) address: Option<Address>,
    /// Which of the registry's entries it has.
    pub(super) index: u32,
    state: AtomicU8,
    /// The task of the connection, if it waits.
    waiting: Mutex<Option<Waker>>,
}

impl Place {
    pub(super) fn new(connection: ConnectionSlot, address: Option<Address>, index: u32, stopping: bool) -> Self {
        Self {
            connection,
            address,
            index,
            state: AtomicU8::new(if stopping { LEAVING } else { 0 }),
            waiting: Mutex::default(),
        }
    }

    /// Ready when the connection is to leave. Until then wakes the task that asked last.
    pub(crate) fn poll_leave(&self, cx: &mut Context<'_>) -> Poll<Stopping> {
        if self.leaving().is_none() {
            match &mut *self.waiting() {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        // Again, since `leave` may have come in between, and found nobody to wake.
        self.leaving().map_or(Poll::Pending, Poll::Ready)
    }

    /// How the server shuts down, if the connection is to leave.
    #[inline]
    pub(crate) fn leaving(&self) -> Option<Stopping> {
        if self.is(LEAVING) {
            self.connection.0.stopping()
        } else {
            None
        }
    }

    /// What a refusal says in `Retry-After`, in seconds.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.connection.0.retry_after()
    }

    /// The opening handshake is over.
    pub(crate) fn opened(&self) {
        self.state.fetch_or(OPEN, Ordering::Release);
    }

    /// The closing handshake is over.
    pub(crate) fn closed(&self) {
        self.state.fetch_or(CLEAN, Ordering::Release);
    }

    /// Has the connection leave.
    pub(super) fn leave(&self) {
        self.state.fetch_or(LEAVING, Ordering::Release);
        let waiting = self.waiting().take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// How the connection ended, if it ends now.
    pub(super) fn count_in(&self, ended: &mut Ended) {
        if self.is(CLEAN) {
            ended.closed += 1;
        } else if self.is(OPEN) {
            ended.dropped += 1;
        } else {
            ended.handshakes += 1;
        }
    }

    #[inline]
    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Acquire) & state != 0
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let registry = self.connection.0.clone();
        registry.remove(self);
    }
}

/// A shutdown under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopping {
    pub(super) began: Instant,
    /// When connections must have ended.
    pub(crate) deadline: Instant,
}

impl Stopping {
    /// Until when a task may still answer what it has received, before there is too little time for the closing handshake:
    /// the time of that, and no more than half of all time, are kept for it.
    pub(crate) fn last_word(&self, closing: Duration) -> Instant {
        let half = self.deadline.saturating_duration_since(self.began) / 2;
        self.deadline - closing.min(half)
    }
}

/// The connection is to leave.
const LEAVING: u8 = 1;
/// It is a WebSocket.
const OPEN: u8 = 2;
/// It has been closed cleanly.
const CLEAN: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_small() {
        assert!(size_of::<Place>() <= 56, "{}", size_of::<Place>());
    }
}
