//! Tests recorded files: order, names, gaps, and files that end early.

use std::{fs, io::Write as _, path::Path};

use corticast_bold::{
    decode::{Dtype, Order},
    space::VoxelSpace,
    time::RepetitionTime,
};

use super::{format::NiftiFormat, write::NiftiWriter, *};

/// Every run with its volumes.
fn read_all(mut adapter: NiftiAdapter) -> Vec<(RunHeader, Vec<AcquiredVolume>)> {
    let mut runs = Vec::new();
    while let Some(header) = adapter.start_run().unwrap() {
        let volumes = std::iter::from_fn(|| adapter.next_volume().unwrap()).collect();
        runs.push((header, volumes));
    }
    runs
}

fn write(path: &Path, volumes: &[i16], seconds: f64) {
    let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
    let format = NiftiFormat {
        space: VoxelSpace::new([2, 2, 1], affine).unwrap(),
        repetition_time: RepetitionTime::from_secs(seconds).unwrap(),
        dtype: Dtype::Int16,
        slope: None,
        intercept: None,
    };
    let mut writer = NiftiWriter::create(path, format).unwrap();
    for &first in volumes {
        writer.write(&voxels(first)).unwrap();
    }
    writer.finish().unwrap();
}

fn voxels(first: i16) -> Vec<u8> {
    (first..first + 4).flat_map(i16::to_le_bytes).collect()
}

fn options(files: &[&Path]) -> NiftiOptions {
    let files = files.iter().map(|&f| f.to_owned()).collect();
    NiftiOptions { files, ..NiftiOptions::default() }
}

#[test]
fn several_files_are_several_runs_sent_verbatim() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("run-01/b.nii"), folder.path().join("run-02/b.nii.gz"));
    fs::create_dir(folder.path().join("run-01")).unwrap();
    fs::create_dir(folder.path().join("run-02")).unwrap();
    write(&a, &[0, 10, 20], 2.5);
    write(&b, &[5], 2.5);
    let runs = read_all(NiftiAdapter::open(options(&[&a, &b])).unwrap());
    assert_eq!(runs[0].0.run_id(), "sub-x_task-unknown_run-01");
    assert_eq!(runs[1].0.run_id(), "sub-x_task-unknown_run-02");
    let bytes: Vec<_> = runs[0].1.iter().map(|v| v.voxels.to_vec()).collect();
    assert_eq!(bytes, [voxels(0), voxels(10), voxels(20)]);
    assert!(runs[0].1.iter().all(|v| v.order == Order::F && v.dtype == Dtype::Int16));
    let again = read_all(NiftiAdapter::open(options(&[&a])).unwrap());
    assert_eq!(again[0].0.series_id, runs[0].0.series_id, "a restart finds the same name");
    assert_ne!(runs[0].0.series_id, runs[1].0.series_id);
}

#[test]
fn a_folder_is_read_in_natural_order_and_a_bad_file_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    for (name, first) in [("v10.nii", 10), ("v2.nii", 2), ("v1.nii", 1)] {
        write(&folder.path().join(name), &[first], 1.5);
    }
    fs::write(folder.path().join("v3.nii"), b"nonsense").unwrap();
    let runs = read_all(NiftiAdapter::open(options(&[folder.path()])).unwrap());
    let got: Vec<_> = runs[0].1.iter().map(|v| (v.index.0, v.voxels[0])).collect();
    assert_eq!(got, [(0, 1), (1, 2), (3, 10)]);
}

