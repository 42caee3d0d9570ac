//! Latency of results, the load of each stage, and the scanner's triggers.

use super::{
    absent,
    chart::{LEFT, RIGHT, open_svg},
    scale::{escape, ticks, tidy},
    section,
};
use crate::offline::report::facts::RunFacts;

/// Bins of the histogram.
const N_BIN: usize = 40;
const HEIGHT: f64 = 190.0;

/// The sections of latency and of stages.
pub(super) fn sections(run: &RunFacts) -> String {
    section("Latency", &latency(run))
        + &section("Load of the stages", &stages(run))
        + &triggers(run)
}

/// What the adapter found of the triggers; nothing if it listened to none.
fn triggers(run: &RunFacts) -> String {
    let Some(found) = &run.triggers else { return String::new() };
    let rows = [
        ("triggers of volumes", found.n),
        ("without a volume (dummy scans, volumes that never arrived)", found.n_without_volume),
        ("missed", found.n_missed),
        ("off the beat", found.n_spurious),
        ("of slices", found.n_slice),
        ("bounces, left out", found.n_bounces),
    ];
    let counts = rows.map(|(what, n)| (what, f64::from(n)));
    let measured = [
        ("drift of the volumes' clock, ms per minute", found.drift_ms_per_min),
        ("jitter, ms", found.jitter_ms),
        ("median time from a trigger to its volume's arrival, s", found.delay_s),
    ];
    let measured = measured.into_iter().filter_map(|(what, value)| Some((what, value?)));
    let rows = counts.into_iter().chain(measured).map(|(what, value)| {
        format!("<tr><td class=\"k\">{what}</td><td class=\"n\">{}</td></tr>", tidy(value))
    });
    section("Triggers", &format!("<table><tbody>{}</tbody></table>", rows.collect::<String>()))
}

fn latency(run: &RunFacts) -> String {
    let quantile = |share| run.latency.quantile_ms(share).map_or_else(String::new, tidy);
    let Some((edges, counts)) = run.latency.histogram(N_BIN) else {
        return absent("No result was recorded.");
    };
    let most = f64::from(counts.iter().copied().max().unwrap_or(1).max(1));
    let bottom = HEIGHT - 36.0;
    let (low, high) = (edges[0], edges[N_BIN]);
    let across = |ms: f64| LEFT + (ms / low).ln() / (high / low).ln() * (RIGHT - LEFT);
    let mut svg = open_svg(
        "latency",
        HEIGHT,
        "Histogram of latency",
        &format!(
            "Half of the results took at most {} ms, 99 of 100 at most {} ms.",
            quantile(0.5),
            quantile(0.99)
        ),
    );
    for (bin, &n) in counts.iter().enumerate() {
        let (left, right) = (across(edges[bin]), across(edges[bin + 1]));
        let height = f64::from(n) / most * (bottom - 10.0);
        svg += &format!(
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
             <title>{} to {} ms: {n}</title></rect>",
            bottom - height,
            right - left - 1.0,
            tidy(edges[bin]),
            tidy(edges[bin + 1]),
        );
    }
    for tick in ticks((0.0, most), 4) {
        let at = bottom - tick / most * (bottom - 10.0);
        svg += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            tidy(tick),
        );
    }
    svg += &format!(
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{bottom}\" y2=\"{bottom}\"/>"
    );
    for (at, ms) in steps(low, high).into_iter().map(|ms| (across(ms), ms)) {
        svg += &format!(
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 4.0,
            bottom + 16.0,
            tidy(ms),
        );
    }
    svg += &format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">from receiving a volume to publishing \
         its result, ms</text><text transform=\"translate(14 {:.1}) rotate(-90)\" \
         text-anchor=\"middle\">results</text>",
        (LEFT + RIGHT) / 2.0,
        bottom + 31.0,
        bottom / 2.0,
    );
    format!(
        "<p>Median {} ms, 99 % within {} ms, longest {} ms; the TR is {} ms.</p>\
         <figure>{svg}</svg></figure>",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        tidy(run.tr_s() * 1e3),
    )
}

/// 1, 2 and 5 times the powers of ten within a range; of many, the powers alone.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let powers = || (-4..10).map(|power| 10_f64.powi(power));
    let is_inside = |ms: &f64| (low..=high).contains(ms);
    let fine: Vec<f64> =
        powers().flat_map(|ms| [ms, 2.0 * ms, 5.0 * ms]).filter(is_inside).collect();
    match fine.len() {
        0 | 1 => ticks((low, high), 6),
        2..=14 => fine,
        _ => powers().filter(is_inside).collect(),
    }
}

fn stages(run: &RunFacts) -> String {
    let stages = run.latency.in_order();
    if stages.is_empty() {
        return absent("No result was recorded.");
    }
    let tr_ms = run.tr_s() * 1e3;
    let rows = stages.iter().map(|(stage, time)| {
        let (mean, most) = (time.sum_ns as f64 / time.n.max(1) as f64 / 1e6, time.max_ns as f64 / 1e6);
        let load = mean / tr_ms * 100.0;
        format!(
            "<tr><td class=\"k\"><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td><span class=\"share\" style=\"width:{:.2}%\"></span></td></tr>",
            escape(stage),
            tidy(mean),
            tidy(most),
            tidy(load),
            load.clamp(0.0, 100.0),
        )
    });
    format!(
        "<p>Time of each stage for the volume that completed a result. <code>ingest</code> includes \
         waiting for the signal thread.</p><table><thead><tr><th>stage</th><th class=\"n\">mean, ms\
         </th><th class=\"n\">longest, ms</th><th class=\"n\">% of the TR</th><th style=\"width:40%\">\
         0 to 100 % of the TR</th></tr></thead><tbody>{}</tbody></table>",
        rows.collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_range_has_powers_of_ten_and_a_narrow_one_has_round_numbers() {
        let text = |low, high| steps(low, high).into_iter().map(tidy).collect::<Vec<_>>().join(" ");
        assert_eq!(text(0.5, 30.0), "0.5 1 2 5 10 20");
        assert_eq!(text(0.001, 1000.0), "0.001 0.01 0.1 1 10 100 1000");
        assert_eq!(text(11.0, 14.2), "11 12 13 14");
    }
}
