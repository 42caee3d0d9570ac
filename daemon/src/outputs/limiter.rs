//! Limits repeated warnings and alarms, so that a flood of bad messages pushes no result out of a queue.
//!
//! Of each kind of warning, a few are passed on in each interval; the others are counted, and the
//! next one says how many were left out. Warnings are of one kind if they differ only in numbers
//! and in quoted text. Alarms are counted apart, so a flood of warnings hides none.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::Counter;

use crate::product::reports::StatusReport;

/// Warnings of one kind that pass in each interval.
const MOST: u32 = 20;
/// Length of an interval, nanoseconds.
const INTERVAL_NS: u64 = 10_000_000_000;
/// Kinds of a level that are told apart; further ones count as one.
const MAX_KINDS: usize = 64;
/// Characters of a message that decide its kind.
const KIND_CHARS: usize = 80;

/// Limits warnings. Clones share one count.
#[derive(Clone)]
pub struct Limiter {
    kinds: Arc<Mutex<[HashMap<String, Kind>; 2]>>,
    left_out: Counter,
}

#[derive(Default)]
struct Kind {
    since_ns: u64,
    n_passed: u32,
    n_left_out: u64,
}

impl Limiter {
    /// A limiter; `left_out` counts what does not pass.
    #[must_use]
    pub fn new(left_out: Counter) -> Self {
        Self { kinds: Arc::default(), left_out }
    }

    /// The report if it passes, with the number of reports that were left out before it.
    #[must_use]
    pub fn pass(&self, mut report: StatusReport) -> Option<StatusReport> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = &mut kinds[usize::from(report.level == "alarm")];
        let mut name = kind_of(&report.message);
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&name) {
            name = String::new();
        }
        let kind = kinds.entry(name).or_default();
        if report.published_ns.saturating_sub(kind.since_ns) > INTERVAL_NS {
            if kind.n_left_out > 0 {
                let n = kind.n_left_out;
                report.message += &format!(" ({n} more of this kind since the last one)");
            }
            *kind = Kind { since_ns: report.published_ns, ..Kind::default() };
        }
        if kind.n_passed >= MOST {
            kind.n_left_out = kind.n_left_out.saturating_add(1);
            self.left_out.increment(1);
            return None;
        }
        kind.n_passed += 1;
        if kind.n_passed == MOST {
            report.message += " (further ones of this kind are only counted for up to 10 s)";
        }
        Some(report)
    }
}

/// The text without numbers and without what stands in quotes.
fn kind_of(message: &str) -> String {
    let mut quote = None;
    let mut kind = String::new();
    for c in message.chars().take(10 * KIND_CHARS) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if c.is_ascii_digit() => {}
            None => kind.push(c),
        }
    }
    kind.chars().take(KIND_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(message: String, published_ns: u64) -> StatusReport {
        StatusReport { level: "warning", message, published_ns }
    }

    #[test]
    fn a_flood_of_one_kind_is_counted_and_other_kinds_and_alarms_pass() {
        let limiter = Limiter::new(Counter::noop());
        let bad = |n: u64| warning(format!("message {n} is `x{n}` or \"y{n}\""), n);
        let passed = (0..100_000).filter(|&n| limiter.pass(bad(n)).is_some()).count();
        assert_eq!(passed, MOST as usize);
        assert!(limiter.pass(warning("another".to_owned(), 1)).is_some());
        let alarm = StatusReport { level: "alarm", ..bad(1) };
        assert_eq!(limiter.pass(alarm.clone()).as_ref(), Some(&alarm));
        // An adapter that announces a run again and again raises alarms.
        let passed = (0..1000).filter(|_| limiter.pass(alarm.clone()).is_some()).count();
        assert_eq!(passed, MOST as usize - 1);
        let later = limiter.pass(bad(2 * INTERVAL_NS)).unwrap().message;
        assert!(later.contains("99980 more of this kind"), "{later}");
    }

    #[test]
    fn texts_of_any_kind_take_bounded_memory_and_places() {
        let limiter = Limiter::new(Counter::noop());
        let name = |n: u32| char::from_u32(0x4e00 + n).unwrap().to_string().repeat(200);
        let passed = (0..5000).filter(|&n| limiter.pass(warning(name(n), 1)).is_some()).count();
        assert!(passed <= MAX_KINDS + MOST as usize, "{passed}");
        assert!(limiter.kinds.lock().unwrap()[0].len() <= MAX_KINDS + 1);
    }
}
