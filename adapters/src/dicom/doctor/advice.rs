//! What is wrong with an export, and what to do about it at the console.

use corticast_wire::text::count;

use super::{Examined, Found, Layout, page::short};
use crate::{
    dicom::{kind::Kind, scan::Vendor, timing::Verdict, timing::agree},
    page::{Advice, note, wrong},
};

/// Everything there is to say of a folder.
pub(super) fn of(examined: &Examined) -> Vec<Advice> {
    let mut advice = Vec::new();
    if let Some(nothing) = &examined.nothing {
        advice.push(wrong(
            nothing.clone(),
            "Name the folder into which the images go. If it is that one, start a scan and run \
             the doctor again with --watch-s 60.",
        ));
    }
    if examined.n_nifti > 0 {
        advice.push(note(
            format!("{} no export of a scanner", counted(examined.n_nifti as u64, "NIfTI image")),
            "To send volumes from such a file: corticast-adapter nifti FILE.",
        ));
    }
    for (what, n) in &examined.other {
        if what.starts_with("a gzipped") {
            advice.push(wrong(
                format!("{} gzipped, so nothing reads them", counted(*n, "file")),
                "Unpack them: the adapter reads files as a scanner writes them.",
            ));
        } else {
            let name = what.strip_prefix("a ").unwrap_or(what);
            let found = match name.strip_prefix("no ") {
                Some(_) => format!("{} not DICOM", counted(*n, "file")),
                None => format!("{} of another kind: {name}", counted(*n, "file")),
            };
            advice.push(note(
                found,
                "Nothing: the adapter skips them. --pattern '*.dcm' keeps them from being opened.",
            ));
        }
    }
    if examined.n_incomplete > 0 {
        advice.push(wrong(
            format!("{} cut off", counted(examined.n_incomplete, "file")),
            "If no scan is running, export again. If this happens during scans, the copy is \
             not finished when the scanner says so: write under a hidden name and rename, or \
             raise --deadline-s.",
        ));
    }
    for (reason, n) in &examined.unreadable {
        advice.push(wrong(
            format!("{} cannot be read: {reason}", count(*n, "image")),
            "Set the export to uncompressed (explicit little-endian), with all private attributes.",
        ));
    }
    let number = |found: &Found| found.series.scan.series_number;
    let numbers: Vec<u32> = examined.series.iter().filter_map(number).collect();
    for pair in numbers.windows(2).filter(|pair| pair[0] == pair[1]) {
        advice.push(note(
            format!("two series have the number {}", pair[0]),
            "--series takes both, as two runs. Give them folders of their own.",
        ));
    }
    for found in &examined.series {
        of_series(found, &mut advice);
        of_arrival(found, examined, &mut advice);
    }
    let takes = examined.series.iter().filter(|found| found.is_usable()).count();
    if takes == 0 && examined.n_image > 0 {
        advice.push(wrong(
            "no series can become a run",
            "Export the magnitude images of the functional series, all volumes of it.",
        ));
    }
    advice
}

/// `1 file is`, `2 files are`.
fn counted(n: u64, what: &str) -> String {
    format!("{} {}", count(n, what), if n == 1 { "is" } else { "are" })
}

