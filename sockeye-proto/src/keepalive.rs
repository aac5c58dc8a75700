//! When to ping, and when to give up: the deadlines of an open connection, without a clock.
//!
//! RFC 6455 §5.5.2 leaves to endpoints when they ping ("A Ping frame may serve either as a keepalive or as a means to
//! verify that the remote endpoint is still responsive"), and §7.1.1 lets them end the transport if the peer has not done
//! so "after a reasonable amount of time". This module holds both schedules, and sends nothing: a driver asks
//! [`Keepalive::poll`] what to do, and tells it what happened. Time is a [`Duration`] since an instant that the driver
//! chose.

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
    /// How long the peer has to answer a Close, and to end the connection after it. Default 5 s.
    pub close_within: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_after: Some(Duration::from_secs(20)),
            pong_within: Some(Duration::from_secs(20)),
            idle: None,
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
    /// Give the connection up, now.
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
    /// The peer did not finish the closing handshake.
    Close,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pong => "no answer to a ping",
            Self::Idle => "no message for too long",
            Self::Close => "the closing handshake was not finished in time",
        })
    }
}

impl core::error::Error for Timeout {}

/// The schedule of one connection: 152 bytes, no timer.
///
/// ```
/// use std::time::Duration;
/// use sockeye_proto::keepalive::{Due, Keepalive, Timing};
///
/// let seconds = Duration::from_secs;
/// let entropy: fn(&mut [u8]) = |bytes| bytes.fill(7); // a CSPRNG, in earnest
/// let mut keepalive = Keepalive::new(Timing::default(), seconds(0));
/// assert_eq!(keepalive.poll(seconds(3), entropy), Due::Wait(Some(seconds(20))));
/// let Due::Ping(nonce) = keepalive.poll(seconds(20), entropy) else { unreachable!() };
///
/// // 80 ms later the pong is there.
/// let now = Duration::from_millis(20_080);
/// keepalive.received(now);
/// assert_eq!(keepalive.pong(&nonce, now), Some(Duration::from_millis(80)));
/// assert_eq!(keepalive.latency(), Some(Duration::from_millis(80)));
/// ```
#[derive(Debug, Clone)]
pub struct Keepalive {
    timing: Timing,
    received: Duration,
    message: Duration,
    ping: Option<SentPing>,
    latency: Option<Duration>,
    close_by: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct SentPing {
    nonce: [u8; 8],
    at: Duration,
}

impl Keepalive {
    /// The schedule of a connection that opens now.
    #[must_use]
    pub fn new(timing: Timing, now: Duration) -> Self {
        Self {
            timing,
            received: now,
            message: now,
            ping: None,
            latency: None,
            close_by: None,
        }
    }

    /// What is to be done at `now`. `entropy` fills a slice with unpredictable bytes: nobody can answer a ping that he
    /// has not read.
    pub fn poll(&mut self, now: Duration, entropy: fn(&mut [u8])) -> Due {
        if let Some(close_by) = self.close_by {
            return match now < close_by {
                true => Due::Wait(Some(close_by)),
                false => Due::TimedOut(Timeout::Close),
            };
        }
        let idle_by = self.timing.idle.map(|idle| self.message.saturating_add(idle));
        if idle_by.is_some_and(|by| now >= by) {
            return Due::TimedOut(Timeout::Idle);
        }
        let due = match self.unanswered() {
            Some(ping) if let Some(within) = self.timing.pong_within => {
                let by = ping.at.saturating_add(within);
                if now >= by {
                    return Due::TimedOut(Timeout::Pong);
                }
                Some(by)
            }
            unanswered => {
                let since = unanswered.map_or(self.received, |ping| ping.at);
                let at = self.timing.ping_after.map(|after| since.saturating_add(after));
                if at.is_some_and(|at| now >= at) {
                    let mut nonce = [0; 8];
                    entropy(&mut nonce);
                    self.ping = Some(SentPing { nonce, at: now });
                    return Due::Ping(nonce);
                }
                at
            }
        };
        Due::Wait(earlier(due, idle_by))
    }

    /// Any bytes came: the peer lives, whatever they are. A pong may be stuck behind a large message.
    pub fn received(&mut self, now: Duration) {
        self.received = now;
    }

    /// A message was received or sent.
    pub fn message(&mut self, now: Duration) {
        self.message = now;
    }

    /// A pong with this payload came. If it answers a ping of [`poll`](Self::poll)'s, the answer is the round-trip time;
    /// `None`: the pong is none of ours.
    pub fn pong(&mut self, payload: &[u8], now: Duration) -> Option<Duration> {
        let ping = self.ping.filter(|ping| ping.nonce == payload)?;
        self.ping = None;
        self.received = self.received.max(now);
        self.latency = Some(now.saturating_sub(ping.at));
        self.latency
    }

    /// The round-trip time of the last ping that was answered.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// A Close was sent: from now only the close deadline counts.
    pub fn close_sent(&mut self, now: Duration) {
        let close_by = now.saturating_add(self.timing.close_within);
        self.close_by.get_or_insert(close_by);
    }

    /// The last ping, if nothing at all has come since.
    fn unanswered(&self) -> Option<SentPing> {
        self.ping.filter(|ping| ping.at >= self.received)
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

const _: () = assert!(size_of::<Keepalive>() == 152, "as its documentation says");

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
        Keepalive::new(timing, s(100))
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
}
