//! Time from the last of a volume's one-slice files to the volume, in a watched folder, as a
//! distribution.
//!
//! Argument: a folder of one-slice files, such as `siemens_xa30_single_slices` of the real scans. They
//! are renamed into an empty folder, [`PAUSE`] apart as while a scanner exports, or all at once. The
//! time goes from the rename of the last one to the volume from the adapter.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use corticast_adapter::{
    adapter::ScannerAdapter,
    dicom::{DicomAdapter, DicomOptions},
};

/// How often the series is exported.
const TIMES: usize = 20;
/// Time between two files.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: DicomOptions,
}

/// The files of each volume, in order of acquisition.
fn volumes(folder: &Path) -> Vec<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let half = files.len() / 2;
    files.chunks(half).map(<[_]>::to_vec).collect()
}

/// Milliseconds from the last file of each volume to the volume.
fn export(volumes: &[Vec<Vec<u8>>], pause: Duration) -> Vec<f64> {
    let outer = tempfile::tempdir().unwrap();
    let (part, folder) = (outer.path().join("part"), outer.path().join("export"));
    fs::create_dir(&part).unwrap();
    fs::create_dir(&folder).unwrap();
    let Command { options } = Command::parse_from(["dicom", folder.to_str().unwrap()]);
    let mut adapter = DicomAdapter::open(options).unwrap();
    let (sender, renamed) = mpsc::sync_channel(1);
    let (go_on, next) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let folder = &folder;
        scope.spawn(move || {
            for (at, files) in volumes.iter().enumerate() {
                let names: Vec<String> =
                    (0..files.len()).map(|n| format!("{at}_{n:03}.dcm")).collect();
                files.iter().zip(&names).for_each(|(b, n)| fs::write(part.join(n), b).unwrap());
                let mut last = Instant::now();
                for name in &names {
                    thread::park_timeout(pause);
                    last = Instant::now();
                    fs::rename(part.join(name), folder.join(name)).unwrap();
                }
                sender.send(last).unwrap();
                next.recv().unwrap();
            }
        });
        assert!(adapter.start_run().unwrap().is_some());
        let times = volumes.iter().map(|_| {
            adapter.next_volume().unwrap().unwrap();
            let here = Instant::now();
            let renamed = renamed.recv().unwrap();
            go_on.send(()).unwrap();
            here.saturating_duration_since(renamed).as_secs_f64() * 1e3
        });
        times.collect()
    })
}

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        return;
    };
    let volumes = volumes(Path::new(&folder));
    for (name, pause) in [("5 ms apart", PAUSE), ("all at once", Duration::ZERO)] {
        let mut ms: Vec<f64> = (0..TIMES).flat_map(|_| export(&volumes, pause)).collect();
        ms.sort_by(f64::total_cmp);
        let at = |share: f64| ms[((ms.len() - 1) as f64 * share) as usize];
        println!(
            "{name}: {} volumes of {} files: min {:.2}, p50 {:.2}, p90 {:.2}, max {:.2} ms",
            ms.len(),
            volumes[0].len(),
            ms[0],
            at(0.5),
            at(0.9),
            ms[ms.len() - 1]
        );
    }
}
