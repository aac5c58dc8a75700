//! The one timer of a connection: keepalive, limits on its life, and the deadline of the closing handshake.
//!
//! It is armed when the connection first waits, and not touched by messages. When it fires, the schedule of the core says
//! what is due.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sockeye_proto::close::CloseCode;
use sockeye_proto::keepalive::{Due, Keepalive, Timeout, Timing};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Driver, REPLIES_BEHIND};
use crate::entropy;
use crate::error::Error;

pub(super) struct Timer {
    pub(super) keepalive: Keepalive,
    /// When the connection opened: the origin of the schedule's times.
    epoch: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes; a task that polls again is not registered again.
    waker: Option<Waker>,
    /// Whether there is nothing to wait for.
    off: bool,
}

impl Timer {
    pub(super) fn new(timing: Arc<Timing>) -> Self {
        Self {
            keepalive: Keepalive::new(timing, Duration::ZERO),
            epoch: Instant::now(),
            sleep: None,
            waker: None,
            off: false,
        }
    }

    pub(super) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }

    /// Whether the timer will wake this task when something is due, and nothing is yet.
    #[inline]
    pub(super) fn is_quiet(&self, waker: &Waker) -> bool {
        let known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        known && (self.off || self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed()))
    }

    /// Starts the deadline of the closing handshake, if it does not run yet.
    pub(super) fn start_closing(&mut self) {
        let now = self.now();
        self.keepalive.close_sent(now);
        self.waker = None;
    }

    /// The connection is to end by then at the latest.
    pub(super) fn end_by(&mut self, instant: Instant) {
        let at = instant.saturating_duration_since(self.epoch);
        self.keepalive.end_by(at);
        self.waker = None;
    }

    /// How long the peer has for the closing handshake.
    pub(super) fn close_within(&self) -> Duration {
        self.keepalive.timing().close_within
    }

    /// Takes the timer to where the connection goes on.
    pub(super) fn take(&mut self) -> Self {
        Self {
            keepalive: self.keepalive.clone(),
            epoch: self.epoch,
            sleep: self.sleep.take(),
            waker: None,
            off: false,
        }
    }

    #[inline]
    pub(super) fn is_closing(&self) -> bool {
        self.keepalive.close_by().is_some()
    }

    /// Ready at that time; until then this task, and no other, is woken then.
    fn poll_until(&mut self, at: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        let deadline = self.epoch.checked_add(at);
        self.off = deadline.is_none();
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        // A timer answers nothing to a task that has used up its share of the runtime, and would not be registered.
        pin!(unconstrained(sleep.as_mut())).poll(cx)
    }

    fn switch_off(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
        self.off = true;
    }
}

impl<T> Driver<T> {
    /// Whether the deadline of the closing handshake has passed; if not, wakes whoever waits to write, and so all.
    ///
    /// The clock is asked first: the runtime may not have got to its timers while the peer sends without a pause.
    pub(super) fn deadline_passed(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer
            .keepalive
            .close_by()
            .is_some_and(|by| by <= self.timer.now() || self.timer.poll_until(by, cx).is_ready())
    }

    /// The error for a closing handshake that was not finished: what it was begun for, if that was a limit of ours.
    pub(super) fn closing_timed_out(&mut self) -> Error {
        let expired = self.rare.as_ref().and_then(|rare| rare.expired);
        self.timed_out(expired.unwrap_or(Timeout::Close))
    }

    /// The error for a connection that is given up, be it by who sends or who receives.
    fn timed_out(&mut self, timeout: Timeout) -> Error {
        let error = Error::Timeout(timeout);
        self.watch.ends_by(&error);
        error
    }

    /// The round-trip time that was measured last.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.timer.keepalive.latency()
    }

    /// Takes the round-trip times that a pong tells.
    #[cold]
    pub(super) fn pong_received(&mut self, payload: &[u8]) {
        let now = self.timer.now();
        self.timer.keepalive.pong(payload, now);
        let Some(rare) = &mut self.rare else { return };
        let Some(answered) = rare.pings.iter().position(|ping| ping.nonce == payload) else {
            return;
        };
        // RFC 6455 §5.5.3: an endpoint "MAY elect to send a Pong frame for only the most recently processed Ping frame", so
        // this one answers those before it too.
        for ping in rare.pings.drain(..=answered) {
            let round_trip = now.saturating_sub(ping.at);
            self.timer.keepalive.measured(round_trip);
            let _ = ping.answer.send(round_trip);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Does what is due while a task waits, and has it woken when more is. Ready when the connection is to be given up.
    #[inline]
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        if self.timer.is_quiet(cx.waker()) {
            return Poll::Pending;
        }
        self.poll_due(cx).map(Box::new)
    }

    #[inline(never)]
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            let now = self.timer.now();
            match self.timer.keepalive.poll(now, entropy::fill) {
                Due::Wait(None) => {
                    self.timer.switch_off(cx.waker());
                    return Poll::Pending;
                }
                Due::Wait(Some(at)) => {
                    if self.timer.poll_until(at, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Due::Ping(nonce) => {
                    // Where output is stuck and pings have no time limit, they must not pile up.
                    if self.replies.len() <= REPLIES_BEHIND {
                        let _ = self.connection.ping(&nonce, &mut self.replies);
                    }
                    if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                        return Poll::Ready(error);
                    }
                }
                Due::TimedOut(limit @ (Timeout::Idle | Timeout::Lifetime)) => {
                    let reason = match limit {
                        Timeout::Idle => "idle for too long",
                        _ => "end of the connection's lifetime",
                    };
                    self.rare().expired = Some(limit);
                    let _ = self.queue_close(CloseCode::GOING_AWAY, reason);
                    self.timer.start_closing();
                    if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                        return Poll::Ready(error);
                    }
                }
                Due::TimedOut(Timeout::Close) => return Poll::Ready(self.closing_timed_out()),
                Due::TimedOut(timeout) => return Poll::Ready(self.timed_out(timeout)),
            }
        }
    }
}
