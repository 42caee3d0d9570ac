//! Throughput of `corticast replay --speed 0`, volumes per second.

use std::{
    fs,
    io::Read,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast::recording::{file::RecordingFile, format::pack};
use corticast_bold::decode::Dtype;
use corticast_images::nifti::{format::NiftiFormat, write::NiftiWriter};

use crate::{
    Chapter, Figure,
    numbers::{listed, median},
    process::{DaemonOptions, Process, binary, config},
    scan::{MATRIX, Scan, VOLUME_BYTES, frames, run_header},
};

/// Volumes of the file, all different.
const VOLUMES: u32 = 2_000;
/// Measurements per figure.
const RUNS: usize = 3;
/// Time limit of a replay.
const LIMIT: Duration = Duration::from_secs(90);

pub async fn measure(folder: &Path) -> anyhow::Result<Chapter> {
    let image = folder.join("sub-bench_task-replay_bold.nii");
    write_image(&image)?;
    let options = DaemonOptions { model: "noop-64x64x32", ..DaemonOptions::default() };
    let config = config(folder, &options)?;
    let mut rates = [Vec::new(), Vec::new()];
    let mut recorded = 0;
    // Alternate, so that a disturbance affects both.
    for _ in 0..RUNS {
        for (records, rates) in [false, true].into_iter().zip(&mut rates) {
            let recording = folder.join("replay.mcap");
            let mut command = Command::new(binary("corticast"));
            command.arg("replay").arg("--config").arg(&config).arg("--run").arg(&image);
            command
                .args(["--speed", "0", "--overwrite", "--results"])
                .arg(folder.join("replay.jsonl"));
            if records {
                command.arg("--record").arg(&recording);
            }
            let started = Instant::now();
            Process::start(&mut command, &folder.join("replay.log"))?.wait(LIMIT).await?;
            rates.push(f64::from(VOLUMES) / started.elapsed().as_secs_f64());
            if records {
                recorded = fs::metadata(&recording)?.len();
                fs::remove_file(&recording)?;
            }
        }
    }
    let n_result = fs::read_to_string(folder.join("replay.jsonl"))?.lines().count();
    let reading = reading(&image)?;
    let writing = writing(folder)?;
    fs::remove_file(&image)?;
    let [plain, recording] = &rates;
    let share = recorded as f64 / (f64::from(VOLUMES) * VOLUME_BYTES as f64);
    let figure = |what: &str, least: f64, rates: &[f64], floor: String| Figure {
        what: format!("`corticast replay --speed 0`, uncompressed NIfTI, {what}"),
        asked: format!("≥ {least} volumes/s"),
        measured: format!("{:.0} volumes/s", median(rates)),
        floor,
        is_met: Some(median(rates) >= least),
    };
    let figures = vec![
        figure(
            "without recording",
            1000.0,
            plain,
            format!("{reading:.0} volumes/s: to read the file from the page cache"),
        ),
        figure(
            "with recording",
            250.0,
            recording,
            format!("{writing:.0} volumes/s: to write the recording, one thread, nothing else"),
        ),
    ];
    let text = format!(
        "## Replay\n\n{VOLUMES} volumes of 64x64x32 int16 in one `.nii` of {:.0} MB, all \
         different (noise), no-op model, results to a file; {n_result} results. The time is \
         that of the whole process, including loading of model and mask.\n\n\
         | | volumes/s, each run | median | MB/s of voxels |\n|---|---|---|---|\n\
         | without recording | {} | {:.0} | {:.0} |\n| with recording | {} | {:.0} | {:.0} |\n\n\
         The recording stores the voxels in {:.0} % of their size (zstd, level 1, on noise). \
         Compression limits its speed.\n",
        f64::from(VOLUMES) * VOLUME_BYTES as f64 / 1e6,
        listed(plain, 0),
        median(plain),
        median(plain) * VOLUME_BYTES as f64 / 1e6,
        listed(recording, 0),
        median(recording),
        median(recording) * VOLUME_BYTES as f64 / 1e6,
        100.0 * share,
    );
    Ok(Chapter { figures, text })
}

fn write_image(path: &Path) -> anyhow::Result<()> {
    let run = run_header("replay", VOLUMES)?;
    let format = NiftiFormat {
        space: run.space,
        repetition_time: run.repetition_time,
        dtype: Dtype::Int16,
        slope: None,
        intercept: None,
    };
    let mut writer = NiftiWriter::create(path, format)?;
    let mut scan = Scan::new(MATRIX, 3);
    for _ in 0..VOLUMES {
        writer.write(&scan.volume())?;
    }
    writer.finish()?;
    Ok(())
}

/// Volumes per second when the file is only read.
fn reading(image: &Path) -> anyhow::Result<f64> {
    let mut file = fs::File::open(image)?;
    let mut volume = vec![0; VOLUME_BYTES];
    let started = Instant::now();
    let mut n = 0;
    while file.read_exact(&mut volume).is_ok() {
        n += 1;
    }
    Ok(f64::from(n) / started.elapsed().as_secs_f64())
}

/// Volumes per second when the recording is only written.
fn writing(folder: &Path) -> anyhow::Result<f64> {
    const N: u32 = 400;
    let path = folder.join("floor.mcap");
    let mut scan = Scan::new(MATRIX, 5);
    let messages: Vec<Bytes> =
        (0..N).map(|index| pack(&frames("sub-bench", index, scan.volume().into()))).collect();
    let started = Instant::now();
    let mut file = RecordingFile::open(&path)?;
    for (at_ns, message) in (0..).zip(&messages) {
        file.write(corticast::recording::format::WIRE, at_ns, message)?;
    }
    file.flush(false)?;
    let rate = f64::from(N) / started.elapsed().as_secs_f64();
    file.finish()?;
    fs::remove_file(&path)?;
    Ok(rate)
}
