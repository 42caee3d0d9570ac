use proptest::prelude::*;

use super::{coregister::coregister, rigid::Affine, *};
use crate::time::TrIndex;

/// Middle of the head and of the volumes, in mm: not the origin.
const MIDDLE: [f64; 3] = [2.0, -18.0, 20.0];
const MATRIX: [usize; 3] = [20, 22, 16];

/// 4 mm voxels, x to the left as scanners store it.
fn space(matrix: [usize; 3]) -> VoxelSpace {
    let size = [-4.0, 4.0, 4.0];
    let row = |axis: usize| {
        let mut row = [0.0; 4];
        row[axis] = size[axis];
        row[3] = MIDDLE[axis] - size[axis] * (matrix[axis] - 1) as f64 / 2.0;
        row
    };
    VoxelSpace::new(matrix, [row(0), row(1), row(2), [0., 0., 0., 1.]]).unwrap()
}

/// Something like a head at `p` in mm: an ellipsoid with a soft edge and structures inside.
fn head(p: [f64; 3], radius: f64) -> f64 {
    let [x, y, z]: [f64; 3] = std::array::from_fn(|axis| p[axis] - MIDDLE[axis]);
    let from_middle = (x * x + y * y / 1.3 + z * z * 1.7).sqrt();
    let inside = 1.0 / (1.0 + ((from_middle - radius) / 2.5).exp());
    let folds = (x / 5.0).sin() * (y / 6.0).cos() + (z / 5.0 + x / 12.0).sin();
    inside * (800.0 + 200.0 * folds)
}

/// A volume of the head that `motion` takes to its place, with noise of this s.d.
fn moved(tr: u32, motion: &Motion, noise: f64) -> Volume {
    moved_in(MATRIX, tr, motion, noise, 27.0)
}

fn moved_in(matrix: [usize; 3], tr: u32, motion: &Motion, noise: f64, radius: f64) -> Volume {
    let to_mm = Affine::of(space(matrix).affine());
    let [nx, ny, nz] = matrix;
    let mut state = 0x9E37_79B9_u32.wrapping_mul(tr + 1);
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) - 0.5
    };
    let voxel = |index: usize| [index % nx, index / nx % ny, index / nx / ny].map(|v| v as f64);
    let signal = (0..nx * ny * nz).map(|index| {
        // The sum of 4 uniform numbers has the variance 1/3.
        let normal = 3.0_f64.sqrt() * (uniform() + uniform() + uniform() + uniform());
        let there = motion.affine().apply(to_mm.apply(voxel(index)));
        (head(there, radius) + noise * normal) as f32
    });
    let signal = signal.collect();
    Volume { tr: TrIndex(tr), acquisition_time_s: f64::from(tr), matrix, signal }
}

fn of_run() -> Realign {
    Realign::new(RealignOptions::default(), &space(MATRIX), None).unwrap()
}

fn next(stage: &mut Realign, volume: Volume) -> Realigned {
    stage.process(volume).unwrap().unwrap()
}

/// A motion about the middle of the head: mm and degrees.
fn about_the_head(translation_mm: [f64; 3], degrees: [f64; 3]) -> Motion {
    let rotation = Motion { rotation_rad: degrees.map(f64::to_radians), ..Motion::default() };
    let turned = rotation.affine().apply(MIDDLE);
    let shift = std::array::from_fn(|axis| MIDDLE[axis] - turned[axis] + translation_mm[axis]);
    Motion { translation_mm: shift, ..rotation }
}

/// Displacement of the head's middle in mm, and difference of the angles in degrees.
fn differences(found: &Motion, expected: &Motion) -> ([f64; 3], [f64; 3]) {
    let (a, b) = (found.affine().apply(MIDDLE), expected.affine().apply(MIDDLE));
    let angle = |axis: usize| found.rotation_rad[axis] - expected.rotation_rad[axis];
    (std::array::from_fn(|i| a[i] - b[i]), std::array::from_fn(|i| angle(i).to_degrees()))
}

