//! Time: deadlines of handshakes, pings, idle connections, and the end of a server.

use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::close::{CloseCode, CloseState};

use super::Shard;
use crate::entry::{Phase, Rest};
use crate::handler::{Cause, Handler};
use crate::options::Times;
use crate::report::Tally;
use crate::slab::Key;
use crate::stream::Stream;
use crate::timers::{NEVER, TICK, Tick, ticks};

/// A shutdown under way.
pub(super) struct Leaving {
    pub(super) tally: Arc<Tally>,
    began: Tick,
    /// When all are to have been told, and when all are to be gone.
    told_by: Tick,
    until: Tick,
    /// How many places there were, and how many have been visited.
    places: u32,
    visited: u32,
}

impl<H: Handler, S: Stream> Shard<H, S> {
    /// Time has passed: sets the clock, and does what is due. `since` is the time since the shard began.
    pub(crate) fn tick(&mut self, since: Duration) {
        let now = (since.as_millis() as u64 / TICK.as_millis() as u64) as Tick;
        self.common.now = self.common.now.max(now);
        if self.wheel.next().is_some_and(|next| next <= now) {
            self.expire(now);
        }
        if self.leaving.is_some() {
            self.take_leave();
        }
    }

    #[inline(never)]
    fn expire(&mut self, now: Tick) {
        let mut due = std::mem::take(&mut self.due);
        let slab = &self.slab;
        self.wheel.expire(now, &mut due, |key, at| {
            slab.get(key).is_some_and(|entry| entry.rest.due == at)
        });
        for (key, at) in due.drain(..) {
            self.look(key, at);
        }
        self.due = due;
    }

