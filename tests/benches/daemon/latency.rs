//! Time from a volume to its result at a subscriber: at 10 Hz, in the default configuration, with a
//! recording, with CURVE, and without normalisation.

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
/// Volumes at the start of each run that are not counted: cold connections and caches, and the
/// warm-up.
const COLD: u32 = 10;
/// Volumes at the start of a run without a result, with `growing`: the default warm-up.
const WARM_UP: u32 = 6;
/// Time between volumes.
const TR: Duration = Duration::from_millis(100);
/// Stages in the order of the signal path, with the work done before their time stamp.
const STAGES: [(&str, &str); 6] = [
    ("ingest", "parse, checksum, hand to the signal thread"),
    ("spatial_mask", "stored bytes → 131,072 masked voxels"),
    ("gap_fill", "DVARS, gap fill"),
    ("normalise", "normalise (`growing`)"),
    ("hemodynamic_shift", "shift and window"),
    ("decoder", "tensor, ONNX Runtime, softmax check"),
];

/// The kind with CURVE on its sockets.
const CURVE: &str = "recording, CURVE on both sockets";

/// What is measured.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Whether it has the default normalisation, or none.
    grows: bool,
    records: bool,
    /// Targets: median and 99th percentile, ms.
    most: Option<(f64, f64)>,
}

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
    let most = |p50, p99| Some((p50, p99));
    let kinds = [
        Kind { name: "default configuration", grows: true, records: false, most: most(0.7, 3.0) },
        Kind { name: "recording (`flush`)", grows: true, records: true, most: most(1.0, 5.0) },
        Kind { name: CURVE, grows: true, records: true, most: most(1.0, 5.0) },
        Kind { name: "`normalise = \"none\"`", grows: false, records: false, most: None },
    ];
    let mut chapter = Chapter::default();
    let (copy, loopback) = (floor::copy(), floor::loopback(100, TR / 5).await?);
    let mut text = format!(
        "## Volume to result\n\n\
         64x64x32 int16 (262,144 bytes) at 10 Hz, `tests/data/models/noop-64x64x32` on the CPU, \
         all 131,072 voxels in the mask, `normalise = \"growing\"` unless a row says otherwise. {RUNS} runs of {VOLUMES} volumes, each with a fresh \
         daemon; the first {COLD} volumes of each run are not counted. *Sent* counts from the \
         call that sends the volume, *received* from the daemon's `received_ns`, both until the \
         subscriber has the result. *Acknowledged* counts from the call until the daemon \
         acknowledges the volume.\n\n| | from | {COLUMNS} | p50 of each run |\n|---|---|---|---|---|---|---|---|\n"
    );
    let mut stages = String::new();
    let curve = (key, curve);
    for of_kind in kinds {
        let Kind { name, records, most, .. } = of_kind;
        let measured = kind(folder, of_kind, (name == CURVE).then_some(&curve)).await?;
        let runs = listed(&measured.medians, 3);
        let sent = Samples::new(measured.sent);
        let received = Samples::new(measured.received);
        text += &format!("| {name} | sent | {} | |\n", sent.row());
        text += &format!("| | received | {} | {runs} |\n", received.row());
        text += &format!("| | acknowledged | {} | |\n", Samples::new(measured.acked).row());
        chapter.figures.push(Figure {
            what: format!("64x64x32, 10 Hz, received → result at a subscriber, {name}"),
            asked: most.map_or("reported".to_owned(), |(p50, p99)| {
                format!("p50 ≤ {p50} ms, p99 ≤ {p99} ms")
            }),
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
            is_met: most.map(|(p50, p99)| received.median_ms() <= p50 && received.p99_ms() <= p99),
        });
        if of_kind.grows && !records {
            stages = stage_table(measured.stages, measured.publish, &measured.decoder_us);
        }
    }
    text += &format!(
        "\nFloors: copying one volume takes {:.3} ms (p50 of {}). Sending it over a bare TCP \
         connection on the loopback and 500 bytes back takes {:.3} ms (p50; p99 {:.3} ms).\n\n\
         ### Where the time goes\n\nIn the default configuration. All rows except *result at the \
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
    Kind { grows, records, .. }: Kind,
    curve: Option<&(ClientSecurity, DaemonOptions)>,
) -> anyhow::Result<Measured> {
    let mut all = Measured { stages: vec![Vec::new(); STAGES.len()], ..Measured::default() };
    for seed in 0..RUNS {
        let options = DaemonOptions {
            model: "noop-64x64x32",
            grows,
            record: records.then(|| folder.join("latency.mcap")),
            ..curve.map(|(_, options)| options.clone()).unwrap_or_default()
        };
        let security = curve.map_or(ClientSecurity::None, |(security, _)| security.clone());
        let daemon = Daemon::start(folder, &options).await?;
        run(&daemon, &security, if grows { WARM_UP } else { 0 }, seed, &mut all).await?;
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
    n_silent: u32,
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
        if index < n_silent {
            scanner.acknowledged().await?;
            continue;
        }
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
