//! BIDS `events.tsv`: the time and type of each event.
//!
//! Columns may be in any order; unknown columns are ignored. An invalid line is an error that
//! gives its number, because silently skipping an event would change the analysis.

use std::path::Path;

use corticast_wire::{files, text::shorten};

use crate::error::AdapterError;

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

/// Reads a file of events, sorted by onset.
///
/// # Errors
///
/// Fails when the file cannot be read or one of its lines is not a valid event.
pub fn read(path: &Path) -> Result<Vec<Event>, AdapterError> {
    let io = |source| AdapterError::Io { path: path.to_owned(), source };
    let malformed = |reason| AdapterError::Malformed { path: path.to_owned(), reason };
    let text = files::read_text(path, MAX_BYTES).map_err(io)?;
    parse(&text).map_err(|error| malformed(error.to_string()))
}

/// Parses a table of events, sorted by onset. A row with onset `n/a` has no known time and is
/// skipped; a duration of `n/a` is 0; a missing trial type is `n/a`.
///
/// # Errors
///
/// Fails when a column is missing or a cell is invalid; the error names the line and the cell.
pub fn parse(text: &str) -> Result<Vec<Event>, InvalidEvents> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let columns: Vec<&str> = match lines.next() {
        Some((_, line)) => line.trim_end().split('\t').map(str::trim).collect(),
        None => Vec::new(),
    };
    let position = |name: &str| columns.iter().position(|column| *column == name);
    let needed = |column| {
        let found = || columns.iter().take(20).map(|&c| shorten(c, SHOWN_CHARS)).collect();
        position(column).ok_or_else(|| InvalidEvents::Column { column, found: found() })
    };
    let (onset, duration) = (needed("onset")?, needed("duration")?);
    let trial_type = position("trial_type");

    let mut events = Vec::new();
    for (number, line) in lines {
        let line_number = number + 1;
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
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
        let name = match trial_type.map(cell) {
            None | Some("") => "n/a",
            Some(name) => name,
        };
        if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(wrong("trial_type", name, "at most 512 bytes of printable text"));
        }
        events.push(Event { onset_s, duration_s, trial_type: name.to_owned() });
    }
    events.sort_by(|a, b| a.onset_s.total_cmp(&b.onset_s));
    Ok(events)
}

/// `Some(None)` for `n/a`, `None` for an invalid time.
fn seconds(cell: &str) -> Option<Option<f64>> {
    if cell.eq_ignore_ascii_case("n/a") {
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
