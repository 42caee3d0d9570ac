//! Faults of recorded files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use corticast_adapter::adapter::ScannerAdapter;
use corticast_bold::{decode::Dtype, space::VoxelSpace, time::RepetitionTime};
use corticast_images::{
    bids::{BidsAdapter, BidsOptions},
    nifti::{NiftiAdapter, NiftiOptions, format::NiftiFormat, write::NiftiWriter},
};

pub(crate) const ADAPTERS: [&str; 2] = ["nifti", "bids"];

/// What becomes of a file.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Outcome {
    /// These volumes come; so many files are refused.
    Arrives(&'static [u32], u64),
    /// The run does not begin, and the error has this word.
    Refused(&'static str),
}

/// A fault of a file, and what the table says of it.
struct Fault {
    name: &'static str,
    adapter: &'static str,
    cell: &'static str,
    /// Makes the file or folder.
    make: fn(&Path) -> PathBuf,
    outcome: Outcome,
}

const REFUSED: &str = "refused before the first volume, exit code 1";

const FAULTS: [Fault; 8] = [
    Fault {
        name: "cut within a volume",
        adapter: "nifti",
        cell: REFUSED,
        make: cut,
        outcome: Outcome::Refused("damaged or was cut"),
    },
    Fault {
        name: "cut within a volume",
        adapter: "bids",
        cell: REFUSED,
        make: cut,
        outcome: Outcome::Refused("damaged or was cut"),
    },
    Fault {
        name: "garbage",
        adapter: "nifti",
        cell: REFUSED,
        make: garbage,
        outcome: Outcome::Refused("NIfTI-1 header"),
    },
    Fault {
        name: "garbage",
        adapter: "bids",
        cell: REFUSED,
        make: garbage,
        outcome: Outcome::Refused("NIfTI-1 header"),
    },
    Fault {
        name: "absurd length",
        adapter: "nifti",
        cell: REFUSED,
        make: absurd,
        outcome: Outcome::Refused("at most"),
    },
    Fault {
        name: "absurd length",
        adapter: "bids",
        cell: REFUSED,
        make: absurd,
        outcome: Outcome::Refused("at most"),
    },
    Fault {
        name: "another shape within a run",
        adapter: "nifti",
        cell: "yes, in a folder of 3-D files",
        make: |folder| {
            let volumes = folder.join("volumes");
            fs::create_dir(&volumes).unwrap();
            for (number, size) in [(1, 2), (2, 3), (3, 2)] {
                write(&volumes.join(format!("f{number}.nii")), size, 1);
            }
            volumes
        },
        outcome: Outcome::Arrives(&[0, 2], 1),
    },
    Fault {
        name: "missing volume",
        adapter: "nifti",
        cell: "yes, in a folder of 3-D files",
        make: |folder| {
            let volumes = folder.join("volumes");
            fs::create_dir(&volumes).unwrap();
            for number in [1, 2, 4] {
                write(&volumes.join(format!("f{number}.nii")), 2, 1);
            }
            volumes
        },
        outcome: Outcome::Arrives(&[0, 1, 3], 0),
    },
];

/// Why a fault cannot happen to recorded files.
const NOT: [(&str, [&str; 2]); 7] = [
    ("sender gone", ["no sender", "no sender"]),
    ("another shape within a run", ["", "one file has one shape"]),
    (
        "duplicate volume",
        ["a place in a file or a name is there once", "a place in a file is there once"],
    ),
    ("volume out of order", ["read in order", "read in order"]),
    ("the scan goes on after its sender was gone", ["no sender", "no sender"]),
    ("the scan is repeated", ["each file is a run", "one run is asked for"]),
    ("missing volume", ["", "a file has no gaps"]),
];

/// The cells of a row of the table.
pub(crate) fn cells(name: &str) -> [&'static str; 2] {
    std::array::from_fn(|at| {
        let fault = FAULTS.iter().find(|f| f.name == name && f.adapter == ADAPTERS[at]);
        let not = || NOT.iter().find(|(fault, _)| *fault == name).map(|(_, cells)| cells[at]);
        fault.map(|fault| fault.cell).or_else(not).expect("every cell says something")
    })
}

/// Writes volumes of `size` x 2 x 2 voxels.
fn write(path: &Path, size: usize, n_volume: usize) {
    let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
    let format = NiftiFormat {
        space: VoxelSpace::new([size, 2, 2], affine).unwrap(),
        repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
        dtype: Dtype::Int16,
        slope: None,
        intercept: None,
    };
    let mut writer = NiftiWriter::create(path, format).unwrap();
    for n in 0..n_volume {
        writer.write(&vec![n as u8 + 1; size * 8]).unwrap();
    }
    writer.finish().unwrap();
}

fn image(folder: &Path) -> PathBuf {
    folder.join("sub-01_task-rest_bold.nii.gz")
}

fn cut(folder: &Path) -> PathBuf {
    let path = image(folder);
    write(&path, 2, 3);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 12]).unwrap();
    path
}

fn garbage(folder: &Path) -> PathBuf {
    let path = image(folder);
    fs::write(&path, [0xff; 4000]).unwrap();
    path
}

/// The header of a file says that an axis has 32,767 voxels.
fn absurd(folder: &Path) -> PathBuf {
    let (path, plain) = (folder.join("sub-01_task-rest_bold.nii"), folder.join("plain.nii"));
    write(&plain, 2, 3);
    let mut bytes = fs::read(&plain).unwrap();
    for axis in 1..=4 {
        bytes[40 + 2 * axis..42 + 2 * axis].copy_from_slice(&i16::MAX.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    path
}

fn open(adapter: &str, path: PathBuf) -> Box<dyn ScannerAdapter> {
    if adapter == "bids" {
        let options = BidsOptions { dataset: path, tr: Some(2.0), ..BidsOptions::default() };
        return Box::new(BidsAdapter::open(options).unwrap());
    }
    let options = NiftiOptions { files: vec![path], tr: Some(2.0), ..NiftiOptions::default() };
    Box::new(NiftiAdapter::open(options).unwrap())
}

fn check(fault: &Fault) {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = open(fault.adapter, (fault.make)(folder.path()));
    let refused = adapter.refused().unwrap();
    match (adapter.start_run(), fault.outcome) {
        (Err(error), Outcome::Refused(word)) => {
            assert!(error.to_string().contains(word), "{}: {error}", fault.name);
        }
        (Ok(Some(_)), Outcome::Arrives(expected, n_refused)) => {
            let next = || adapter.next_volume().unwrap().map(|volume| volume.index.0);
            assert_eq!(std::iter::from_fn(next).collect::<Vec<_>>(), expected, "{}", fault.name);
            assert_eq!(refused.load(Ordering::Relaxed), n_refused, "{}", fault.name);
        }
        (found, expected) => panic!("{}: {found:?}, expected {expected:?}", fault.name),
    }
}

#[test]
fn nifti() {
    FAULTS.iter().filter(|fault| fault.adapter == "nifti").for_each(check);
}

#[test]
fn bids() {
    FAULTS.iter().filter(|fault| fault.adapter == "bids").for_each(check);
}
