//! The doctor's page, as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Examined, Found, Layout, arrivals::CLASSES};
use crate::dicom::{scan::Vendor, timing::Verdict};

fn vendor(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::SiemensV => "Siemens, software V",
        Vendor::SiemensXa => "Siemens, software XA",
        Vendor::Ge => "GE",
        Vendor::Philips => "Philips",
        Vendor::UnitedImaging => "United Imaging",
        Vendor::Other => "unknown maker",
    }
}

fn layout(layout: Layout) -> &'static str {
    match layout {
        Layout::Mosaics => "mosaics",
        Layout::Grids => "grids",
        Layout::Enhanced => "enhanced multi-frame",
        Layout::Slices => "one file a slice",
    }
}

/// The page as text.
#[must_use]
pub fn text(examined: &Examined) -> String {
    let mut page = String::new();
    let advice = examined.advice();
    let n_wrong = advice.iter().filter(|advice| advice.is_wrong).count();
    let verdict = match (examined.is_usable(), n_wrong) {
        (true, 0) => "This export works.".to_owned(),
        (true, 1) => "This export works, but one thing is wrong.".to_owned(),
        (true, n) => format!("This export works, but {n} things are wrong."),
        (false, _) => "This export gives no run.".to_owned(),
    };
    let line = |page: &mut String, text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    line(&mut page, verdict);
    let seconds = examined.watched.map(|time| format!(", after {} s", time.as_secs()));
    line(
        &mut page,
        format!(
            "{} files in the folder{}, {} of them images, {} series",
            examined.n_file,
            seconds.unwrap_or_default(),
            examined.n_image,
            examined.series.len()
        ),
    );
    for found in &examined.series {
        page.push('\n');
        series(&mut page, found);
    }
    for (is_wrong, title) in [(true, "What is wrong"), (false, "Good to know")] {
        let mut own = advice.iter().filter(|advice| advice.is_wrong == is_wrong).peekable();
        if own.peek().is_some() {
            line(&mut page, format!("\n{title}"));
        }
        for advice in own {
            line(&mut page, format!("  {}.\n    → {}", advice.found, advice.to_do));
        }
    }
    page
}

fn series(page: &mut String, found: &Found) {
    let Found { series, .. } = found;
    let scan = &series.scan;
    let number = scan.series_number.map_or("without number".into(), |n| n.to_string());
    let kinds = found.kinds.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut line = |text: String| {
        // Writing to a string does not fail.
        writeln!(page, "{text}").ok();
    };
    let maker = vendor(scan.vendor);
    line(format!("Series {number}: {maker}, {}, {kinds}", layout(found.layout)));
    let n_volume = series.n_volume();
    let announced =
        scan.n_volumes.filter(|n| *n > 1).map(|n| format!("; the header announces {n}"));
    match series.space() {
        Some(space) => {
            let [nx, ny, nz] = space.matrix();
            let [x, y, z] = space.voxel_size_mm();
            line(format!(
                "  {n_volume} volumes of {nx} x {ny} x {nz} voxels of {x:.2} x {y:.2} x {z:.2} mm, \
                 from {} files{}",
                found.n_file,
                announced.unwrap_or_default()
            ));
        }
        None => line(format!("  no volume, from {} files", found.n_file)),
    }
    let stated = scan.repetition_s.map_or("none".into(), |s| format!("{s} s"));
    let clock = found.clock_s.filter(|s| *s > 0.0).map_or("none".into(), |s| format!("{s:.4} s"));
    line(format!("  repetition time: {stated} by the header, {clock} by the scanner's clock"));
    match (series.slice_times_s.len(), found.n_excitation()) {
        (0, _) => line("  slice times: none in the headers".into()),
        (n, excitations) => line(format!("  slice times: {n} slices in {excitations} excitations")),
    }
    if found.n_copy > 0 {
        line(format!("  {} copies of images, which count once", found.n_copy));
    }
    let flag = scan.series_number.map(|n| format!(" --series {n}")).unwrap_or_default();
    if found.is_usable() {
        line(format!("  becomes a run: corticast-adapter dicom FOLDER{flag}"));
    } else {
        line("  becomes no run".into());
    }
    match found.regularity() {
        None => line("  arrival: not seen; run the doctor with --watch-s during a scan".into()),
        Some(regularity) => {
            let (median, longest) = (regularity.median_s, regularity.longest_s);
            line(format!("  arrival: every {median:.3} s (median), at most {longest:.3} s apart"));
            let most = regularity.counts.iter().copied().max().unwrap_or(1).max(1);
            for (at, n) in regularity.counts.iter().enumerate() {
                let class = match CLASSES.get(at) {
                    Some(end) => format!("below {end:.1} TR"),
                    None => "longer".into(),
                };
                let bar = "#".repeat((n * 40).div_ceil(most) as usize);
                line(format!("    {class:<13}{n:>6} {bar}"));
            }
        }
    }
}

/// The page as JSON.
#[must_use]
pub fn json(examined: &Examined) -> Value {
    let advice: Vec<Value> = examined
        .advice()
        .iter()
        .map(|a| json!({"wrong": a.is_wrong, "found": a.found, "to_do": a.to_do}))
        .collect();
    json!({
        "works": examined.is_usable(),
        "files": examined.n_file,
        "images": examined.n_image,
        "incomplete": examined.n_incomplete,
        "series": examined.series.iter().map(series_json).collect::<Vec<_>>(),
        "advice": advice,
    })
}

fn series_json(found: &Found) -> Value {
    let series = &found.series;
    let kinds: serde_json::Map<String, Value> =
        found.kinds.iter().map(|(kind, n)| (kind.to_string(), json!(n))).collect();
    let arrival = found.regularity().map(|regularity| {
        json!({
            "median_s": regularity.median_s,
            "longest_s": regularity.longest_s,
            "classes_tr": CLASSES,
            "volumes": regularity.counts,
        })
    });
    json!({
        "number": series.scan.series_number,
        "maker": vendor(series.scan.vendor),
        "layout": layout(found.layout),
        "kinds": kinds,
        "files": found.n_file,
        "volumes": series.n_volume(),
        "missing": series.n_missing(),
        "announced": series.scan.n_volumes,
        "matrix": series.space().map(|space| space.matrix()),
        "affine": series.space().map(|space| *space.affine()),
        "header_tr_s": series.scan.repetition_s,
        "clock_tr_s": found.clock_s,
        "tr_s": match &found.verdict {
            Some(Verdict::Known(tr) | Verdict::OfClock(tr, _)) => Some(tr.as_secs()),
            _ => None,
        },
        "slice_times_s": series.slice_times_s,
        "echo_times_ms": found.echoes_ms.keys().map(|ms| *ms as f64 / 100.0).collect::<Vec<_>>(),
        "becomes_a_run": found.is_usable(),
        "arrival": arrival,
    })
}
