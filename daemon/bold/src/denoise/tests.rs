use ndarray::Array1;
use proptest::prelude::*;

use super::*;
use crate::{
    time::RepetitionTime,
    volume::{MadeFrom, Motion},
};

mod ridge;

const N_VOXEL: usize = 3;

/// A number from -1 to 1 that looks random and is the same in every test.
fn noise(index: u32) -> f64 {
    let mixed = index.wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
    f64::from(mixed.wrapping_mul(2_246_822_519) >> 8) / f64::from(1_u32 << 23) - 1.0
}

fn planned(n_volumes: u32) -> PlannedRun {
    PlannedRun {
        repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
        n_volumes: Some(n_volumes),
        centre_mm: [10.0, -20.0, 30.0],
    }
}

fn inputs(n_voxel: usize) -> DenoiseInputs {
    DenoiseInputs { n_voxel, realigned: true, n_nuisance: 2 }
}

fn everything() -> DenoiseOptions {
    DenoiseOptions {
        high_pass_s: Some(100.0),
        motion: MotionRegressors::TwentyFour,
        nuisance: true,
        n_kept_in: 1,
        drift_size: 2.0,
        ..DenoiseOptions::default()
    }
}

fn started(options: DenoiseOptions, n_voxel: usize, n_volumes: u32) -> Denoise {
    let mut stage = Denoise::new(options, inputs(n_voxel)).unwrap();
    stage.start_run(&planned(n_volumes));
    stage
}

fn confounds(tr: u32) -> Confounds {
    let at = |i: u32| noise(1000 + 16 * tr + i);
    Confounds {
        motion: Some(Motion {
            translation_mm: [at(0), at(1), at(2)],
            rotation_rad: [at(3), at(4), at(5)].map(|rad| 0.01 * rad),
        }),
        nuisance: vec![500.0 + at(6) as f32, 800.0 + 4.0 * at(7) as f32],
    }
}

fn volume(tr: u32, bold: Vec<f32>) -> MaskedVolume {
    MaskedVolume {
        tr: TrIndex(tr),
        acquisition_time_s: 2.0 * f64::from(tr),
        bold: Array1::from_vec(bold),
        made_from: MadeFrom::Measured,
        confounds: confounds(tr),
    }
}

fn noisy(tr: u32) -> MaskedVolume {
    let at = |voxel: u32| 1000.0 + 0.2 * f64::from(tr) + 10.0 * noise(tr * 8 + voxel);
    volume(tr, (0..N_VOXEL as u32).map(|voxel| at(voxel) as f32).collect())
}

fn denoised(stage: &mut Denoise, volume: MaskedVolume, kept_in: &[f64]) -> Vec<f32> {
    stage.process(ToDenoise { volume, kept_in }).unwrap().unwrap().bold.to_vec()
}

#[test]
fn without_regressors_the_running_mean_is_removed_or_nothing() {
    let options = DenoiseOptions { linear: false, keep_mean: false, ..Default::default() };
    let signal = [10.0, 20.0, 60.0];
    let outputs = |options: DenoiseOptions| -> Vec<f32> {
        let mut stage = started(options, 1, 10);
        (0..).zip(signal).map(|(tr, s)| denoised(&mut stage, volume(tr, vec![s]), &[])[0]).collect()
    };
    let close = |found: Vec<f32>, expected: [f32; 3]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
    };
    close(outputs(options.clone()), [0.0, 5.0, 30.0]);
    close(outputs(DenoiseOptions { keep_mean: true, ..options }), signal);
}

#[test]
fn the_mean_is_of_the_signal_so_far() {
    let mut stage = started(DenoiseOptions::default(), 1, 10);
    assert!(stage.mean().is_empty());
    for (tr, signal) in (0..).zip([10.0, 20.0, 60.0]) {
        denoised(&mut stage, volume(tr, vec![signal]), &[]);
    }
    assert!((stage.mean()[0] - 30.0).abs() < 1e-5);
    stage.start_run(&planned(10));
    assert!(stage.mean().is_empty());
}

#[test]
fn drift_is_removed_and_the_mean_kept() {
    let options = DenoiseOptions { drift_size: 100.0, ..Default::default() };
    let mut stage = started(options, 1, 300);
    for tr in 0..300 {
        let found = denoised(&mut stage, volume(tr, vec![1000.0 + 0.5 * tr as f32]), &[])[0];
        assert!(tr < 50 || (found - 1000.0).abs() < 0.5, "{tr}: {found}");
    }
}

#[test]
fn motion_and_nuisance_are_removed() {
    let options = DenoiseOptions {
        n_kept_in: 0,
        high_pass_s: None,
        motion_size: 30.0,
        nuisance_size: 30.0,
        ..everything()
    };
    let mut stage = started(options, 1, 300);
    let mut late = Vec::new();
    for tr in 0..300 {
        let Confounds { motion, nuisance } = confounds(tr);
        let from_motion = 5.0 * motion.unwrap().translation_mm[1] as f32;
        let signal = 1000.0 + from_motion + 2.0 * (nuisance[1] - 800.0);
        late.push(denoised(&mut stage, volume(tr, vec![signal]), &[])[0]);
    }
    // Before, the signal varies by ±13.
    let late = &late[150..];
    assert!(late.iter().all(|signal| (signal - late[0]).abs() < 0.2), "{late:?}");
}

