//! Medians and quartiles.

use serde::Serialize;

/// The middle of some figures, and the middle half of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Summary {
    /// `None` when there are no figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            lower: quantile(&sorted, 0.25)?,
            upper: quantile(&sorted, 0.75)?,
        })
    }
}

/// Between the two figures that enclose it, in proportion.
fn quantile(sorted: &[f64], quantile: f64) -> Option<f64> {
    let position = quantile * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    Some(low + (high - low) * position.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_figures() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]).expect("figures");
        assert_eq!((summary.lower, summary.median, summary.upper), (1.75, 2.5, 3.25));
        assert_eq!(Summary::of([7.0]).expect("a figure").median, 7.0);
        assert_eq!(Summary::of([]), None);
    }
}
