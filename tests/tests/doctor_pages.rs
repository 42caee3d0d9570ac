//! What the doctor says of real exports is true, and is what the documentation prints.
//!
//! A block of docs/adapters.md after `<!-- doctor: FOLDER -->` is the doctor's page on that folder of
//! CORTICAST_DATA. With CORTICAST_WRITE_DOCS=1 this test writes the blocks anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, io::Read as _, path::Path, process::Command};

use corticast_tests::{Finished, Process, Site, binary, real_data, repository};
use flate2::read::GzDecoder;
use serde_json::Value;

const DOCUMENT: &str = "docs/adapters.md";

/// The doctor on a folder of real files, as a scanner wrote them: those that are gzipped are unpacked.
fn doctor(site: &Site, folder: &Path, more: &[&str]) -> Finished {
    let to = site.path("export");
    fs::remove_dir_all(&to).ok();
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match name.strip_suffix(".dcm.gz") {
            Some(stem) => {
                let mut bytes = Vec::new();
                GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
                fs::write(to.join(format!("{stem}.dcm")), bytes).unwrap();
            }
            None if path.is_file() => drop(fs::copy(&path, to.join(name)).unwrap()),
            None => {}
        }
    }
    let mut command = Command::new(binary("corticast-adapter"));
    command.arg("doctor").arg(&to).args(more);
    Process::start(site, command).finish()
}

/// The folder of real data of a name, also one below another.
fn folder(data: &Path, name: &str) -> std::path::PathBuf {
    match name {
        "forrest_localizer_dicom_first_2_volumes" => {
            data.join("forrest_localizer/dicom_first_2_volumes")
        }
        other => data.join(other),
    }
}

#[test]
fn the_documentation_prints_what_the_doctor_says() {
    let Some(data) = real_data("the_documentation_prints_what_the_doctor_says") else { return };
    let site = Site::new(1);
    let path = repository(DOCUMENT);
    let text = fs::read_to_string(&path).unwrap();
    let (mut written, mut rest, mut n) = (String::new(), text.as_str(), 0);
    while let Some((before, after)) = rest.split_once("<!-- doctor: ") {
        let (name, after) = after.split_once(" -->\n```text\n").unwrap();
        let (_, after) = after.split_once("```\n").unwrap();
        let found = doctor(&site, &folder(&data, name), &[]).expect(0, &[]).output;
        written += &format!("{before}<!-- doctor: {name} -->\n```text\n{found}```\n");
        (rest, n) = (after, n + 1);
    }
    written += rest;
    assert!(n >= 8, "{n} pages");
    if std::env::var_os("CORTICAST_WRITE_DOCS").is_some() {
        fs::write(&path, &written).unwrap();
    }
    if let Some((ours, theirs)) = written.lines().zip(text.lines()).find(|(a, b)| a != b) {
        panic!(
            "{DOCUMENT} has {theirs:?}, the doctor says {ours:?}; CORTICAST_WRITE_DOCS=1 mends it"
        );
    }
    assert_eq!(written, text);
}

#[test]
fn volumes_and_tr_on_the_page_are_those_of_another_reader() {
    let Some(data) = real_data("volumes_and_tr_on_the_page_are_those_of_another_reader") else {
        return;
    };
    let site = Site::new(1);
    let reference = fs::read(data.join("dcm2niix_reference.json")).unwrap();
    let reference: serde_json::Map<String, Value> = serde_json::from_slice(&reference).unwrap();
    let mut n = 0;
    for (name, theirs) in &reference {
        let page = doctor(&site, &folder(&data, name), &["--json"]).output;
        let page: Value = serde_json::from_str(&page).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (series, expected) in theirs.as_object().unwrap() {
            // The field map beside its magnitude is left out.
            if series.ends_with("fieldmaphz") {
                continue;
            }
            let shape: Vec<u64> =
                expected["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
            let volumes = shape.get(3).copied().unwrap_or(1);
            let mut matrix = shape[..3].to_vec();
            matrix.sort_unstable();
            let number = expected["series"].as_u64().unwrap();
            // One-slice files of an XA scanner: series 7001, 7002, … are volumes of series 7.
            let number = if number == 7001 { 7 } else { number };
            let tr_s = expected["tr_s"].as_f64().unwrap();
            let is_it = |found: &&Value| {
                let mut theirs: Vec<u64> = found["matrix"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|n| n.as_u64().unwrap())
                    .collect();
                theirs.sort_unstable();
                let tr = found["header_tr_s"].as_f64().unwrap_or(0.0);
                // One image in nine encodings, each with a number of its own and the same identifier.
                (found["number"] == number || name == "siemens_transfer_syntaxes")
                    && found["volumes"] == volumes
                    && theirs == matrix
                    && (tr - tr_s).abs() < 1e-5
            };
            let all = page["series"].as_array().unwrap();
            assert!(all.iter().any(|found| is_it(&found)), "{name}, {series}: {expected}\n{page}");
            n += 1;
        }
    }
    assert!(n >= 20, "{n} series");
}

#[test]
fn every_folder_of_real_files_gets_its_verdict() {
    let Some(data) = real_data("every_folder_of_real_files_gets_its_verdict") else { return };
    let site = Site::new(1);
    for (name, code, words) in [
        ("damaged", 1, &["1 file is cut off", "gives no run"][..]),
        ("afni_wire", 1, &["6 files are gzipped", "7 files are not DICOM", "gives no run"]),
        ("haxby2001/run-01", 1, &["2 NIfTI images are no export", "corticast-adapter nifti"]),
        ("forrest_localizer", 1, &["2 NIfTI images are no export"]),
        ("philips_parrec", 0, &["8 of PAR/REC pairs", "4 volumes of 80 x 80 x 15", "parrec"]),
        ("philips_enhanced", 0, &["field maps (1) are left out", "no run", "2 volumes of 80 x 80"]),
        ("siemens_mosaic_versions", 0, &["two series have the number 2"]),
        ("siemens_transfer_syntaxes", 0, &["1 volume of 64 x 64 x 35", "35 slices in 35"]),
        ("uih_grid", 0, &["That is 2 repetition times", "1 of every 2 volumes was not exported"]),
        ("siemens_xa30_single_slices", 0, &["one file a slice", "2 volumes of 64 x 64 x 33"]),
    ] {
        let found = doctor(&site, &data.join(name), &[]);
        assert_eq!(found.code, Some(code), "{name}: {}", found.output);
        for word in words {
            assert!(found.output.contains(word), "{name} has no {word:?}: {}", found.output);
        }
    }
}