fn of_series(found: &Found, advice: &mut Vec<Advice>) {
    let scan = &found.series.scan;
    let name = scan.series_number.map_or("a series".into(), |n| format!("series {n}"));
    for (kind, n) in found.kinds.iter().filter(|(kind, _)| **kind != Kind::Magnitude) {
        advice.push(note(
            format!("{name}: {kind} ({n}) are left out"),
            format!(
                "{} takes them. To save the scanner's time, do not export them.",
                kind.option()
            ),
        ));
    }
    if found.echoes_ms.len() > 1 {
        let times = found.echoes_ms.keys().map(|ms| format!("{} ms", *ms as f64 / 100.0));
        let times = times.collect::<Vec<_>>().join(", ");
        advice.push(note(
            format!("{name}: {} echoes: {times}", found.echoes_ms.len()),
            "The first is taken; --echo NUMBER takes another.",
        ));
    }
    let stated = scan.repetition_s.map_or("missing".into(), |s| format!("{} s", short(s)));
    match (&found.verdict, found.clock_s) {
        (Some(Verdict::Unknown(doubt)), _) if found.series.n_volume() == 1 => advice.push(note(
            format!("{name}: it has one volume, and the repetition time {doubt}: no run"),
            "Nothing, if it is an anatomy or a field map. If it is a scan that has just begun, wait \
             for its second volume.",
        )),
        (Some(Verdict::Unknown(doubt)), _) => advice.push(wrong(
            format!("{name}: the repetition time {doubt}, and the clock tells none"),
            "Give it with --tr. If the export removes times, let it keep AcquisitionTime.",
        )),
        (Some(Verdict::OfClock(tr, doubt)), _) => advice.push(note(
            format!("{name}: the repetition time {doubt}; the clock says {tr}, which is used"),
            format!("Check it against the protocol, and give --tr {}.", tr.as_secs()),
        )),
        (Some(Verdict::Known(tr)), Some(clock_s))
            if clock_s > 0.0 && !agree(clock_s, tr.as_secs()) =>
        {
            advice.push(wrong(
                format!(
                    "{name}: the repetition time is {stated} in the header, but volumes come \
                     every {clock_s:.4} s by the scanner's clock"
                ),
                match (clock_s / tr.as_secs()).round() {
                    n if n >= 2.0 && agree(clock_s, n * tr.as_secs()) => format!(
                        "That is {n} repetition times: either {} of every {n} volumes was not exported, \
                         or the scan takes so long. Look it up in the protocol; in the second case give \
                         --tr {clock_s:.4}.",
                        n - 1.0
                    ),
                    _ => format!(
                        "Look it up in the protocol. If the clock is right, give --tr {clock_s:.4}."
                    ),
                },
            ));
        }
        _ => {}
    }
    if found.series.is_misnumbered() {
        advice.push(note(
            format!("{name}: AcquisitionNumber does not number the volumes"),
            "Nothing: they are counted by another number or by their times.",
        ));
    }
    if found.series.n_missing() > 0 {
        advice.push(wrong(
            format!(
                "{name}: {} before the last one did not come",
                count(found.series.n_missing() as u64, "volume")
            ),
            "If the scan is over, files were lost on the way: look at the share and its network.",
        ));
    }
    for (reason, n) in &found.n_refused {
        advice.push(wrong(
            format!("{name}: {} refused: {reason}", count(*n, "image")),
            "Export the series again, complete, into an empty folder.",
        ));
    }
    if let Some(console) = console(scan.vendor, found.layout) {
        advice.push(note(format!("{name}: {}", console.0), console.1));
    }
}

/// What is wrong with the way in which the volumes of a series arrived.
fn of_arrival(found: &Found, examined: &Examined, advice: &mut Vec<Advice>) {
    let scan = &found.series.scan;
    let name = scan.series_number.map_or("a series".into(), |n| format!("series {n}"));
    let Some((regularity, tr)) = found.regularity().zip(found.series.repetition_time()) else {
        return;
    };
    if regularity.n_stall > 0 {
        advice.push(wrong(
            format!(
                "{name}: {} of more than 2 TR between volumes, up to {:.1} s",
                count(regularity.n_stall, "pause"),
                regularity.longest_s
            ),
            "If the scan did not pause: look at the share, at its network, and at what else the \
             console does. An export that is written only after the scan comes at once.",
        ));
    }
    let is_last = found.complete.last().map(|(_, at)| *at) == examined.last_arrival();
    if let Some(silent) = examined.silent.filter(|_| is_last)
        && silent.as_secs_f64() > 2.0 * tr.as_secs()
    {
        advice.push(note(
            format!("{name}: nothing came for the last {:.1} s", silent.as_secs_f64()),
            "If the scan still runs, the export has stalled.",
        ));
    }
}

/// What to know about this kind of export, and where it is set.
fn console(vendor: Vendor, layout: Layout) -> Option<(&'static str, &'static str)> {
    match (vendor, layout) {
        (Vendor::SiemensXa, Layout::Slices) => Some((
            "one file a slice (interoperability export), so a volume is dozens of files",
            "Set the node or the export to Enhanced MR: one file a volume.",
        )),
        (Vendor::SiemensV, Layout::Slices) => Some((
            "one file a slice",
            "Switch Mosaic on in the protocol (System > Miscellaneous): one file a volume.",
        )),
        (Vendor::Philips, Layout::Enhanced) => Some((
            "an enhanced file holds a whole series, so it comes only after the scan",
            "For feedback, use an export that writes while it scans: PAR/REC dumps, or single \
             slices.",
        )),
        _ => None,
    }
}
