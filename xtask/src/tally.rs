//! What a step found: how many checks passed, failed, or could not be made here.

use std::fmt;
use std::ops::AddAssign;

/// The result of one step, or the sum over steps.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// What was not checked, and how to get the tool that would.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// One check, passed or not.
    pub(crate) fn one(passed: bool) -> Self {
        Self {
            passed: usize::from(passed),
            failed: usize::from(!passed),
            skipped: Vec::new(),
        }
    }

    /// Counted tests of a program that also has an exit status.
    ///
    /// A program may fail without a failed test (it did not compile, it crashed), which must not be lost, and may
    /// succeed without saying how many tests it ran, which counts as one check.
    pub(crate) fn counted(passed: usize, failed: usize, success: bool) -> Self {
        let failed = if success { failed } else { failed.max(1) };
        let passed = if success && passed + failed == 0 { 1 } else { passed };
        Self {
            passed,
            failed,
            skipped: Vec::new(),
        }
    }

    /// Whether nothing failed.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_without_a_failed_test_counts_as_one() {
        assert_eq!(Tally::counted(7, 0, false).to_string(), "7 passed, 1 failed");
        assert_eq!(Tally::counted(7, 3, false).to_string(), "7 passed, 3 failed");
    }

    #[test]
    fn a_success_without_a_count_counts_as_one() {
        assert_eq!(Tally::counted(0, 0, true).to_string(), "1 passed, 0 failed");
    }

    #[test]
    fn sums_keep_what_was_skipped() {
        let mut sum = Tally::one(true);
        sum += Tally {
            skipped: vec!["page".into()],
            ..Tally::one(false)
        };
        assert_eq!(
            sum,
            Tally {
                passed: 1,
                failed: 1,
                skipped: vec!["page".into()]
            }
        );
    }
}
