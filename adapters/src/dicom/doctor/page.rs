//! The doctor's page, as text and as JSON.

use std::fmt::Write;

use corticast_wire::text::count;
use serde_json::{Value, json};

use super::{Examined, Found, Layout};
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

/// Seconds without digits that are only noise of a conversion.
pub(super) fn short(seconds: f64) -> f64 {
    (seconds * 1e5).round() / 1e5
}

impl Examined {
    /// One line on the folder. `n_pair` files are of PAR/REC pairs.
    pub(crate) fn summary(&self, n_pair: usize) -> String {
        let seconds = self.watched.map(|time| format!(", after {} s", time.as_secs()));
        let pairs = match n_pair {
            0 => String::new(),
            n => format!(", {n} of PAR/REC pairs"),
        };
        format!(
            "{} in the folder{}, {} of them images{pairs}, {} series\n",
            count((self.n_file + n_pair) as u64, "file"),
            seconds.unwrap_or_default(),
            self.n_image,
            self.series.len()
        )
    }

    /// The lines on each series.
    pub(crate) fn sections(&self) -> String {
        let mut page = String::new();
        for found in &self.series {
            page.push('\n');
            series(&mut page, found);
        }
        page
    }

    /// For programs, without what is wrong.
    pub(crate) fn json(&self) -> Value {
        json!({
            "works": self.is_usable(),
            "files": self.n_file,
            "images": self.n_image,
            "incomplete": self.n_incomplete,
            "silent_s": self.silent.map(|silent| silent.as_secs_f64()),
            "series": self.series.iter().map(series_json).collect::<Vec<_>>(),
        })
    }
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
                "  {} of {nx} x {ny} x {nz} voxels of {x:.2} x {y:.2} x {z:.2} mm, \
                 from {}{}",
                count(n_volume as u64, "volume"),
                count(found.n_file, "file"),
                announced.unwrap_or_default()
            ));
        }
        None => line(format!("  no volume, from {}", count(found.n_file, "file"))),
    }
    let stated = scan.repetition_s.map_or("none".into(), |s| format!("{} s", short(s)));
    let clock = found.clock_s.filter(|s| *s > 0.0).map_or("none".into(), |s| format!("{s:.4} s"));
    line(format!("  repetition time: {stated} by the header, {clock} by the scanner's clock"));
    match (series.slice_times_s.len(), found.n_excitation()) {
        (0, _) => line("  slice times: none in the headers".into()),
        (n, excitations) => line(format!(
            "  slice times: {n} slices in {}",
            count(excitations as u64, "excitation")
        )),
    }
    if found.n_copy > 0 {
        line(format!(
            "  further copies of these images: {}, which count for nothing",
            found.n_copy
        ));
    }
    let flag = scan.series_number.map(|n| format!(" --series {n}")).unwrap_or_default();
    if found.is_usable() {
        line(format!("  becomes a run: corticast-adapter dicom FOLDER{flag}"));
    } else {
        line("  becomes no run".into());
    }
    match found.regularity() {
        None => page.push_str("  arrival: not seen; run the doctor with --watch-s during a scan\n"),
        Some(regularity) => page.push_str(&regularity.text()),
    }
    if let Some(late) = found.lateness() {
        page.push_str(&late.text());
    }
}

fn series_json(found: &Found) -> Value {
    let series = &found.series;
    let kinds: serde_json::Map<String, Value> =
        found.kinds.iter().map(|(kind, n)| (kind.to_string(), json!(n))).collect();
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
        "arrival": found.regularity().map(|regularity| regularity.json()),
        "late": found.lateness().map(|late| late.json()),
    })
}
