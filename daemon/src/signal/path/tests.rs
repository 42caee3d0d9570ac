use std::num::NonZeroUsize;

use corticast_bold::{
    decode::{Dtype, Order},
    gap_fill::MissingVolumes,
    normalise::{FrozenMean, Mode, NormaliseOptions, Statistics},
    run::RunEntities,
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
    volume::{MadeFrom, ShiftInterpolation},
};
use ndarray::Array1;
use proptest::prelude::*;

use super::*;
use crate::{config::QualityConfig, plan::stages::StagePlan};

const N_VOXEL: usize = 3;

fn path(
    mode: Mode,
    missing: MissingVolumes,
    shift: ShiftInterpolation,
    delay_s: f64,
) -> SignalPath {
    let affine = [[2., 0., 0., 0.], [0., 2., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 1.]];
    let mask = SpatialMask::whole(VoxelSpace::new([N_VOXEL, 1, 1], affine).unwrap());
    let statistics =
        Statistics { mean: Array1::from_elem(N_VOXEL, 100.0), sd: Array1::from_elem(N_VOXEL, 5.0) };
    let options = SignalOptions {
        hrf_delay_s: delay_s,
        shift,
        window_volumes: NonZeroUsize::new(2).unwrap(),
        discard_volumes: 1,
        missing,
        max_fill_volumes: 2,
        quality_baseline_volumes: 2,
        normalise: NormaliseOptions {
            across_voxels: false,
            mode,
            warm_up_volumes: 3,
            baseline_volumes: 3,
            frozen_mean: FrozenMean::Growing,
            statistics: Some(statistics),
        },
        stages: StagePlan::default(),
        quality: QualityConfig::default(),
    };
    let space = mask.space().clone();
    let mut path = SignalPath::new(options, mask, None, None, Metrics::new(), || 0).unwrap();
    path.start_run(&header(space)).unwrap();
    path
}

fn header(space: VoxelSpace) -> RunHeader {
    RunHeader {
        session: String::new(),
        entities: RunEntities { sub: "01".into(), ..RunEntities::default() },
        repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
        space,
        n_volumes: None,
        source: "test".into(),
        series_id: String::new(),
        slice_times: None,
    }
}

/// A volume with a signal of its own at every voxel and index, as float32.
fn voxels(tr: u32) -> Vec<u8> {
    let signal = |voxel: usize| 100.0 + (tr as f32 * 1.7 + voxel as f32).sin() * 10.0;
    (0..N_VOXEL).flat_map(|voxel| signal(voxel).to_le_bytes()).collect()
}

fn volume(tr: u32, voxels: &[u8]) -> StoredVolume<'_> {
    StoredVolume {
        tr: TrIndex(tr),
        acquisition_time_s: f64::from(tr) * 2.0,
        matrix: [N_VOXEL, 1, 1],
        dtype: Dtype::Float32,
        order: Order::C,
        slope: None,
        intercept: None,
        voxels,
    }
}

type Seen = (u32, u64, Vec<u32>, MadeFrom);

fn windows(mut path: SignalPath, arrived: &[u32]) -> Vec<Vec<Seen>> {
    let step = |&tr: &u32| {
        let windows = path.step(volume(tr, &voxels(tr))).unwrap().windows;
        let seen = |w: Window| {
            let bits = w.bold.iter().map(|z| z.to_bits()).collect();
            (w.tr.0, w.stimulus_time_s.to_bits(), bits, w.made_from)
        };
        windows.into_iter().map(seen).collect()
    };
    arrived.iter().map(step).collect()
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::None),
        Just(Mode::Growing),
        Just(Mode::Baseline),
        Just(Mode::Session),
        Just(Mode::Frozen)
    ]
}

fn any_policy() -> impl Strategy<Value = MissingVolumes> {
    prop_oneof![
        Just(MissingVolumes::Restart),
        Just(MissingVolumes::Hold),
        Just(MissingVolumes::Interpolate)
    ]
}

fn any_shift() -> impl Strategy<Value = ShiftInterpolation> {
    prop_oneof![Just(ShiftInterpolation::Nearest), Just(ShiftInterpolation::Linear)]
}

proptest! {
    /// Causality and prefix stability: for every configuration, the output up to a volume is the
    /// same to the bit whichever volumes follow.
    #[test]
    fn a_longer_run_leaves_its_prefix_unchanged(
        arrived in proptest::collection::btree_set(0_u32..40, 1..40),
        cut in 0_usize..40,
        mode in any_mode(),
        policy in any_policy(),
        shift in any_shift(),
        delay_s in 0.0_f64..8.0,
    ) {
        let arrived: Vec<u32> = arrived.into_iter().collect();
        let cut = cut.min(arrived.len());
        let long = windows(path(mode, policy, shift, delay_s), &arrived);
        let short = windows(path(mode, policy, shift, delay_s), &arrived[..cut]);
        prop_assert_eq!(&long[..cut], &short[..]);
    }

    /// No window rests on an index that was neither measured nor filled: with `restart`, every
    /// index within the reach of a window has arrived.
    #[test]
    fn no_window_spans_a_gap(
        arrived in proptest::collection::btree_set(0_u32..40, 1..40),
        shift in any_shift(),
        delay_s in 0.0_f64..8.0,
    ) {
        let in_order: Vec<u32> = arrived.iter().copied().collect();
        let path = path(Mode::None, MissingVolumes::Restart, shift, delay_s);
        let between = u32::from(shift == ShiftInterpolation::Linear && delay_s % 2.0 > 1e-5);
        for (newest, ..) in windows(path, &in_order).into_iter().flatten() {
            let oldest = newest - 1 - between.min(newest - 1);
            prop_assert!((oldest..=newest).all(|tr| arrived.contains(&tr)));
        }
    }
}
