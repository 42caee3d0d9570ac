//! The doctor in a folder: DICOM files, PAR/REC pairs, and folders below.

use std::{fs, path::Path};

use anyhow::Context as _;
use corticast_wire::text::count;
use crossbeam::channel::never;
use serde_json::json;

use super::{
    Examined, Heard,
    below::{Below, look},
    received::{Reception, receive},
};
use crate::{
    dicom::doctor as dicom,
    network::RunOptions,
    page::{Advice, listed, note, wrong},
    parrec::{self, ParRecOptions, is_pair},
};

/// Examines a folder, after watching it for a while. If the images lie in a folder below, that one.
pub(crate) fn examine(folder: &Path, watch_s: u64, heard: &Heard) -> anyhow::Result<Examined> {
    let found = examine_one(folder, watch_s, None, heard)?;
    match found {
        Found::Something(examined) => Ok(examined),
        Found::Nothing(examined) => match look(folder) {
            Some(below) => match examine_one(&below.newest, 0, Some(&below), heard)? {
                Found::Something(examined) | Found::Nothing(examined) => Ok(examined),
            },
            None => Ok(examined),
        },
    }
}

/// Whether an image lies in the folder itself.
enum Found {
    Something(Examined),
    Nothing(Examined),
}

fn examine_one(
    folder: &Path,
    watch_s: u64,
    below: Option<&Below>,
    heard: &Heard,
) -> anyhow::Result<Found> {
    let images = dicom::examine(folder, watch_s).context("the folder cannot be read")?;
    let n_pair = fs::read_dir(folder)?.flatten().filter(|entry| is_pair(&entry.path())).count();
    let pairs = if n_pair > 0 { Some(pairs(folder)?) } else { None };
    let mut advice = images.advice();
    if let Some(below) = below {
        advice.insert(0, of_below(below));
    }
    if let Some(pairs) = &pairs {
        advice.extend(of_pairs(pairs));
    }
    // What the readers of the files warn of.
    for (text, n) in heard.warnings() {
        let times = if n > 1 { format!(", {n} times") } else { String::new() };
        advice.push(note(format!("{text}{times}"), ""));
    }
    let runs = pairs.as_ref().map_or(&[][..], |pairs| &pairs.runs);
    let is_usable = images.is_usable() || runs.iter().any(|run| !run.volumes.is_empty());
    let n_wrong = advice.iter().filter(|advice| advice.is_wrong).count();
    let verdict = match (is_usable, n_wrong) {
        (true, 0) => "This export works.".to_owned(),
        (true, 1) => "This export works, but one thing is wrong.".to_owned(),
        (true, n) => format!("This export works, but {n} things are wrong."),
        (false, _) => "This export gives no run.".to_owned(),
    };
    let mut text = format!("{verdict}\n{}", images.summary(n_pair));
    text += &images.sections();
    for (number, run) in (1..).zip(runs) {
        text += &format!("\n{}", run.text(number, false));
        text += "  becomes a run: corticast-adapter parrec FOLDER\n";
    }
    text += &listed(&advice);
    let mut json = images.json();
    json["works"] = json!(is_usable);
    json["pairs"] = json!(runs.iter().map(|run| run.json(false)).collect::<Vec<_>>());
    json["levels_below"] = json!(below.map_or(0, |below| below.level));
    json["advice"] = json!(advice.iter().map(Advice::json).collect::<Vec<_>>());
    let is_something = images.has_image() || n_pair > 0;
    let examined = Examined { is_usable, text, json };
    Ok(if is_something { Found::Something(examined) } else { Found::Nothing(examined) })
}

fn of_below(below: &Below) -> Advice {
    let n = below.n_folder;
    let found = match n {
        1 => format!("the images lie {} below the folder", levels(below.level)),
        _ => format!(
            "no image lies in the folder itself, and {n} folders below it hold some: this page is \
             about the one that was written last, {} below",
            levels(below.level)
        ),
    };
    note(found, "Name the folder into which the images go, to the doctor and to the adapter.")
}

fn levels(n: usize) -> String {
    if n == 1 { "one level".to_owned() } else { format!("{n} levels") }
}

/// Reads the PAR/REC pairs of a folder as their adapter does.
fn pairs(folder: &Path) -> anyhow::Result<Reception> {
    let options = ParRecOptions {
        folder: folder.to_owned(),
        run: RunOptions::default(),
        image_type: None,
        echo: 1,
        scaling: parrec::Scaling::default(),
        deadline_s: std::time::Duration::ZERO,
        poll_ms: 200,
        once: true,
    };
    let adapter = parrec::open(options)?;
    Ok(receive(Box::new(adapter), None, &never())?)
}

fn of_pairs(pairs: &Reception) -> Vec<Advice> {
    let mut advice = Vec::new();
    if pairs.n_refused > 0 {
        advice.push(wrong(
            format!("{} refused; the log says why", count(pairs.n_refused, "PAR/REC pair")),
            "Export them again as PAR/REC of version 4.2, both files of each pair.",
        ));
    }
    if let Some(error) = &pairs.failed {
        advice.push(wrong(format!("PAR/REC pairs cannot be read: {error}"), ""));
    }
    if pairs.runs.is_empty() {
        advice.push(wrong(
            "the PAR/REC files give no run",
            "Export the magnitude images of the functional scan, .par and .rec together.",
        ));
    }
    advice
}
