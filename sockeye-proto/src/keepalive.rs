//! When to ping, and when to give up: the deadlines of an open connection, without a clock.
//!
//! RFC 6455 §5.5.2 leaves to endpoints when they ping ("A Ping frame may serve either as a keepalive or as a means to
//! verify that the remote endpoint is still responsive"), and §7.1.1 lets them end the transport if the peer has not done
//! so "after a reasonable amount of time". This module holds both schedules, and sends nothing: a driver asks
//! [`Keepalive::poll`] what to do, and tells it what happened. Time is a [`Duration`] since an instant that the driver
//! chose.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

/// The intervals of a [`Keepalive`]. `None` switches one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// How long nothing may have been received before a ping is sent. Default 20 s; it costs 10–14 bytes each way.
    pub ping_after: Option<Duration>,
    /// How long nothing may be received after a ping before the connection is given up. Default 20 s. Without it, pings
    /// go on at the interval of `ping_after`, and a dead connection ends when the transport notices.
    pub pong_within: Option<Duration>,
    /// How long neither side may send a message before the connection is given up. Default: for ever.
    pub idle: Option<Duration>,
    /// How long the connection may last, whatever is sent. Default: for ever.
    pub lifetime: Option<Duration>,
    /// How long the peer has to answer a Close, and to end the connection after it. Default 5 s.
    pub close_within: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_after: Some(Duration::from_secs(20)),
            pong_within: Some(Duration::from_secs(20)),
            idle: None,
            lifetime: None,
            close_within: Duration::from_secs(5),
        }
    }
}

/// What a driver is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this instant; `None`: nothing at all.
    Wait(Option<Duration>),
    /// Send a ping with this payload, now.
    Ping([u8; 8]),
    /// Give the connection up, now: with a Close and the time to answer it, if the peer may still be there
    /// ([`Timeout::Idle`], [`Timeout::Lifetime`]).
    TimedOut(Timeout),
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// Nothing came after a ping.
    Pong,
    /// No messages went either way.
    Idle,
    /// The connection has lasted as long as it may.
    Lifetime,
    /// The peer did not finish the closing handshake.
    Close,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pong => "no answer to a ping",
            Self::Idle => "no message for too long",
            Self::Lifetime => "the connection has lasted as long as it may",
            Self::Close => "the closing handshake was not finished in time",
        })
    }
}

impl core::error::Error for Timeout {}

/// The schedule of one connection: 72 bytes, no timer.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use sockeye_proto::keepalive::{Due, Keepalive, Timing};
///
/// let seconds = Duration::from_secs;
/// let entropy: fn(&mut [u8]) = |bytes| bytes.fill(7); // a CSPRNG, in earnest
/// let mut keepalive = Keepalive::new(Arc::new(Timing::default()), seconds(0));
/// assert_eq!(keepalive.poll(seconds(3), entropy), Due::Wait(Some(seconds(20))));
/// let Due::Ping(nonce) = keepalive.poll(seconds(20), entropy) else { unreachable!() };
///
/// // 80 ms later the pong is there.
/// let now = Duration::from_millis(20_080);
/// keepalive.received(now);
/// assert_eq!(keepalive.pong(&nonce, now), Some(Duration::from_millis(80)));
/// assert_eq!(keepalive.latency(), Some(Duration::from_millis(80)));
/// ```
///
/// # Drivers that do not look at the clock
///
/// To ask for the time whenever something arrives costs more than to parse a small message. A driver may instead call
/// [`heard`](Self::heard) and [`passed`](Self::passed), which only take a note; the next [`poll`](Self::poll) takes what
/// they noted for new, and asks to be called again after half an interval. Pings then follow on 1 to 1.5 intervals of
/// silence.
#[derive(Debug, Clone)]
pub struct Keepalive {
    timing: Arc<Timing>,
    /// Instants in nanoseconds, which last for 584 years; [`NEVER`] for none.
    received: u64,
    message: u64,
    expires: u64,
    pinged: u64,
    latency: u64,
    close_by: u64,
    nonce: [u8; 8],
    /// What was noted since the last poll, and whether notes have ever been taken.
    heard: bool,
    passed: bool,
    notes: bool,
}

