//! Resident memory of a live daemon that records, over 20,000 volumes.

use std::{fs, path::Path, time::Instant};

use bytes::Bytes;
use corticast_wire::socket::ClientSecurity;

use crate::{
    Chapter, Figure,
    client::{Scanner, Viewer},
    process::{Daemon, DaemonOptions},
    scan::{MATRIX, Scan, VOLUME_BYTES, frames, run_header},
};

/// Volumes of the run.
const VOLUMES: u32 = 20_000;
/// When memory is looked at, in volumes acknowledged.
const LOOKS: [u32; 7] = [100, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000];
/// The look that the others are compared with: every queue was full once, every cache is warm.
const REFERENCE: u32 = 1_000;
/// Volumes on their way at a time.
const IN_FLIGHT: u32 = 16;
/// Volumes that differ; ingest compares with the newest 16.
const DIFFERENT: u64 = 64;

pub async fn measure(folder: &Path) -> anyhow::Result<Chapter> {
    let recording = folder.join("memory.mcap");
    let options = DaemonOptions {
        model: "noop-64x64x32",
        record: Some(recording.clone()),
        ..DaemonOptions::default()
    };
    let mut scan = Scan::new(MATRIX, 7);
    let volumes: Vec<Bytes> = (0..DIFFERENT).map(|_| scan.volume().into()).collect();
    let daemon = Daemon::start(folder, &options).await?;
    let viewer = Viewer::connect(&daemon, &ClientSecurity::None).await?;
    let mut results = 0_u32;
    let scanner =
        Scanner::open(&daemon, &ClientSecurity::None, run_header("memory", VOLUMES)?).await?;
    let mut looks = vec![(0, daemon.process.memory_bytes("VmRSS")?)];
    let started = Instant::now();
    let mut sent = 0;
    for acked in 1..=VOLUMES {
        while sent < VOLUMES.min(acked - 1 + IN_FLIGHT) {
            let voxels = &volumes[sent as usize % volumes.len()];
            scanner.send(frames(&scanner.run, sent, voxels.clone())).await?;
            sent += 1;
        }
        loop {
            tokio::select! {
                acknowledged = scanner.acknowledged() => break acknowledged?,
                seen = viewer.next() => results += u32::from(seen?.index < VOLUMES),
            }
        }
        if LOOKS.contains(&acked) {
            looks.push((acked, daemon.process.memory_bytes("VmRSS")?));
        }
    }
    let rate = f64::from(VOLUMES) / started.elapsed().as_secs_f64();
    scanner.end(VOLUMES).await?;
    while results < VOLUMES {
        results += u32::from(viewer.next().await?.index < VOLUMES);
    }
    let peak = daemon.process.memory_bytes("VmHWM")?;
    daemon.process.stop().await?;
    let recorded = fs::metadata(&recording)?.len();
    fs::remove_file(&recording)?;

    let reference = looks.iter().find(|(at, _)| *at == REFERENCE).map_or(0, |(_, rss)| *rss);
    let change = |rss: u64| (rss as f64 - reference as f64) / 1e6;
    let later = looks.iter().filter(|(at, _)| *at > REFERENCE).map(|&(_, rss)| change(rss));
    let (low, high) = later.fold((0.0_f64, 0.0_f64), |(l, h), mb| (l.min(mb), h.max(mb)));
    let gigabytes = f64::from(VOLUMES) * VOLUME_BYTES as f64 / 1e9;
    let mut text = format!(
        "## Memory\n\n{VOLUMES} volumes as fast as they are acknowledged, {IN_FLIGHT} on their \
         way at a time, recorded, with a subscriber that sees every result ({results} came): \
         {rate:.0} volumes/s, {gigabytes:.1} GB of voxels, {:.1} GB of recording. Peak \
         {:.1} MB.\n\n| volumes acknowledged | resident MB | against {REFERENCE} volumes |\n\
         |---|---|---|\n",
        recorded as f64 / 1e9,
        peak as f64 / 1e6,
    );
    for (at, rss) in &looks {
        text += &format!("| {at} | {:.1} | {:+.1} MB |\n", *rss as f64 / 1e6, change(*rss));
    }
    let figure = Figure {
        what: format!("resident memory over {VOLUMES} volumes, recording"),
        asked: "flat, ± 5 MB".to_owned(),
        measured: format!(
            "{low:+.1} … {high:+.1} MB from {REFERENCE} volumes ({:.0} MB) on",
            reference as f64 / 1e6
        ),
        floor: format!("one volume is {:.2} MB, its float32 {:.2} MB", 0.262, 0.524),
        is_met: Some(low >= -5.0 && high <= 5.0),
    };
    Ok(Chapter { figures: vec![figure], text })
}
