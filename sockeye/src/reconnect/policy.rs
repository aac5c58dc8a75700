//! [`Backoff`] and [`Retry`]: how long to wait before an attempt, and how many to make. No I/O, no clock, no randomness of
//! its own.

use std::time::Duration;

/// Exponential back-off with full jitter.
///
/// Before the `n`th attempt to come back the client waits for a time drawn evenly from zero to
/// [`ceiling(n)`](Self::ceiling), which is `base × factor^(n − 1)` and at most `cap`. Drawing from the whole range, rather
/// than from its upper part, is what spreads the clients of a server that restarts.
///
/// RFC 6455 §7.2.3 asks for this: "The value for this delay SHOULD be chosen randomly", "Should the first reconnect attempt
/// fail, subsequent reconnect attempts SHOULD be delayed by increasingly longer amounts of time, using a method such as
/// truncated binary exponential backoff."
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sockeye::reconnect::Backoff;
///
/// let backoff = Backoff::new().base(Duration::from_secs(1)).cap(Duration::from_secs(20));
/// assert_eq!(backoff.ceiling(3), Duration::from_secs(4));
/// assert_eq!(backoff.ceiling(1_000_000), Duration::from_secs(20));
/// assert_eq!(backoff.delay(3, 1 << 63), Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    base: Duration,
    factor: f64,
    cap: Duration,
    max_attempts: Option<u32>,
    stable_after: Duration,
    retry_after_limit: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// 1 s, doubling up to 60 s, without end; see the setters.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            base: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(60),
            max_attempts: None,
            stable_after: Duration::from_secs(10),
            retry_after_limit: Duration::from_secs(60 * 60),
        }
    }

    /// The longest wait before the first attempt to come back. Default: 1 s, so that a lost connection costs half a second
    /// on average. Zero makes all waits zero.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// What the longest wait is multiplied by from one attempt to the next. Default: 2. Less than 1, or no number, counts
    /// as 1.
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// What no wait exceeds, but for the server's own wish in `Retry-After`. Default: 60 s, so that a server that comes
    /// back is found after half a minute on average, and one that does not is asked twice a minute.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// After how many attempts in a row that led to no [stable](Self::stable_after) connection to give up. Default:
    /// `None`, never. One is always made.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: Option<u32>) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long a connection has to have been open for its loss to begin a new count of attempts and of waits. Default:
    /// 10 s: a server that accepts connections and drops them at once is waited for like one that refuses them.
    #[must_use]
    pub const fn stable_after(mut self, open: Duration) -> Self {
        self.stable_after = open;
        self
    }

    /// The longest `Retry-After` that is obeyed; a longer one counts as this. Default: 1 h.
    #[must_use]
    pub const fn retry_after_limit(mut self, limit: Duration) -> Self {
        self.retry_after_limit = limit;
        self
    }

    /// The longest wait before the `n`th attempt to come back, counted from 1.
    #[must_use]
    pub fn ceiling(&self, n: u32) -> Duration {
        let steps = n.saturating_sub(1);
        if steps == 0 || self.base.is_zero() {
            return self.base.min(self.cap);
        }
        // `max` takes the number when the other is none.
        let growth = self.factor.max(1.0).powf(f64::from(steps));
        // What is too large for a `Duration` is past any cap.
        Duration::try_from_secs_f64(self.base.as_secs_f64() * growth)
            .unwrap_or(Duration::MAX)
            .min(self.cap)
    }

    /// The wait before the `n`th attempt to come back, for 64 random bits: evenly from zero to [`ceiling(n)`](Self::ceiling),
    /// both included. Ceilings beyond 584 years count as that.
    #[must_use]
    pub fn delay(&self, n: u32, random: u64) -> Duration {
        let ceiling = u64::try_from(self.ceiling(n).as_nanos()).unwrap_or(u64::MAX);
        let nanoseconds = ((u128::from(ceiling) + 1) * u128::from(random)) >> 64;
        // Less than the factor on the left, and so no more than `ceiling`.
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(ceiling))
    }
}

/// Whether a failure is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another attempt, after a wait by [`Backoff`].
    Later,
    /// The same, after this and the wait by [`Backoff`], since whoever was told the same time must not come back all at
    /// once. More than [`Backoff::retry_after_limit`] counts as that.
    After(Duration),
    /// Trying again would not help.
    Never,
}

/// The count of attempts and waits since the last stable connection.
#[derive(Debug)]
pub(super) struct Retries {
    backoff: Backoff,
    attempts: u32,
    waits: u32,
}

