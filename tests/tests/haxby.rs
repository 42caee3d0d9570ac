//! A real run (Haxby et al. 2001, subject 1) through prepare, replay and the live daemon.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_images::nifti::reader::NiftiReader;
use corticast_tests::{Daemon, Site, adapter, corticast, real_data, results};
use safetensors::SafeTensors;

#[test]
fn a_real_run_is_prepared_replayed_and_decoded_live_alike() {
    let Some(data) = real_data("a_real_run_is_prepared_replayed_and_decoded_live_alike") else {
        return;
    };
    let run = data.join("haxby2001/run-01");
    let (bold, events) = (run.join("bold_1slice.nii.gz"), run.join("bold_events.tsv"));
    let header = NiftiReader::open(&bold).unwrap().header().clone();
    assert_eq!((header.space.matrix(), header.n_volumes), ([40, 20, 1], 121));
    let voxels = [[20, 10, 0], [18, 8, 0], [22, 12, 0], [15, 10, 0]];
    let site = Site::for_space(&header.space, voxels, 2.5);

    let (jsonl, again) = (site.path("live.jsonl"), site.path("again.jsonl"));
    let daemon = Daemon::start(&site, &["--results", jsonl.to_str().unwrap()]);
    let flags = ["nifti", bold.to_str().unwrap(), "--events", events.to_str().unwrap()];
    let flags = [&flags[..], &["--speed", "0"]].concat();
    let scan = adapter(&site, daemon.endpoint("adapter"), &flags).finish();
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    assert_eq!(daemon.stop().code, Some(0));
    let config = site.config();
    let source = format!("{},{}", bold.display(), events.display());
    let arguments = ["replay", "--config", config.to_str().unwrap(), "--run", &source];
    let results_flag = ["--results", again.to_str().unwrap()];
    let replay = corticast(&site, [&arguments[..], &results_flag].concat());
    assert_eq!(replay.code, Some(0), "{}", replay.log);
    let live = results(&jsonl);
    assert!(live.len() > 110, "{} results of 121 volumes", live.len());
    assert_eq!(results(&again), live);

    let mask = data.join("haxby2001/mask_1slice.nii.gz");
    let mask = format!("signal.mask={}", mask.display());
    let out = site.path("prepared");
    let arguments = ["prepare", "--config", config.to_str().unwrap(), "--run", &source];
    let more = ["--set", &mask, "--out", out.to_str().unwrap()];
    let prepared = corticast(&site, [&arguments[..], &more].concat());
    assert_eq!(prepared.code, Some(0), "{}", prepared.log);
    let folder = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    let folder = folder.into_iter().find(|path| path.is_dir()).unwrap();
    assert!(folder.join("events.tsv").is_file() && folder.join("prepared.toml").is_file());
    let bytes = std::fs::read(folder.join("data.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let windows = tensors.tensor("windows").unwrap();
    assert_eq!(windows.shape(), [live.len(), 1, 530]);
    let values = windows.data().as_chunks::<4>().0.iter().map(|v| f32::from_le_bytes(*v));
    assert!(values.into_iter().all(f32::is_finite));
}
