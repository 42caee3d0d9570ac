//! Times from a complete DICOM file to the voxels that are sent, one line a file. Run it through
//! `tests/benches/dicom_readers.py`, which times other readers on the same files in the same run.
//!
//! Arguments: files, each read [`TIMES`] times, or one folder, which is read whole as with
//! `--once`.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{fs, path::Path, time::Instant};

use clap::Parser;
use corticast_adapter::{
    adapter::ScannerAdapter,
    dicom::{DicomAdapter, DicomOptions, read_file},
};

/// How often each file is read.
const TIMES: usize = 51;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: DicomOptions,
}

fn median_ms(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..TIMES)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[TIMES / 2]
}

fn read_folder(folder: &str) {
    let Command { options } = Command::parse_from(["dicom", folder]);
    let mut adapter = DicomAdapter::open(DicomOptions { once: true, ..options }).unwrap();
    let mut n = 0;
    while adapter.start_run().unwrap().is_some() {
        while adapter.next_volume().unwrap().is_some() {
            n += 1;
        }
    }
    assert!(n > 0, "no volume");
}

fn main() {
    for path in std::env::args().skip(1).filter(|argument| !argument.starts_with('-')) {
        let ms = if Path::new(&path).is_dir() {
            median_ms(|| read_folder(&path))
        } else {
            median_ms(|| {
                let bytes = fs::read(&path).unwrap();
                let (_, voxels) = read_file(&bytes).unwrap();
                assert!(crc32fast::hash(&voxels) > 0);
            })
        };
        println!("{path}\t{ms:.4}");
    }
}
