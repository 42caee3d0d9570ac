//! The design of a run from its BIDS `events.tsv`.
//!
//! [`crate::events`] reads the table, [`corticast_bold::feedback::design`] makes blocks of it. Errors
//! name the file; they count events in the order of their onsets.

use std::{collections::BTreeMap, path::Path};

use corticast_bold::feedback::design::{Design, EventRow, EventUse, InvalidDesign};

use crate::{
    error::AdapterError,
    events::{self, Event},
};

/// Reads the design of a run. `uses` says what each `trial_type` means.
///
/// # Errors
///
/// Fails when the file cannot be read, when a line is no valid event, and when the events are no
/// design.
pub fn read(path: &Path, uses: &BTreeMap<String, EventUse>) -> Result<Design, AdapterError> {
    of_events(&events::read(path)?, uses).map_err(|error| AdapterError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn of_events(events: &[Event], uses: &BTreeMap<String, EventUse>) -> Result<Design, InvalidDesign> {
    let rows: Vec<EventRow<'_>> = events
        .iter()
        .map(|Event { onset_s, duration_s, trial_type }| EventRow {
            onset_s: *onset_s,
            duration_s: *duration_s,
            trial_type,
        })
        .collect();
    Design::from_events(&rows, uses)
}

#[cfg(test)]
mod tests {
    use corticast_bold::feedback::design::BlockKind;
    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &str, uses: &[(&str, EventUse)]) -> Result<Design, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.tsv");
        std::fs::write(&path, text).unwrap();
        let uses = uses.iter().map(|&(name, of)| (name.to_owned(), of)).collect();
        read(&path, &uses).map_err(|error| error.to_string())
    }

    const TABLE: &str = "onset\tduration\ttrial_type\n0\t20\tcount\n20\t30\tface\n20.5\tn/a\tkey\n";

    #[test]
    fn blocks_come_from_the_rows_that_the_configuration_names() {
        let uses = [
            ("count", EventUse::Baseline),
            ("face", EventUse::Regulate),
            ("key", EventUse::Ignore),
        ];
        let design = read_text(TABLE, &uses).unwrap();
        let kinds: Vec<_> = design.blocks().iter().map(|block| block.kind).collect();
        assert_eq!(kinds, [BlockKind::Baseline, BlockKind::Regulate]);
    }

    #[test]
    fn an_error_names_the_file_and_the_event() {
        let uses = [("count", EventUse::Baseline), ("face", EventUse::Regulate)];
        let error = read_text(TABLE, &uses).unwrap_err();
        let expected = "events.tsv: event 3 at 20.5 s: unknown trial_type `key`, expected baseline";
        assert!(error.contains(expected), "{error}");
        let instant = [uses[0], uses[1], ("key", EventUse::Rest)];
        let error = read_text(TABLE, &instant).unwrap_err();
        assert!(error.contains("event 3 (`key`): duration is 0 s, expected more"), "{error}");
    }

    proptest! {
        /// Any table gives a design or an error.
        #[test]
        fn foreign_tables_never_panic(
            text in "((-?[0-9]{1,4}(e[0-9]{1,3})?)\t[0-9.]{0,4}\t(baseline|regulate|rest|x)\n){0,6}",
        ) {
            if let Ok(events) = events::parse(&format!("onset\tduration\ttrial_type\n{text}")) {
                let design = of_events(&events, &BTreeMap::new());
                prop_assert!(design.is_err() || design.is_ok_and(|design| design.end_s().is_finite()));
            }
        }
    }
}
