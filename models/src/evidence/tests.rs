//! The filter against values computed by hand.

use proptest::prelude::*;

use super::*;

/// Two classes and rest, TR 2 s: a block goes on with 3/4, a rest with 1/2.
fn evidence() -> Evidence {
    let facts = EvidenceFacts { rest: 2, block_s: 8.0, rest_s: 4.0 };
    Evidence::new(&facts, 3, 2.0)
}

fn close(found: &[f32], expected: [f64; 2]) {
    assert_eq!(found.len(), 2);
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

#[test]
fn evidence_of_two_windows_is_multiplied() {
    let mut evidence = evidence();
    // Alike before the first window: its own probabilities without rest, 0.6 and 0.2 of 0.8.
    close(&evidence.add(0.0, &[0.6, 0.2, 0.2]), [0.75, 0.25]);
    // Expected: 0.6·3/4 + 0.2·1/2/2 = 0.5; 0.2·3/4 + 0.05 = 0.2; rest 0.2·1/2 + 0.8·1/4 = 0.3.
    // Times the window: 0.25, 0.04 and 0.09.
    close(&evidence.add(2.0, &[0.5, 0.2, 0.3]), [0.25 / 0.29, 0.04 / 0.29]);
}

#[test]
fn a_run_and_a_gap_start_without_knowledge() {
    let fresh = evidence().add(0.0, &[0.5, 0.3, 0.2]);
    for (gap, passed_s) in [(false, 2.0), (false, 2.9), (true, 4.0), (true, 0.0), (true, -2.0)] {
        let mut evidence = evidence();
        evidence.add(10.0, &[0.1, 0.8, 0.1]);
        let found = evidence.add(10.0 + passed_s, &[0.5, 0.3, 0.2]);
        assert_eq!(found == fresh, gap, "{passed_s} s later: {found:?}");
        evidence.start_run();
        assert_eq!(evidence.add(12.0 + passed_s, &[0.5, 0.3, 0.2]), fresh);
    }
}

#[test]
fn rest_lets_go_of_a_block() {
    let (mut rested, mut shown) = (evidence(), evidence());
    for window in 0..4 {
        rested.add(f64::from(window) * 2.0, &[0.8, 0.1, 0.1]);
        shown.add(f64::from(window) * 2.0, &[0.8, 0.1, 0.1]);
    }
    for window in 4..8 {
        rested.add(f64::from(window) * 2.0, &[0.05, 0.05, 0.9]);
        shown.add(f64::from(window) * 2.0, &[0.4, 0.4, 0.2]);
    }
    let next = [0.3, 0.6, 0.1];
    let (rested, shown) = (rested.add(16.0, &next), shown.add(16.0, &next));
    assert!(rested[1] > 0.6 && shown[1] < rested[1], "{rested:?} {shown:?}");
}

#[test]
fn a_class_that_was_impossible_can_come_back() {
    let mut evidence = evidence();
    for window in 0..1000 {
        evidence.add(f64::from(window) * 2.0, &[1.0, 0.0, 0.0]);
    }
    for window in 1000..1010 {
        let found = evidence.add(f64::from(window) * 2.0, &[0.0, 1.0, 0.0]);
        assert!(found.iter().all(|probability| probability.is_finite()), "{found:?}");
    }
    assert!(evidence.add(2020.0, &[0.0, 1.0, 0.0])[1] > 0.99);
}

#[test]
fn a_state_of_another_model_does_not_fit() {
    let mut other = Evidence::new(&EvidenceFacts { rest: 0, block_s: 8.0, rest_s: 4.0 }, 4, 2.0);
    other.add(0.0, &[0.25; 4]);
    let mut to = Saver::default();
    other.save(&mut to);
    let bytes = to.finish();
    assert!(evidence().load(&mut Loader::new(&bytes)).is_none());
    assert!(evidence().load(&mut Loader::new(&bytes[..9])).is_none());
    assert!(other.load(&mut Loader::new(&bytes)).is_some());
}

proptest! {
    /// Always probabilities; the past alone decides; a checkpoint goes on to the bit.
    #[test]
    fn a_saved_filter_goes_on_to_the_bit(
        windows in proptest::collection::vec((0.0_f32..=1.0, 0.0_f32..=1.0, 0_u8..6), 1..40),
        cut in 0_usize..40,
    ) {
        let (mut whole, mut restarted) = (evidence(), evidence());
        let mut time_s = 0.0;
        for (position, (first, share, gap)) in windows.into_iter().enumerate() {
            if position == cut {
                let mut to = Saver::default();
                restarted.save(&mut to);
                restarted = evidence();
                prop_assert!(restarted.load(&mut Loader::new(&to.finish())).is_some());
            }
            time_s += if gap == 0 { 4.0 } else { 2.0 };
            let left = 1.0 - first;
            let window = [first, left * share, left * (1.0 - share)];
            let found = whole.add(time_s, &window);
            prop_assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{:?}", found);
            prop_assert!(found.iter().all(|probability| (0.0..=1.0).contains(probability)));
            let bits = |found: Vec<f32>| found.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(restarted.add(time_s, &window)), bits(found));
        }
    }
}