#[test]
fn known_motion_is_recovered_within_a_twentieth_of_a_mm_and_of_a_degree() {
    const LARGE: [usize; 3] = [36, 40, 28];
    let mut stage = Realign::new(RealignOptions::default(), &space(LARGE), None).unwrap();
    next(&mut stage, moved_in(LARGE, 0, &Motion::default(), 16.0, 49.0));
    let (mut mm, mut degrees) = ([0.0; 3], [0.0; 3]);
    let motions = [
        ([0.3, -0.2, 0.1], [0.2, 0.1, -0.3]),
        ([5.0, -5.0, 5.0], [3.0, -3.0, 3.0]),
        ([-5.0, 2.0, -3.0], [-2.0, 1.0, -3.0]),
        ([0.0, 0.0, -5.0], [0.0, 3.0, 0.0]),
        ([1.0, 4.0, 0.5], [-3.0, 0.5, 1.0]),
    ];
    for (index, (translation_mm, angles)) in motions.into_iter().enumerate() {
        let expected = about_the_head(translation_mm, angles);
        // 800 / 16: a temporal signal-to-noise ratio of 50.
        let found = next(&mut stage, moved_in(LARGE, index as u32 + 1, &expected, 16.0, 49.0));
        assert_eq!(found.fit, Fit::Converged);
        let (d, a) = differences(&found.motion, &expected);
        mm.iter_mut().zip(d).for_each(|(sum, d)| *sum += d * d / motions.len() as f64);
        degrees.iter_mut().zip(a).for_each(|(sum, a)| *sum += a * a / motions.len() as f64);
    }
    assert!(mm.iter().all(|square| square.sqrt() < 0.05), "{:?} mm", mm.map(f64::sqrt));
    assert!(degrees.iter().all(|sq| sq.sqrt() < 0.05), "{:?} degrees", degrees.map(f64::sqrt));
}

#[test]
fn a_resliced_volume_looks_like_the_reference() {
    let mut stage = of_run();
    let reference = next(&mut stage, moved(0, &Motion::default(), 0.0)).volume;
    let motion = about_the_head([2.0, -1.0, 1.5], [1.0, 2.0, -1.0]);
    let before = moved(1, &motion, 0.0);
    let rms = |a: &Volume| {
        let squares =
            a.signal.iter().zip(&reference.signal).map(|(a, b)| f64::from((a - b).powi(2)));
        (squares.sum::<f64>() / a.signal.len() as f64).sqrt()
    };
    let unaligned = rms(&before);
    let after = rms(&next(&mut stage, before).volume);
    assert!(unaligned > 50.0 && after < 3.0, "{unaligned} before, {after} after");
}

#[test]
fn a_head_that_moved_20_mm_is_marked_and_the_next_volume_is_fine() {
    let mut stage = of_run();
    next(&mut stage, moved(0, &Motion::default(), 5.0));
    let here = about_the_head([0.5, 0.0, 0.0], [0.0; 3]);
    next(&mut stage, moved(1, &here, 5.0));
    for axis in 0..3 {
        let mut far = [0.0; 3];
        far[axis] = 20.0;
        let found = next(&mut stage, moved(2, &about_the_head(far, [0.0; 3]), 5.0));
        assert_ne!(found.fit, Fit::Converged);
        let (mm, _) = differences(&found.motion, &Motion::default());
        assert!(mm.iter().all(|mm| mm.abs() < 25.0), "{mm:?}");
        assert!(found.volume.signal.iter().all(|signal| signal.is_finite()));
        let after = next(&mut stage, moved(3, &here, 5.0));
        assert_eq!(after.fit, Fit::Converged);
        assert!(differences(&after.motion, &here).0.iter().all(|mm| mm.abs() < 0.05));
    }
}

