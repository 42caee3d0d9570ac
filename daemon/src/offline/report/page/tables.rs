//! Tables: what was lost, what the daemon said, and what was done to the data.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    absent,
    scale::{escape, tidy},
    section,
};
use crate::offline::report::{
    facts::{Note, RunFacts},
    judge::{Judged, ranges},
    settings::Settings,
};

/// Most rows of a table; the JSON file has the others.
const MAX_ROWS: usize = 200;

/// Most ranges of indices in one cell.
const MAX_RANGES: usize = 60;

/// What was missing, late, dropped or marked.
pub(super) fn missing(run: &RunFacts, judged: &Judged) -> String {
    let mut rows = Vec::new();
    let mut row = |what: &str, n: u32, which: String| {
        if n > 0 {
            rows.push(format!(
                "<tr><td class=\"k\">{what}</td><td class=\"n\">{n}</td><td>{}</td></tr>",
                escape(&which),
            ));
        }
    };
    let lost = judged.lost;
    row("never arrived", lost.n_missing, {
        let found = ranges(&judged.missing, MAX_RANGES);
        match (found.is_empty(), judged.missing.len() as u32 == lost.n_missing) {
            (true, _) => "after the last recorded volume".to_owned(),
            (false, true) => format!("volumes {found}"),
            (false, false) => format!("not in the recording: volumes {found}"),
        }
    });
    row("came too late", lost.n_late, "recorded, not decoded; see the warnings".to_owned());
    let dropped: Vec<_> = run.volumes.iter().filter(|row| row.dropped.is_some()).collect();
    let indices: Vec<u32> = dropped.iter().map(|row| row.index).collect();
    row("could not be used", lost.n_dropped, {
        let reason = dropped.first().and_then(|row| row.dropped.as_deref()).unwrap_or_default();
        match indices.is_empty() {
            true => "their windows failed in the model; see the warnings".to_owned(),
            false => format!("volumes {}; the first: {reason}", ranges(&indices, MAX_RANGES)),
        }
    });
    let marked = |is_marked: fn(&crate::offline::report::facts::VolumeRow) -> bool| -> Vec<u32> {
        run.volumes.iter().filter(|row| is_marked(row)).map(|row| row.index).collect()
    };
    let spikes = marked(|row| row.is_spike);
    row(
        "marked as spikes",
        spikes.len() as u32,
        format!("volumes {}", ranges(&spikes, MAX_RANGES)),
    );
    let off = marked(|row| row.is_time_off);
    row("time replaced", off.len() as u32, {
        let indices = ranges(&off, MAX_RANGES);
        format!("the acquisition time did not fit index × TR: volumes {indices}")
    });
    row("damaged index", run.n_far, "an index far behind the others; left out".to_owned());
    let results = &run.results;
    for (from, n) in results.made_from.iter().filter(|(from, _)| *from != "measured") {
        row("results", *n, format!("made from volumes that were {from}"));
    }
    row("results", results.n_blanked, "decoded while the feedback was blanked".to_owned());
    for (head, n) in &results.failed_heads {
        row("results", *n, format!("without the head {head}, which failed"));
    }
    let mut html = match rows.is_empty() {
        true => absent("Nothing."),
        false => format!(
            "<table><thead><tr><th>what</th><th class=\"n\">how many</th><th>which</th></tr></thead>\
             <tbody>{}</tbody></table>",
            rows.concat()
        ),
    };
    if !run.faults.is_empty() {
        let faults = run.faults.iter().map(|fault| format!("<li>{}</li>", escape(fault)));
        html += &format!(
            "<p>The recording is damaged; everything else in it was read:</p><ul>{}</ul>",
            faults.collect::<String>()
        );
    }
    if !run.cuts.is_empty() {
        html += &format!(
            "<p>A file of the recording has no end, because {}; everything before is whole: {}.</p>",
            match run.is_cut_short {
                true => "it is still being written or the daemon was killed",
                false => "the daemon was killed; the recording goes on in the next file",
            },
            escape(&run.cuts.join("; ")),
        );
    }
    section("Missing, late, dropped, marked", &html)
}

