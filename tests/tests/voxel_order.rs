//! Masks, references, regions and scans on one grid may be stored in any voxel order: what is
//! decoded does not change.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;

use corticast_bold::space::VoxelSpace;
use corticast_images::nifti::{
    format::NiftiFormat,
    reader::NiftiReader,
    write::{NiftiWriter, write_3d},
};
use corticast_tests::{
    Axes, Daemon, Site, adapter, corticast, results, scan_for_feedback, turn_file,
};
use serde_json::Value;

/// Whole volumes, a reference image, nuisance masks and regions.
const STAGES: &str = "\
[realign]
image = \"reference.nii\"
[smooth]
fwhm_mm = 8.0
[denoise]
motion = \"6\"
nuisance = [\"roi-shoe.nii.gz\"]
";

/// As the scanner sends (LPS), as dcm2niix writes (LAS), and one that swaps all axes.
const ORDERS: [Axes; 3] = [
    [(0, true), (1, true), (2, false)],
    [(0, true), (1, false), (2, false)],
    [(2, true), (0, false), (1, true)],
];

/// A site with whole-volume stages; its reference is the scan's third volume.
fn site_with_stages() -> Site {
    let site = Site::with_scan(scan_for_feedback(40), "nearest");
    let mut reader = NiftiReader::open(&site.bold()).unwrap();
    let header = reader.header().clone();
    let third = (0..3).map(|_| reader.next_voxels().unwrap().unwrap()).last().unwrap();
    let format = NiftiFormat {
        space: header.space.clone(),
        repetition_time: corticast_bold::time::RepetitionTime::from_secs(1.0).unwrap(),
        dtype: header.stored.on_wire(),
        slope: header.slope,
        intercept: header.intercept,
    };
    write_3d(&site.path("reference.nii"), format, &third).unwrap();
    site.configure(STAGES);
    let with_model = std::fs::read_to_string(site.config()).unwrap();
    site.leave_out_model();
    let (config, bold, out) = (site.config(), site.bold(), site.path("untrained"));
    let arguments = ["prepare", "--config", config.to_str().unwrap(), "--run"];
    let more = [bold.to_str().unwrap(), "--out", out.to_str().unwrap()];
    drop(corticast(&site, [&arguments[..], &more].concat()).expect(0, &[]));
    let prepared = out.join(site.run_name()).join("prepared.toml");
    let facts: toml::Table = std::fs::read_to_string(prepared).unwrap().parse().unwrap();
    site.edit_manifest(|manifest| drop(manifest.insert("stages".into(), facts["stages"].clone())));
    std::fs::write(site.config(), with_model).unwrap();
    site
}

fn replay(site: &Site, run: &Path) -> Vec<Value> {
    let (config, out) = (site.config(), site.path("replayed.jsonl"));
    let arguments = ["replay", "--config", config.to_str().unwrap(), "--run"];
    let more = [run.to_str().unwrap(), "--overwrite", "--results", out.to_str().unwrap()];
    drop(corticast(site, [&arguments[..], &more].concat()).expect(0, &[]));
    results(&out)
}

#[test]
fn a_scan_and_a_mask_in_any_order_give_the_same_results() {
    let site = Site::new(30);
    let expected = replay(&site, &site.bold());
    assert!(expected.len() > 10, "{} results", expected.len());
    for (scan, mask) in [(0, 2), (1, 0), (2, 1)] {
        let other = Site::new(30);
        turn_file(&other.bold(), ORDERS[scan]);
        turn_file(&other.path("four.nii.gz"), ORDERS[mask]);
        assert_eq!(replay(&other, &other.bold()), expected, "scan {scan}, mask {mask}");
    }
}

#[test]
fn reference_nuisance_masks_and_scan_in_other_orders_give_the_same_results() {
    let site = site_with_stages();
    let expected = replay(&site, &site.bold());
    assert!(expected.len() > 10, "{} results", expected.len());
    turn_file(&site.path("reference.nii"), ORDERS[1]);
    turn_file(&site.path("roi-shoe.nii.gz"), ORDERS[2]);
    assert_eq!(replay(&site, &site.bold()), expected, "images turned");
    turn_file(&site.bold(), ORDERS[2]);
    turn_file(&site.path("four.nii.gz"), ORDERS[0]);
    assert_eq!(replay(&site, &site.bold()), expected, "everything turned");
}

#[test]
fn a_live_run_in_the_scanners_order_is_decoded_recorded_and_replayed_with_a_mask_of_another() {
    let site = Site::new(30);
    let expected = replay(&site, &site.bold());
    turn_file(&site.bold(), ORDERS[0]);
    turn_file(&site.path("four.nii.gz"), ORDERS[2]);
    let (mcap, live) = (site.path("live.mcap"), site.path("live.jsonl"));
    let record = ["--record", mcap.to_str().unwrap(), "--results", live.to_str().unwrap()];
    let daemon = Daemon::start(&site, &record);
    let bold = site.bold();
    let dump = site.path("dump.nii.gz");
    let arguments =
        ["nifti", bold.to_str().unwrap(), "--speed", "0", "--dump", dump.to_str().unwrap()];
    let sent = adapter(&site, daemon.endpoint("adapter"), &arguments).finish();
    assert_eq!(sent.code, Some(0), "{}", sent.log);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(results(&live), expected, "live");
    turn_file(&site.path("four.nii.gz"), ORDERS[1]);
    assert_eq!(replay(&site, &mcap), expected, "the recording, with a mask in a third order");
    // What was dumped lies where what was sent lay.
    std::fs::rename(&dump, site.bold()).unwrap();
    assert_eq!(replay(&site, &site.bold()), expected, "the dump");
}

#[test]
fn another_grid_is_refused_with_the_distance_and_a_way_out() {
    let site = Site::new(30);
    let mut reader = NiftiReader::open(&site.bold()).unwrap();
    let header = reader.header().clone();
    let mut affine = *header.space.affine();
    affine[2][3] += 1.5;
    let format = NiftiFormat {
        space: VoxelSpace::new(header.space.matrix(), affine).unwrap(),
        repetition_time: corticast_bold::time::RepetitionTime::from_secs(1.0).unwrap(),
        dtype: header.stored.on_wire(),
        slope: header.slope,
        intercept: header.intercept,
    };
    let voxels = reader.next_voxels().unwrap().unwrap();
    let mut writer = NiftiWriter::create(&site.path("moved.nii"), format).unwrap();
    (0..30).for_each(|_| writer.write(&voxels).unwrap());
    writer.finish().unwrap();
    turn_file(&site.path("moved.nii"), ORDERS[1]);
    let (config, moved) = (site.config(), site.path("moved.nii"));
    let arguments =
        ["replay", "--config", config.to_str().unwrap(), "--run", moved.to_str().unwrap()];
    let words = ["a corner 1.500 mm from its expected position", "3dresample -master"];
    drop(corticast(&site, arguments).expect(1, &words));
}
