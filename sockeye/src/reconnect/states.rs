//! [`State`] and [`States`]: what the client is about, and the stream of its changes.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::cause::Cause;
use super::shared::Shared;

/// What a [`Reconnecting`](super::Reconnecting) is about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum State {
    /// An attempt is under way: the hook before it, the connection, the hook on the open connection.
    Connecting {
        /// Its number since the last stable connection, from 1.
        attempt: u32,
    },
    /// There is a connection, and what was queued goes out on it.
    Open,
    /// There is none, and there will be another attempt.
    Waiting {
        /// From the beginning of the wait to the attempt.
        delay: Duration,
        /// Why there is no connection.
        cause: Arc<Cause>,
    },
    /// There is none, and there will be none.
    Closed {
        /// Why.
        cause: Arc<Cause>,
    },
}

/// The states of a [`Reconnecting`](super::Reconnecting) in order, beginning with the one when the stream was made; a
/// [`Stream`], which ends after [`State::Closed`].
///
/// Whoever reads it more than 64 changes late skips the oldest of these.
pub struct States {
    shared: Arc<Shared>,
    reader: u64,
}

impl States {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let reader = shared.add_reader();
        Self { shared, reader }
    }

    /// The next state; `None` after [`State::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Safe: no state is lost.
    ///
    /// # Examples
    ///
    /// See [`Reconnecting::states`](super::Reconnecting::states).
    pub async fn next(&mut self) -> Option<State> {
        poll_fn(|cx| self.shared.poll_state(self.reader, cx)).await
    }
}

impl Stream for States {
    type Item = State;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<State>> {
        self.shared.poll_state(self.reader, cx)
    }
}

impl Drop for States {
    fn drop(&mut self) {
        self.shared.remove_reader(self.reader);
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}

/// The present state, and those that readers have not read yet. Each state may hold what a server said at length, so none
/// is kept for nobody.
#[derive(Debug)]
pub(super) struct History {
    present: State,
    readers: Vec<(u64, VecDeque<State>)>,
    next_reader: u64,
}

impl History {
    pub(super) fn new(state: State) -> Self {
        Self {
            present: state,
            readers: Vec::new(),
            next_reader: 0,
        }
    }

    pub(super) fn present(&self) -> &State {
        &self.present
    }

    pub(super) fn push(&mut self, state: State) {
        for (_, unread) in &mut self.readers {
            if unread.len() == UNREAD {
                unread.pop_front();
            }
            unread.push_back(state.clone());
        }
        self.present = state;
    }

    /// A reader that begins with the present state.
    pub(super) fn add_reader(&mut self) -> u64 {
        let reader = self.next_reader;
        self.next_reader += 1;
        self.readers.push((reader, VecDeque::from([self.present.clone()])));
        reader
    }

    pub(super) fn remove_reader(&mut self, reader: u64) {
        self.readers.retain(|(other, _)| *other != reader);
    }

    pub(super) fn read(&mut self, reader: u64) -> Option<State> {
        let (_, unread) = self.readers.iter_mut().find(|(other, _)| *other == reader)?;
        unread.pop_front()
    }
}

/// How many states a reader may be late.
const UNREAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(state: Option<State>) -> Option<u32> {
        match state {
            Some(State::Connecting { attempt }) => Some(attempt),
            _ => None,
        }
    }

    #[test]
    fn a_late_reader_skips_the_oldest() {
        let mut history = History::new(State::Connecting { attempt: 0 });
        let (prompt, late) = (history.add_reader(), history.add_reader());
        for number in 1..100 {
            assert_eq!(attempt(history.read(prompt)), Some(number - 1));
            history.push(State::Connecting { attempt: number });
        }
        for number in 36..100 {
            assert_eq!(attempt(history.read(late)), Some(number));
        }
        assert_eq!(attempt(history.read(late)), None);
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let mut history = History::new(State::Connecting { attempt: 0 });
        let reader = history.add_reader();
        history.push(State::Open);
        history.remove_reader(reader);
        assert!(history.readers.is_empty());
        assert!(history.read(reader).is_none());
        assert!(matches!(history.present(), State::Open));
    }
}