/// Blocks of 20 s at first look like drift: a design that knows them keeps them whole.
#[test]
fn a_kept_in_response_stays() {
    let response = |n_kept_in: usize| {
        let options =
            DenoiseOptions { n_kept_in, drift_size: 3.0, keep_mean: false, ..Default::default() };
        let mut stage = started(options, 1, 20);
        let mut last = 0.0;
        for tr in 0..20 {
            let on = f64::from(u8::from(tr >= 10));
            let signal = 1000.0 + 10.0 * on as f32;
            last = denoised(&mut stage, volume(tr, vec![signal]), &[on][..n_kept_in])[0];
        }
        last
    };
    let (with, without) = (response(1), response(0));
    assert!(with > 8.0 && with > without + 2.0, "{with} {without}");
}

#[test]
fn the_first_period_has_spms_number_of_cosines_and_they_are_orthogonal() {
    // 121 volumes of 2.5 s with a cutoff of 100 s: floor(2·302.5/100) = 6.
    let tr = RepetitionTime::from_secs(2.5).unwrap();
    let planned = PlannedRun { repetition_time: tr, n_volumes: Some(121), centre_mm: [0.0; 3] };
    let options =
        DenoiseOptions { linear: false, high_pass_s: Some(100.0), ..DenoiseOptions::default() };
    let mut design = Design::new(&options, &inputs(1), &planned);
    assert_eq!(design.cosines(), 1..7);
    let rows: Vec<Vec<f64>> = (0..121)
        .map(|tr| design.next(TrIndex(tr), &Confounds::default(), &[]).unwrap().values)
        .collect();
    let column = |k: usize| {
        let mean = rows.iter().map(|row| row[k]).sum::<f64>() / 121.0;
        rows.iter().map(|row| row[k] - mean).collect::<Vec<f64>>()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for a in 1..7 {
        for b in 1..7 {
            let expected = if a == b { 60.5 } else { 0.0 };
            assert!((dot(&column(a), &column(b)) - expected).abs() < 1e-9);
        }
    }
}

/// A turn of 0.02 rad about x is 1 mm on the sphere. The volume's centre is 20 mm behind the axis
/// and 30 mm above it, so the turn also takes it 0.6 mm back (-sin·z) and 0.4 mm down (sin·y).
#[test]
fn the_24_motion_regressors_are_now_before_and_their_squares() {
    let options = DenoiseOptions {
        linear: false,
        motion: MotionRegressors::TwentyFour,
        ..DenoiseOptions::default()
    };
    let mut design = Design::new(&options, &inputs(1), &planned(10));
    let mut row = |tr: u32, x_mm: f64, rot_x: f64| {
        let motion = Motion { translation_mm: [x_mm, 0.0, 0.0], rotation_rad: [rot_x, 0.0, 0.0] };
        let confounds = Confounds { motion: Some(motion), nuisance: Vec::new() };
        design.next(TrIndex(tr), &confounds, &[]).unwrap().values[1..].to_vec()
    };
    let close = |found: &[f64], expected: [f64; 6]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.01), "{found:?}");
    };
    assert!(row(4, 1.0, 0.0).iter().all(|value| value.abs() < 1e-12), "relative to the first");
    let (turned, squares) = ([2.0, -0.6, -0.4, 1.0, 0.0, 0.0], [4.0, 0.36, 0.16, 1.0, 0.0, 0.0]);
    let second = row(5, 3.0, 0.02);
    close(&second[..6], turned);
    close(&second[6..12], [0.0; 6]);
    close(&second[12..18], squares);
    close(&second[18..], [0.0; 6]);
    let third = row(9, 1.0, 0.0);
    close(&third[..6], [0.0; 6]);
    close(&third[6..12], turned);
    close(&third[18..], squares);
}

#[test]
fn regressors_that_the_path_cannot_give_are_refused_before_a_run() {
    let refused = |options: DenoiseOptions| {
        let inputs = DenoiseInputs { n_voxel: 1, realigned: false, n_nuisance: 0 };
        Denoise::new(options, inputs).unwrap_err()
    };
    let default = DenoiseOptions::default;
    let motion = DenoiseOptions { motion: MotionRegressors::Six, ..default() };
    assert_eq!(refused(motion), InvalidDenoise::NotRealigned);
    let nuisance = DenoiseOptions { nuisance: true, ..default() };
    assert_eq!(refused(nuisance), InvalidDenoise::NoNuisanceMask);
    let message = refused(DenoiseOptions { drift_size: 0.0, ..default() }).to_string();
    assert_eq!(message, "denoise: `drift_size` must be from 1e-6 to 100, got 0");
    refused(DenoiseOptions { forget: f64::NAN, ..default() });
    refused(DenoiseOptions { high_pass_s: Some(1.0), ..default() });
    refused(DenoiseOptions { n_kept_in: 33, ..default() });
}

