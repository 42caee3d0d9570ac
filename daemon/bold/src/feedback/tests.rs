use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    options::Written,
    seal::{Arm, SealedAssignment, StudyKey},
    *,
};
use crate::{
    feedback::{
        design::EventRow,
        options::SourceOptions,
        presentation::{BadData, ShownAs},
        scaling::{Direction, Scaling},
    },
    time::TrIndex,
};

const TR_S: f64 = 2.0;
const DELAY_S: f64 = 4.0;
const N_VOLUME: u32 = 140;
const GOOD: DataQuality = DataQuality { made_from: MadeFrom::Measured, is_spike: false };

/// Baseline, then regulation and rest by turns, then transfer: 260 s.
fn design() -> Design {
    let row = |onset_s, duration_s, trial_type| EventRow { onset_s, duration_s, trial_type };
    let mut rows = vec![row(0.0, 40.0, "baseline")];
    rows.extend((0..4).map(|k| row(40.0 + 50.0 * f64::from(k), 30.0, "regulate")));
    rows.push(row(240.0, 20.0, "transfer"));
    Design::from_events(&rows, &BTreeMap::new()).unwrap()
}

fn written() -> Written {
    Written {
        source: SourceOptions::RoiChange { roi: "a".to_owned() },
        rois: BTreeMap::from([("a".to_owned(), "a.nii".into())]),
        events: "events.tsv".into(),
        blocks: BTreeMap::new(),
        scaling: Scaling::Z,
        z_range: Some([-4.0, 12.0]),
        direction: Direction::Up,
        smoothing_s: 0.0,
        min_baseline_volumes: 10,
        presentation: Presentation::Continuous,
        bad_data: BadData::Hold,
        sham: None,
    }
}

fn feedback(written: Written, sham: Option<Sham>) -> Feedback {
    let source = Source::roi_change("a", &["a".to_owned()]).unwrap();
    let options = FeedbackOptions::try_from(written).unwrap();
    let mut feedback = Feedback::new(options, source, design(), DELAY_S, sham).unwrap();
    feedback.start_run(&entities("01"), tr()).unwrap();
    feedback
}

fn entities(sub: &str) -> RunEntities {
    RunEntities::checked(sub, None, Some("nf"), Some("1")).unwrap()
}

fn tr() -> RepetitionTime {
    RepetitionTime::from_secs(TR_S).unwrap()
}

/// What the region does at this time of the stimulus: 1 at the top of a regulation, 0 at rest.
fn response(stimulus_time_s: f64) -> f64 {
    let place = design().at(stimulus_time_s);
    let phase = (stimulus_time_s - 40.0) % 50.0 / 30.0;
    if place.kind.is_scored() { (phase * std::f64::consts::PI).sin() } else { 0.0 }
}

/// White noise with an s.d. of 1, from a table of the machine's making: sums of hashed uniforms.
fn noise(seed: u8, index: u32) -> f64 {
    let hash = blake3::hash(&[&[seed][..], &index.to_le_bytes()].concat());
    let uniforms = hash.as_bytes()[..12].iter().map(|byte| f64::from(*byte) / 255.0);
    uniforms.sum::<f64>() - 6.0
}

/// A region of signal 1000 whose response of 2 % comes `DELAY_S` after the stimulus.
fn signal(index: u32, noise_percent: f64, seed: u8) -> f32 {
    let stimulus_time_s = f64::from(index) * TR_S - DELAY_S;
    let percent = 2.0 * response(stimulus_time_s) + noise_percent * noise(seed, index);
    (1000.0 * (1.0 + percent / 100.0)) as f32
}

fn step(feedback: &mut Feedback, index: u32, signal: f32, quality: DataQuality) -> FeedbackScore {
    let acquisition_time_s = f64::from(index) * TR_S;
    let readings = Readings {
        index: TrIndex(index),
        stimulus_time_s: acquisition_time_s - DELAY_S,
        acquisition_time_s,
        rois: &[signal],
        ..Readings::default()
    };
    feedback.step(&readings, quality).unwrap()
}

