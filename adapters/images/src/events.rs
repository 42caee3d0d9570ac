//! BIDS `events.tsv`: the time and type of each event.
//!
//! Columns may be in any order; unknown columns are ignored. An invalid line is an error that
//! gives its number, because silently skipping an event would change the analysis.

use std::path::Path;

use corticast_wire::text::shorten;

use crate::{error::AdapterError, text};

/// Largest file that is read. A day of events at 10 Hz needs a tenth of it.
const MAX_BYTES: u64 = 64 << 20;
/// Longest `trial_type`, in bytes. It is sent as the name of a mark.
const MAX_NAME_BYTES: usize = 512;
/// Largest number of characters of a cell that an error shows.
const SHOWN_CHARS: usize = 40;

/// One row of a BIDS `events.tsv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Start, seconds since the start of index 0.
    pub onset_s: f64,
    /// Length in seconds; 0 for an instant.
    pub duration_s: f64,
    /// Condition; `n/a` if the file has no `trial_type`.
    pub trial_type: String,
}

/// Why a table of events is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidEvents {
    /// A column is missing.
    #[error("line 1: no column `{column}`, found {found:?}")]
    Column {
        /// The missing column.
        column: &'static str,
        /// The columns of the file.
        found: Vec<String>,
    },
    /// The columns are not separated by tabs.
    #[error("line 1: columns are separated by {found:?}, expected tabs")]
    Separator {
        /// What stands between them.
        found: char,
    },
    /// A cell holds an invalid value.
    #[error("line {line}: {column} is {found:?}, expected {expected}")]
    Cell {
        /// Line of the file, counted from 1.
        line: usize,
        /// Column of the cell.
        column: &'static str,
        /// Text in the cell.
        found: String,
        /// Values that are valid there.
        expected: &'static str,
    },
}

/// What is odd about the times of events for a run of this length, as text for people.
#[must_use]
pub fn doubt(events: &[Event], run_s: f64) -> Option<String> {
    let n_beyond = events.iter().filter(|event| event.onset_s >= run_s).count();
    (n_beyond > 0 && 2 * n_beyond >= events.len()).then(|| {
        format!(
            "{n_beyond} of {} events begin after the end of the run ({run_s:.1} s), the last at \
             {:.1} s: events are in seconds from the first volume; are these in milliseconds, or of \
             another run?",
            events.len(),
            events.last().map_or(0.0, |event| event.onset_s)
        )
    })
}