#[test]
fn volumes_that_show_no_head_keep_the_last_motion() {
    let mut stage = of_run();
    next(&mut stage, moved(0, &Motion::default(), 5.0));
    let last = next(&mut stage, moved(1, &about_the_head([1.0, 0.0, 0.0], [0.0; 3]), 5.0)).motion;
    let like = moved(2, &Motion::default(), 0.0);
    let n = like.signal.len();
    let noise = moved(3, &about_the_head([500.0, 0.0, 0.0], [0.0; 3]), 40.0);
    for signal in [vec![0.0; n], vec![7.0; n], vec![-1e30; n], vec![1e30; n], noise.signal] {
        let found = next(&mut stage, Volume { signal, ..like.clone() });
        assert_eq!((found.fit, found.motion), (Fit::Failed, last));
        assert!(found.volume.signal.iter().all(|signal| signal.is_finite()));
    }
}

#[test]
fn a_flat_first_volume_is_refused_and_the_next_one_becomes_the_reference() {
    let mut stage = of_run();
    let first = moved(0, &Motion::default(), 0.0);
    let flat = Volume { signal: vec![3.0; first.signal.len()], ..first.clone() };
    assert_eq!(stage.process(flat).unwrap_err(), NotRealigned::FlatReference(TrIndex(0)));
    assert_eq!(next(&mut stage, first).motion, Motion::default());
}

#[test]
fn signal_that_is_not_finite_costs_this_volume_only() {
    let mut stage = of_run();
    next(&mut stage, moved(0, &Motion::default(), 0.0));
    for bad in [f32::NAN, f32::INFINITY, -2e30] {
        let mut volume = moved(1, &Motion::default(), 0.0);
        volume.signal[11] = bad;
        let message = stage.process(volume).unwrap_err().to_string();
        assert!(message.starts_with("volume 1 has the signal") && message.contains("voxel 11"));
    }
    assert_eq!(next(&mut stage, moved(2, &Motion::default(), 0.0)).fit, Fit::Converged);
}

#[test]
fn what_cannot_be_realigned_is_refused_at_construction() {
    let new = |matrix, reference: Option<ReferenceImage<'_>>| {
        Realign::new(RealignOptions::default(), &space(matrix), reference).map(|_| ()).unwrap_err()
    };
    assert_eq!(new([64, 64, 1], None), InvalidRealign::TooSmall([64, 64, 1]));
    let other = space([20, 22, 15]);
    let reference = ReferenceImage { space: &other, signal: &[0.0; 20 * 22 * 15] };
    let message = new(MATRIX, Some(reference)).to_string();
    assert!(message.contains("[20, 22, 15], expected [20, 22, 16]"), "{message}");
    let same = space(MATRIX);
    let with = |signal: &[f32]| new(MATRIX, Some(ReferenceImage { space: &same, signal }));
    assert_eq!(with(&[1.0]), InvalidRealign::ReferenceSize { found: 1, expected: 7040 });
    assert_eq!(with(&[1.0; 7040]), InvalidRealign::FlatReference);
    assert!(with(&[f32::NAN; 7040]).to_string().contains("NaN at voxel 0"));
    // An affine in m.
    let size = 0.003;
    let rows = [[size, 0., 0., 0.], [0., size, 0., 0.], [0., 0., size, 0.], [0., 0., 0., 1.]];
    let metres = VoxelSpace::new(MATRIX, rows).unwrap();
    let error = Realign::new(RealignOptions::default(), &metres, None).unwrap_err();
    assert!(error.to_string().contains("gives [0.003, 0.003, 0.003] mm"), "{error}");
    let options = RealignOptions { fwhm_mm: f64::NAN, ..RealignOptions::default() };
    assert!(Realign::new(options, &same, None).unwrap_err().to_string().contains("1 to 20 mm"));
}

