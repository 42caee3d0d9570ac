//! Each mode against values computed by hand; later volumes never change earlier results.

use ndarray::array;
use proptest::prelude::*;

use super::*;
use crate::{time::TrIndex, volume::Confounds};

fn options(mode: Mode) -> NormaliseOptions {
    NormaliseOptions {
        mode,
        warm_up_volumes: 1,
        baseline_volumes: 3,
        frozen_mean: FrozenMean::Manifest,
        across_voxels: false,
        statistics: Some(Statistics { mean: array![10.0], sd: array![2.0] }),
    }
}

fn volume(tr: usize, signal: f32) -> MaskedVolume {
    MaskedVolume {
        tr: TrIndex(tr as u32),
        acquisition_time_s: tr as f64,
        bold: array![signal],
        made_from: MadeFrom::Measured,
        confounds: Confounds::default(),
    }
}

fn run(stage: &mut Normalise, signals: &[f32]) -> Vec<Option<f32>> {
    let process = |(tr, &signal): (usize, &f32)| {
        stage.process(volume(tr, signal)).unwrap().map(|v| v.bold[0])
    };
    signals.iter().enumerate().map(process).collect()
}

fn close(found: &[Option<f32>], expected: &[Option<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        match (found, expected) {
            (Some(a), Some(b)) => assert!((a - b).abs() < 1e-5, "{a} is not {b}"),
            (a, b) => assert_eq!(a, b),
        }
    }
}

#[test]
fn growing_uses_the_run_so_far_and_this_volume() {
    let mut stage = Normalise::new(options(Mode::Growing), 1).unwrap();
    // 1, 3: mean 2, s.d. 1. 1, 3, 8: mean 4, s.d. sqrt(26/3).
    let found = run(&mut stage, &[1.0, 3.0, 8.0]);
    close(&found, &[None, Some(1.0), Some(4.0 / (26.0_f32 / 3.0).sqrt())]);
    stage.start_run();
    assert_eq!(run(&mut stage, &[5.0]), [None], "a new run starts anew");
}

#[test]
fn baseline_uses_its_first_volumes_only() {
    let mut stage = Normalise::new(options(Mode::Baseline), 1).unwrap();
    let sd = (8.0_f32 / 3.0).sqrt();
    let found = run(&mut stage, &[2.0, 4.0, 6.0, 100.0, 4.0]);
    close(&found, &[None, None, Some(2.0 / sd), Some(96.0 / sd), Some(0.0)]);
}

#[test]
fn session_carries_its_statistics_into_the_next_run() {
    let mut stage = Normalise::new(options(Mode::Session), 1).unwrap();
    run(&mut stage, &[1.0, 3.0]);
    stage.start_run();
    close(&run(&mut stage, &[8.0]), &[Some(4.0 / (26.0_f32 / 3.0).sqrt())]);
}

#[test]
fn frozen_needs_no_warm_up_and_may_follow_the_mean_of_the_run() {
    let mut stage = Normalise::new(options(Mode::Frozen), 1).unwrap();
    close(&run(&mut stage, &[12.0, 9.0]), &[Some(1.0), Some(-0.5)]);
    let follow = NormaliseOptions { frozen_mean: FrozenMean::Growing, ..options(Mode::Frozen) };
    let mut stage = Normalise::new(follow, 1).unwrap();
    close(&run(&mut stage, &[12.0, 8.0]), &[None, Some(-1.0)]);
}

#[test]
fn filled_volumes_are_normalised_and_teach_nothing() {
    let mut stage = Normalise::new(options(Mode::Growing), 1).unwrap();
    run(&mut stage, &[1.0, 3.0]);
    let held = MaskedVolume { made_from: MadeFrom::Held, ..volume(2, 100.0) };
    let z = stage.process(held).unwrap().unwrap();
    assert!((z.bold[0] - 98.0).abs() < 1e-4);
    assert_eq!(stage.seen.n_volume(), 2);
}

#[test]
fn statistics_that_do_not_fit_are_refused_with_both_lengths() {
    let error = Normalise::new(options(Mode::Frozen), 5).unwrap_err();
    assert_eq!(error, InvalidNormalise::Length { found: 1, expected: 5 });
    let none = NormaliseOptions { statistics: None, ..options(Mode::Frozen) };
    assert_eq!(Normalise::new(none, 1).unwrap_err(), InvalidNormalise::NoStatistics);
}