/// Warnings, alarms, commands and restarts.
pub(super) fn notes(run: &RunFacts) -> String {
    let title = "Warnings, alarms, commands, restarts";
    if run.notes.is_empty() {
        return section(title, &absent("None."));
    }
    let groups = groups(&run.notes);
    let rows = groups.iter().take(MAX_ROWS).map(|group| {
        let (note, text) = (group[0], told(group));
        let bold = if note.kind == "alarm" { ("<strong>", "</strong>") } else { ("", "") };
        format!(
            "<tr><td class=\"n\">{}</td><td class=\"k\">{}{}{}</td><td>{}</td></tr>",
            tidy(note.time_s),
            bold.0,
            escape(&note.kind),
            bold.1,
            escape(&text),
        )
    });
    let n_more = groups.len().saturating_sub(MAX_ROWS) as u64 + run.n_unlisted_notes;
    let more = match n_more {
        0 => String::new(),
        n => format!("<p class=\"note\">and {n} more</p>"),
    };
    let html = format!(
        "<table><thead><tr><th class=\"n\">s since the start</th><th>kind</th><th>what</th></tr>\
         </thead><tbody>{}</tbody></table>{more}",
        rows.collect::<String>(),
    );
    section(title, &html)
}

/// Warnings that differ in their numbers only, as one group; any other note alone. The JSON file has
/// each of them.
fn groups(notes: &[Note]) -> Vec<Vec<&Note>> {
    let form = |note: &Note| note.text.replace(|c: char| c.is_ascii_digit(), "");
    let mut groups: Vec<Vec<&Note>> = Vec::new();
    let mut of_form: HashMap<String, usize> = HashMap::new();
    for note in notes {
        if note.kind == "restart" {
            of_form.clear();
        }
        if note.kind != "warning" {
            groups.push(vec![note]);
            continue;
        }
        let at = *of_form.entry(form(note)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(note),
            None => groups.push(vec![note]),
        }
    }
    groups
}

/// The text of a group: its first one, how many more there are, and the last one.
fn told(group: &[&Note]) -> String {
    match group {
        [] => String::new(),
        [only] => only.text.clone(),
        [first, .., last] => format!(
            "{} ({} times until {} s; the last: {})",
            first.text,
            group.len(),
            tidy(last.time_s),
            last.text
        ),
    }
}

/// What was done to the data.
pub(super) fn settings(run: &RunFacts) -> String {
    let settings = Settings(&run.session);
    let rows = settings.stages().into_iter().map(|stage| {
        let parameters = stage.parameters.as_object().into_iter().flatten();
        // A matrix of numbers is for programs; the JSON file and the list below have it.
        let parameters = parameters.filter(|(key, _)| *key != "affine");
        let parameters = parameters.map(|(key, value)| format!("{key} = {}", plain(value)));
        let parameters = match stage.is_on {
            true => parameters.collect::<Vec<_>>().join("; "),
            false => "off".to_owned(),
        };
        format!(
            "<tr><td class=\"k\"><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            stage.name,
            stage.meaning,
            escape(&parameters),
        )
    });
    let mut html = format!(
        "<table><thead><tr><th>stage, in order</th><th style=\"width:34%\">what it does</th><th>parameters</th></tr>\
         </thead><tbody>{}</tbody></table>",
        rows.collect::<String>(),
    );
    let model = run.session.get("model").filter(|model| !model.is_null());
    html += &match model {
        Some(model) => {
            let text = |key: &str| escape(model.get(key).and_then(Value::as_str).unwrap_or("–"));
            let networks = model.get("networks").and_then(Value::as_array).into_iter().flatten();
            let networks: Vec<String> = networks
                .filter_map(Value::as_str)
                .map(|hash| escape(&hash[..hash.len().min(12)]))
                .collect();
            format!(
                "<p>Model <strong>{}</strong> of subject {}, on {}, ONNX Runtime {}; networks \
                 (SHA-256) {}.</p>",
                text("name"),
                text("subject"),
                text("provider"),
                text("runtime"),
                networks.join(", "),
            )
        }
        None => absent("No model: volumes were recorded, not decoded."),
    };
    html += &format!(
        "<p>Recorded by corticast {}. Source: {}.</p>",
        escape(settings.version().unwrap_or("–")),
        escape(&run.header.source),
    );
    if let Some(effective) = settings.effective() {
        let text = format!("{:#}", Value::Object(effective.clone()));
        html += &format!(
            "<details><summary>All settings</summary><pre>{}</pre></details>",
            lines(&text)
        );
    }
    section("What was done to the data", &html)
}

/// Escaped text with its lines.
fn lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
