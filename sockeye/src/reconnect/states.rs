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
    next: u64,
}

impl States {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let next = shared.with_history(|history| history.end() - 1);
        Self { shared, next }
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
        poll_fn(|cx| self.poll_state(cx)).await
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<Option<State>> {
        self.shared.poll_state(&mut self.next, cx)
    }
}

impl Stream for States {
    type Item = State;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<State>> {
        self.poll_state(cx)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// The last states, numbered from the first one ever.
#[derive(Debug)]
pub(super) struct History {
    kept: VecDeque<State>,
    /// The number of the first that is kept.
    first: u64,
    present: State,
}

impl History {
    pub(super) fn new(state: State) -> Self {
        Self {
            kept: VecDeque::from([state.clone()]),
            first: 0,
            present: state,
        }
    }

    pub(super) fn push(&mut self, state: State) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.first += 1;
        }
        self.kept.push_back(state.clone());
        self.present = state;
    }

    /// The number that the next one will have.
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    pub(super) fn present(&self) -> &State {
        &self.present
    }

    /// The state of number `next` or the first that is kept, after which `next` is moved behind it.
    pub(super) fn read(&self, next: &mut u64) -> Option<State> {
        let number = self.first.max(*next);
        let state = self.kept.get(usize::try_from(number - self.first).ok()?)?;
        *next = number + 1;
        Some(state.clone())
    }
}

/// How many states a reader may be late, and so what is kept for it.
const KEPT: usize = 64;

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
        let mut next = 0;
        for number in 1..KEPT as u32 {
            history.push(State::Connecting { attempt: number });
        }
        assert_eq!(attempt(history.read(&mut next)), Some(0));
        history.push(State::Connecting { attempt: 64 });
        assert_eq!(attempt(history.read(&mut next)), Some(1));
        for number in 65..100 {
            history.push(State::Connecting { attempt: number });
        }
        for number in 36..100 {
            assert_eq!(attempt(history.read(&mut next)), Some(number));
        }
        assert_eq!(attempt(history.read(&mut next)), None);
        assert_eq!(next, history.end());
    }
}