#[test]
fn a_given_reference_is_kept_over_runs_and_its_own_is_not() {
    let reference = moved(0, &Motion::default(), 0.0);
    let space = space(MATRIX);
    let image = ReferenceImage { space: &space, signal: &reference.signal };
    let mut given = Realign::new(RealignOptions::default(), &space, Some(image)).unwrap();
    let mut own = of_run();
    let motion = about_the_head([1.0, 0.0, 0.0], [0.0; 3]);
    for _ in 0..2 {
        let found = next(&mut given, moved(0, &motion, 0.0)).motion;
        assert!(differences(&found, &motion).0.iter().all(|mm| mm.abs() < 0.05));
        assert_eq!(next(&mut own, moved(0, &motion, 0.0)).motion, Motion::default());
        given.start_run();
        own.start_run();
    }
}

#[test]
fn an_image_of_another_matrix_is_found_30_mm_away() {
    let expected = about_the_head([12.0, -25.0, 10.0], [8.0, 3.0, -5.0]);
    let (matrix, model) = ([24, 26, 18], moved(0, &Motion::default(), 10.0));
    let today = moved_in(matrix, 1, &expected, 10.0, 27.0);
    let (of_model, of_today) = (space(MATRIX), space(matrix));
    let today = ReferenceImage { space: &of_today, signal: &today.signal };
    let model = ReferenceImage { space: &of_model, signal: &model.signal };
    let options = RealignOptions { max_motion_mm: 100.0, ..RealignOptions::default() };
    let found = coregister(options, today, model).unwrap();
    assert_eq!(found.fit, Fit::Converged);
    let (mm, degrees) = differences(&found.motion, &expected);
    assert!(
        mm.iter().all(|mm| mm.abs() < 0.2) && degrees.iter().all(|d| d.abs() < 0.5),
        "{mm:?} {degrees:?}"
    );
    // Farther than allowed, and nothing to be found.
    let near = coregister(RealignOptions::default(), today, model).unwrap();
    assert_eq!((near.fit, near.motion), (Fit::BoundReached, found.motion));
    let flat = vec![1.0; of_today.n_voxel()];
    let none = coregister(options, ReferenceImage { signal: &flat, ..today }, model).unwrap();
    assert_eq!((none.fit, none.motion), (Fit::Failed, Motion::default()));
}

#[test]
fn volumes_of_today_are_resliced_into_the_space_of_the_model() {
    let day = about_the_head([6.0, -9.0, 4.0], [4.0, -2.0, 3.0]);
    let (matrix, model) = ([24, 26, 20], moved(0, &Motion::default(), 0.0));
    let (of_model, of_today) = (space(MATRIX), space(matrix));
    let image = ReferenceImage { space: &of_model, signal: &model.signal };
    let options = RealignOptions::default();
    let mut stage = Realign::into_model(options, &of_today, image).unwrap();
    assert_eq!((stage.has_reference(), stage.coregistration()), (false, None));
    // A ball in noise is no head: no reference, but the next volume may be one.
    let ball = moved_in(matrix, 3, &day, 300.0, 6.0);
    assert_eq!(stage.process(ball).unwrap_err(), NotRealigned::NotInModel(TrIndex(3)));
    let further = about_the_head([1.5, 0.5, -1.0], [0.0, 1.0, -1.0]);
    let both = Motion::of(&day.affine().after(&further.affine()));
    for (tr, motion) in [(4, &day), (5, &both)] {
        let Realigned { volume, fit, .. } =
            next(&mut stage, moved_in(matrix, tr, motion, 0.0, 27.0));
        assert_eq!((volume.matrix, fit), (MATRIX, Fit::Converged));
        let [nx, ny, nz] = MATRIX;
        let (mut worst, mut sum) = (0.0_f32, 0.0_f64);
        for index in 0..volume.signal.len() {
            let at = [index % nx, index / nx % ny, index / (nx * ny)];
            // The border of the model's space lies outside today's field of view.
            if (0..3).all(|axis| (3..[nx, ny, nz][axis] - 3).contains(&at[axis])) {
                let difference = (volume.signal[index] - model.signal[index]).abs();
                worst = worst.max(difference);
                sum += f64::from(difference);
            }
        }
        // The head has a signal of 600 to 1200 and steep edges.
        let mean = sum / ((nx - 6) * (ny - 6) * (nz - 6)) as f64;
        assert!(worst < 120.0 && mean < 12.0, "volume {tr}: at most {worst}, mean {mean}");
    }
    let found = stage.coregistration().unwrap();
    assert!(differences(&found.motion, &day).0.iter().all(|mm| mm.abs() < 0.2), "{found:?}");
    let coverage = stage.coverage().unwrap();
    assert_eq!(coverage.len(), of_model.n_voxel());
    assert!(coverage.iter().all(|v| [0.0_f32, 1.0].contains(v)) && coverage.contains(&1.0));

    // A checkpoint finds the same place again.
    let mut saver = Saver::default();
    stage.save(&mut saver);
    let mut loaded = Realign::into_model(options, &of_today, image).unwrap();
    loaded.load(&mut Loader::new(&saver.finish())).unwrap();
    let again = |stage: &mut Realign| next(stage, moved_in(matrix, 6, &both, 5.0, 27.0));
    assert_eq!(again(&mut loaded).volume.signal, again(&mut stage).volume.signal);
    stage.start_run();
    assert_eq!((stage.has_reference(), stage.coregistration()), (false, None));
}

