//! Minimum, median, mean, an interval, a line through points.

use crate::random::Random;

/// Returns the smallest value; infinity when there is none.
#[must_use]
pub fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Returns the arithmetic mean; NaN when there is no value.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the median; NaN when there is no value.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.get(half) {
        None => f64::NAN,
        Some(&middle) if sorted.len() % 2 == 1 => middle,
        Some(&middle) => sorted
            .get(half - 1)
            .map_or(middle, |low| (low + middle) / 2.0),
    }
}

/// Returns the 95% interval of a statistic of `values` by the bootstrap: the
/// statistic of 2,000 resamplings with replacement, without the outer 2.5% on each
/// side. The seed is fixed.
#[must_use]
pub fn interval(values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> (f64, f64) {
    let mut random = Random::new(0x5eed);
    let mut found: Vec<f64> = (0..2000)
        .map(|_| {
            let resampled: Vec<f64> = (0..values.len())
                .filter_map(|_| values.get(random.below(values.len())).copied())
                .collect();
            statistic(&resampled)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * (found.len() - 1) as f64).round() as usize;
        found.get(index).copied().unwrap_or(f64::NAN)
    };
    (at(0.025), at(0.975))
}

/// A line through points of a cost against a size.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The cost at size 0.
    pub fixed: f64,
    /// The cost of one more.
    pub each: f64,
}

impl Line {
    /// Returns the line with the least squares of *relative* errors, so that the
    /// largest size does not decide alone.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Self {
        let (mut w, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(size, cost) in points {
            let weight = 1.0 / (cost * cost);
            w += weight;
            x += weight * size;
            y += weight * cost;
            xx += weight * size * size;
            xy += weight * size * cost;
        }
        let each = (w * xy - x * y) / (w * xx - x * x);
        Self {
            fixed: (y - each * x) / w,
            each,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_line_of_known_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let line = Line::through(&[(1.0, 52.0), (10.0, 70.0), (1000.0, 2050.0)]);
        assert!((line.fixed - 50.0).abs() < 1e-6, "{line:?}");
        assert!((line.each - 2.0).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn an_interval_holds_the_mean_of_what_it_was_made_from() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let (low, high) = interval(&values, mean);
        assert!(low < 49.5 && 49.5 < high, "{low} {high}");
        // Mean 49.5, standard error 2.9.
        assert!(high - low > 8.0 && high - low < 15.0, "{low} {high}");
    }
}
