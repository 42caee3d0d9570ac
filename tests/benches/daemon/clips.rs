//! Clips: how much a slow or busy generator delays the signal path, the overhead of the stage
//! beyond its networks, and how long each part takes.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use corticast_bold::{
    run::{RunEntities, RunHeader},
    time::{RepetitionTime, TrIndex},
};
use corticast_models::{
    conditions::Conditions,
    generator::{
        Mode,
        frames::Shown,
        maker::{Maker, MakerOptions, ModelNetworks},
        scheduler::Init,
        set::{Coder, GraphChoice},
    },
    manifest::{Manifest, video::VideoManifest},
    runtime::OnnxRuntime,
};
use corticast_wire::socket::ClientSecurity;

use crate::{
    Chapter, Figure,
    client::{Scanner, Viewer},
    numbers::{Samples, listed, median},
    process::{Daemon, DaemonOptions},
    root,
    scan::{Scan, frames},
};

/// Pairs of runs, with a generator and without.
const PAIRS: usize = 5;
/// Volumes of a run.
const VOLUMES: u32 = 100;
/// Volumes at the start of each run that are not counted: warm-up and cold caches.
const COLD: u32 = 15;
/// Time between volumes: a fortieth of the model's TR, to get enough samples.
const PERIOD: Duration = Duration::from_millis(50);
/// Clips that are timed.
const CLIPS: u32 = 5;
/// Volumes over which memory must not grow beside a generator that is always behind.
const LONG: u32 = 4000;
/// Steps of the prior: few, so that decoding fits the period on one core.
const PRIOR_STEPS: &str = "decoder.prior_steps=5";

/// Clips at the true sizes: counted TFLOP, and the time bound at the peak rate of the matrix units
/// of an H200 (790 TFLOP/s) and an A100 (250 TFLOP/s).
const CUDA: [(&str, &str, &str, &str); 6] = [
    ("reference: 25 steps, guidance, SparseCtrl, VAE", "285.6", "0.36 s", "1.14 s"),
    ("the same, six frames decoded", "279.3", "0.35 s", "1.12 s"),
    ("sdedit 0.3: 7 steps", "90.3", "0.11 s", "0.36 s"),
    ("LCM 8 steps, VAE", "57.7", "0.07 s", "0.23 s"),
    ("LCM 4 steps, TAESD", "22.8", "0.03 s", "0.09 s"),
    ("LCM 4 steps, TAESD, no SparseCtrl", "17.4", "0.02 s", "0.07 s"),
];

pub async fn measure(folder: &Path) -> anyhow::Result<Chapter> {
    let mut chapter = Chapter {
        text: "## Clips\n\nThe shipped model and video networks (`models/demo`), on the CPU, one \
               thread for each network.\n"
            .to_owned(),
        ..Chapter::default()
    };
    beyond_the_networks(&mut chapter)?;
    always_behind(folder, &mut chapter).await?;
    chapter.text += "\n### On a GPU\n\nNot measured: we had no GPU. The bound is the FLOP of \
                     networks of the true sizes divided by the peak rate of the matrix units; no \
                     clip can be faster. Also not measured at the true sizes: brain model, prior of \
                     100, 20 and 10 steps, decoupler.\n\n| clip of 16 frames, 256x256 | TFLOP | bound, H200 | bound, A100 \
                     | measured |\n|---|---|---|---|---|\n";
    for (what, flop, h200, a100) in CUDA {
        chapter.text += &format!("| {what} | {flop} | {h200} | {a100} | not measured |\n");
    }
    Ok(chapter)
}

/// The p99 of results beside generators of several kinds, in pairs.
pub async fn measure_beside(folder: &Path) -> anyhow::Result<Chapter> {
    let mut chapter = Chapter::default();
    let video = format!("generator.dir={}", root().join("models/demo/video").display());
    let kinds: [(&str, Vec<&str>); 2] = [
        (
            "that makes one clip every 10 s",
            vec!["generator.mode=still", "generator.min_interval_s=10"],
        ),
        ("that uses a core all the time", vec!["generator.mode=reference", &video]),
    ];
    chapter.text += &format!(
        "## A generator beside the signal path\n\nThe shipped model and video networks \
         (`models/demo`), on the CPU. Received → result at a subscriber, {VOLUMES} volumes \
         every {} ms, the first {COLD} not counted, {PRIOR_STEPS}. {PAIRS} pairs of runs, \
         alternating with and without the generator, on two cores that daemon, scanner and \
         subscriber share.\n\n| generator | p99 with, ms | p99 without, ms | ratio of each pair | \
         median ratio |\n|---|---|---|---|---|\n",
        PERIOD.as_millis()
    );
    for (kind, set) in kinds {
        let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..PAIRS {
            let seed = pair as u64 + 1;
            let on = latencies(folder, &set, seed).await?.p99_ms();
            let off = latencies(folder, &["generator.mode=off"], seed).await?.p99_ms();
            with.push(on);
            without.push(off);
            ratios.push(on / off);
        }
        let ratio = median(&ratios);
        chapter.text += &format!(
            "| {kind} | {} | {} | {} | {ratio:.2} |\n",
            listed(&with, 1),
            listed(&without, 1),
            listed(&ratios, 2)
        );
        let is_asked = set[0] == "generator.mode=still";
        chapter.figures.push(Figure {
            what: format!("p99 of results beside a generator {kind}, relative to no generator"),
            asked: if is_asked { "≤ 1.25" } else { "reported" }.to_owned(),
            measured: format!("{ratio:.2} (median of {PAIRS} pairs)"),
            floor: "1: no generator".to_owned(),
            is_met: is_asked.then_some(ratio <= 1.25),
        });
    }
    Ok(chapter)
}