fn whole_run(feedback: &mut Feedback, seed: u8) -> Vec<FeedbackScore> {
    (0..N_VOLUME).map(|k| step(feedback, k, signal(k, 0.25, seed), GOOD)).collect()
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let sum =
        |of: &dyn Fn(f64, f64) -> f64| -> f64 { pairs.iter().map(|p| of(p.0 - x, p.1 - y)).sum() };
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

/// A response of 2 % in noise of 0.25 %: r is 0.9 or more at the stimulus time that the score
/// states, less the lag of the smoothing that it states, and lower without that delay.
#[test]
fn the_score_follows_a_known_response_at_the_delay_that_it_states() {
    for (scaling, smoothing_s) in [(Scaling::Z, 0.0), (Scaling::Z, 2.0), (Scaling::Percentile, 0.0)]
    {
        let z_range = (scaling == Scaling::Z).then_some([-4.0, 12.0]);
        let mut feedback = feedback(Written { scaling, z_range, smoothing_s, ..written() }, None);
        let scores = whole_run(&mut feedback, 1);
        let at = |delay_s: &dyn Fn(&FeedbackScore) -> f64| {
            let pairs = scores.iter().filter_map(|score| {
                let time_s = score.open.acquisition_time_s - delay_s(score);
                Some((response(time_s), score.details.scaled?))
            });
            correlation(&pairs.collect::<Vec<_>>())
        };
        let stated = |score: &FeedbackScore| {
            let of_shift = score.open.acquisition_time_s - score.open.stimulus_time_s;
            of_shift + score.details.smoothing_lag_s.unwrap_or(0.0)
        };
        let (stated, none) = (at(&stated), at(&|_| 0.0));
        println!(
            "{scaling:?}, smoothing {smoothing_s} s: r {stated:.3} at the stated delay, {none:.3} at 0 s"
        );
        // A percentile saturates where the response is above the whole baseline.
        let expected = if scaling == Scaling::Z { 0.9 } else { 0.5 };
        assert!(stated >= expected && stated > none, "{scaling:?} {smoothing_s} {stated} {none}");
    }
}

#[test]
fn each_block_shows_and_scores_what_it_is_for() {
    let scores = whole_run(&mut feedback(written(), None), 1);
    let at = |time_s: f64| &scores[((time_s + DELAY_S) / TR_S) as usize];
    for (time_s, block, is_scored, is_shown) in [
        (-4.0, BlockKind::Rest, false, false),
        (10.0, BlockKind::Baseline, false, false),
        (38.0, BlockKind::Baseline, false, false),
        (40.0, BlockKind::Regulate, true, true),
        (68.0, BlockKind::Regulate, true, true),
        (70.0, BlockKind::Rest, false, false),
        (240.0, BlockKind::Transfer, true, false),
        (262.0, BlockKind::Rest, false, false),
    ] {
        let FeedbackScore { open, details, .. } = at(time_s);
        assert_eq!((open.block, open.is_beyond_design), (block, time_s > 260.0), "{time_s}");
        assert_eq!(details.scaled.is_some(), is_scored, "{time_s}");
        assert_eq!(open.shown.is_some(), is_shown, "{time_s}");
        assert!(details.raw.is_some() == (time_s >= 0.0), "{time_s}");
    }
    assert_eq!(at(50.0).open.condition.as_deref(), Some("regulate"));
    // 20 volumes of baseline: 1.05 variances of a range of 16.
    let uncertainty = at(50.0).details.uncertainty.unwrap();
    assert!((uncertainty - 1.05_f64.sqrt() / 16.0).abs() < 1e-12, "{uncertainty}");
}

#[test]
fn intermittent_feedback_shows_the_mean_of_the_scores_of_its_block() {
    let options = Written { presentation: Presentation::Intermittent, ..written() };
    let scores = whole_run(&mut feedback(options, None), 1);
    let in_block = scores.iter().filter(|score| score.open.block_index == Some(1));
    let values: Vec<f64> = in_block.filter_map(|score| score.details.scaled).collect();
    let mean = values.iter().sum::<f64>() / 15.0;
    assert_eq!(values.len(), 15);
    // The block ends at 70 s; the next starts at 90 s. The first volume whose stimulus is at 70 s
    // or later starts at 74 s. The volume that starts at 88 s is seen in the next block.
    let seen = |score: &&FeedbackScore| (70.0..90.0).contains(&score.open.acquisition_time_s);
    let shown: Vec<_> = scores.iter().filter(seen).map(|score| score.open.shown).collect();
    let expected: Vec<_> = (35..45).map(|k| (37..44).contains(&k).then_some(mean)).collect();
    assert_eq!(shown, expected);
}

/// Sealed feedback of this arm, with what the participant of seed 1 saw.
fn sealed(arm: Arm, options: Written) -> (Feedback, Vec<FeedbackScore>) {
    let mut other = feedback(options.clone(), None);
    let scores = whole_run(&mut other, 1);
    let recorded = other.recorded(tr(), &scores);
    // Through the file, as a study does it.
    let text = serde_json::to_string(&BTreeMap::from([("task-nf_run-1", recorded)])).unwrap();
    let key = StudyKey::from_bytes([5; 32]);
    let assignment = SealedAssignment::seal("02", arm, &key, [6; 16]);
    let assignment = assignment.open(&key, "02", "s", None).unwrap();
    let sham = Sham::new(assignment, serde_json::from_str(&text).unwrap()).unwrap();
    (feedback(options, Some(sham)), scores)
}

fn shown(scores: &[FeedbackScore]) -> Vec<Option<u64>> {
    scores.iter().map(|score| score.open.shown.map(f64::to_bits)).collect()
}

#[test]
fn yoked_sham_reproduces_the_recorded_scores_to_the_bit_while_the_own_data_are_good() {
    for presentation in [Presentation::Continuous, Presentation::Intermittent] {
        let options = Written { presentation, ..written() };
        let (mut yoked, recorded) = sealed(Arm::Yoked, options.clone());
        // Other data, some of them bad.
        let quality = |k| DataQuality { is_spike: k % 7 == 0, ..GOOD };
        let own: Vec<_> =
            (0..N_VOLUME).map(|k| step(&mut yoked, k, signal(k, 0.25, 2), quality(k))).collect();
        let is_continuous = presentation == Presentation::Continuous;
        let mut held = None;
        for (own, recorded) in own.iter().zip(&recorded) {
            // While the own data are bad, a score stands still, as in the real arm.
            let is_held = is_continuous && own.open.is_bad_data && recorded.open.shown.is_some();
            let expected = if is_held { held } else { recorded.open.shown };
            assert_eq!(own.open.shown.map(f64::to_bits), expected.map(f64::to_bits));
            held = expected;
        }
        let n_same = shown(&own).iter().zip(shown(&recorded)).filter(|(a, b)| *a == b).count();
        assert!(n_same > own.len() * 5 / 6, "{n_same} of {}", own.len());
        assert!(own.iter().all(|score| score.details.shown_as == ShownAs::Sham));
        // The true score is the one of an open session.
        let mut open = feedback(options, None);
        for (k, own) in (0..).zip(&own) {
            let truth = step(&mut open, k, signal(k, 0.25, 2), quality(k));
            assert_eq!(own.details.scaled, truth.details.scaled);
        }
    }
}

#[test]
fn nothing_that_is_published_or_logged_tells_the_arm() {
    let keys = |arm| {
        let (mut feedback, _) = sealed(arm, written());
        let scores = whole_run(&mut feedback, 2);
        let published = scores.iter().map(FeedbackScore::published);
        let published = published.map(|score| serde_json::to_value(score).unwrap());
        let keys: Vec<Vec<String>> =
            published.map(|score| score.as_object().unwrap().keys().cloned().collect()).collect();
        feedback.start_run(&entities("02"), tr()).unwrap();
        let mut saver = Saver::default();
        feedback.save(&mut saver);
        (keys, format!("{feedback:?}"), saver.finish())
    };
    let real = keys(Arm::Real);
    assert_eq!(real, keys(Arm::Yoked));
    assert_eq!(real, keys(Arm::Scrambled));
    assert!(
        !real.0[60].contains(&"details".to_owned()) && real.0[60].contains(&"shown".to_owned())
    );
    // Real feedback is the own one, and open feedback is published whole.
    let (mut blind, _) = sealed(Arm::Real, written());
    let open = whole_run(&mut feedback(written(), None), 2);
    assert_eq!(shown(&whole_run(&mut blind, 2)), shown(&open));
    assert!(open[60].published().details.is_some());
}

#[test]
fn blanked_feedback_publishes_nothing_that_was_decoded_and_records_the_score() {
    let score = whole_run(&mut feedback(written(), None), 1).swap_remove(30);
    let blanked = score.clone().blanked();
    assert!(score.open.shown.is_some() && blanked.open.shown.is_none());
    assert!(blanked.published().details.is_none() && blanked.open.is_blanked);
    assert_eq!(blanked.details.scaled, score.details.scaled);
}

#[test]
fn a_baseline_that_cannot_be_long_enough_stops_the_run_s_feedback() {
    let mut feedback = feedback(Written { min_baseline_volumes: 20, ..written() }, None);
    let slow = RepetitionTime::from_secs(2.5).unwrap();
    let error = feedback.start_run(&entities("01"), slow).unwrap_err().to_string();
    assert_eq!(
        error,
        "the baseline blocks last 40 s, which is 16 volumes at a TR of 2.5 s; the score needs 20 \
         (`min_baseline_volumes`)"
    );
    assert_eq!(feedback.step(&Readings::default(), GOOD), None);
}

#[test]
fn a_recorded_score_survives_its_file() {
    let scores = whole_run(&mut feedback(written(), None), 1);
    let text = serde_json::to_string(&scores[60]).unwrap();
    assert_eq!(serde_json::from_str::<FeedbackScore>(&text).unwrap(), scores[60]);
}

/// A baseline of any length keeps as much as [`baseline::MOST_SAMPLES`] need.
#[test]
fn the_state_of_a_long_run_is_bounded() {
    let row = |onset_s, trial_type| EventRow { onset_s, duration_s: 8000.0, trial_type };
    let rows = [row(0.0, "baseline"), row(8000.0, "regulate")];
    let mut feedback = feedback(written(), None);
    feedback.design = Design::from_events(&rows, &BTreeMap::new()).unwrap();
    feedback.start_run(&entities("01"), tr()).unwrap();
    let sizes = [1100, 1600].map(|end| {
        (0..end).for_each(|k| drop(step(&mut feedback, k, signal(k, 0.25, 1), GOOD)));
        let mut saver = Saver::default();
        feedback.save(&mut saver);
        saver.finish().len()
    });
    assert!(sizes.iter().all(|size| *size < 16 * baseline::MOST_SAMPLES + 256), "{sizes:?}");
}

/// Options of every kind.
fn any_options() -> impl Strategy<Value = Written> {
    (any::<[bool; 4]>(), 0_usize..3, 0.0..10.0_f64).prop_map(|(is, bad_data, smoothing_s)| {
        Written {
            scaling: if is[0] { Scaling::Z } else { Scaling::Percentile },
            z_range: is[0].then_some([-1.0, 1.0]),
            direction: if is[1] { Direction::Up } else { Direction::Down },
            presentation: if is[2] { Presentation::Continuous } else { Presentation::Intermittent },
            bad_data: [BadData::Hold, BadData::Blank, BadData::Neutral][bad_data],
            smoothing_s: if is[3] { smoothing_s } else { 0.0 },
            ..written()
        }
    })
}

/// Volumes with signals of any size, some of them no number, some lost, some bad.
fn any_volumes() -> impl Strategy<Value = Vec<(u32, f32, DataQuality)>> {
    let volume = (prop_oneof![8 => 900.0..1100.0_f32, 1 => any::<f32>()], 0_u8..10);
    proptest::collection::vec(volume, N_VOLUME as usize).prop_map(|volumes| {
        let volumes = (0..).zip(volumes).filter(|(_, (_, kind))| *kind != 0);
        let quality = |kind| match kind {
            1 => DataQuality { is_spike: true, ..GOOD },
            2 => DataQuality { made_from: MadeFrom::Held, ..GOOD },
            _ => GOOD,
        };
        volumes.map(|(k, (signal, kind))| (k, signal, quality(kind))).collect()
    })
}

fn steps(feedback: &mut Feedback, volumes: &[(u32, f32, DataQuality)]) -> Vec<FeedbackScore> {
    volumes.iter().map(|&(k, signal, quality)| step(feedback, k, signal, quality)).collect()
}

/// Equal to the bit, for scores that hold no NaN; they never do.
fn bits(scores: &[FeedbackScore]) -> Vec<String> {
    scores.iter().map(|score| format!("{score:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in, scores are in 0 to 1 or absent, and nothing is shown outside regulation
    /// and the rest after it.
    #[test]
    fn scores_are_in_0_to_1_or_absent(options in any_options(), volumes in any_volumes()) {
        for score in steps(&mut feedback(options, None), &volumes) {
            for value in [score.open.shown, score.details.scaled].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&value), "{:?}", score);
            }
            let noise = score.details.uncertainty;
            prop_assert!(noise.is_none_or(|noise| noise.is_finite() && noise > 0.0), "{:?}", score);
            prop_assert!(score.details.scaled.is_none() || !score.open.is_bad_data);
            let now = design().at(score.open.acquisition_time_s + TR_S).kind;
            let may_see = [BlockKind::Regulate, BlockKind::Rest].contains(&now);
            prop_assert!(score.open.shown.is_none() || may_see, "{:?}", score);
        }
    }

    /// Causal: what comes later changes no score.
    #[test]
    fn a_longer_run_leaves_its_prefix_unchanged(
        options in any_options(), volumes in any_volumes(), others in any_volumes(), cut in 0_u32..140,
    ) {
        let whole = steps(&mut feedback(options.clone(), None), &volumes);
        let changed: Vec<_> = volumes.iter().filter(|v| v.0 < cut).copied()
            .chain(others.into_iter().filter(|v| v.0 >= cut)).collect();
        let n = volumes.iter().filter(|v| v.0 < cut).count();
        let changed = steps(&mut feedback(options, None), &changed);
        prop_assert_eq!(bits(&whole[..n]), bits(&changed[..n]));
    }

    /// A restart from a checkpoint, at any volume, changes no score.
    #[test]
    fn a_restart_in_the_middle_changes_nothing(
        options in any_options(), volumes in any_volumes(), cut in 0.0..1.0_f64, arm in 0_usize..4,
    ) {
        let make = || match [Arm::Real, Arm::Yoked, Arm::Scrambled].get(arm) {
            Some(&arm) => sealed(arm, options.clone()).0,
            None => feedback(options.clone(), None),
        };
        let expected = steps(&mut make(), &volumes);
        let (before, after) = volumes.split_at((cut * volumes.len() as f64) as usize);
        let mut first = make();
        let mut found = steps(&mut first, before);
        let mut saver = Saver::default();
        first.save(&mut saver);
        let bytes = saver.finish();
        let mut second = make();
        second.run = None;
        let mut loader = Loader::new(&bytes);
        second.load(&mut loader).unwrap();
        prop_assert!(loader.is_empty());
        found.extend(steps(&mut second, after));
        prop_assert_eq!(bits(&found), bits(&expected));
        prop_assert_eq!(second.load(&mut Loader::new(&bytes[..bytes.len() - 1])), None);
    }
}
