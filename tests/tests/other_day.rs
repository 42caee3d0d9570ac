//! A mask of another day serves today, although the head lies elsewhere and the scan has another
//! matrix: the first volume of that day is found in today's, and volumes are resliced.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use corticast_bold::{decode::Dtype, space::VoxelSpace, time::RepetitionTime};
use corticast_images::nifti::{format::NiftiFormat, write::NiftiWriter};
use corticast_tests::{
    Daemon, Kept, Process, Site, adapter, corticast, own_address, published, wait_for,
};
use safetensors::SafeTensors;
use serde_json::Value;

const VOXEL_MM: f64 = 3.0;
const VOLUMES: u32 = 12;
/// Matrix of the day of the model, and of today.
const DAYS: [[usize; 3]; 2] = [[24, 26, 18], [28, 24, 20]];
/// How far the head lies from its place on the day of the model, in mm.
const MOVED_MM: [f64; 3] = [4.0, -3.5, 2.0];

/// Voxels of this size with the origin in the middle.
fn space(matrix: [usize; 3]) -> VoxelSpace {
    let mut affine = [[0.0; 4]; 4];
    for (axis, row) in affine.iter_mut().enumerate().take(3) {
        (row[axis], row[3]) = (VOXEL_MM, -VOXEL_MM * (matrix[axis] - 1) as f64 / 2.0);
    }
    affine[3][3] = 1.0;
    VoxelSpace::new(matrix, affine).unwrap()
}

/// A lopsided head moved by so many mm. `step` brightens one half of it. x fastest.
fn head(matrix: [usize; 3], moved_mm: [f64; 3], step: f64) -> Vec<u8> {
    let [nx, ny, nz] = matrix;
    let mut voxels = Vec::new();
    for index in 0..nx * ny * nz {
        let at = [index % nx, index / nx % ny, index / (nx * ny)];
        let place = space(matrix).position_mm(at.map(|v| v as f64));
        let [x, y, z] = [0, 1, 2].map(|axis| (place[axis] - moved_mm[axis]) / VOXEL_MM);
        let radius = (x / 7.5).powi(2) + (y / 8.5).powi(2) + (z / 5.0).powi(2);
        let inside = 1.0 / (1.0 + (6.0 * (radius - 1.0)).exp());
        let texture = 1.0 + 0.25 * (0.5 * x).sin() * (0.4 * y + 0.4).cos() * (0.5 * z).cos();
        let half = 1.0 + step / (1.0 + (-2.0 * x).exp());
        voxels.extend(((900.0 * inside * texture * half + 20.0) as i16).to_le_bytes());
    }
    voxels
}

/// Writes volumes. Returns the path.
fn image(site: &Site, name: &str, matrix: [usize; 3], volumes: &[Vec<u8>]) -> PathBuf {
    let format = NiftiFormat {
        space: space(matrix),
        repetition_time: RepetitionTime::from_secs(1.0).unwrap(),
        dtype: Dtype::Int16,
        slope: None,
        intercept: None,
    };
    let path = site.path(name);
    let mut file = NiftiWriter::create(&path, format).unwrap();
    volumes.iter().for_each(|volume| file.write(volume).unwrap());
    file.finish().unwrap();
    path
}

/// A site with a mask of the day of the model, and scans of both days. The head is elsewhere today,
/// and drifts.
fn site() -> Site {
    let site = Site::new(3);
    // No two volumes are equal: those would count as duplicates.
    let steps = (0..VOLUMES).map(|v| 0.02 * f64::from(v % 4) + 0.003 * f64::from(v));
    let model = |step| head(DAYS[0], [0.0; 3], step);
    let [nx, ny, nz] = DAYS[0];
    let inside = (0..nx * ny * nz).flat_map(|index| {
        let at = [index % nx, index / nx % ny, index / (nx * ny)];
        let is_inside = (0..3).all(|k| at[k].abs_diff(DAYS[0][k] / 2) < [5, 5, 3][k]);
        i16::from(is_inside).to_le_bytes()
    });
    image(&site, "mask-of-the-day.nii", DAYS[0], &[inside.collect()]);
    image(&site, "model.nii", DAYS[0], &[model(0.0)]);
    image(&site, "other.nii", DAYS[0], &steps.clone().map(model).collect::<Vec<_>>());
    let today = steps.enumerate().map(|(v, step)| {
        let drift_mm = 0.1 * v as f64;
        head(DAYS[1], MOVED_MM.map(|mm| mm + drift_mm), step)
    });
    image(&site, "today.nii", DAYS[1], &today.collect::<Vec<_>>());
    site
}

/// A daemon without a model. Every stage before it is on.
fn configure(site: &Site, realign: &str) {
    let text = fs::read_to_string(site.config()).unwrap();
    let mut config: toml::Table = text.parse().unwrap();
    config.remove("model");
    let stages = format!(
        "[signal]\nmask = \"mask-of-the-day.nii\"\nhrf_delay_s = 0.0\n\
         [normalise]\nmode = \"none\"\n[realign]\n{realign}"
    );
    config.extend(stages.parse::<toml::Table>().unwrap());
    fs::write(site.config(), config.to_string()).unwrap();
}