#[test]
fn a_volume_that_cannot_be_used_changes_nothing() {
    let (mut stage, mut clean) =
        (started(everything(), N_VOXEL, 50), started(everything(), N_VOXEL, 50));
    for tr in 0..10 {
        assert_eq!(
            denoised(&mut stage, noisy(2 * tr), &[1.0]),
            denoised(&mut clean, noisy(2 * tr), &[1.0])
        );
        let mut refuse = |volume: MaskedVolume, kept_in: &[f64]| {
            stage.process(ToDenoise { volume, kept_in }).unwrap_err()
        };
        let next = || noisy(2 * tr + 1);
        refuse(noisy(2 * tr), &[1.0]);
        refuse(next(), &[]);
        refuse(next(), &[f64::NAN]);
        refuse(volume(2 * tr + 1, vec![f32::NAN; N_VOXEL]), &[1.0]);
        refuse(volume(2 * tr + 1, vec![1.0; N_VOXEL + 1]), &[1.0]);
        refuse(MaskedVolume { confounds: Confounds::default(), ..next() }, &[1.0]);
        let mut far = next();
        far.confounds.motion.as_mut().unwrap().rotation_rad[0] = f64::INFINITY;
        refuse(far, &[1.0]);
        let mut odd = next();
        odd.confounds.nuisance[0] = f32::NAN;
        let message = refuse(odd, &[1.0]).to_string();
        assert!(message.contains("nuisance means NaN, expected a finite number"), "{message}");
    }
    let mut without_run = Denoise::new(everything(), inputs(N_VOXEL)).unwrap();
    let input = ToDenoise { volume: noisy(7), kept_in: &[1.0] };
    assert_eq!(without_run.process(input).unwrap_err(), CannotDenoise::NoRun(TrIndex(7)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Regressors that are constant, equal, huge or wild never give NaN, and what comes out is
    /// bounded by what came in: the rest by `|y|·√n`, and the kept-in part by its prior.
    #[test]
    fn singular_regressors_do_no_harm(
        arrived in proptest::collection::btree_set(0_u32..400, 1..60),
        scale in prop_oneof![Just(0.0), Just(1e-9), Just(1.0), Just(1e3), Just(1e12)],
        constant in any::<bool>(),
        size in prop_oneof![Just(1e-6), Just(1.0), Just(100.0)],
        short in prop_oneof![Just(5_u32), Just(50), Just(1000)],
        forget in prop_oneof![Just(1.0), Just(0.9)],
    ) {
        let options = DenoiseOptions {
            drift_size: size, motion_size: size, nuisance_size: size, kept_in_size: 1.0,
            forget, keep_mean: false, high_pass_s: Some(30.0), n_kept_in: 2, ..everything()
        };
        let mut stage = started(options, N_VOXEL, short);
        for &tr in &arrived {
            let wild = |i: u32| if constant { scale } else { scale * noise(tr + 31 * i) };
            let mut volume = noisy(tr);
            volume.confounds = Confounds {
                motion: Some(Motion {
                    translation_mm: [wild(0); 3],
                    rotation_rad: [1e-3 * wild(1); 3],
                }),
                nuisance: vec![wild(2) as f32; 2],
            };
            // Both kept-in regressors are the same, and equal to the level.
            for found in denoised(&mut stage, volume, &[1.0, 1.0]) {
                prop_assert!(found.is_finite());
                if forget > 0.95 && short == 1000 {
                    prop_assert!(f64::from(found).abs() < 100.0 * 60_f64.sqrt() * 3.0, "{found}");
                }
            }
        }
    }

    /// A checkpoint at any volume changes no bit of what follows, and what came before does not
    /// depend on what follows.
    #[test]
    fn a_checkpoint_changes_nothing(
        arrived in proptest::collection::btree_set(0_u32..100, 2..30),
        cut in 0_usize..30,
    ) {
        let mut whole = started(everything(), N_VOXEL, 40);
        let mut restored = whole.clone();
        for (n, &tr) in arrived.iter().enumerate() {
            if n == cut {
                let mut saver = Saver::default();
                restored.save(&mut saver);
                let bytes = saver.finish();
                restored = started(everything(), N_VOXEL, 40);
                prop_assert_eq!(restored.load(&mut Loader::new(&bytes[..bytes.len() - 1])), None);
                restored = started(everything(), N_VOXEL, 40);
                prop_assert_eq!(restored.load(&mut Loader::new(&bytes)), Some(()));
            }
            let bits = |stage: &mut Denoise| -> Vec<u32> {
                let bold = denoised(stage, noisy(tr), &[f64::from(tr % 2)]);
                bold.iter().chain(stage.mean()).map(|value| value.to_bits()).collect()
            };
            prop_assert_eq!(bits(&mut whole), bits(&mut restored));
        }
    }
}
