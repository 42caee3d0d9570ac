//! Motion, FD and DVARS.

use super::{
    absent,
    chart::{Chart, Line},
    is_on,
    scale::tidy,
    section,
};
use crate::offline::report::{
    facts::{RunFacts, VolumeRow},
    judge::{Judged, Stats},
};

/// The sections of motion, FD and DVARS.
pub(super) fn sections(run: &RunFacts, judged: &Judged, span: (f64, f64)) -> String {
    let mut html = section("Motion", &motion(run, span));
    let spikes: Vec<f64> =
        run.volumes.iter().filter(|row| row.is_spike).map(|row| row.time_s).collect();
    let fd = match judged.fd {
        Some(stats) => {
            let title = "Framewise displacement";
            let (id, unit, value) = ("fd", "FD, mm", |row: &VolumeRow| row.fd_mm);
            words(stats, " mm") + &chart(run, span, stats, spikes.clone(), (id, title, unit), value)
        }
        None => not_realigned(run),
    };
    html += &section("Framewise displacement", &fd);
    let dvars = match judged.dvars {
        Some(stats) => {
            let labels = ("dvars", "DVARS", "DVARS (10 = 1 %)");
            words(stats, "") + &chart(run, span, stats, spikes, labels, |row| row.dvars)
        }
        None => absent("Not measured: no volume followed another one after the baseline of DVARS."),
    };
    html + &section("DVARS", &dvars)
}

fn not_realigned(run: &RunFacts) -> String {
    absent(match is_on(run, "realign") {
        true => "The recording holds no motion, although [realign] is on.",
        false => "Not measured: [realign] is off.",
    })
}

fn motion(run: &RunFacts, span: (f64, f64)) -> String {
    if run.volumes.iter().all(|row| row.motion.is_none()) {
        return not_realigned(run);
    }
    let gap = run.tr_s() * 1.5;
    let line = |axis: usize, factor: f64, label: &str| Line {
        label: label.to_owned(),
        points: run
            .volumes
            .iter()
            .filter_map(|row| Some((row.time_s, row.motion?[axis] * factor)))
            .filter(|(_, value)| value.is_finite())
            .collect(),
        gap,
    };
    let one = |id, title: &str, unit, first: usize, factor, labels: [&str; 3]| {
        let lines: Vec<Line> =
            (0..3).map(|axis| line(first + axis, factor, labels[axis])).collect();
        let most = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1.abs()));
        let most = tidy(most.fold(0.0, f64::max));
        Chart {
            id,
            title: title.to_owned(),
            description: format!("Three lines over time; the largest value is {most} {unit}."),
            unit,
            x: span,
            y: None,
            starts_at_0: false,
            height: 190.0,
            lines,
            threshold: None,
            bands: Vec::new(),
            spikes: Vec::new(),
        }
        .html()
    };
    let axes = ["x (right)", "y (anterior)", "z (superior)"];
    let turns = ["about x (pitch)", "about y (roll)", "about z (yaw)"];
    one("translation", "Translation", "translation, mm", 0, 1.0, axes)
        + &one("rotation", "Rotation", "rotation, °", 3, 180.0 / std::f64::consts::PI, turns)
}

fn words(stats: Stats, unit: &str) -> String {
    let above = match (stats.n_above, stats.threshold) {
        (Some(n), Some(limit)) => {
            format!("; {n} of {} volumes above the threshold of {}", stats.n, tidy(limit))
        }
        _ => String::new(),
    };
    format!(
        "<p>Mean {}{unit}, largest {}{unit} at volume {}{above}.</p>",
        tidy(stats.mean),
        tidy(stats.max),
        stats.max_index,
    )
}

/// A chart of one quantity of each volume.
pub(super) fn chart(
    run: &RunFacts,
    span: (f64, f64),
    stats: Stats,
    spikes: Vec<f64>,
    (id, title, unit): (&'static str, &str, &'static str),
    value: impl Fn(&VolumeRow) -> Option<f64>,
) -> String {
    let points = run.volumes.iter().filter_map(|row| Some((row.time_s, value(row)?))).collect();
    Chart {
        id,
        title: title.to_owned(),
        description: format!(
            "One line over time; mean {}, largest {} at volume {}; {} volumes are marked as spikes.",
            tidy(stats.mean),
            tidy(stats.max),
            stats.max_index,
            spikes.len(),
        ),
        unit,
        x: span,
        y: None,
        starts_at_0: true,
        height: 170.0,
        lines: vec![Line { label: title.to_owned(), points, gap: run.tr_s() * 1.5 }],
        threshold: stats.threshold,
        bands: Vec::new(),
        spikes,
    }
    .html()
}