proptest! {
    /// Prefix stability: later volumes never change earlier results.
    #[test]
    fn a_longer_run_leaves_its_prefix_unchanged(
        signals in proptest::collection::vec(-1e4_f32..1e4, 1..60),
        cut in 0_usize..60,
        mode in prop_oneof![Just(Mode::None), Just(Mode::Growing), Just(Mode::Baseline),
            Just(Mode::Session), Just(Mode::Frozen)],
    ) {
        let cut = cut.min(signals.len());
        let long = run(&mut Normalise::new(options(mode), 1).unwrap(), &signals);
        let short = run(&mut Normalise::new(options(mode), 1).unwrap(), &signals[..cut]);
        let bits = |z: &[Option<f32>]| -> Vec<_> { z.iter().map(|z| z.map(f32::to_bits)).collect() };
        prop_assert_eq!(bits(&long[..cut]), bits(&short));
    }

    /// A voxel that does not vary gives 0, however large it is, and never NaN.
    #[test]
    fn a_constant_voxel_gives_zero(signal in -1e6_f32..1e6, n in 2_usize..50) {
        let mut stage = Normalise::new(options(Mode::Growing), 1).unwrap();
        for z in run(&mut stage, &vec![signal; n]).into_iter().flatten() {
            prop_assert_eq!(z.to_bits(), 0.0_f32.to_bits());
        }
    }

    /// The unit of the signal does not matter, also where the variance is outside the range of f32
    /// and beside voxels where it is not.
    #[test]
    fn z_scores_do_not_depend_on_the_unit(
        signals in proptest::collection::vec(0.5_f32..2.0, 4..30),
        power in -110_i32..110,
    ) {
        let statistics = Statistics { mean: array![1.0, 1.0], sd: array![1.0, 1.0] };
        let both = NormaliseOptions { statistics: Some(statistics), ..options(Mode::Growing) };
        let mut stage = Normalise::new(both, 2).unwrap();
        for (tr, &signal) in signals.iter().enumerate() {
            let bold = array![signal, signal * 2.0_f32.powi(power)];
            let z = stage.process(MaskedVolume { bold, ..volume(tr, 0.0) }).unwrap();
            let Some(NormalisedVolume { bold: z, .. }) = z else { continue };
            prop_assert!((z[0] - z[1]).abs() <= 1e-5 * z[0].abs(), "{z}");
        }
    }

    /// A voxel's z-scores do not depend on how many voxels there are or where it lies among them,
    /// although the loops work on several voxels at once.
    #[test]
    fn a_voxel_gives_the_same_bits_alone_and_among_others(
        signals in proptest::collection::vec(proptest::array::uniform9(-1e4_f32..1e4), 1..20),
        mode in prop_oneof![Just(Mode::None), Just(Mode::Growing), Just(Mode::Baseline),
            Just(Mode::Session), Just(Mode::Frozen)],
        frozen_mean in prop_oneof![Just(FrozenMean::Growing), Just(FrozenMean::Manifest)],
    ) {
        let statistics = Statistics { mean: Array1::from_elem(9, 10.), sd: Array1::from_elem(9, 2.) };
        let alone = NormaliseOptions { frozen_mean, ..options(mode) };
        let among = NormaliseOptions { statistics: Some(statistics), ..alone.clone() };
        let mut among = Normalise::new(among, 9).unwrap();
        let volumes = signals.iter().enumerate().map(|(tr, signal)| {
            let bold = Array1::from_vec(signal.to_vec());
            among.process(MaskedVolume { bold, ..volume(tr, 0.0) }).unwrap()
        });
        let volumes: Vec<Option<NormalisedVolume>> = volumes.collect();
        for voxel in 0..9 {
            let signal: Vec<f32> = signals.iter().map(|signal| signal[voxel]).collect();
            let found = run(&mut Normalise::new(alone.clone(), 1).unwrap(), &signal);
            for (found, volume) in found.into_iter().zip(&volumes) {
                let expected = volume.as_ref().map(|volume| volume.bold[voxel].to_bits());
                prop_assert_eq!(found.map(f32::to_bits), expected);
            }
        }
    }
}

#[test]
fn across_voxels_keeps_the_pattern_of_a_volume() {
    let options = NormaliseOptions { mode: Mode::None, across_voxels: true, ..options(Mode::None) };
    let mut stage = Normalise::new(options, 4).unwrap();
    let mut of = |bold| {
        let volume = MaskedVolume { bold, ..volume(0, 0.0) };
        stage.process(volume).unwrap().unwrap().bold
    };
    // Mean 4, s.d. sqrt(5).
    let s = 5.0_f32.sqrt();
    let found = of(array![1.0, 3.0, 5.0, 7.0]);
    let expected = array![-3.0 / s, -1.0 / s, 1.0 / s, 3.0 / s];
    assert!((&found - &expected).iter().all(|difference| difference.abs() < 1e-6), "{found}");
    assert_eq!(of(array![2.0, 6.0, 10.0, 14.0]), found, "gain and offset leave");
    assert_eq!(of(array![3.0, 3.0, 3.0, 3.0]), array![0.0, 0.0, 0.0, 0.0]);
}
