//! Which volumes make a window, and which stimulus it belongs to.

use ndarray::array;
use proptest::prelude::*;

use super::*;
use crate::time::TrIndex;

/// A one-voxel volume whose signal is its own index, so a window shows which volumes it holds.
fn volume(tr: u32) -> NormalisedVolume {
    NormalisedVolume {
        tr: TrIndex(tr),
        acquisition_time_s: f64::from(tr) * 2.0,
        bold: Array1::from_elem(1, tr as f32),
        made_from: MadeFrom::Measured,
    }
}

/// At TR 2 s.
fn shift(delay_s: f64, interpolation: ShiftInterpolation, length: usize) -> HemodynamicShift {
    let repetition_time = RepetitionTime::from_secs(2.0).unwrap();
    let length = NonZeroUsize::new(length).unwrap();
    HemodynamicShift::new(repetition_time, delay_s, interpolation, length)
}

fn windows(mut shift: HemodynamicShift, arrived: &[u32]) -> Vec<(f64, Vec<f32>)> {
    arrived
        .iter()
        .filter_map(|&tr| shift.process(volume(tr)).unwrap())
        .map(|window| (window.stimulus_time_s, window.bold.iter().copied().collect()))
        .collect()
}

#[test]
fn a_window_is_labelled_with_the_stimulus_that_caused_it() {
    let found = windows(shift(4.0, ShiftInterpolation::Nearest, 2), &[0, 1, 2, 3, 4]);
    assert_eq!(found, [(0.0, vec![2.0, 3.0]), (2.0, vec![3.0, 4.0])]);
}

#[test]
fn nearest_reports_the_true_time_when_the_delay_is_no_multiple_of_the_tr() {
    let found = windows(shift(5.0, ShiftInterpolation::Nearest, 1), &[2, 3, 4]);
    assert_eq!(found, [(1.0, vec![3.0]), (3.0, vec![4.0])]);
}

#[test]
fn linear_lies_between_the_bracketing_volumes_on_the_grid_of_the_tr() {
    let found = windows(shift(5.0, ShiftInterpolation::Linear, 1), &[0, 1, 2, 3, 4]);
    assert_eq!(found, [(0.0, vec![2.5]), (2.0, vec![3.5])]);
    // With a delay of a whole number of volumes, no later volume is needed.
    let whole = windows(shift(4.0, ShiftInterpolation::Linear, 1), &[2, 3]);
    assert_eq!(whole, [(0.0, vec![2.0]), (2.0, vec![3.0])]);
}

#[test]
fn a_delay_that_is_whole_but_for_rounding_counts_as_whole() {
    let repetition_time = RepetitionTime::from_secs(0.8).unwrap();
    let one = NonZeroUsize::MIN;
    let shift = HemodynamicShift::new(repetition_time, 4.0, ShiftInterpolation::Linear, one);
    assert_eq!(shift.needed(), 1);
    assert_eq!(shift.delay_in_volumes().0, 5);
}

#[test]
fn a_late_volume_is_refused_and_changes_nothing() {
    let mut shift = shift(0.0, ShiftInterpolation::Nearest, 2);
    shift.process(volume(5)).unwrap();
    let error = shift.process(volume(4)).unwrap_err();
    assert_eq!(error, OutOfOrder { last: TrIndex(5), got: TrIndex(4) });
    let window = shift.process(volume(6)).unwrap().unwrap();
    assert_eq!(window.bold, array![[5.0], [6.0]]);
}

proptest! {
    /// Whichever volumes are missing, a window never spans a gap.
    #[test]
    fn windows_hold_consecutive_volumes(
        arrived in proptest::collection::btree_set(0_u32..60, 0..40),
        delay in 0_u32..5,
        length in 1_usize..5,
    ) {
        let mut shift = shift(f64::from(delay) * 2.0, ShiftInterpolation::Nearest, length);
        for tr in arrived {
            if let Some(window) = shift.process(volume(tr)).unwrap() {
                let first = (window.stimulus_time_s / 2.0).round() as u32 + delay;
                let held: Vec<u32> = window.bold.iter().map(|&bold| bold as u32).collect();
                let wanted: Vec<u32> = (first..).take(length).collect();
                prop_assert_eq!(held, wanted);
            }
        }
    }

    /// Linear: signal that is linear in time is read off exactly at the delayed time.
    #[test]
    fn linear_reads_a_ramp_at_the_delayed_time(
        delay_s in 0.0_f64..12.0,
        gap_at in 0_u32..30,
        length in 1_usize..4,
    ) {
        let mut shift = shift(delay_s, ShiftInterpolation::Linear, length);
        for tr in (0..30).filter(|&tr| tr != gap_at) {
            if let Some(window) = shift.process(volume(tr)).unwrap() {
                for (row, &bold) in window.bold.iter().enumerate() {
                    let time_s = window.stimulus_time_s + 2.0 * row as f64 + delay_s;
                    prop_assert!((f64::from(bold) * 2.0 - time_s).abs() < 1e-3);
                }
            }
        }
    }
}