/// The demo's daemon with these keys set and no film.
async fn daemon(folder: &Path, set: &[&str]) -> anyhow::Result<Daemon> {
    let mut set: Vec<String> = set.iter().map(|&key| key.to_owned()).collect();
    set.push(PRIOR_STEPS.to_owned());
    let config = Some(root().join("configs/demo.toml"));
    Daemon::start(folder, &DaemonOptions { config, set, ..DaemonOptions::default() }).await
}

/// Header of a run that matches the demo's model.
fn run_of_the_demo(name: &str, n_volumes: u32) -> anyhow::Result<RunHeader> {
    let manifest = Manifest::read(&root().join("models/demo"))?;
    Ok(RunHeader {
        session: "bench".to_owned(),
        entities: RunEntities::checked("bench", None, Some(name), None)?,
        repetition_time: RepetitionTime::from_secs(manifest.signal.repetition_time.as_secs())?,
        space: manifest.mask.space,
        n_volumes: Some(n_volumes),
        source: "bench".to_owned(),
        series_id: name.to_owned(),
        slice_times: None,
    })
}

async fn latencies(folder: &Path, set: &[&str], seed: u64) -> anyhow::Result<Samples> {
    let daemon = daemon(folder, set).await?;
    let viewer = Viewer::connect(&daemon, &ClientSecurity::None).await?;
    let header = run_of_the_demo("clips", VOLUMES)?;
    let mut scan = Scan::new(header.space.matrix(), seed);
    let scanner = Scanner::open(&daemon, &ClientSecurity::None, header).await?;
    let mut ticks = tokio::time::interval(PERIOD);
    let sending = async {
        for index in 0..VOLUMES {
            ticks.tick().await;
            scanner.send(frames(&scanner.run, index, Bytes::from(scan.volume()))).await?;
            scanner.acknowledged().await?;
        }
        anyhow::Ok(())
    };
    let receiving = async {
        let mut received = Vec::new();
        loop {
            let seen = viewer.next().await?;
            if seen.index >= COLD {
                received.push(seen.arrived_ns.saturating_sub(seen.stamp("/received_ns")?));
            }
            if seen.index + 1 == VOLUMES {
                return anyhow::Ok(received);
            }
        }
    };
    let ((), received) = tokio::try_join!(sending, receiving)?;
    scanner.end(VOLUMES).await?;
    daemon.process.stop().await?;
    Ok(Samples::new(received))
}

