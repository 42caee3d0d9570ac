//! `make bench`: the figures of docs/benchmarks.md, from the release binaries over real sockets.
//!
//! Everything measured runs as a separate process; this process is the scanner and the
//! subscriber. A figure that misses its target is written down as missed and does not make the
//! command fail; only a failed measurement does. Each run rewrites the whole file, including its
//! text. It takes about ten minutes and temporarily 6 GB of disk.
//!
//! `cargo bench --workspace --bench daemon -- FIGURE…` measures only the named figures
//! (`latency`, `stages`, `replay`, `memory`, `dicom`, `generator`, `clips`, `haxby`) and prints instead of
//! writing.

mod client;
mod clips;
mod dicom;
mod floor;
mod haxby;
mod latency;
mod machine;
mod memory;
mod motion;
mod noise;
mod numbers;
mod process;
mod replay;
mod scan;
mod stages;

use std::path::{Path, PathBuf};

use anyhow::Context;

/// One line of the first table: a figure with a target.
pub struct Figure {
    /// What is measured.
    pub what: String,
    /// The target.
    pub asked: String,
    /// The measurement.
    pub measured: String,
    /// Time or size of the bytes or operations alone.
    pub floor: String,
    /// Whether the target is met; `None` if there is no target or no measurement.
    pub is_met: Option<bool>,
}

/// One chapter: lines for the first table, and its text.
#[derive(Default)]
pub struct Chapter {
    /// Lines for the first table.
    pub figures: Vec<Figure>,
    /// Markdown, from its heading on.
    pub text: String,
}

/// Comparisons of two commits, which one run of this program cannot make: written by hand.
const SIDE_BY_SIDE: &str = include_str!("side_by_side.md");

const CHAPTERS: [&str; 8] =
    ["latency", "stages", "replay", "memory", "dicom", "generator", "clips", "haxby"];

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` also runs this, without the flag, and needs no figures.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let asked: Vec<&str> =
        CHAPTERS.into_iter().filter(|c| arguments.iter().any(|a| a == c)).collect();
    let is_whole = asked.is_empty();
    let asked = if is_whole { CHAPTERS.to_vec() } else { asked };

    let machine = machine::describe()?;
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .context("cannot create a folder for the bench")?;
    // One thread, to leave the cores to the daemon.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut chapters = Vec::new();
    for chapter in asked {
        eprintln!("bench: {chapter}");
        let measured = runtime.block_on(async {
            match chapter {
                "latency" => latency::measure(folder.path()).await,
                "stages" => stages::measure().await,
                "replay" => replay::measure(folder.path()).await,
                "memory" => memory::measure(folder.path()).await,
                "dicom" => dicom::measure(folder.path()).await,
                "generator" => clips::measure_beside(folder.path()).await,
                "clips" => clips::measure(folder.path()).await,
                _ => haxby::measure(folder.path()).await,
            }
        });
        chapters.push(measured.with_context(|| format!("{chapter} could not be measured"))?);
    }
    let page = page(&machine, &chapters);
    println!("{page}");
    if is_whole {
        let path = root().join("docs/benchmarks.md");
        std::fs::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("bench: written to docs/benchmarks.md");
    }
    Ok(())
}

fn page(machine: &str, chapters: &[Chapter]) -> String {
    let mut page = format!(
        "# Benchmarks\n\n\
         `make bench` writes this page, including its text: change both in `tests/benches/daemon/`.\n\
         The release binaries run as separate processes, connected over real sockets. \n\
         The bench process is the scanner and the subscriber, on the same machine and the same \
         cores.\nThe floor is the time or size of the bytes or operations alone on this machine, \
         measured in the same session.\n\n{machine}\n\
         ## Asked and measured\n\n\
         | figure | asked | measured | floor | met |\n|---|---|---|---|---|\n"
    )
    .replace(" \n", "\n");
    for figure in chapters.iter().flat_map(|chapter| &chapter.figures) {
        let met = match figure.is_met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        let Figure { what, asked, measured, floor, .. } = figure;
        page += &format!("| {what} | {asked} | {measured} | {floor} | {met} |\n");
    }
    for chapter in chapters {
        page += &format!("\n{}\n", chapter.text.trim());
    }
    page + "\n" + SIDE_BY_SIDE
}
