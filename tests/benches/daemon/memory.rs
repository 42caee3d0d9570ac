//! Resident memory of a live daemon over 20,000 volumes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

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
/// Numbers of acknowledged volumes at which memory is read.
const LOOKS: [u32; 7] = [100, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000];
/// The reading that later ones are compared with: by then every buffer has been used.
const REFERENCE: u32 = 1_000;
/// Volumes in transit at a time: sent, but not yet acknowledged and decoded. The memory of this
/// few queued volumes varies by less than the tolerance, so that growth is visible.
const IN_FLIGHT: u32 = 8;
/// Number of different volumes; ingest compares each with the newest 16.
const DIFFERENT: u64 = 64;

/// The measurements of one run.
struct Fed {
    /// Volumes acknowledged, and resident bytes at that time.
    looks: Vec<(u32, u64)>,
    volumes_per_s: f64,
    peak: u64,
    recorded: u64,
}

impl Fed {
    /// Change since the reference, in MB.
    fn change_mb(&self, rss: u64) -> f64 {
        let reference = self.looks.iter().find(|(at, _)| *at == REFERENCE);
        (rss as f64 - reference.map_or(0.0, |(_, rss)| *rss as f64)) / 1e6
    }

    fn figure(&self, what: &str) -> Figure {
        let later = self.looks.iter().filter(|(at, _)| *at > REFERENCE);
        let changes = later.map(|&(_, rss)| self.change_mb(rss));
        let (low, high) = changes.fold((0.0_f64, 0.0_f64), |(l, h), mb| (l.min(mb), h.max(mb)));
        Figure {
            what: format!("resident memory over {VOLUMES} volumes, {what}"),
            asked: "flat, ± 5 MB".to_owned(),
            measured: format!("{low:+.1} … {high:+.1} MB from {REFERENCE} volumes on"),
            floor: "0.26 MB: one volume".to_owned(),
            is_met: Some(low >= -5.0 && high <= 5.0),
        }
    }
}

pub async fn measure(folder: &Path) -> anyhow::Result<Chapter> {
    let plain = feed(folder, None).await?;
    let recording = folder.join("memory.mcap");
    let recorded = feed(folder, Some(recording)).await?;
    let mut text = format!(
        "## Memory\n\n{VOLUMES} volumes ({:.1} GB of voxels), {IN_FLIGHT} in transit at a \
         time: the next is sent when one is acknowledged and the subscriber has its result. \
         Without recording {:.0} volumes/s, peak {:.1} MB; with recording {:.0} volumes/s, peak \
         {:.1} MB, {:.1} GB of recording.\n\n\
         For each volume the daemon keeps until the session ends: its index, as seen and as \
         recorded, and an entry for its chunk in the index at the end of the MCAP file. Queues are \
         bounded, and the daemon keeps memory that a queue once needed: an adapter that sends \
         faster than the daemon decodes fills the signal thread's ring of 64 volumes (17 MB at \
         this matrix), and one that sends faster than the recorder writes fills its queue \
         (256 MB).\n\n\
         | volumes acknowledged | no recording, resident MB | against {REFERENCE} volumes | \
         recording, resident MB | against {REFERENCE} volumes |\n|---|---|---|---|---|\n",
        f64::from(VOLUMES) * VOLUME_BYTES as f64 / 1e9,
        plain.volumes_per_s,
        plain.peak as f64 / 1e6,
        recorded.volumes_per_s,
        recorded.peak as f64 / 1e6,
        recorded.recorded as f64 / 1e9,
    );
    for (&(at, without), &(_, with)) in plain.looks.iter().zip(&recorded.looks) {
        text += &format!(
            "| {at} | {:.1} | {:+.1} MB | {:.1} | {:+.1} MB |\n",
            without as f64 / 1e6,
            plain.change_mb(without),
            with as f64 / 1e6,
            recorded.change_mb(with)
        );
    }
    let figures = vec![plain.figure("no recording"), recorded.figure("recording")];
    Ok(Chapter { figures, text })
}

async fn feed(folder: &Path, record: Option<PathBuf>) -> anyhow::Result<Fed> {
    let options = DaemonOptions {
        model: "noop-64x64x32",
        record: record.clone(),
        ..DaemonOptions::default()
    };
    let mut scan = Scan::new(MATRIX, 7);
    let volumes: Vec<Bytes> = (0..DIFFERENT).map(|_| scan.volume().into()).collect();
    let daemon = Daemon::start(folder, &options).await?;
    let viewer = Viewer::connect(&daemon, &ClientSecurity::None).await?;
    let scanner =
        Scanner::open(&daemon, &ClientSecurity::None, run_header("memory", VOLUMES)?).await?;
    let mut looks = vec![(0, daemon.process.memory_bytes("VmRSS")?)];
    let started = Instant::now();
    let (mut sent, mut acked, mut results) = (0, 0, 0);
    while acked < VOLUMES || results < VOLUMES {
        while sent < VOLUMES.min(acked.min(results) + IN_FLIGHT) {
            let voxels = &volumes[sent as usize % volumes.len()];
            scanner.send(frames(&scanner.run, sent, voxels.clone())).await?;
            sent += 1;
        }
        tokio::select! {
            acknowledged = scanner.acknowledged() => {
                acknowledged?;
                acked += 1;
                if LOOKS.contains(&acked) {
                    looks.push((acked, daemon.process.memory_bytes("VmRSS")?));
                }
            }
            seen = viewer.next() => {
                seen?;
                results += 1;
            }
        }
    }
    let volumes_per_s = f64::from(VOLUMES) / started.elapsed().as_secs_f64();
    scanner.end(VOLUMES).await?;
    let peak = daemon.process.memory_bytes("VmHWM")?;
    daemon.process.stop().await?;
    let mut recorded = 0;
    if let Some(recording) = &record {
        recorded = fs::metadata(recording)?.len();
        fs::remove_file(recording)?;
    }
    Ok(Fed { looks, volumes_per_s, peak, recorded })
}
