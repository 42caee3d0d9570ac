//! Samples of durations, and their format in tables.

/// Durations in nanoseconds, sorted.
#[derive(Clone, Debug)]
pub struct Samples(Vec<u64>);

impl Samples {
    pub fn new(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        Self(nanoseconds)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that at least this share of all samples does not exceed, in ms.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(f64::NAN, |&ns| ns as f64 / 1e6)
    }

    pub fn min_ms(&self) -> f64 {
        self.quantile_ms(0.0)
    }

    pub fn median_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    pub fn p99_ms(&self) -> f64 {
        self.quantile_ms(0.99)
    }

    pub fn max_ms(&self) -> f64 {
        self.quantile_ms(1.0)
    }

    /// Cells of a table: count, minimum, median, 99th percentile, maximum.
    pub fn row(&self) -> String {
        format!(
            "{} | {:.3} | {:.3} | {:.3} | {:.3}",
            self.len(),
            self.min_ms(),
            self.median_ms(),
            self.p99_ms(),
            self.max_ms()
        )
    }
}

/// Heads of the columns of [`Samples::row`].
pub const COLUMNS: &str = "n | min ms | p50 ms | p99 ms | max ms";

/// The median of a few values; the lower middle value of an even number.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len().max(1) - 1) / 2).copied().unwrap_or(f64::NAN)
}

/// Values with a slash between them.
pub fn listed(values: &[f64], digits: usize) -> String {
    values.iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(" / ")
}