/// Reads a file of events, sorted by onset.
///
/// # Errors
///
/// Fails when the file cannot be read or one of its lines is not a valid event.
pub fn read(path: &Path) -> Result<Vec<Event>, AdapterError> {
    parse(&text::read(path, MAX_BYTES)?).map_err(|error| AdapterError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The text of a file of events with every column, after checking it: UTF-8 without a byte order
/// mark, lines that end in LF.
///
/// # Errors
///
/// As [`read`].
pub fn table(path: &Path) -> Result<String, AdapterError> {
    let text = text::read(path, MAX_BYTES)?;
    let checked = parse(&text).map(drop);
    checked.map(|()| text).map_err(|error| AdapterError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Parses a table of events, sorted by onset. A row with onset `n/a` has no known time and is
/// skipped; a duration of `n/a` is 0; a missing trial type is `n/a`. An empty cell and `NaN` are
/// `n/a`, and a cell may be in quotes, as R writes it. The trainer reads tables in the same way
/// (`training/src/corticast_training/data/table.py`).
///
/// # Errors
///
/// Fails when a column is missing or a cell is invalid; the error names the line and the cell.
pub fn parse(text: &str) -> Result<Vec<Event>, InvalidEvents> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let columns: Vec<&str> = match lines.next() {
        Some((_, line)) => cells_of(line.trim_end()),
        None => Vec::new(),
    };
    if let [only] = columns.as_slice()
        && let Some(found) = only.chars().find(|c| [',', ';'].contains(c))
    {
        return Err(InvalidEvents::Separator { found });
    }
    let position = |name: &str| columns.iter().position(|column| *column == name);
    let needed = |column| {
        let found = || columns.iter().take(20).map(|&c| shorten(c, SHOWN_CHARS)).collect();
        position(column).ok_or_else(|| InvalidEvents::Column { column, found: found() })
    };
    let (onset, duration) = (needed("onset")?, needed("duration")?);
    let trial_type = position("trial_type");
    if trial_type.is_none() {
        tracing::warn!("the events have no column trial_type: marks are named n/a");
    }

    let mut events = Vec::new();
    for (number, line) in lines {
        let line_number = number + 1;
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        let cells = cells_of(line);
        let cell = |at: usize| cells.get(at).copied().unwrap_or("");
        let wrong = |column, found: &str, expected| InvalidEvents::Cell {
            line: line_number,
            column,
            found: shorten(found, SHOWN_CHARS),
            expected,
        };
        let Some(onset_s) =
            seconds(cell(onset)).ok_or_else(|| wrong("onset", cell(onset), "seconds, or n/a"))?
        else {
            tracing::warn!(line = line_number, "event skipped: it has no onset");
            continue;
        };
        let duration_s = seconds(cell(duration))
            .map(|duration| duration.unwrap_or(0.0))
            .filter(|duration| *duration >= 0.0)
            .ok_or_else(|| wrong("duration", cell(duration), "seconds from 0 up, or n/a"))?;
        let name = trial_type.map(cell).filter(|name| !is_missing(name)).unwrap_or("n/a");
        if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(wrong("trial_type", name, "at most 512 bytes of printable text"));
        }
        events.push(Event { onset_s, duration_s, trial_type: name.to_owned() });
    }
    events.sort_by(|a, b| a.onset_s.total_cmp(&b.onset_s));
    Ok(events)
}

fn cells_of(line: &str) -> Vec<&str> {
    line.split('\t')
        .map(str::trim)
        .map(|cell| {
            let inner = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
            inner.unwrap_or(cell)
        })
        .collect()
}

/// Whether a cell says that there is no value.
fn is_missing(cell: &str) -> bool {
    ["", "n/a", "na", "nan"].iter().any(|missing| cell.eq_ignore_ascii_case(missing))
}

/// `Some(None)` for `n/a`, `None` for an invalid time.
fn seconds(cell: &str) -> Option<Option<f64>> {
    if is_missing(cell) {
        return Some(None);
    }
    cell.parse().ok().filter(|value: &f64| value.is_finite()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(onset_s: f64, duration_s: f64, trial_type: &str) -> Event {
        Event { onset_s, duration_s, trial_type: trial_type.into() }
    }

    #[test]
    fn columns_come_in_any_order_and_lines_end_in_any_way() {
        let text = "trial_type\tresponse\tonset\tduration\r\nface\tn/a\t15.0\t22.5\r\n\
                    cat\t1\t2\tn/a\r\nrest\t1\tn/a\t3\r\n\r\n";
        assert_eq!(parse(text).unwrap(), [event(2.0, 0.0, "cat"), event(15.0, 22.5, "face")]);
        assert_eq!(parse("onset\tduration\n1\t2\n").unwrap(), [event(1.0, 2.0, "n/a")]);
    }

    #[test]
    fn events_beyond_the_run_are_doubted_and_a_few_late_ones_are_not() {
        let events =
            |unit: f64| (1..=10).map(|k| event(4.0 * f64::from(k) * unit, 2.0, "a")).collect();
        let (seconds, milliseconds): (Vec<_>, Vec<_>) = (events(1.0), events(1000.0));
        assert_eq!(doubt(&seconds, 180.0), None);
        assert_eq!(doubt(&seconds, 35.0), None);
        assert_eq!(doubt(&[], 180.0), None);
        let text = doubt(&milliseconds, 180.0).unwrap();
        assert!(
            text.starts_with("10 of 10 events begin after the end of the run (180.0 s)"),
            "{text}"
        );
        assert!(text.contains("in milliseconds"), "{text}");
    }

    #[test]
    fn a_table_of_another_program_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.tsv");
        let expected = [event(-3.0, 0.0, "n/a"), event(2.0, 1.5, "face")];
        let text = "onset\tduration\ttrial_type\n2\t1.5\tface\n-3\tNaN\t\n";
        let quoted = "\"onset\"\t\"duration\"\t\"trial_type\"\n2\t1.5\t\"face\"\n-3\t\tN/A\n";
        for text in
            [text.to_owned(), text.replace('\n', "\r"), format!("\u{feff}{text}"), quoted.into()]
        {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read(&path).unwrap(), expected, "{text:?}");
        }
        std::fs::write(&path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
        assert_eq!(table(&path).unwrap(), text);
        let message = parse("onset;duration\n1;2\n").unwrap_err().to_string();
        assert_eq!(message, "line 1: columns are separated by ';', expected tabs");
    }

    #[test]
    fn an_error_names_line_and_cell() {
        let message = parse("onset\tduration\n1\t2\nsoon\t2\n").unwrap_err().to_string();
        assert_eq!(message, "line 3: onset is \"soon\", expected seconds, or n/a");
        let message = parse("time\tduration\n").unwrap_err().to_string();
        assert_eq!(message, "line 1: no column `onset`, found [\"time\", \"duration\"]");
        assert!(parse("onset\tduration\n1\t-2\n").is_err());
        assert!(parse("onset\tduration\ninf\t2\n").is_err());
    }

    proptest! {
        /// Any text gives a table or an error, and events are sorted by onset.
        #[test]
        fn foreign_text_never_panics(text in "(onset\tduration\n)?(([0-9.ena/-]{0,5})[\t\n\r]?){0,20}") {
            if let Ok(events) = parse(&text) {
                prop_assert!(events.is_sorted_by(|a, b| a.onset_s <= b.onset_s));
            }
        }
    }
}
