//! `prepare`, `replay` and the adapter read one image in one way: TR, events, checksum.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;

use corticast_tests::{Daemon, Site, adapter, corticast};

/// A site whose scan has its sidecar above, with 2 s, while its header says 1 s. Its events have a
/// byte order mark, lines that end in CR, and a column of their own.
fn site() -> Site {
    let site = Site::new(30);
    let func = site.path("data/sub-demo/func");
    fs::create_dir_all(&func).unwrap();
    fs::write(site.path("data/dataset_description.json"), "{}").unwrap();
    fs::write(site.path("data/task-shapes_bold.json"), "\u{feff}{\"RepetitionTime\": 2.0}")
        .unwrap();
    fs::rename(site.bold(), func.join(format!("{}_bold.nii.gz", site.run_name()))).unwrap();
    let events = "\u{feff}onset\tduration\tstim_type\r10\t4\tface\r20\tn/a\thouse\r";
    fs::write(func.join(format!("{}_events.tsv", site.run_name())), events).unwrap();
    site
}

fn image(site: &Site) -> String {
    let image = format!("data/sub-demo/func/{}_bold.nii.gz", site.run_name());
    site.path(&image).to_str().unwrap().to_owned()
}

#[test]
fn prepare_takes_the_inherited_tr_and_keeps_every_column() {
    let site = site();
    site.leave_out_model();
    let (config, out) = (site.config(), site.path("prepared"));
    let dataset = site.path("data").to_str().unwrap().to_owned();
    for run in [image(&site), dataset] {
        let arguments = ["prepare", "--config", config.to_str().unwrap(), "--run", &run, "--out"];
        let more = [out.to_str().unwrap()];
        let words = ["the sidecar gives a TR of 2 s, the header of the image 1 s"];
        drop(corticast(&site, [&arguments[..], &more].concat()).expect(0, &words));
        let folder = out.join(site.run_name());
        let settings = fs::read_to_string(folder.join("prepared.toml")).unwrap();
        assert!(settings.contains("repetition_time_s = 2.0"), "{settings}");
        let events = fs::read_to_string(folder.join("events.tsv")).unwrap();
        assert_eq!(events, "onset\tduration\tstim_type\n10\t4\tface\n20\tn/a\thouse\n");
    }
}

#[test]
fn replay_and_the_adapters_read_the_same_tr_and_the_flag_replaces_it() {
    let site = site();
    let (config, image) = (site.config(), image(&site));
    let replay = ["replay", "--config", config.to_str().unwrap(), "--run", &image, "--results"];
    let out = site.path("out.jsonl");
    let replay = [&replay[..], &[out.to_str().unwrap()]].concat();
    let words = ["the scan's TR is 2 s, the model was trained with 1 s"];
    drop(corticast(&site, &replay).expect(1, &words));
    drop(corticast(&site, [&replay[..], &["--tr", "1"]].concat()).expect(0, &[]));
    for source in ["nifti", "bids"] {
        let daemon = Daemon::start(&site, &[]);
        let endpoint = daemon.endpoint("adapter");
        let refused = adapter(&site, endpoint, &[source, &image, "--speed", "0"]).finish();
        assert!(refused.code != Some(0) && refused.log.contains(words[0]), "{}", refused.log);
        let sent = adapter(&site, endpoint, &[source, &image, "--speed", "0", "--tr", "1"]);
        drop(sent.finish().expect(0, &["events read n_event=2"]));
    }
}

#[test]
fn a_damaged_image_is_refused_by_its_checksum() {
    let site = Site::new(30);
    let mut bytes = fs::read(site.bold()).unwrap();
    let trailer = bytes.len() - 8;
    bytes[trailer] ^= 0x40;
    fs::write(site.bold(), bytes).unwrap();
    let (config, image) = (site.config(), site.bold());
    let replay = ["replay", "--config", config.to_str().unwrap(), "--run", image.to_str().unwrap()];
    let words = ["this file is damaged or was cut", "gzip -t"];
    drop(corticast(&site, replay).expect(1, &words));
}
