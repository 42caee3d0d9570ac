//! A straight line through differences of two clocks: their drift, and what is left of them.

/// Fewest points of a line that says something.
const FEWEST: u32 = 5;

/// Sums for a least-squares line, updated point by point (Welford's way, for two variables).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fit {
    n: u32,
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Fit {
    /// Adds a point.
    pub(super) fn add(&mut self, x: f64, y: f64) {
        self.n += 1;
        let n = f64::from(self.n);
        let (dx, dy) = (x - self.mean_x, y - self.mean_y);
        self.mean_x += dx / n;
        self.mean_y += dy / n;
        self.xx += dx * (x - self.mean_x);
        self.xy += dx * (y - self.mean_y);
        self.yy += dy * (y - self.mean_y);
    }

    /// Number of points.
    pub(super) fn n(&self) -> u32 {
        self.n
    }

    /// Slope of the line. `None` with too few points.
    pub(super) fn slope(&self) -> Option<f64> {
        (self.n >= FEWEST && self.xx > 0.0).then(|| self.xy / self.xx)
    }

    /// Standard deviation of the points about the line.
    pub(super) fn deviation(&self) -> Option<f64> {
        let slope = self.slope()?;
        let left = (self.yy - slope * self.xy).max(0.0);
        Some((left / f64::from(self.n - 2)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_and_deviation_of_a_line_with_known_noise() {
        let mut fit = Fit::default();
        assert_eq!(fit.slope(), None);
        // y = 3 + x/1000 and ±0.5 about it.
        for x in 0..1000 {
            fit.add(f64::from(x), 3.0 + f64::from(x) / 1000.0 + f64::from(x % 2) - 0.5);
        }
        assert!((fit.slope().unwrap() - 1e-3).abs() < 1e-5, "{fit:?}");
        assert!((fit.deviation().unwrap() - 0.5).abs() < 1e-2, "{fit:?}");
    }
}