#[test]
fn a_stage_from_a_checkpoint_goes_on_to_the_bit() {
    let mut stage = of_run();
    let motion = |tr: u32| about_the_head([0.1 * f64::from(tr), 0.0, 0.2], [0.1, 0.0, 0.0]);
    (0..3).for_each(|tr| drop(next(&mut stage, moved(tr, &motion(tr), 5.0))));
    let mut saver = Saver::default();
    stage.save(&mut saver);
    let bytes = saver.finish();
    let mut loaded = of_run();
    loaded.load(&mut Loader::new(&bytes)).unwrap();
    for tr in 3..5 {
        let (a, b) = (
            next(&mut stage, moved(tr, &motion(tr), 5.0)),
            next(&mut loaded, moved(tr, &motion(tr), 5.0)),
        );
        assert_eq!((a.motion, a.volume.signal), (b.motion, b.volume.signal));
    }
    assert!(of_run().load(&mut Loader::new(&bytes[..bytes.len() - 1])).is_none());
}
proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// From finite signal, whatever it is, comes finite signal and finite motion.
    #[test]
    fn finite_stays_finite(seed: u64, exponent in -38..30_i32) {
        let matrix = [4, 5, 6];
        let mut stage = Realign::new(RealignOptions::default(), &space(matrix), None).unwrap();
        let mut state = seed | 1;
        for tr in 0..3 {
            let signal = (0..120).map(|_| {
                state ^= state << 13; state ^= state >> 7; state ^= state << 17;
                (state as f64 / u64::MAX as f64 - 0.3) as f32 * 10_f32.powi(exponent)
            }).collect();
            let volume = Volume { tr: TrIndex(tr), acquisition_time_s: 0.0, matrix, signal };
            if let Ok(Some(found)) = stage.process(volume) {
                prop_assert!(found.volume.signal.iter().all(|v| v.is_finite()));
                prop_assert!(found.motion.matrix().iter().flatten().all(|v| v.is_finite()));
            }
        }
    }

    /// A longer run leaves the volumes before unchanged.
    #[test]
    fn a_longer_run_leaves_its_beginning_unchanged(shift in -2.0..2.0_f64) {
        let volumes: Vec<_> = (0..3).map(|tr| moved(tr, &about_the_head([shift * f64::from(tr), 0.0, 0.0], [0.0; 3]), 9.0)).collect();
        let run = |n: usize| -> Vec<_> {
            let mut stage = of_run();
            volumes[..n].iter().map(|v| { let r = next(&mut stage, v.clone()); (r.motion, r.volume.signal) }).collect()
        };
        prop_assert_eq!(&run(3)[..2], &run(2)[..]);
    }
}