    /// When [`tick`](Self::tick) is to be called next, as a time since the shard began.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let leaving = self.leaving.as_ref().map(|_| self.common.now + 1);
        let next = self.wheel.next().into_iter().chain(leaving).min()?;
        Some(TICK.saturating_mul(next))
    }

    /// The wheel has come to a moment for which a connection was entered.
    fn look(&mut self, key: Key, at: Tick) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        if entry.rest.due != at {
            return;
        }
        entry.rest.due = NEVER;
        match &entry.phase {
            Phase::Opening(_) | Phase::Deciding(_) => {
                self.end(key, Cause::Lost);
                return;
            }
            Phase::Lingering => {
                self.end(key, Cause::CloseTimeout);
                return;
            }
            Phase::Open(..) => self.look_at_open(key),
        }
        let at = self.next_look(key);
        if let Some(entry) = self.slab.get_mut(key) {
            Self::look_at(&mut self.wheel, &mut entry.rest, at);
        }
    }

    fn look_at_open(&mut self, key: Key) {
        let (now, times) = (self.common.now, self.common.options.times);
        let Some(entry) = self.slab.get_mut(key) else { return };
        let Phase::Open(connection, _) = &mut entry.phase else {
            return;
        };
        let rest = &mut entry.rest;
        if rest.paused && !rest.blocked {
            // Nobody reads, so nobody can tell whether the peer lives. One that does not read either shows that.
            rest.heard(now);
        }
        if rest.close_by <= now {
            self.end(key, Cause::CloseTimeout);
            return;
        }
        if connection.state() != CloseState::Open {
            return;
        }
        let out = entry.queue.as_deref_mut().unwrap_or(&mut self.output);
        if rest.expires <= now || idle_by(rest, &times) <= now {
            let (cause, reason) = match rest.expires <= now {
                true => (Cause::Lifetime, "end of the connection's lifetime"),
                false => (Cause::IdleTimeout, "idle for too long"),
            };
            rest.extra().cause.get_or_insert(cause);
            let _ = connection.close(CloseCode::GOING_AWAY, reason, out);
        } else if pong_by(rest, &times) <= now {
            self.end(key, Cause::PongTimeout);
            return;
        } else if ping_at(rest, &times) <= now {
            rest.pinged = now;
            // Where output is stuck a ping would not get through: that nothing is read shows as well as no pong does.
            if !rest.blocked {
                let _ = connection.ping(&rand::random::<[u8; 8]>(), out);
            }
        }
        self.settle(key);
    }

    /// When to look at an open connection next.
    pub(super) fn next_look(&mut self, key: Key) -> Tick {
        let times = self.common.options.times;
        let Some(entry) = self.slab.get_mut(key) else {
            return NEVER;
        };
        let rest = &entry.rest;
        let at = match &entry.phase {
            Phase::Open(connection, _) if connection.state() == CloseState::Open => {
                let keepalive = pong_by(rest, &times).min(ping_at(rest, &times));
                rest.expires.min(idle_by(rest, &times)).min(keepalive)
            }
            _ => rest.close_by,
        };
        // Whatever is due now has been done.
        at.max(self.common.now + 1)
    }

    /// Begins to take leave of all: requests that are not answered yet at once, connections over half of the time, so that
    /// they do not all come back elsewhere together. The other half is for their answers.
    pub(super) fn leave(&mut self, within: Duration, tally: Arc<Tally>) {
        let now = self.common.now;
        self.leaving = Some(Leaving {
            tally,
            began: now,
            told_by: now.saturating_add(ticks(within / 2)),
            until: now.saturating_add(ticks(within)),
            places: self.slab.end(),
            visited: 0,
        });
        self.take_leave();
    }

    fn take_leave(&mut self) {
        let now = self.common.now;
        let Some(leaving) = &mut self.leaving else { return };
        let (passed, all) = (now - leaving.began, leaving.told_by - leaving.began);
        let share = |places: u32| (u64::from(places) * u64::from(passed + 1)).div_ceil(u64::from(all) + 1);
        let visit = match now >= leaving.told_by {
            true => leaving.places,
            false => share(leaving.places) as u32,
        };
        let from = leaving.visited;
        leaving.visited = visit.max(from);
        let over = now >= leaving.until;
        for index in from..visit {
            self.say_goodbye(index);
        }
        if over {
            for index in 0..self.slab.end() {
                if let Some((key, _)) = self.slab.at(index) {
                    self.end(key, Cause::Shutdown);
                }
            }
        }
    }

    fn say_goodbye(&mut self, index: u32) {
        let Some((key, entry)) = self.slab.at(index) else {
            return;
        };
        let within = self.leaving.as_ref().map_or(NEVER, |leaving| leaving.until);
        match &mut entry.phase {
            Phase::Opening(_) | Phase::Deciding(_) => self.end(key, Cause::Shutdown),
            Phase::Lingering => self.linger(key),
            Phase::Open(connection, _) => {
                let out = entry.queue.as_deref_mut().unwrap_or(&mut self.output);
                // RFC 6455 §7.4.1: "1001 indicates that an endpoint is "going away", such as a server going down".
                if connection
                    .close(CloseCode::GOING_AWAY, "the server shuts down", out)
                    .is_ok()
                {
                    entry.rest.extra().cause.get_or_insert(Cause::Shutdown);
                }
                entry.rest.close_by = entry.rest.close_by.min(within);
                self.settle(key);
            }
        }
    }

    /// Whether the shard has taken leave of all.
    pub(crate) fn has_left(&self) -> bool {
        self.leaving.is_some() && self.slab.len() == 0
    }

    /// Whether a shutdown is under way.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }
}

/// When a connection has been idle for too long.
fn idle_by(rest: &Rest, times: &Times) -> Tick {
    times.idle.map_or(NEVER, |idle| rest.message.saturating_add(idle))
}

/// When an unanswered ping has been so for too long.
fn pong_by(rest: &Rest, times: &Times) -> Tick {
    match times.pong_within {
        Some(within) => rest.pinged.saturating_add(within),
        None => NEVER,
    }
}

/// When the next ping is to be sent.
fn ping_at(rest: &Rest, times: &Times) -> Tick {
    let Some(after) = times.ping_after else { return NEVER };
    match (rest.pinged, times.pong_within) {
        (NEVER, _) => rest.heard.saturating_add(late(rest, rest.heard, after)),
        (_, Some(_)) => NEVER,
        (pinged, None) => pinged.saturating_add(late(rest, pinged, after)),
    }
}

/// The interval of pings and up to a tenth more, another for each connection and each time, so that those who were heard
/// together, all clients of a server that was started again say, are not pinged together. It can be computed again.
fn late(rest: &Rest, since: Tick, after: Tick) -> Tick {
    // Fibonacci hashing: the high bits depend on all that is below.
    let mixed = (u64::from(rest.key.index) << 32 | u64::from(since)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    after.saturating_add(((mixed * (u64::from(after / 10) + 1)) >> 32) as Tick)
}
