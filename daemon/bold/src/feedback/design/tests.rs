use proptest::prelude::*;

use super::*;

fn row(onset_s: f64, duration_s: f64, trial_type: &str) -> EventRow<'_> {
    EventRow { onset_s, duration_s, trial_type }
}

fn uses(names: &[(&str, EventUse)]) -> BTreeMap<String, EventUse> {
    names.iter().map(|&(name, of)| (name.to_owned(), of)).collect()
}

fn message(rows: &[EventRow<'_>]) -> String {
    Design::from_events(rows, &BTreeMap::new()).unwrap_err().to_string()
}

#[test]
fn a_time_belongs_to_the_block_that_contains_it() {
    let rows = [row(30.0, 10.0, "face"), row(0.0, 20.0, "baseline"), row(31.0, 0.0, "key")];
    let uses = uses(&[("face", EventUse::Regulate), ("key", EventUse::Ignore)]);
    let design = Design::from_events(&rows, &uses).unwrap();
    let found: Vec<_> = [-1.0, 0.0, 19.9, 20.0, 30.0, 39.9, 40.0]
        .map(|time_s| design.at(time_s))
        .map(|place| (place.block_index, place.kind, place.is_beyond_design))
        .into();
    let (rest, baseline) = (BlockKind::Rest, BlockKind::Baseline);
    let expected = [
        (None, rest, false),
        (Some(0), baseline, false),
        (Some(0), baseline, false),
        (None, rest, false),
        (Some(1), BlockKind::Regulate, false),
        (Some(1), BlockKind::Regulate, false),
        (None, rest, true),
    ];
    assert_eq!(found, expected);
    assert_eq!(&*design.blocks()[1].condition, "face");
}

#[test]
fn the_configuration_comes_before_the_meaning_of_a_name() {
    let rows = [row(0.0, 10.0, "rest"), row(10.0, 10.0, "regulate")];
    let uses = uses(&[("rest", EventUse::Baseline)]);
    let design = Design::from_events(&rows, &uses).unwrap();
    assert_eq!(design.blocks()[0].kind, BlockKind::Baseline);
}

#[test]
fn an_error_names_the_event_what_was_found_and_what_was_expected() {
    let baseline = row(0.0, 10.0, "baseline");
    assert_eq!(
        message(&[baseline, row(8.0, 4.0, "regulate")]),
        "event 2 (`regulate`) starts at 8 s, inside `baseline`, which lasts until 10 s; expected \
         blocks that do not overlap"
    );
    assert_eq!(
        message(&[baseline, row(10.0, 4.0, "face")]),
        "event 2 at 10 s: unknown trial_type `face`, expected baseline, regulate, rest, transfer, \
         or one that `blocks` maps to them or to ignore; `blocks` maps []"
    );
    for duration_s in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            message(&[row(5.0, duration_s, "rest")]),
            format!(
                "event 1 (`rest`): duration is {duration_s} s, expected more than 0 s, because it \
                 is a block"
            )
        );
    }
    assert!(message(&[row(f64::NAN, 1.0, "rest")]).contains("onset is NaN s"));
}

#[test]
fn a_design_without_baseline_or_regulation_is_refused() {
    assert!(message(&[]).starts_with("no `baseline` block among 0 blocks"));
    assert!(message(&[row(0.0, 1.0, "regulate")]).starts_with("no `baseline` block among 1"));
    let message = message(&[row(0.0, 1.0, "baseline"), row(1.0, 1.0, "rest")]);
    assert!(message.starts_with("no `regulate` block among 2 blocks"));
}

#[test]
fn rounding_to_milliseconds_is_no_overlap() {
    let rows = [row(0.0, 2.334, "baseline"), row(2.333, 2.0, "regulate")];
    assert!(Design::from_events(&rows, &BTreeMap::new()).is_ok());
}

#[test]
fn intermittent_feedback_needs_a_rest_to_be_shown_in() {
    let of = |rest_s: f64| {
        let rows = [
            row(0.0, 10.0, "baseline"),
            row(10.0, 10.0, "regulate"),
            row(20.0, rest_s / 2.0, "rest"),
            row(20.0 + rest_s, 10.0, "baseline"),
            row(30.0 + rest_s, 10.0, "regulate"),
        ];
        Design::from_events(&rows, &BTreeMap::new()).unwrap().check_intermittent(4.0)
    };
    assert_eq!(of(8.0), Ok(()));
    let error = of(4.0).unwrap_err().to_string();
    assert!(error.contains("`regulate` block that ends at 20 s lasts 4 s"), "{error}");
}

proptest! {
    /// Any rows give a design or an error; in a design each time lies in at most one block.
    #[test]
    fn any_rows_give_a_design_or_an_error(
        rows in proptest::collection::vec((-5.0..200.0_f64, -1.0..30.0_f64, 0_usize..5), 0..6),
        time_s in -10.0..250.0_f64,
    ) {
        let names = ["baseline", "regulate", "rest", "transfer", "other"];
        let rows: Vec<_> = rows.into_iter().map(|(on, long, k)| row(on, long, names[k])).collect();
        if let Ok(design) = Design::from_events(&rows, &BTreeMap::new()) {
            let place = design.at(time_s);
            let holds = |block: &&Block| block.onset_s <= time_s && time_s < block.end_s();
            let found = place.block_index.map(|index| &design.blocks()[index]);
            prop_assert!(found.as_ref().is_none_or(holds));
            let by_rounding = design.blocks().iter().filter(holds).count();
            prop_assert!(found.is_some() || by_rounding == 0);
            prop_assert_eq!(place.is_beyond_design, time_s >= design.end_s());
        }
    }
}
