//! A timer wheel: when to look at a connection again.
//!
//! A connection stands in the wheel once. What it does meanwhile, such as to receive, moves nothing here: when its time
//! comes its own deadlines are looked at, and it is entered again for the next of them. So time costs nothing per message,
//! and 12 bytes a connection.

use std::time::Duration;

use crate::slab::Key;

/// A moment, in units of [`TICK`] since the shard began: 6.8 years of them.
pub(crate) type Tick = u32;

/// No moment.
pub(crate) const NEVER: Tick = Tick::MAX;

/// How exact times are.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// The moment at which so much time has passed, or the next.
pub(crate) fn ticks(time: Duration) -> Tick {
    Tick::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(NEVER)
}

#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// All before this have been looked at.
    now: Tick,
    /// No entry is due before this.
    next: Tick,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    at: Tick,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            now: 0,
            next: NEVER,
            len: 0,
        }
    }

    /// Has the connection looked at then. What is further away than the wheel is round is looked at on the way.
    pub(crate) fn insert(&mut self, key: Key, at: Tick) {
        if at == NEVER {
            return;
        }
        let near = at.clamp(self.now, self.now.saturating_add(SLOTS as Tick - 1));
        self.slots[near as usize % SLOTS].push(Entry { key, at });
        self.next = self.next.min(near);
        self.len += 1;
    }

    /// Forgets all entries, and gives their storage back.
    pub(crate) fn clear(&mut self) {
        if self.slots.iter().any(|slot| slot.capacity() > 0) {
            self.slots.fill_with(Vec::new);
        }
        self.len = 0;
        self.next = NEVER;
    }

    /// When to look again, at the latest.
    pub(crate) fn next(&self) -> Option<Tick> {
        (self.next != NEVER).then_some(self.next)
    }

    /// Takes out those whose time has come by `now`, each with the moment that it was entered for. `waits` says of others
    /// that it comes across whether the connection still waits for that moment: those that are gone would go round for as
    /// long as they could have lasted.
    pub(crate) fn expire(&mut self, now: Tick, due: &mut Vec<(Key, Tick)>, mut waits: impl FnMut(Key, Tick) -> bool) {
        if now < self.next {
            self.now = self.now.max(now);
            return;
        }
        // Once around is all of it.
        let last = now.min(self.now.saturating_add(SLOTS as Tick - 1));
        let mut later = Vec::new();
        for tick in self.now..=last {
            let mut slot = std::mem::take(&mut self.slots[tick as usize % SLOTS]);
            self.len -= slot.len();
            for entry in slot.drain(..) {
                match entry.at <= now {
                    true => due.push((entry.key, entry.at)),
                    false if waits(entry.key, entry.at) => later.push(entry),
                    false => {}
                }
            }
            slot.shrink_to(RETAINED);
            self.slots[tick as usize % SLOTS] = slot;
        }
        self.now = now;
        self.next = NEVER;
        // Those that were further away than the wheel is round.
        for entry in later {
            self.insert(entry.key, entry.at);
        }
        self.find_next();
    }

    /// The nearest slot with an entry.
    fn find_next(&mut self) {
        self.next = NEVER;
        if self.len == 0 {
            return;
        }
        let first = self.now;
        let nearest =
            (first..first.saturating_add(SLOTS as Tick)).find(|tick| !self.slots[*tick as usize % SLOTS].is_empty());
        self.next = nearest.unwrap_or(NEVER);
    }
}

/// 51.2 s of ticks, so that the defaults fit.
const SLOTS: usize = 1024;

/// Entries for which an empty slot keeps room.
const RETAINED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    fn run(wheel: &mut Wheel, until: Tick) -> Vec<(Key, Tick)> {
        let mut due = Vec::new();
        wheel.expire(until, &mut due, |_, _| true);
        due
    }

    #[test]
    fn each_is_due_once_and_in_time() {
        let mut slab = Slab::new();
        let mut wheel = Wheel::new();
        let times = [0, 1, 2, 2, 1023, 1024, 1025, 5000, 100_000];
        let keys: Vec<_> = times.iter().map(|at| slab.insert(*at).unwrap()).collect();
        for (key, at) in keys.iter().zip(times) {
            wheel.insert(*key, at);
        }
        let mut seen = Vec::new();
        let mut now = 0;
        while let Some(next) = wheel.next() {
            assert!(next >= now);
            now = next;
            for (key, at) in run(&mut wheel, now) {
                assert!(at <= now, "not before its time");
                assert_eq!(slab.get(key), Some(&at));
                seen.push((at, now));
            }
            now += 1;
        }
        seen.sort_unstable();
        assert_eq!(seen.iter().map(|(at, _)| *at).collect::<Vec<_>>(), times);
        assert!(seen.iter().all(|(at, now)| at == now), "nor after it: {seen:?}");
    }

    #[test]
    fn a_long_sleep_expires_all_that_came_due_meanwhile() {
        let mut slab = Slab::new();
        let mut wheel = Wheel::new();
        for at in 0..3000 {
            wheel.insert(slab.insert(()).unwrap(), at);
        }
        assert_eq!(run(&mut wheel, 10_000).len(), 3000);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn those_that_are_gone_do_not_go_round() {
        let mut slab = Slab::new();
        let mut wheel = Wheel::new();
        let (stays, goes) = (slab.insert(()).unwrap(), slab.insert(()).unwrap());
        for key in [stays, goes] {
            wheel.insert(key, 100_000);
            wheel.insert(key, NEVER);
        }
        assert_eq!(wheel.len, 2);
        slab.remove(goes).unwrap();
        while let Some(next) = wheel.next().filter(|next| *next < 100_000) {
            wheel.expire(next, &mut Vec::new(), |key, _| slab.get(key).is_some());
        }
        assert_eq!(wheel.len, 1);
        assert_eq!(run(&mut wheel, 100_000), [(stays, 100_000)]);
    }

    #[test]
    fn what_is_cleared_is_never_due_and_takes_no_storage() {
        let mut slab = Slab::new();
        let mut wheel = Wheel::new();
        for at in 0..3000 {
            wheel.insert(slab.insert(()).unwrap(), at);
        }
        run(&mut wheel, 10);
        wheel.clear();
        assert!(wheel.slots.iter().all(|slot| slot.capacity() == 0));
        assert_eq!((wheel.next(), wheel.len), (None, 0));
        let key = slab.insert(()).unwrap();
        wheel.insert(key, 40);
        assert_eq!(wheel.next(), Some(40));
        assert_eq!(run(&mut wheel, 10_000), [(key, 40)]);
    }

    #[test]
    fn what_is_late_is_due_at_once() {
        let mut slab = Slab::new();
        let mut wheel = Wheel::new();
        run(&mut wheel, 500);
        wheel.insert(slab.insert(()).unwrap(), 3);
        assert_eq!(wheel.next(), Some(500));
        assert_eq!(run(&mut wheel, 500).len(), 1);
    }
}
