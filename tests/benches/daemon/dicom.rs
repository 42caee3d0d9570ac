//! Time from renaming a DICOM mosaic into a watched folder to its result at a subscriber.

use std::{fs, io::Read, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use corticast::clock::monotonic_ns;
use corticast_wire::socket::ClientSecurity;
use flate2::read::GzDecoder;

use crate::{
    Chapter, Figure,
    client::{Seen, Viewer},
    numbers::{COLUMNS, Samples},
    process::{Daemon, DaemonOptions, Process, binary},
    root,
    scan::Scan,
};

/// Rows and columns of the mosaic.
const MOSAIC: usize = 384;
/// Files at 10 Hz, and then at the TR of the scan.
const PACES: [(&str, Duration, u32); 2] = [
    ("at 10 Hz", Duration::from_millis(100), 300),
    ("at TR 1.5 s", Duration::from_millis(1500), 20),
];
/// Files at the start that are not counted: the first one opens the run.
const COLD: u32 = 5;

pub async fn measure(folder: &Path) -> anyhow::Result<Chapter> {
    let scanned = folder.join("scanner");
    fs::create_dir_all(&scanned)?;
    let options = DaemonOptions { model: "noop-64x64x27", ..DaemonOptions::default() };
    let daemon = Daemon::start(folder, &options).await?;
    let viewer = Viewer::connect(&daemon, &ClientSecurity::None).await?;
    let mut command = Command::new(binary("corticast-adapter"));
    command.arg("dicom").arg(&scanned).args(["--sub", "bench"]);
    command.args(["--connect", daemon.endpoint("adapter")?]);
    let adapter = Process::start(&mut command, &folder.join("adapter.log"))?;
    // Give the adapter time to start. Files written earlier are read as well.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut mosaics = Mosaics::new()?;
    let mut chapter = Chapter::default();
    let mut first_ms = 0.0;
    let mut rows = String::new();
    let mut index = 0;
    for (name, pace, n) in PACES {
        let mut ticks = tokio::time::interval(pace);
        let (mut to_daemon, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let path = scanned.join(format!("001_000013_{:06}.dcm", index + 1));
            let aside = scanned.join(".part");
            fs::write(&aside, mosaics.next(index + 1)?)?;
            ticks.tick().await;
            let renamed_ns = monotonic_ns();
            fs::rename(&aside, &path)?;
            let seen: Seen = viewer.next().await.with_context(|| said(folder))?;
            ensure!(seen.index == index, "expected the result of {index}, got {}", seen.index);
            let took_ns = seen.arrived_ns.saturating_sub(renamed_ns);
            if index == 0 {
                first_ms = took_ns as f64 / 1e6;
            }
            if index >= COLD {
                whole.push(took_ns);
                to_daemon.push(seen.stamp("/received_ns")?.saturating_sub(renamed_ns));
            }
            fs::remove_file(&path)?;
            index += 1;
        }
        let (whole, to_daemon) = (Samples::new(whole), Samples::new(to_daemon));
        rows += &format!("| {name} | result at the subscriber | {} |\n", whole.row());
        rows += &format!("| | received by the daemon | {} |\n", to_daemon.row());
        chapter.figures.push(Figure {
            what: format!("DICOM rename → result at a subscriber, 64x64x27 mosaic, {name}"),
            asked: "p50 < 5 ms, p99 < 20 ms".to_owned(),
            measured: format!("p50 {:.2} ms, p99 {:.2} ms", whole.median_ms(), whole.p99_ms()),
            floor: format!("{:.2} ms: to read and copy the file", mosaics.floor(folder)?),
            is_met: Some(whole.median_ms() < 5.0 && whole.p99_ms() < 20.0),
        });
    }
    adapter.stop().await?;
    daemon.process.stop().await?;
    chapter.text = format!(
        "## DICOM\n\nMosaics of 384x384 (27 slices of 64x64, `tests/data/dicom/skyra.dcm.gz`: a \
         real header, with noise as pixels) are written under a hidden name and renamed \
         into a folder that `corticast-adapter dicom` watches. The daemon decodes them with \
         `noop-64x64x27`, without recording. Times count from the call that renames. The first \
         {COLD} are not counted; the very first, which opens the run, took {first_ms:.1} ms.\n\n\
         | | until | {COLUMNS} |\n|---|---|---|---|---|---|---|\n{rows}\n\
         For comparison, a figure that was given to us and not measured here: pyneal at its \
         2021 head, 74x74x36, on two such cores, 258 ms p50 and 397 ms p95.\n"
    );
    Ok(chapter)
}

/// The logs of both processes, for an error message.
fn said(folder: &Path) -> String {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    format!("adapter:\n{}daemon:\n{}", read("adapter.log"), read("daemon.log"))
}

/// Mosaics with a real header.
struct Mosaics {
    original: Vec<u8>,
    scan: Scan,
}

impl Mosaics {
    fn new() -> anyhow::Result<Self> {
        let packed = fs::read(root().join("tests/data/dicom/skyra.dcm.gz"))?;
        let mut original = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut original)?;
        Ok(Self { original, scan: Scan::new([MOSAIC, MOSAIC, 1], 11) })
    }

    /// The file of volume `number`, counted from 1.
    fn next(&mut self, number: u32) -> anyhow::Result<Vec<u8>> {
        let text = number.to_string();
        let mut file = self.original.clone();
        // SOPInstanceUID, AcquisitionNumber, InstanceNumber.
        replace(&mut file, *b"\x08\0\x18\0UI", &format!("2.25.1.{number}"))?;
        replace(&mut file, *b"\x20\0\x12\0IS", &text)?;
        replace(&mut file, *b"\x20\0\x13\0IS", &text)?;
        // The pixels are the last element.
        let start = file.len() - 2 * MOSAIC * MOSAIC;
        file[start..].copy_from_slice(&self.scan.volume());
        Ok(file)
    }

    /// Milliseconds to read such a file and copy it once.
    fn floor(&mut self, folder: &Path) -> anyhow::Result<f64> {
        let path = folder.join("floor.dcm");
        fs::write(&path, self.next(1)?)?;
        let mut times = Vec::new();
        for _ in 0..100 {
            let started_ns = monotonic_ns();
            let copy = fs::read(&path)?.clone();
            times.push(monotonic_ns() - started_ns);
            std::hint::black_box(copy);
        }
        Ok(Samples::new(times).median_ms())
    }
}

/// Replaces the value of a short element in an explicit little-endian file.
fn replace(file: &mut Vec<u8>, tag_and_type: [u8; 6], value: &str) -> anyhow::Result<()> {
    let at = file.windows(6).position(|bytes| bytes == tag_and_type).context("no such element")?;
    let length = u16::from_le_bytes([file[at + 6], file[at + 7]]);
    let pad = if value.len() % 2 == 1 { " " } else { "" };
    let value = [value.as_bytes(), pad.as_bytes()].concat();
    let header = u16::try_from(value.len())?.to_le_bytes();
    let end = at + 8 + usize::from(length);
    file.splice(at + 6..end, header.into_iter().chain(value));
    Ok(())
}
