//! The time that deadlines are held against: the system's, and in the tests of this module one that a thread advances itself.

#[cfg(not(test))]
pub(super) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
pub(super) use self::simulated::{advance, now};

#[cfg(test)]
mod simulated {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        static NOW: Cell<Instant> = Cell::new(Instant::now());
    }

    /// It stands still but for [`advance`].
    pub(in crate::blocking) fn now() -> Instant {
        NOW.get()
    }

    pub(in crate::blocking) fn advance(by: Duration) {
        NOW.set(NOW.get() + by);
    }
}