/// The number of volumes that a file gives, and the error that ends it.
fn until_error(path: &Path) -> (usize, String) {
    let mut adapter = NiftiAdapter::open(options(&[path])).unwrap();
    if let Err(error) = adapter.start_run() {
        return (0, error.to_string());
    }
    for n in 0.. {
        match adapter.next_volume() {
            Ok(Some(_)) => {}
            Ok(None) => return (n, String::new()),
            Err(error) => return (n, error.to_string()),
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn a_damaged_file_is_refused_before_its_first_volume() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, gzipped) = (folder.path().join("a.nii"), folder.path().join("a.nii.gz"));
    for path in [&plain, &gzipped] {
        write(path, &[0, 1000, 2000], 1.0);
        let whole = fs::read(path).unwrap();
        assert_eq!(until_error(path), (3, String::new()));
        fs::write(path, &whole[..whole.len() - if *path == plain { 3 } else { 12 }]).unwrap();
        let (n, error) = until_error(path);
        let words = ["damaged or was cut", " of 3 volumes; nothing of it is passed on"];
        assert!(n == 0 && words.iter().all(|word| error.contains(word)), "{n} {error}");
        fs::write(path, whole).unwrap();
    }
    // Wrong in a voxel, its checksum, and the length.
    let whole = fs::read(&gzipped).unwrap();
    for from_end in [12, 8, 4] {
        let mut bytes = whole.clone();
        let at = bytes.len() - from_end;
        bytes[at] ^= 0x10;
        fs::write(&gzipped, bytes).unwrap();
        let (n, error) = until_error(&gzipped);
        assert!(n == 0 && error.contains("gzip -t"), "{from_end}: {n} {error}");
    }
}

#[test]
fn a_file_that_is_being_written_gives_what_is_complete_and_then_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (source, path) = (folder.path().join("a.nii"), folder.path().join("b.nii"));
    write(&source, &[0, 1000, 2000], 1.0);
    let whole = fs::read(&source).unwrap();
    let cut = whole.len() - 12;
    fs::write(&path, &whole[..cut]).unwrap();
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            // A byte at a time, without the last ones.
            for byte in &whole[cut..cut + 8] {
                file.write_all(&[*byte]).unwrap();
                if stopped.recv_timeout(std::time::Duration::from_millis(60)).is_ok() {
                    return;
                }
            }
        }
    });
    let (n, error) = until_error(&path);
    stop.send(()).ok();
    writer.join().unwrap();
    assert!((1..3).contains(&n), "{n} {error}");
    assert!(error.contains(&format!("{n} of 3 volumes are complete")), "{error}");
}

#[test]
fn without_a_tr_the_flag_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    write(&path, &[0], 1.0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[92..96].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = NiftiAdapter::open(options(&[&path])).unwrap().start_run().unwrap_err();
    assert!(error.to_string().contains("--tr"), "{error}");
    let with_tr = NiftiOptions { tr: Some(2.0), ..options(&[&path]) };
    let header = NiftiAdapter::open(with_tr).unwrap().start_run().unwrap().unwrap();
    assert_eq!(header.repetition_time, RepetitionTime::from_secs(2.0).unwrap());
}

#[test]
fn a_run_ends_after_the_volumes_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (file, volumes) = (folder.path().join("a.nii"), folder.path().join("3d"));
    write(&file, &[0, 10, 20], 1.0);
    fs::create_dir(&volumes).unwrap();
    for (name, first) in [("v1.nii", 1), ("v3.nii", 3), ("v4.nii", 4)] {
        write(&volumes.join(name), &[first], 1.5);
    }
    // An unusable file still counts as a volume.
    fs::write(volumes.join("v2.nii"), b"nonsense").unwrap();
    let cut = |at_most| NiftiOptions { volumes: at_most, ..options(&[&file, &volumes]) };
    let counts = |at_most| -> Vec<_> {
        let runs = read_all(NiftiAdapter::open(cut(at_most)).unwrap());
        runs.iter().map(|(header, volumes)| (header.n_volumes.unwrap(), volumes.len())).collect()
    };
    assert_eq!(counts(Some(2)), [(2, 2), (2, 1)]);
    assert_eq!(counts(Some(9)), counts(None));
    assert_eq!(counts(None), [(3, 3), (4, 3)]);
}
