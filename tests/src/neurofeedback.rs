//! A site with feedback: a scan with strong responses, and the design of its blocks.

use std::fmt::Write as _;

use corticast_adapter::synthetic::SyntheticOptions;
use corticast_images::source::ScannerAdapter as _;
use serde_json::Value;

use crate::Site;

/// What the events of the simulated scan are in a feedback run: the participant regulates while
/// faces are shown. Rest follows, so that the score can still be seen.
pub const DESIGN: &str = "\
[feedback.blocks]
face = \"regulate\"
house = \"transfer\"
cat = \"rest\"
shoe = \"rest\"
";

/// A scan whose regions respond clearly: `roi-face.nii.gz` and others lie in the site's folder.
#[must_use]
pub fn scan_for_feedback(volumes: u32) -> SyntheticOptions {
    let matrix = [16, 16, 10];
    SyntheticOptions { volumes, matrix, contrast_percent: 3.0, ..SyntheticOptions::default() }
}

/// Configures feedback with this source and further keys of `[feedback]`, and other sections.
/// Writes the design, `design.tsv`: the scan's blocks, and baseline between them.
pub fn with_feedback(site: &Site, source: &str, keys: &str, sections: &str) {
    let scanner = site.scanner();
    let mut rows = "onset\tduration\ttrial_type\n0\t6\tbaseline\n".to_owned();
    for event in scanner.events() {
        let (onset_s, end_s) = (event.onset_s, event.onset_s + event.duration_s);
        let between = if event.trial_type == "face" { "rest" } else { "baseline" };
        writeln!(rows, "{onset_s}\t{}\t{}", event.duration_s, event.trial_type).expect("text");
        writeln!(rows, "{end_s}\t8\t{between}").expect("text");
    }
    std::fs::write(site.path("design.tsv"), rows).expect("a design");
    let rois = if source.contains("roi") {
        "rois = { face = \"roi-face.nii.gz\", house = \"roi-house.nii.gz\" }"
    } else {
        ""
    };
    site.configure(&format!(
        "[feedback]\nevents = \"design.tsv\"\nsource = {source}\n{rois}\n{keys}\n{DESIGN}\n\
         {sections}"
    ));
}

/// What a score shows and was based on, in a form that tests can compare: `null` where nothing was
/// shown.
#[must_use]
pub fn score_of(report: &Value) -> (u64, Option<f64>) {
    (report["index"].as_u64().expect("an index"), report["score"].as_f64())
}
