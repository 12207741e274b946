//! Shares of time: how far a profile's are from the truth, and how far chance alone
//! would put them.

use crate::random::Random;

/// Returns the total variation between the shares of `counts` and `truth`: half the
/// sum of the differences. What was counted and is in no part of the truth goes in
/// `counts` as one part more.
#[must_use]
pub fn total_variation(counts: &[f64], truth: &[f64]) -> f64 {
    let sum: f64 = counts.iter().sum();
    let truth = truth.iter().copied().chain(std::iter::repeat(0.0));
    let differences = counts
        .iter()
        .zip(truth)
        .map(|(count, truth)| (count / sum - truth).abs());
    differences.sum::<f64>() / 2.0
}

/// Returns the noise floor: the mean total variation of `samples` independent draws
/// from `truth`, by simulation from a fixed seed.
#[must_use]
pub fn noise_floor(truth: &[f64], samples: u64) -> f64 {
    const SIMULATIONS: u64 = 200;
    let mut random = Random::new(0xf100d);
    let mut sum = 0.0;
    let mut counts = vec![0.0; truth.len()];
    for _ in 0..SIMULATIONS {
        counts.fill(0.0);
        for _ in 0..samples {
            let mut at = random.unit();
            let part = truth.iter().position(|share| {
                at -= share;
                at < 0.0
            });
            // Rounding may leave a draw past the last part.
            let part = part.unwrap_or(truth.len() - 1);
            if let Some(count) = counts.get_mut(part) {
                *count += 1.0;
            }
        }
        sum += total_variation(&counts, truth);
    }
    sum / SIMULATIONS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_variation_of_known_shares() {
        assert_eq!(total_variation(&[50.0, 50.0], &[0.5, 0.5]), 0.0);
        assert_eq!(total_variation(&[100.0, 0.0], &[0.5, 0.5]), 0.5);
        // A tenth of all samples is in no part.
        let off = total_variation(&[45.0, 45.0, 10.0], &[0.5, 0.5]);
        assert!((off - 0.1).abs() < 1e-12, "{off}");
    }

    #[test]
    fn the_floor_is_what_the_binomial_distribution_says() {
        // Two halves: the mean absolute deviation of a share is
        // sqrt(2 / pi) * sqrt(0.25 / n).
        let expected = (2.0 / std::f64::consts::PI).sqrt() * (0.25f64 / 10_000.0).sqrt();
        let floor = noise_floor(&[0.5, 0.5], 10_000);
        assert!((floor / expected - 1.0).abs() < 0.15, "{floor} {expected}");
    }
}
