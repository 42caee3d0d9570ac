//! The feedback that was shown, and the events of the run.

use super::{
    absent,
    chart::{Band, Chart, Line, across, open_svg, time_axis},
    is_on,
    scale::{escape, tidy},
    section,
};
use crate::offline::report::facts::{Feedback, RunFacts, Score};

/// Most kinds of events with a row of their own.
const MAX_KINDS: usize = 16;

/// The sections of feedback and of events.
pub(super) fn sections(run: &RunFacts, span: (f64, f64), unblind: bool) -> String {
    let feedback = match run.feedback.scores.is_empty() {
        false => shown(run, span, unblind),
        true => absent(match is_on(run, "feedback") {
            true => "No score was recorded, although [feedback] is on.",
            false => "None: [feedback] is off.",
        }),
    };
    let mut html = section("Feedback", &feedback);
    if !run.marks.is_empty() {
        html += &section("Events", &events(run, span));
    }
    html
}

fn shown(run: &RunFacts, span: (f64, f64), unblind: bool) -> String {
    let Feedback { scores, blocks, states, n_blanked, .. } = &run.feedback;
    let shows_own = run.feedback.shows_own(unblind);
    let n_shown = scores.iter().filter(|score| score.shown.is_some()).count();
    let counts: Vec<String> = states
        .iter()
        .map(|(state, n)| format!("{n} {}", escape(&state.replace('_', " "))))
        .collect();
    let mut html = format!(
        "<p>{} scores: {}. {}{}</p>",
        scores.len(),
        counts.join(", "),
        match n_blanked {
            0 => String::new(),
            n => format!("The operator had blanked {n} of them. "),
        },
        match shows_own {
            true =>
                "Each score is drawn at the volume after which it was shown, each block at its \
                     own time. The dashed line is the participant's own score.",
            false => {
                "Each score is drawn at the volume after which it was shown, each block at its own \
                 time. The participant's own scores are sealed: <code>corticast report --unblind</code> \
                 shows them."
            }
        },
    );
    let line = |label: &str, value: fn(&Score) -> Option<f64>| Line {
        label: label.to_owned(),
        points: scores
            .iter()
            .filter_map(|score| Some((score.time_s, value(score)?)))
            .filter(|(_, value)| value.is_finite())
            .collect(),
        gap: run.tr_s() * 1.5,
    };
    let mut lines = vec![line("shown score", |score| score.shown)];
    if shows_own {
        lines.push(line("own score", |score| score.own));
    }
    let bands = blocks.iter().filter_map(|block| {
        let shade = match block.kind.as_str() {
            "regulate" => 0,
            "transfer" => 1,
            "baseline" => 2,
            "rest" => 3,
            _ => return None,
        };
        Some(Band {
            from: block.from_s,
            to: block.to_s + run.tr_s(),
            shade,
            label: format!("{}: {}", block.kind, block.condition),
        })
    });
    let chart = Chart {
        id: "feedback",
        title: "Feedback".to_owned(),
        description: format!("The score from 0 to 1 over time; {n_shown} scores were shown."),
        unit: "score",
        x: (span.0, span.1),
        y: Some((0.0, 1.0)),
        starts_at_0: true,
        height: 200.0,
        lines,
        threshold: None,
        bands: bands.collect(),
        spikes: Vec::new(),
    };
    html += &chart.html();
    html
}

fn events(run: &RunFacts, span: (f64, f64)) -> String {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for mark in &run.marks {
        match kinds.iter_mut().find(|(name, _)| *name == mark.name) {
            Some((_, n)) => *n += 1,
            None => kinds.push((&mark.name, 1)),
        }
    }
    let n_more = kinds.len().saturating_sub(MAX_KINDS);
    let names: Vec<String> = kinds.iter().map(|(name, n)| format!("{name} {n} times")).collect();
    kinds.truncate(MAX_KINDS);
    let bottom = kinds.len() as f64 * 20.0 + 6.0;
    let mut svg = open_svg("events", bottom + 38.0, "Events", &names.join(", "));
    for (row, (kind, _)) in kinds.iter().enumerate() {
        let top = row as f64 * 20.0 + 6.0;
        let short: String = kind.chars().take(9).collect();
        svg += &format!(
            "<text x=\"58\" y=\"{:.1}\" text-anchor=\"end\">{}<title>{}</title></text>",
            top + 12.0,
            escape(&short),
            escape(kind),
        );
        for mark in run.marks.iter().filter(|mark| mark.name == *kind) {
            let duration = mark.value.filter(|value| value.is_finite() && *value > 0.0);
            let from = across(span, mark.time_s);
            let to = across(span, mark.time_s + duration.unwrap_or(0.0));
            svg += &format!(
                "<rect class=\"bar\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"14\"/>",
                (to - from).max(1.5),
            );
        }
    }
    svg += &time_axis(span, bottom);
    let more = match n_more {
        0 => String::new(),
        n => format!(" {n} further kinds are in the JSON file."),
    };
    let kinds: Vec<String> =
        kinds.iter().map(|(name, n)| format!("{} ({n})", escape(name))).collect();
    format!(
        "<figure>{svg}</svg><figcaption>{}.{more} Times as the adapter sent them, up to {} s.\
         </figcaption></figure>",
        kinds.join(", "),
        tidy(run.marks.last().map_or(0.0, |mark| mark.time_s)),
    )
}