/// Time of a clip beyond the time of its networks.
fn beyond_the_networks(chapter: &mut Chapter) -> anyhow::Result<()> {
    let model = ModelNetworks::of(&Manifest::read(&root().join("models/demo"))?)?;
    let set = VideoManifest::read(&root().join("models/demo/video"))?;
    let on_cpu = OnnxRuntime::on_cpu();
    let modes = [
        ("reference, 25 steps", Mode::Reference, 25, GraphChoice::Fused),
        ("live, 8 steps", Mode::Live, 8, GraphChoice::Fused),
        ("live, 4 steps", Mode::Live, 4, GraphChoice::Fused),
        ("live, 4 steps, SparseCtrl apart", Mode::Live, 4, GraphChoice::Split),
        ("still", Mode::Still, 0, GraphChoice::Auto),
    ];
    chapter.text += &format!(
        "\n### Where the time of a clip goes\n\n16 frames of {0}x{0} from six blurry ones; means of \
         {CLIPS} clips of different key frames. *Beyond* is the time outside of ONNX Runtime: \
         scaling, noise, the steps' arithmetic, copies.\n\n| mode | clip, ms | calls of ONNX \
         Runtime, ms | beyond | each network: calls x ms |\n|---|---|---|---|---|\n",
        set.sizes.image
    );
    for (name, mode, steps, graphs) in modes {
        let options = MakerOptions {
            mode,
            steps: steps.max(1),
            init: Init::Reference,
            guidance: None,
            control_scale: 1.0,
            shown: Shown::All,
            graphs,
            coder: Coder::Vae,
            seed: 0,
        };
        let mut maker = Maker::open(options, &model, Some(&set), &on_cpu)?;
        let mut blank = Conditions::blank(model.sizes);
        let mut clip = |maker: &mut Maker, at: u32| {
            // Another key frame and another prompt each time, as in a session.
            let shift = 0.1 + 0.05 * at as f32;
            blank.latents.iter_mut().flatten().for_each(|value| *value = shift);
            blank.caption = Some(format!("a red ball and {at} more"));
            maker.make(&blank, TrIndex(at), |_| true)
        };
        clip(&mut maker, 1000)?;
        let before: Vec<(u64, Duration)> = runs(&maker);
        let started = Instant::now();
        for at in 0..CLIPS {
            clip(&mut maker, at)?;
        }
        let whole = started.elapsed();
        let mut calls = Duration::ZERO;
        let mut parts = Vec::new();
        for (network, (n_before, took_before)) in maker.networks().iter().zip(&before) {
            let (n, took) = network.runs();
            let (n, took) = (n - n_before, took - *took_before);
            calls += took;
            if n > 0 {
                let each_ms = took.as_secs_f64() * 1e3 / n as f64;
                let per_clip = n as f64 / f64::from(CLIPS);
                parts.push(format!("{} {per_clip:.0} x {each_ms:.2}", network.role()));
            }
        }
        let beyond = whole.as_secs_f64() / calls.as_secs_f64() - 1.0;
        let per_clip_ms = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(CLIPS);
        chapter.text += &format!(
            "| {name} | {:.1} | {:.1} | {:.2} % | {} |\n",
            per_clip_ms(whole),
            per_clip_ms(calls),
            100.0 * beyond,
            parts.join(", ")
        );
        if mode == Mode::Reference {
            chapter.figures.push(Figure {
                what: "time of a 25-step clip outside of ONNX Runtime, relative to its ONNX calls"
                    .to_owned(),
                asked: "< 3 %".to_owned(),
                measured: format!("{:.2} %", 100.0 * beyond),
                floor: "0: the calls themselves".to_owned(),
                is_met: Some(beyond < 0.03),
            });
        }
    }
    Ok(())
}

fn runs(maker: &Maker) -> Vec<(u64, Duration)> {
    maker.networks().into_iter().map(|network| network.runs()).collect()
}

/// Memory while every volume has a result and few have a clip.
async fn always_behind(folder: &Path, chapter: &mut Chapter) -> anyhow::Result<()> {
    let video = format!("generator.dir={}", root().join("models/demo/video").display());
    let daemon = daemon(folder, &["generator.mode=live", &video]).await?;
    let header = run_of_the_demo("behind", LONG)?;
    let mut scan = Scan::new(header.space.matrix(), 99);
    let scanner = Scanner::open(&daemon, &ClientSecurity::None, header).await?;
    let mut sizes_mb = Vec::new();
    for index in 0..LONG {
        scanner.send(frames(&scanner.run, index, Bytes::from(scan.volume()))).await?;
        scanner.acknowledged().await?;
        if index % (LONG / 8) == LONG / 8 - 1 {
            sizes_mb.push(daemon.process.memory_bytes("VmRSS")? as f64 / 1e6);
        }
    }
    scanner.end(LONG).await?;
    let n_clip = daemon.counter("corticast_clips_total")?;
    let superseded = daemon.counter("corticast_conditions_superseded_total")?;
    daemon.process.stop().await?;
    ensure!(superseded > n_clip, "the generator was not behind: {n_clip} clips");
    let (first, rest) = sizes_mb.split_first().context("sizes")?;
    let grown = rest.iter().map(|size| size - first).fold(f64::NEG_INFINITY, f64::max);
    chapter.text += &format!(
        "\n### Always behind\n\n{LONG} volumes as fast as they are decoded, mode `live`: {n_clip:.0} \
         clips, {superseded:.0} conditions replaced by newer ones. Resident MB after each eighth: \
         {}.\n",
        listed(&sizes_mb, 1)
    );
    chapter.figures.push(Figure {
        what: format!("resident memory over {LONG} volumes beside a generator that cannot keep up"),
        asked: "flat, ± 5 MB".to_owned(),
        measured: format!("at most {grown:+.1} MB after the first eighth"),
        floor: "0".to_owned(),
        is_met: Some(grown < 5.0),
    });
    Ok(())
}
