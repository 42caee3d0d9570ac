use proptest::prelude::*;

use super::*;

const MATRIX: [usize; 3] = [2, 3, 4];
const TIMES_S: [f64; 4] = [0.0, 1.0, 0.5, 1.5];

fn tr() -> RepetitionTime {
    RepetitionTime::from_secs(2.0).unwrap()
}

fn stage() -> SliceTiming {
    SliceTiming::new(&TIMES_S, 2, MATRIX, tr()).unwrap()
}

fn volume(tr: u32, signal: Vec<f32>) -> Volume {
    Volume { tr: TrIndex(tr), acquisition_time_s: 2.0 * f64::from(tr), matrix: MATRIX, signal }
}

/// A volume of a signal that is a function of the time at which each slice was acquired.
fn acquired(tr: u32, signal: impl Fn(f64) -> f64) -> Volume {
    let slices = TIMES_S.iter().flat_map(|s| vec![signal(2.0 * f64::from(tr) + s) as f32; 6]);
    volume(tr, slices.collect())
}

fn bits(volume: &Volume) -> Vec<u32> {
    volume.signal.iter().map(|signal| signal.to_bits()).collect()
}

#[test]
fn a_slice_in_the_middle_of_the_tr_is_the_mean_of_two_volumes() {
    let mut stage = stage();
    stage.process(volume(0, vec![10.0; 24])).unwrap();
    let found = stage.process(volume(1, vec![20.0; 24])).unwrap().unwrap();
    let expected = [20.0, 15.0, 17.5, 12.5].map(|slice| [slice; 6]).concat();
    assert_eq!(found.signal, expected);
}

#[test]
fn a_signal_that_rises_evenly_comes_out_as_it_was_at_the_start_of_the_volume() {
    let mut stage = stage();
    let rising = |t: f64| 100.0 + 3.0 * t;
    stage.process(acquired(0, rising)).unwrap();
    for tr in 1..5 {
        let found = stage.process(acquired(tr, rising)).unwrap().unwrap();
        let expected = rising(2.0 * f64::from(tr)) as f32;
        assert!(found.signal.iter().all(|s| (s - expected).abs() < 1e-4), "{:?}", found.signal);
    }
}

/// The slice axis of the same numbers decides which voxels belong together.
#[test]
fn slices_may_lie_along_any_axis() {
    for (axis, times) in [(0, vec![0.0, 1.0]), (1, vec![0.0, 1.0, 0.0])] {
        let mut stage = SliceTiming::new(&times, axis, MATRIX, tr()).unwrap();
        stage.process(volume(0, vec![10.0; 24])).unwrap();
        let found = stage.process(volume(1, vec![20.0; 24])).unwrap().unwrap();
        for (index, &signal) in found.signal.iter().enumerate() {
            let slice = [index % 2, index / 2 % 3][axis];
            let expected = if slice == 1 { 15.0_f32 } else { 20.0 };
            assert_eq!(signal.to_bits(), expected.to_bits(), "axis {axis}, voxel {index}");
        }
    }
}

#[test]
fn the_first_volume_and_one_after_a_gap_pass_unchanged() {
    let mut stage = stage();
    for tr in [3, 5, 9] {
        let volume = acquired(tr, |t| t * t);
        let found = stage.process(volume.clone()).unwrap().unwrap();
        assert_eq!(bits(&found), bits(&volume));
    }
    stage.process(acquired(10, f64::sqrt)).unwrap();
    stage.start_run();
    let volume = acquired(11, f64::sqrt);
    assert_eq!(bits(&stage.process(volume.clone()).unwrap().unwrap()), bits(&volume));
}

#[test]
fn a_voxel_that_is_nan_spoils_only_its_own_volume() {
    let mut stage = stage();
    let mut odd = vec![10.0; 24];
    odd[7] = f32::NAN;
    stage.process(volume(0, odd)).unwrap();
    let found = stage.process(volume(1, vec![20.0; 24])).unwrap().unwrap();
    assert_eq!((found.signal[7], found.signal[8]), (20.0, 15.0));
}

#[test]
fn late_and_misshapen_volumes_are_refused_and_change_nothing() {
    let mut stage = stage();
    stage.process(volume(4, vec![10.0; 24])).unwrap();
    let error = stage.process(volume(4, vec![0.0; 24])).unwrap_err();
    assert_eq!(error, CannotInterpolate::OutOfOrder { last: TrIndex(4), got: TrIndex(4) });
    let message = stage.process(volume(5, vec![0.0; 23])).unwrap_err().to_string();
    assert_eq!(
        message,
        "volume 5 has 23 voxels and the matrix [2, 3, 4], expected the matrix [2, 3, 4]"
    );
    let found = stage.process(volume(5, vec![20.0; 24])).unwrap().unwrap();
    assert_eq!(found.signal[6].to_bits(), 15.0_f32.to_bits());
}

#[test]
fn slice_times_that_do_not_fit_the_scan_are_refused() {
    let new = |times: &[f64], axis| SliceTiming::new(times, axis, MATRIX, tr()).unwrap_err();
    let length = InvalidSliceTimes::Length { found: 3, expected: 4, axis: 2 };
    assert_eq!(new(&[0.0; 3], 2), length);
    assert_eq!(new(&[0.0; 4], 3), InvalidSliceTimes::Axis(3));
    for odd in [-0.1, 2.0, 1500.0, f64::NAN, f64::INFINITY] {
        let message = new(&[0.0, 0.5, odd, 1.0], 2).to_string();
        assert!(message.starts_with(&format!("the time of slice 2 is {odd} s")), "{message}");
    }
}

proptest! {
    /// A checkpoint at any volume changes no bit of what follows, whatever is missing.
    #[test]
    fn a_checkpoint_changes_nothing(
        arrived in proptest::collection::btree_set(0_u32..20, 2..12),
        cut in 0_usize..12,
    ) {
        let signal = |t: f64| 1000.0 + 10.0 * libm::sin(t);
        let (mut whole, mut restored) = (stage(), stage());
        for (n, &tr) in arrived.iter().enumerate() {
            if n == cut {
                let mut saver = Saver::default();
                restored.save(&mut saver);
                restored = stage();
                prop_assert_eq!(restored.load(&mut Loader::new(&saver.finish())), Some(()));
            }
            let a = whole.process(acquired(tr, signal)).unwrap().unwrap();
            let b = restored.process(acquired(tr, signal)).unwrap().unwrap();
            prop_assert_eq!(bits(&a), bits(&b));
        }
    }

    /// A straight line never leaves the range of the two volumes that it joins.
    #[test]
    fn values_stay_between_the_two_volumes(
        before in proptest::collection::vec(-1e4..1e4_f32, 24),
        now in proptest::collection::vec(-1e4..1e4_f32, 24),
    ) {
        let mut stage = stage();
        stage.process(volume(0, before.clone())).unwrap();
        let found = stage.process(volume(1, now.clone())).unwrap().unwrap();
        for ((a, b), found) in before.iter().zip(&now).zip(&found.signal) {
            prop_assert!((a.min(*b) - 1e-2..=a.max(*b) + 1e-2).contains(found));
        }
    }
}
