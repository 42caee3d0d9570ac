//! The report for people: one HTML page.
//!
//! Everything is inside the page, and no script runs, so it looks the same in ten years, in a mail
//! and on paper. Its policy forbids the browser to load anything. A section without data says why.

mod chart;
mod feedback;
mod images;
mod motion;
mod scale;
mod tables;
mod timing;

use self::scale::{escape, tidy};
use super::{error::ReportError, facts::RunFacts, judge::Judged, settings::Settings};

/// How the page looks.
const STYLE: &str = include_str!("page/style.css");

/// The page of a run.
pub(super) fn page(run: &RunFacts, judged: &Judged, unblind: bool) -> Result<String, ReportError> {
    let name = escape(&run.name);
    let lang = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    let mut page = format!(
        "{lang}<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'\">\n<title>{name}: report</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n<h1>{name}</h1>\n"
    );
    page += &format!("<p class=\"who\">{}</p>\n", who(run));
    let is_bad = judged.n_used < judged.n_acquired || judged.n_alarms > 0;
    page += &format!(
        "<p class=\"verdict{}\">{}</p>\n{}",
        if is_bad || !run.faults.is_empty() { " bad" } else { "" },
        escape(&judged.verdict),
        tiles(run, judged),
    );
    let span = (0.0, duration_s(run));
    page += &motion::sections(run, judged, span);
    page += &images::carpet(run, judged, span)?;
    page += &images::tsnr(run)?;
    page += &feedback::sections(run, span, unblind);
    page += &timing::sections(run);
    page += &tables::missing(run, judged);
    page += &tables::notes(run);
    page += &tables::settings(run);
    page += &format!(
        "</main>\n<footer>Made by corticast {} from the recording alone; the JSON file beside this \
         page holds all numbers. <code>corticast report</code> makes both again.</footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
    );
    Ok(page)
}

/// A section with its heading.
fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{content}\n</section>\n", escape(title))
}

/// What a section says when there is nothing to show.
fn absent(why: &str) -> String {
    format!("<p class=\"absent\">{}</p>", escape(why))
}

/// End of the run, in seconds, as far as it is known.
fn duration_s(run: &RunFacts) -> f64 {
    let recorded = run.recorded.last().map(|last| f64::from(*last));
    let reported = run.volumes.last().map(|last| f64::from(last.index));
    let last = recorded.into_iter().chain(reported).fold(0.0, f64::max);
    (last + 1.0) * run.tr_s()
}

fn who(run: &RunFacts) -> String {
    let entities = &run.header.entities;
    let named = [
        ("subject", Some(entities.sub.as_str())),
        ("session", entities.ses.as_deref()),
        ("task", entities.task.as_deref()),
        ("run", entities.run.as_deref()),
        ("recorded as", run.session.get("name").and_then(|name| name.as_str())),
    ];
    let named = named.iter().filter_map(|(key, value)| Some((key, (*value)?)));
    let named = named.filter(|(_, value)| !value.is_empty());
    let mut parts: Vec<String> =
        named.map(|(key, value)| format!("{key} {}", escape(value))).collect();
    let [x, y, z] = run.header.space.matrix();
    let size = run.header.space.voxel_size_mm().map(tidy).join(" × ");
    parts.push(format!("{x} × {y} × {z} voxels of {size} mm"));
    parts.push(format!("TR {} s", tidy(run.tr_s())));
    parts.join(" · ")
}

fn tiles(run: &RunFacts, judged: &Judged) -> String {
    let none = || "–".to_owned();
    let number = |value: Option<f64>| value.map_or_else(none, tidy);
    let ms = |share| run.latency.quantile_ms(share);
    let tiles = [
        ("volumes used", format!("{} <small>of {}</small>", judged.n_used, judged.n_acquired)),
        ("results", run.results.n.to_string()),
        ("spikes", judged.n_spikes.map_or_else(none, |n| n.to_string())),
        ("mean FD, mm", number(judged.fd.map(|fd| fd.mean))),
        ("mean DVARS", number(judged.dvars.map(|dvars| dvars.mean))),
        ("median tSNR", number(run.maps.as_ref().and_then(|maps| maps.tsnr_median))),
        ("latency, median, ms", number(ms(0.5))),
        ("latency, 99 %, ms", number(ms(0.99))),
    ];
    let tiles = tiles.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"));
    format!("<dl class=\"tiles\">{}</dl>\n", tiles.concat())
}

/// Whether a stage is switched on in the settings of the run.
fn is_on(run: &RunFacts, stage: &str) -> bool {
    Settings(&run.session).is_on(stage)
}
