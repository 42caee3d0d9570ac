//! Whether the acquisition time of a volume is plausible.

use corticast_bold::time::TrIndex;

/// Share by which the real TR may differ from the nominal one.
const DRIFT: f64 = 0.01;

/// How far an acquisition time is from `index · TR`, in seconds, if it does not fit: milliseconds
/// for seconds, another origin, a clock that went backwards. A drift of 1 % and one TR of jitter
/// fit. All times in seconds since the start of index 0.
#[must_use]
pub fn time_off_s(tr_s: f64, index: TrIndex, time_s: f64) -> Option<f64> {
    let grid_s = tr_s * f64::from(index.0);
    let off_s = time_s - grid_s;
    let fits = off_s.abs() <= tr_s + DRIFT * grid_s;
    (!fits).then_some(off_s)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn jitter_and_drift_fit_and_other_units_and_origins_do_not(
            tr_s in 0.1_f64..10.0, index in 2_u32..1_000_000,
            drift in -0.009_f64..0.009, jitter in -0.9_f64..0.9,
        ) {
            let grid_s = tr_s * f64::from(index);
            let off = |time_s| time_off_s(tr_s, TrIndex(index), time_s);
            prop_assert_eq!(off(grid_s * (1.0 + drift) + jitter * tr_s), None);
            for wrong in [1000.0 * grid_s, -grid_s, 1.7e9 + grid_s, 1e300, f64::NAN] {
                prop_assert!(off(wrong).is_some(), "{wrong}");
            }
        }
    }
}
