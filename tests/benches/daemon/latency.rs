//! Time from a volume to its result at a subscriber: at 10 Hz, with and without recording, and
//! with CURVE.

use std::{fs, path::Path, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use corticast::clock::monotonic_ns;
use corticast_wire::{keys::KeyPair, socket::ClientSecurity};

use crate::{
    Chapter, Figure,
    client::{Scanner, Seen, Viewer},
    floor,
    numbers::{COLUMNS, Samples, listed},
    process::{Daemon, DaemonOptions},
    scan::{MATRIX, Scan, frames, run_header},
};

/// Runs of each kind, each with its own daemon.
const RUNS: u64 = 3;
/// Volumes of a run.
const VOLUMES: u32 = 120;
/// Volumes at the start of each run that are not counted: cold connections and caches.
const COLD: u32 = 5;
/// Time between volumes.
const TR: Duration = Duration::from_millis(100);
/// Stages in the order of the signal path, with the work done before their time stamp.
const STAGES: [(&str, &str); 6] = [
    ("ingest", "parse, checksum, hand to the signal thread"),
    ("spatial_mask", "stored bytes → 131,072 masked voxels"),
    ("gap_fill", "DVARS, gap fill"),
    ("normalise", "normalise (`none`)"),
    ("hemodynamic_shift", "shift and window"),
    ("decoder", "tensor, ONNX Runtime, softmax check"),
];

/// All samples of one kind.
#[derive(Default)]
struct Measured {
    sent: Vec<u64>,
    received: Vec<u64>,
    acked: Vec<u64>,
    stages: Vec<Vec<u64>>,
    publish: Vec<u64>,
    medians: Vec<f64>,
    decoder_us: Vec<f64>,
}

pub async fn measure(folder: &Path) -> anyhow::Result<Chapter> {
    let (key, curve) = keys(folder)?;
    let kinds = [
        ("no recording", false, None),
        ("recording (`flush`)", true, None),
        ("recording, CURVE on both sockets", true, Some((key, curve))),
    ];
    let mut chapter = Chapter::default();
    let (copy, loopback) = (floor::copy(), floor::loopback(100, TR / 5).await?);
    let mut text = format!(
        "## Volume to result\n\n\
         64x64x32 int16 (262,144 bytes) at 10 Hz, `tests/data/models/noop-64x64x32` on the CPU, \
         all 131,072 voxels in the mask. {RUNS} runs of {VOLUMES} volumes, each with a fresh \
         daemon; the first {COLD} volumes of each run are not counted. *Sent* counts from the \
         call that sends the volume, *received* from the daemon's `received_ns`, both until the \
         subscriber has the result. *Acknowledged* counts from the call until the daemon \
         acknowledges the volume.\n\n| | from | {COLUMNS} | p50 of each run |\n|---|---|---|---|---|---|---|---|\n"
    );
    let mut stages = String::new();
    for (name, records, security) in kinds {
        let measured = kind(folder, records, security.as_ref()).await?;
        let runs = listed(&measured.medians, 3);
        let sent = Samples::new(measured.sent);
        let received = Samples::new(measured.received);
        text += &format!("| {name} | sent | {} | |\n", sent.row());
        text += &format!("| | received | {} | {runs} |\n", received.row());
        text += &format!("| | acknowledged | {} | |\n", Samples::new(measured.acked).row());
        chapter.figures.push(Figure {
            what: format!("64x64x32, 10 Hz, received → result at a subscriber, {name}"),
            asked: "p50 < 1 ms, p99 < 5 ms".to_owned(),
            measured: format!(
                "p50 {:.2} ms, p99 {:.2} ms (from the send call {:.2} / {:.2})",
                received.median_ms(),
                received.p99_ms(),
                sent.median_ms(),
                sent.p99_ms()
            ),
            floor: format!(
                "p50 {:.2} ms, p99 {:.2} ms: the same bytes over bare loopback TCP, from the send \
                 call",
                loopback.median_ms(),
                loopback.p99_ms()
            ),
            is_met: Some(received.median_ms() < 1.0 && received.p99_ms() < 5.0),
        });
        if !records {
            stages = stage_table(measured.stages, measured.publish, &measured.decoder_us);
        }
    }
    text += &format!(
        "\nFloors: copying one volume takes {:.3} ms (p50 of {}). Sending it over a bare TCP \
         connection on the loopback and 500 bytes back takes {:.3} ms (p50; p99 {:.3} ms).\n\n\
         ### Where the time goes\n\nWithout recording. All rows except *result at the \
         subscriber* come from the result's own time stamps.\n\n{stages}",
        copy.median_ms(),
        copy.len(),
        loopback.median_ms(),
        loopback.p99_ms()
    );
    chapter.text = text;
    Ok(chapter)
}

/// Keys of a daemon and of an allowed client.
fn keys(folder: &Path) -> anyhow::Result<(ClientSecurity, DaemonOptions)> {
    let allow = folder.join("allow");
    fs::create_dir_all(&allow)?;
    let (daemon, _) = KeyPair::generate().write_files(&folder.join("daemon"))?;
    let (client, _) = KeyPair::generate().write_files(&folder.join("client"))?;
    fs::rename(folder.join("client.pub"), allow.join("client.pub"))?;
    let security = ClientSecurity::from_files(&client, &folder.join("daemon.pub"))?;
    let options = DaemonOptions { curve: Some((daemon, allow)), ..DaemonOptions::default() };
    Ok((security, options))
}

async fn kind(
    folder: &Path,
    records: bool,
    curve: Option<&(ClientSecurity, DaemonOptions)>,
) -> anyhow::Result<Measured> {
    let mut all = Measured { stages: vec![Vec::new(); STAGES.len()], ..Measured::default() };
    for seed in 0..RUNS {
        let options = DaemonOptions {
            model: "noop-64x64x32",
            record: records.then(|| folder.join("latency.mcap")),
            ..curve.map(|(_, options)| options.clone()).unwrap_or_default()
        };
        let security = curve.map_or(ClientSecurity::None, |(security, _)| security.clone());
        let daemon = Daemon::start(folder, &options).await?;
        run(&daemon, &security, seed, &mut all).await?;
        daemon.process.stop().await?;
        if let Some(recording) = &options.record {
            fs::remove_file(recording)?;
        }
    }
    Ok(all)
}

async fn run(
    daemon: &Daemon,
    security: &ClientSecurity,
    seed: u64,
    all: &mut Measured,
) -> anyhow::Result<()> {
    let mut scan = Scan::new(MATRIX, seed + 1);
    let viewer = Viewer::connect(daemon, security).await?;
    let scanner = Scanner::open(daemon, security, run_header("latency", VOLUMES)?).await?;
    let mut ticks = tokio::time::interval(TR);
    let mut received = Vec::new();
    for index in 0..VOLUMES {
        let frames = frames(&scanner.run, index, Bytes::from(scan.volume()));
        ticks.tick().await;
        let sent_ns = monotonic_ns();
        scanner.send(frames).await?;
        // Wait for both at once: with a recording, either can be first.
        let acknowledged = async {
            scanner.acknowledged().await?;
            anyhow::Ok(monotonic_ns())
        };
        let (seen, acked_ns) = tokio::try_join!(viewer.next(), acknowledged)?;
        ensure!(seen.index == index, "expected the result of {index}, got {}", seen.index);
        if index >= COLD {
            all.sent.push(seen.arrived_ns.saturating_sub(sent_ns));
            all.acked.push(acked_ns.saturating_sub(sent_ns));
            received.push(stamps(&seen, all)?);
        }
    }
    all.decoder_us.push(daemon.mean_us("corticast_stage_duration_seconds", "{stage=\"decoder\"}")?);
    all.medians.push(Samples::new(received.clone()).median_ms());
    all.received.extend(received);
    scanner.end(VOLUMES).await
}

/// Time since the daemon received the volume. Adds the times of the stages to `all`.
fn stamps(seen: &Seen, all: &mut Measured) -> anyhow::Result<u64> {
    let received_ns = seen.stamp("/received_ns")?;
    let mut last_ns = received_ns;
    for ((stage, _), times) in STAGES.iter().zip(&mut all.stages) {
        let now_ns = seen.stamp(&format!("/stages_ns/{stage}"))?;
        times.push(now_ns.saturating_sub(last_ns));
        last_ns = now_ns;
    }
    all.publish.push(seen.arrived_ns.saturating_sub(last_ns));
    Ok(seen.arrived_ns.saturating_sub(received_ns))
}

fn stage_table(stages: Vec<Vec<u64>>, publish: Vec<u64>, decoder_us: &[f64]) -> String {
    let mut text = format!("| until | what | {COLUMNS} |\n|---|---|---|---|---|---|---|\n");
    for ((stage, what), times) in STAGES.iter().zip(stages) {
        text += &format!("| {stage} | {what} | {} |\n", Samples::new(times).row());
    }
    let publish = Samples::new(publish).row();
    text += &format!(
        "| result at the subscriber | queue, MessagePack, PUB, loopback, SUB | {publish} |\n\n\
         The decoder's call alone, mean by `corticast_stage_duration_seconds` of `/metrics`: {} \
         µs (one value per run). The network is a slice and a softmax over two numbers, so this \
         is the time for the tensor's 524,288 bytes and ONNX Runtime's call.\n",
        listed(decoder_us, 0)
    );
    text
}
