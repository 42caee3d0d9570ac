//! When ONNX Runtime itself fails in the generator, for example because a device is lost, the
//! generator falls back to blurry frames; decoding is not affected.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;

use corticast_images::{
    nifti::{NiftiAdapter, NiftiOptions},
    source::ScannerAdapter,
};
use corticast_tests::{Daemon, Site, repository};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A copy of the shipped video networks whose picture encoder fails.
fn failing_set(site: &Site) -> String {
    let (shipped, folder) = (repository("models/demo/video"), site.path("video"));
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(&shipped).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let hash = |bytes: &[u8]| -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let failing = fs::read(repository("tests/data/models/neurons-nan/encoder_fails.onnx")).unwrap();
    let encoder = folder.join("vae_encoder.onnx");
    let manifest = fs::read_to_string(folder.join("video.toml")).unwrap();
    let manifest = manifest.replace(&hash(&fs::read(&encoder).unwrap()), &hash(&failing));
    fs::write(&encoder, failing).unwrap();
    fs::write(folder.join("video.toml"), manifest).unwrap();
    format!("generator.dir={}", folder.display())
}

#[test]
fn blurry_frames_take_over_and_the_operator_is_told_once() {
    let site = Site::new(1);
    let config = fs::read_to_string(repository("configs/demo.toml")).unwrap();
    let models = repository("models").canonicalize().unwrap();
    fs::write(site.config(), config.replace("../models", models.to_str().unwrap())).unwrap();
    let dir = failing_set(&site);
    let daemon = Daemon::start(&site, &["--set", &dir, "--set", "decoder.prior_steps=2"]);
    let watch = daemon.watch();

    let session = repository("models/demo/session/sub-01_task-test01_run-1_bold.nii.gz");
    let options = NiftiOptions { files: vec![session], ..NiftiOptions::default() };
    let mut scanner = NiftiAdapter::open(options).unwrap();
    let mut header = scanner.start_run().unwrap().unwrap();
    header.n_volumes = Some(11);
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    let mut send = |n: usize| {
        for _ in 0..n {
            let volume = scanner.next_volume().unwrap().unwrap();
            talk.send_volumes(&run, std::slice::from_ref(&volume));
        }
    };
    // Eight volumes warm up; the ninth gives a result.
    send(9);
    let of = |words: &str| {
        let is_it = |header: &Value| header["message"].as_str().unwrap().contains(words);
        watch.until(words, |topic, header| topic == "status" && is_it(header))
    };
    assert_eq!(of("inference failed")["level"], "warning");
    assert_eq!(of("blurry frames")["level"], "alarm");
    send(1);
    let clip = watch.until("clip", |topic, _| topic == "clip");
    assert_eq!((&clip["mode"], &clip["n_frame"]), (&"still".into(), &6.into()));
    send(1);
    // Every later volume gives a result and a clip.
    let clip = watch.until("clip", |topic, header| topic == "clip" && header["index"] == 10);
    assert_eq!(clip["steps"], 0);
    talk.end_run(&run, 11);
    let ended = watch.until("end", |topic, header| topic == "run" && header["state"] == "ended");
    assert_eq!((&ended["n_results"], &ended["n_dropped"]), (&3.into(), &0.into()));
    assert_eq!(daemon.stop().code, Some(0));
}