impl Keepalive {
    /// The schedule of a connection that opens now.
    #[must_use]
    pub fn new(timing: Arc<Timing>, now: Duration) -> Self {
        let now = nanos(now);
        Self {
            received: now,
            message: now,
            expires: after(now, timing.lifetime),
            pinged: NEVER,
            latency: NEVER,
            close_by: NEVER,
            nonce: [0; 8],
            heard: false,
            passed: false,
            notes: false,
            timing,
        }
    }

    /// The intervals.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// What is to be done at `now`. `entropy` fills a slice with unpredictable bytes: nobody can answer a ping that he
    /// has not read.
    pub fn poll(&mut self, now: Duration, entropy: fn(&mut [u8])) -> Due {
        let now = nanos(now);
        self.take_notes(now);
        if self.close_by != NEVER {
            return match now < self.close_by {
                true => wait(self.close_by),
                false => Due::TimedOut(Timeout::Close),
            };
        }
        if now >= self.expires {
            return Due::TimedOut(Timeout::Lifetime);
        }
        let idle_by = after(self.message, self.timing.idle);
        if now >= idle_by {
            return Due::TimedOut(Timeout::Idle);
        }
        let unanswered = self.pinged != NEVER && self.pinged >= self.received;
        let due = if unanswered && self.timing.pong_within.is_some() {
            let by = after(self.pinged, self.timing.pong_within);
            if now >= by {
                return Due::TimedOut(Timeout::Pong);
            }
            by
        } else {
            let since = if unanswered { self.pinged } else { self.received };
            let at = after(since, self.timing.ping_after);
            if now >= at {
                entropy(&mut self.nonce);
                self.pinged = now;
                return Due::Ping(self.nonce);
            }
            at
        };
        let next_look = if self.notes { self.next_look(now) } else { NEVER };
        wait(due.min(idle_by).min(self.expires).min(next_look))
    }

    /// Any bytes came: the peer lives, whatever they are. A pong may be stuck behind a large message.
    pub fn received(&mut self, now: Duration) {
        self.received = nanos(now);
        self.heard = false;
    }

    /// A message was received or sent.
    pub fn message(&mut self, now: Duration) {
        self.message = nanos(now);
        self.passed = false;
    }

    /// The same as [`received`](Self::received) at a time that nobody looked up.
    #[inline]
    pub fn heard(&mut self) {
        self.heard = true;
    }

    /// The same as [`message`](Self::message) at a time that nobody looked up.
    #[inline]
    pub fn passed(&mut self) {
        self.passed = true;
    }

    /// A pong with this payload came. If it answers a ping of [`poll`](Self::poll)'s, the answer is the round-trip time;
    /// `None`: the pong is none of ours.
    pub fn pong(&mut self, payload: &[u8], now: Duration) -> Option<Duration> {
        if self.pinged == NEVER || self.nonce != payload {
            return None;
        }
        let round_trip = now.saturating_sub(Duration::from_nanos(self.pinged));
        self.pinged = NEVER;
        self.received(now.max(Duration::from_nanos(self.received)));
        self.measured(round_trip);
        Some(round_trip)
    }

    /// A round-trip time that was measured otherwise, by a ping of the application's.
    pub fn measured(&mut self, round_trip: Duration) {
        self.latency = nanos(round_trip);
    }

