//! What few connections need, or only at their end: behind one box, that most never have.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sockeye_proto::close::CloseCode;
use sockeye_proto::keepalive::Timeout;
use sockeye_proto::utf8::Utf8Bytes;
use tokio::sync::oneshot;

use super::Driver;
use super::room::Deferred;
use crate::entropy;
use crate::error::Error;

#[derive(Default)]
pub(super) struct Rare {
    /// Why the connection ends, if not cleanly, until that is told.
    pub(super) failure: Option<Error>,
    /// Why the last thing could not be sent.
    pub(super) refused: Option<Error>,
    /// The limit of ours for which the connection is being closed.
    pub(super) expired: Option<Timeout>,
    /// What waits for room to be sent.
    pub(super) deferred: Option<Deferred>,
    pub(super) pings: VecDeque<Ping>,
    pub(super) closed_by: Option<ClosedBy>,
    pub(super) reason_sent: Utf8Bytes,
    pub(super) reason_received: Utf8Bytes,
}

/// A ping of the application's.
pub(super) struct Ping {
    pub(super) nonce: [u8; 8],
    pub(super) at: Duration,
    pub(super) answer: oneshot::Sender<Duration>,
}

/// Which end began to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// This one: its Close left before the peer's came.
    Us,
    /// The peer: its Close came first.
    Peer,
}

impl<T> Driver<T> {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn closed_by(&self) -> Option<ClosedBy> {
        self.rare.as_ref()?.closed_by
    }

    pub(crate) fn close_sent(&self) -> Option<CloseCode> {
        self.connection.close_sent()
    }

    pub(crate) fn close_reasons(&self) -> (&str, &str) {
        self.rare
            .as_ref()
            .map_or(("", ""), |rare| (&rare.reason_sent, &rare.reason_received))
    }

    /// Notes a Close of ours, as the first if it is.
    pub(super) fn close_was_sent(&mut self, reason: &str) {
        let rare = self.rare();
        rare.closed_by.get_or_insert(ClosedBy::Us);
        rare.reason_sent = reason.into();
    }

    /// A payload for a ping, and the future of its answer. Nobody can answer a ping that he has not read.
    pub(crate) fn measure(&mut self) -> ([u8; 8], RoundTrip) {
        let mut nonce = [0; 8];
        entropy::fill(&mut nonce);
        let (answer, answered) = oneshot::channel();
        let at = self.timer.now();
        let pings = &mut self.rare().pings;
        // Those for whose answer nobody waits any more.
        pings.retain(|ping| !ping.answer.is_closed());
        pings.push_back(Ping { nonce, at, answer });
        (nonce, RoundTrip(answered))
    }
}

/// The answer to a ping: how long it took to come. See [`WebSocket::measure_latency`](crate::WebSocket::measure_latency).
///
/// It is ready while the connection's `recv` is awaited, or that of its [`Receiver`](crate::Receiver), and may be awaited
/// anywhere.
///
/// # Errors
///
/// [`Error::ConnectionLost`] when the connection ended first.
///
/// # Cancel safety
///
/// Dropping it forgets the ping, whose pong still counts for `latency`.
#[derive(Debug)]
#[must_use = "the round-trip time is told here"]
pub struct RoundTrip(oneshot::Receiver<Duration>);

impl Future for RoundTrip {
    type Output = Result<Duration, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).map_err(|_| Error::ConnectionLost))
    }
}
