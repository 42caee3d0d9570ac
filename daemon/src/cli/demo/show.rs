//! How the demo shows a result, and its counts.

use super::film::{Clip, Film};
use crate::product::{clips::ClipReport, results::DecodedResult};

/// Width of a probability bar, in characters.
const BAR: usize = 24;
/// Number of classes shown, the most probable first.
const SHOWN_CLASSES: usize = 6;

/// The counts of the demo.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) n_result: u32,
    /// Results whose clip is known.
    pub(super) n_shown: u32,
    /// Of these, results whose most probable class is in the clip.
    pub(super) n_right: u32,
    pub(super) n_class: usize,
    pub(super) latencies_ms: Vec<f64>,
    pub(super) n_clip: u32,
    /// How long each clip took.
    pub(super) clips_s: Vec<f64>,
}

impl Tally {
    /// Counts a result.
    pub(super) fn add(&mut self, result: &DecodedResult, shown: Option<&Clip>) {
        self.n_result += 1;
        self.n_class = result.concepts.names.len();
        if let Some(clip) = shown {
            self.n_shown += 1;
            let best = result.concepts.best();
            let is_right = best.is_some_and(|(name, _)| clip.classes.iter().any(|c| c == name));
            self.n_right += u32::from(is_right);
        }
        let latency_ns = result.published_ns.saturating_sub(result.received_ns);
        self.latencies_ms.push(latency_ns as f64 / 1e6);
    }

    /// Counts a clip that was made.
    pub(super) fn add_clip(&mut self, clip: &ClipReport) {
        self.n_clip += 1;
        self.clips_s.push(clip.took_ns as f64 / 1e9);
    }

    /// The summary in one or two lines.
    pub(super) fn summary(&self, film: &Film) -> String {
        if self.n_result == 0 {
            return "no results: the session ended before the model had warmed up; run it for \
                    longer, for example with --seconds 20"
                .to_owned();
        }
        format!(
            "{} results; the most probable class was in {} of {} clips (chance {:.0} %); median \
             latency {:.1} ms\n{} clips made, each in {:.2} s (median), while decoding continued",
            self.n_result,
            self.n_right,
            self.n_shown,
            100.0 * film.chance(self.n_class),
            median(&self.latencies_ms),
            self.n_clip,
            median(&self.clips_s)
        )
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// One result as a table of bars, under the last clip's pictures; every line first clears itself
/// on the terminal.
pub(super) fn table(
    result: &DecodedResult,
    shown: Option<&Clip>,
    pictures: &[String],
    tally: &Tally,
) -> String {
    let mut lines = vec![
        format!(
            "{}  volume {:>4}  stimulus at {:>6.1} s",
            result.run, result.index.0, result.stimulus_time_s
        ),
        format!("  shown    {}", shown.map_or("(blank screen)", |clip| &clip.caption)),
        format!("  decoded  {}", result.caption.as_deref().unwrap_or_default()),
    ];
    let mut classes: Vec<_> = result.concepts.names.iter().zip(&result.concepts.values).collect();
    classes.sort_by(|a, b| b.1.total_cmp(a.1));
    for (name, &value) in classes.into_iter().take(SHOWN_CLASSES) {
        let filled = (f64::from(value) * BAR as f64).round() as usize;
        let bar = "█".repeat(filled) + &"·".repeat(BAR.saturating_sub(filled));
        let mark = if shown.is_some_and(|clip| clip.classes.contains(name)) { " ✓" } else { "" };
        lines.push(format!("  {name:>28} {bar} {value:.2}{mark}"));
    }
    lines.push(format!(
        "  latency {:.1} ms, most probable class right in {} of {} clips",
        tally.latencies_ms.last().unwrap_or(&0.0),
        tally.n_right,
        tally.n_shown
    ));
    lines.splice(1..1, pictures.iter().cloned());
    lines.iter().map(|line| format!("\x1b[2K{line}\n")).collect()
}

/// One result as one line, for logs.
pub(super) fn line(result: &DecodedResult, shown: Option<&Clip>) -> String {
    let (best, value) = result.concepts.best().unwrap_or(("", 0.0));
    format!(
        "volume {:>4}  shown “{}”  decoded “{}”, {best} {value:.2}\n",
        result.index.0,
        shown.map_or("(blank screen)", |clip| &clip.caption),
        result.caption.as_deref().unwrap_or_default(),
    )
}
