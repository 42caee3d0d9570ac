use proptest::prelude::*;

use super::*;
use crate::feedback::{
    design::EventRow,
    seal::{SealedAssignment, StudyKey},
};

const RUN: &str = "task-nf_run-1";

fn assignment(arm: Arm) -> Assignment {
    let key = StudyKey::from_bytes([3; 32]);
    SealedAssignment::seal("sub-01", arm, &key, [1; 16]).open(&key, "sub-01", "s", None).unwrap()
}

fn tr() -> RepetitionTime {
    RepetitionTime::from_secs(2.0).unwrap()
}

fn design(end_s: f64) -> Design {
    let row = |onset_s, duration_s, trial_type| EventRow { onset_s, duration_s, trial_type };
    let rows = [row(0.0, 4.0, "baseline"), row(4.0, end_s - 4.0, "regulate")];
    Design::from_events(&rows, &BTreeMap::new()).unwrap()
}

fn scores(shown: &[Option<f64>]) -> Vec<RecordedScore> {
    let score = |(index, &shown)| {
        let stimulus_time_s = 2.0 * f64::from(index) - 4.0;
        RecordedScore { index: TrIndex(index), stimulus_time_s, shown }
    };
    (0..).zip(shown).map(score).collect()
}

fn session(shown: &[Option<f64>]) -> RecordedSession {
    let n = shown.len() as f64;
    let blocks = design(2.0 * n).blocks().to_vec();
    let run = RecordedRun { repetition_time_s: tr(), blocks, scores: scores(shown) };
    BTreeMap::from([(RUN.to_owned(), run)])
}

const SHOWN: [Option<f64>; 8] =
    [None, Some(0.1), Some(0.2), None, Some(0.3), None, Some(0.4), Some(0.5)];

fn shown(arm: Arm) -> Vec<Option<f64>> {
    let sham = Sham::new(assignment(arm), session(&SHOWN)).unwrap();
    let mut replay = sham.start_run(RUN, &design(16.0), tr()).unwrap();
    (0..8).map(|k| replay.at(TrIndex(k), 2.0 * f64::from(k) - 4.0).unwrap().0).collect()
}

#[test]
fn yoked_shows_what_was_shown() {
    assert_eq!(shown(Arm::Yoked), SHOWN);
}

#[test]
fn scrambled_exchanges_whole_stretches() {
    // The two cycles of three stretches: 1 2 | 3 | 4 5. The shorter one keeps its last value.
    let cycles = [
        [None, Some(0.3), Some(0.3), None, Some(0.4), None, Some(0.1), Some(0.2)],
        [None, Some(0.4), Some(0.5), None, Some(0.1), None, Some(0.3), Some(0.3)],
    ];
    let found = shown(Arm::Scrambled);
    assert!(cycles.iter().any(|cycle| found == cycle), "{found:?}");
}

#[test]
fn at_a_volume_that_was_lost_the_value_before_stays() {
    let mut session = session(&SHOWN);
    session.get_mut(RUN).unwrap().scores.remove(2);
    let sham = Sham::new(assignment(Arm::Yoked), session).unwrap();
    let mut replay = sham.start_run(RUN, &design(16.0), tr()).unwrap();
    let found: Vec<_> = (1..4).map(|k| replay.at(TrIndex(k), 0.0).unwrap().0).collect();
    assert_eq!(found, [Some(0.1), Some(0.1), None]);
    let after = replay.at(TrIndex(8), 12.0);
    assert_eq!(after, Some((None, ShownAs::Sham)), "after the recorded run");
}

#[test]
fn both_arms_refuse_the_same_with_both_lengths() {
    for arm in [Arm::Real, Arm::Yoked, Arm::Scrambled] {
        let mut short = session(&SHOWN);
        short.get_mut(RUN).unwrap().scores.truncate(6);
        let message = |session: RecordedSession, run: &str, design: &Design, tr_s: f64| {
            let sham = Sham::new(assignment(arm), session).unwrap();
            let tr = RepetitionTime::from_secs(tr_s).unwrap();
            sham.start_run(run, design, tr).unwrap_err().to_string()
        };
        assert_eq!(
            message(short, RUN, &design(16.0), 2.0),
            "the recorded scores of `task-nf_run-1` cover 6 volumes, the design needs 8 (16 s at a \
             TR of 2 s)"
        );
        assert_eq!(
            message(session(&SHOWN), RUN, &design(18.0), 2.0),
            "the recorded scores of `task-nf_run-1` are of another schedule: block 2 is regulate \
             `regulate` at 4 s for 12 s, expected regulate `regulate` at 4 s for 14 s"
        );
        assert_eq!(
            message(session(&SHOWN), RUN, &design(16.0), 1.5),
            "the recorded scores of `task-nf_run-1` have a TR of 2 s, the run has 1.5 s"
        );
        assert_eq!(
            message(session(&SHOWN), "task-nf_run-2", &design(16.0), 2.0),
            "no recorded scores for `task-nf_run-2`, found those of [\"task-nf_run-1\"]"
        );
    }
}

#[test]
fn scores_that_nobody_can_have_seen_are_refused() {
    let message = |session| Sham::new(assignment(Arm::Real), session).unwrap_err().to_string();
    assert_eq!(
        message(session(&[None, None, Some(1.5)])),
        "recorded scores of `task-nf_run-1`, entry 3: shown is 1.5, expected 0 to 1 or nothing"
    );
    assert!(message(session(&[Some(f64::NAN), None, None])).contains("entry 1: shown is NaN"));
    let mut swapped = session(&SHOWN);
    swapped.get_mut(RUN).unwrap().scores.swap(3, 4);
    assert!(message(swapped).contains("entry 5: volume 3 after volume 4, expected rising order"));
}

#[test]
fn runs_of_two_participants_have_one_label() {
    let label = |sub| {
        let entities = RunEntities::checked(sub, Some("1"), Some("nf"), Some("1")).unwrap();
        run_label(&entities)
    };
    assert_eq!((label("01").as_str(), label("02").as_str()), (RUN, RUN));
}

proptest! {
    /// Scrambled feedback is shown when the recorded one was; with equally long stretches it has
    /// the same values, and no stretch keeps its place.
    #[test]
    fn scrambled_keeps_values_and_times(n_stretch in 2_usize..8, length in 1_usize..5, seed: [u8; 32]) {
        let mut shown = Vec::new();
        for k in 0..n_stretch * length {
            if k % length == 0 {
                shown.push(None);
            }
            shown.push(Some(k as f64 / 64.0));
        }
        let before = scores(&shown);
        let mut after = before.clone();
        scramble(&mut after, &seed, RUN);
        let sorted = |scores: &[RecordedScore]| {
            let mut values: Vec<_> = scores.iter().map(|score| score.shown.map(f64::to_bits)).collect();
            values.sort_unstable();
            values
        };
        prop_assert_eq!(sorted(&before), sorted(&after));
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!(before.shown.is_none(), after.shown.is_none());
            prop_assert!(before.shown.is_none() || before.shown != after.shown);
        }
    }
}