    /// The round-trip time of the last ping that was answered.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        (self.latency != NEVER).then_some(Duration::from_nanos(self.latency))
    }

    /// A Close was sent: from now only the close deadline counts.
    pub fn close_sent(&mut self, now: Duration) {
        if self.close_by == NEVER {
            self.close_by = after(nanos(now), Some(self.timing.close_within)).min(NEVER - 1);
        }
    }

    /// The connection is to end by then at the latest: from now only the close deadline counts.
    pub fn end_by(&mut self, at: Duration) {
        self.close_by = self.close_by.min(nanos(at)).min(NEVER - 1);
    }

    /// When the peer must have finished the closing handshake, if a Close was sent.
    #[inline]
    #[must_use]
    pub fn close_by(&self) -> Option<Duration> {
        (self.close_by != NEVER).then_some(Duration::from_nanos(self.close_by))
    }

    fn take_notes(&mut self, now: u64) {
        self.notes |= self.heard | self.passed;
        if core::mem::take(&mut self.heard) {
            self.received = now;
        }
        if core::mem::take(&mut self.passed) {
            self.message = now;
        }
    }

    /// When notes are to be looked at.
    fn next_look(&self, now: u64) -> u64 {
        let half = |interval: Option<Duration>| after(now, interval.map(|interval| interval / 2));
        half(self.timing.ping_after).min(half(self.timing.idle))
    }
}

fn wait(until: u64) -> Due {
    Due::Wait((until != NEVER).then_some(Duration::from_nanos(until)))
}