impl Retries {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            attempts: 0,
            waits: 0,
        }
    }

    /// Another attempt begins: its number.
    pub(super) fn begin(&mut self) -> u32 {
        self.attempts = self.attempts.saturating_add(1);
        self.attempts
    }

    /// A connection was lost that had been open for so long.
    pub(super) fn lost(&mut self, open: Duration) {
        if open >= self.backoff.stable_after {
            self.attempts = 0;
            self.waits = 0;
        }
    }

    /// How long to wait before the next attempt; `None` for no other.
    pub(super) fn wait(&mut self, retry: Retry, random: u64) -> Option<Duration> {
        let asked = match retry {
            Retry::Later => Duration::ZERO,
            Retry::After(asked) => asked.min(self.backoff.retry_after_limit),
            Retry::Never => return None,
        };
        if self.attempts > 0 && self.backoff.max_attempts.is_some_and(|most| self.attempts >= most) {
            return None;
        }
        self.waits = self.waits.saturating_add(1);
        Some(asked.saturating_add(self.backoff.delay(self.waits, random)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ceilings_double_to_the_cap() {
        let backoff = Backoff::new();
        let seconds: Vec<u64> = (0..9).map(|n| backoff.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn unusable_factors_count_as_one() {
        for factor in [0.0, -3.0, 0.99, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Backoff::new().factor(factor).ceiling(9), SECOND, "{factor}");
        }
        assert_eq!(Backoff::new().factor(f64::INFINITY).ceiling(2), 60 * SECOND);
        assert_eq!(
            Backoff::new().base(Duration::ZERO).factor(f64::INFINITY).ceiling(2),
            Duration::ZERO
        );
    }

    #[test]
    fn delays_reach_both_ends() {
        let backoff = Backoff::new();
        assert_eq!(backoff.delay(1, 0), Duration::ZERO);
        assert_eq!(backoff.delay(1, u64::MAX), SECOND);
        assert_eq!(backoff.delay(2, 1 << 63), SECOND);
    }

    #[test]
    fn attempts_are_counted_from_the_last_stable_connection() {
        let mut retries = Retries::new(Backoff::new().max_attempts(Some(3)));
        let wait = |retries: &mut Retries| retries.wait(Retry::Later, u64::MAX).map(|delay| delay.as_secs());
        assert_eq!((retries.begin(), wait(&mut retries)), (1, Some(1)));
        assert_eq!((retries.begin(), wait(&mut retries)), (2, Some(2)));
        // Opened, and not for long enough.
        assert_eq!(retries.begin(), 3);
        retries.lost(10 * SECOND - Duration::from_nanos(1));
        assert_eq!(wait(&mut retries), None);
        // Opened, and for just long enough: three more.
        retries.lost(10 * SECOND);
        assert_eq!(wait(&mut retries), Some(1));
        assert_eq!((retries.begin(), wait(&mut retries)), (1, Some(2)));
        assert_eq!((retries.begin(), wait(&mut retries)), (2, Some(4)));
        assert_eq!((retries.begin(), wait(&mut retries)), (3, None));
    }

    #[test]
    fn one_attempt_is_the_least() {
        for most in [0, 1] {
            let mut retries = Retries::new(Backoff::new().max_attempts(Some(most)));
            assert_eq!(retries.begin(), 1);
            assert_eq!(retries.wait(Retry::Later, 0), None);
        }
    }

    #[test]
    fn the_servers_wish_comes_before_the_jitter() {
        let mut retries = Retries::new(Backoff::new().retry_after_limit(90 * SECOND));
        assert_eq!(retries.wait(Retry::After(30 * SECOND), 0), Some(30 * SECOND));
        assert_eq!(retries.wait(Retry::After(30 * SECOND), u64::MAX), Some(32 * SECOND));
        assert_eq!(retries.wait(Retry::After(Duration::MAX), 0), Some(90 * SECOND));
        assert_eq!(retries.wait(Retry::Never, 0), None);
    }

    prop_compose! {
        fn backoffs()(
            base in any::<Duration>(),
            factor in prop_oneof![any::<f64>(), 0.5..4.0],
            cap in any::<Duration>(),
        ) -> Backoff {
            Backoff::new().base(base).factor(factor).cap(cap)
        }
    }

    proptest! {
        #[test]
        fn delays_stay_below_the_ceiling_and_the_cap(backoff in backoffs(), n: u32, random: u64) {
            prop_assert!(backoff.delay(n, random) <= backoff.ceiling(n));
            prop_assert!(backoff.ceiling(n) <= backoff.cap);
            prop_assert!(backoff.delay(1_000_000, random) <= backoff.cap);
        }

        #[test]
        fn later_ceilings_are_no_shorter(backoff in backoffs(), n in 0..u32::MAX) {
            prop_assert!(backoff.ceiling(n) <= backoff.ceiling(n + 1));
        }

        #[test]
        fn more_random_bits_never_shorten_a_delay(backoff in backoffs(), n: u32, random in 0..u64::MAX) {
            prop_assert!(backoff.delay(n, random) <= backoff.delay(n, random + 1));
        }

        #[test]
        fn any_count_is_survived(backoff in backoffs(), asked: Duration, random: u64) {
            let mut retries = Retries { backoff, attempts: u32::MAX - 1, waits: u32::MAX - 1 };
            for _ in 0..3 {
                retries.begin();
                prop_assert!(retries.wait(Retry::After(asked), random).is_some());
            }
        }
    }
}