/// The windows that `prepare` makes of a scan, one row of voxels for each volume.
fn prepared(site: &Site, scan: &str) -> Vec<Vec<f32>> {
    let [config, run, out] = [site.config(), site.path(scan), site.path(&format!("of-{scan}"))];
    let words = ["prepare", "--config", config.to_str().unwrap(), "--run", run.to_str().unwrap()];
    let out_flag = ["--out", out.to_str().unwrap()];
    drop(corticast(site, [&words[..], &out_flag].concat()).expect(0, &[]));
    let mut inside = fs::read_dir(&out).unwrap().filter_map(Result::ok).map(|e| e.path());
    let folder = inside.find(|path| path.is_dir()).unwrap();
    let bytes = fs::read(folder.join("data.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let windows = tensors.tensor("windows").unwrap();
    let n_voxel = windows.shape()[2];
    let values = windows.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    values.collect::<Vec<_>>().chunks(n_voxel).map(<[f32]>::to_vec).collect()
}

#[test]
fn todays_signal_is_that_of_the_day_of_the_model() {
    let site = site();
    configure(&site, "");
    let plain = prepared(&site, "other.nii");
    configure(&site, "model_image = \"model.nii\"");
    let today = prepared(&site, "today.nii");
    assert_eq!((today.len(), today[0].len()), (plain.len(), plain[0].len()));
    for (volume, (found, expected)) in today.iter().zip(&plain).enumerate() {
        let off = found.iter().zip(expected).map(|(a, b)| f64::from((a / b - 1.0).abs()));
        let mean = off.sum::<f64>() / found.len() as f64;
        assert!(mean < 0.01, "volume {volume}: {:.2} % off", 100.0 * mean);
    }
}

fn send(site: &Site, daemon: &Daemon, speed: &str) -> Process {
    let today = site.path("today.nii");
    let flags = ["nifti", today.to_str().unwrap(), "--speed", speed];
    adapter(site, daemon.endpoint("adapter"), &flags)
}

/// DVARS and motion of each volume.
fn reports(recording: &Path) -> Vec<(Value, Value, Value)> {
    let report = |v: &Value| (v["index"].clone(), v["dvars"].clone(), v["motion"].clone());
    published(recording, "volume").iter().map(report).collect()
}

#[test]
fn the_operator_is_told_where_the_head_lies_and_a_restart_goes_on() {
    let site = site();
    configure(&site, "model_image = \"model.nii\"");
    let whole = Kept::new(&site, "whole");
    let daemon = whole.start(&[""; 0]);
    drop(send(&site, &daemon, "0").finish().expect(0, &["done"]));
    drop(daemon.stop().expect(0, &[]));
    let said = published(&whole.recording(), "status");
    let said: Vec<_> = said.iter().filter_map(|status| status["message"].as_str()).collect();
    let told: Vec<_> = said.iter().filter(|text| text.contains("from the model's image")).collect();
    assert_eq!(told.len(), 1, "{said:?}");
    assert!(told[0].contains("lies 5.7 mm and 0.") && told[0].contains("100.0 %"), "{}", told[0]);

    let killed = Kept::new(&site, "killed");
    let daemon = killed.start(&own_address());
    let endpoints = daemon.same_endpoints();
    let sending = send(&site, &daemon, "10");
    wait_for("half of the run", || {
        (daemon.query("last/volume")["index"].as_u64() >= Some(5)).then_some(())
    });
    daemon.process.kill();
    let daemon = killed.start(&endpoints);
    drop(sending.finish().expect(0, &["done"]));
    drop(daemon.stop().expect(0, &[]));
    let (found, expected) = (reports(&killed.recording()), reports(&whole.recording()));
    assert_eq!(found.len(), VOLUMES as usize);
    assert_eq!(found, expected);
}

#[test]
fn another_head_is_not_used_and_two_images_are_refused() {
    let site = site();
    // Bars instead of a head.
    let bars = |v: i16| {
        let [nx, ny, nz] = DAYS[1];
        let bar = |index: usize| 500 + v + 400 * i16::from((index % nx + index / nx % ny) % 7 < 2);
        (0..nx * ny * nz).flat_map(|index| bar(index).to_le_bytes()).collect()
    };
    image(&site, "bars.nii", DAYS[1], &(0..3).map(bars).collect::<Vec<Vec<u8>>>());
    configure(&site, "model_image = \"model.nii\"");
    let [config, run, out] = [site.config(), site.path("bars.nii"), site.path("bars")];
    let paths = [&config, &run, &out].map(|path| path.to_str().unwrap());
    let words = ["prepare", "--config", paths[0], "--run", paths[1], "--out", paths[2]];
    let ended = corticast(&site, words);
    assert!(ended.log.contains("was not found in the model's image"), "{}", ended.log);

    configure(&site, "model_image = \"model.nii\"\nimage = \"model.nii\"");
    drop(corticast(&site, ["check", "--config", paths[0]]).expect(78, &["expected one"]));
    configure(&site, "model_image = \"today.nii\"");
    drop(corticast(&site, ["check", "--config", paths[0]]).expect(78, &["today.nii"]));
}