fn after(instant: u64, interval: Option<Duration>) -> u64 {
    interval.map_or(NEVER, |interval| instant.saturating_add(nanos(interval)))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

const NEVER: u64 = u64::MAX;

const _: () = assert!(size_of::<Keepalive>() == 72, "as its documentation says");

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn entropy(bytes: &mut [u8]) {
        bytes.fill(9);
    }

    fn keepalive(timing: Timing) -> Keepalive {
        Keepalive::new(Arc::new(timing), s(100))
    }

    #[test]
    fn an_unanswered_ping_times_out() {
        let mut keepalive = keepalive(Timing::default());
        assert_eq!(keepalive.poll(s(119), entropy), Due::Wait(Some(s(120))));
        assert_eq!(keepalive.poll(s(120), entropy), Due::Ping([9; 8]));
        assert_eq!(keepalive.poll(s(121), entropy), Due::Wait(Some(s(140))));
        assert_eq!(keepalive.poll(s(140), entropy), Due::TimedOut(Timeout::Pong));
    }

    #[test]
    fn any_bytes_after_a_ping_show_that_the_peer_lives() {
        let mut keepalive = keepalive(Timing::default());
        assert_eq!(keepalive.poll(s(120), entropy), Due::Ping([9; 8]));
        keepalive.received(s(130));
        assert_eq!(keepalive.poll(s(140), entropy), Due::Wait(Some(s(150))));
        assert_eq!(keepalive.latency(), None);
        // The pong is late, and still tells the round-trip time.
        assert_eq!(keepalive.pong(&[9; 8], s(145)), Some(s(25)));
    }

    #[test]
    fn pongs_that_answer_no_ping_are_none_of_ours() {
        let mut keepalive = keepalive(Timing::default());
        assert_eq!(keepalive.pong(&[9; 8], s(101)), None);
        assert_eq!(keepalive.poll(s(120), entropy), Due::Ping([9; 8]));
        assert_eq!(keepalive.pong(&[8; 8], s(121)), None);
        assert_eq!(keepalive.pong(&[9; 7], s(121)), None);
        assert_eq!(keepalive.pong(&[9; 8], s(121)), Some(s(1)));
        assert_eq!(keepalive.pong(&[9; 8], s(122)), None, "answered once");
    }

    #[test]
    fn without_a_limit_on_pongs_pings_go_on() {
        let timing = Timing {
            pong_within: None,
            ..Timing::default()
        };
        let mut keepalive = keepalive(timing);
        assert_eq!(keepalive.poll(s(120), entropy), Due::Ping([9; 8]));
        assert_eq!(keepalive.poll(s(121), entropy), Due::Wait(Some(s(140))));
        assert_eq!(keepalive.poll(s(140), entropy), Due::Ping([9; 8]));
    }

    #[test]
    fn a_pong_counts_as_received() {
        let mut keepalive = keepalive(Timing::default());
        assert_eq!(keepalive.poll(s(120), entropy), Due::Ping([9; 8]));
        assert_eq!(keepalive.pong(&[9; 8], s(121)), Some(s(1)));
        assert_eq!(keepalive.poll(s(121), entropy), Due::Wait(Some(s(141))));
    }

    #[test]
    fn messages_hold_off_the_idle_timeout_and_pongs_do_not() {
        let timing = Timing {
            idle: Some(s(60)),
            ping_after: None,
            ..Timing::default()
        };
        let mut keepalive = keepalive(timing);
        keepalive.received(s(150));
        assert_eq!(keepalive.poll(s(150), entropy), Due::Wait(Some(s(160))));
        keepalive.message(s(150));
        assert_eq!(keepalive.poll(s(160), entropy), Due::Wait(Some(s(210))));
        assert_eq!(keepalive.poll(s(210), entropy), Due::TimedOut(Timeout::Idle));
    }

    #[test]
    fn after_a_close_only_the_close_deadline_counts() {
        let mut keepalive = keepalive(Timing::default());
        keepalive.close_sent(s(110));
        keepalive.close_sent(s(114));
        assert_eq!(keepalive.poll(s(114), entropy), Due::Wait(Some(s(115))));
        assert_eq!(keepalive.poll(s(115), entropy), Due::TimedOut(Timeout::Close));
    }

    #[test]
    fn with_all_off_there_is_nothing_to_wait_for() {
        let timing = Timing {
            ping_after: None,
            pong_within: None,
            ..Timing::default()
        };
        assert_eq!(keepalive(timing).poll(s(999), entropy), Due::Wait(None));
    }
    /// Notes say that something came, not when: pings come after 1 to 1.5 intervals of silence.
    #[test]
    fn notes_in_place_of_times_are_looked_at_twice_an_interval() {
        let mut keepalive = keepalive(Timing::default());
        keepalive.heard();
        assert_eq!(keepalive.poll(s(101), entropy), Due::Wait(Some(s(111))));
        keepalive.heard();
        assert_eq!(keepalive.poll(s(111), entropy), Due::Wait(Some(s(121))));
        assert_eq!(keepalive.poll(s(121), entropy), Due::Wait(Some(s(131))));
        assert_eq!(keepalive.poll(s(131), entropy), Due::Ping([9; 8]));
        keepalive.heard();
        assert_eq!(keepalive.pong(&[9; 8], s(132)), Some(s(1)));
        assert_eq!(keepalive.poll(s(142), entropy), Due::Wait(Some(s(152))));
        assert_eq!(
            keepalive.poll(s(152), entropy),
            Due::Ping([9; 8]),
            "the pong's time is known"
        );
    }

    #[test]
    fn messages_that_were_noted_hold_off_the_idle_timeout() {
        let timing = Timing {
            idle: Some(s(60)),
            ping_after: None,
            ..Timing::default()
        };
        let mut keepalive = keepalive(timing);
        keepalive.passed();
        assert_eq!(keepalive.poll(s(150), entropy), Due::Wait(Some(s(180))));
        keepalive.heard();
        assert_eq!(keepalive.poll(s(180), entropy), Due::Wait(Some(s(210))));
        assert_eq!(keepalive.poll(s(210), entropy), Due::TimedOut(Timeout::Idle));
    }

    #[test]
    fn a_connection_ends_with_its_lifetime_whatever_is_sent() {
        let timing = Timing {
            lifetime: Some(s(30)),
            ..Timing::default()
        };
        let mut keepalive = keepalive(timing);
        keepalive.received(s(115));
        keepalive.message(s(115));
        assert_eq!(keepalive.poll(s(115), entropy), Due::Wait(Some(s(130))));
        assert_eq!(keepalive.poll(s(130), entropy), Due::TimedOut(Timeout::Lifetime));
    }
}
