//! Writes simulated runs as files, for training a demo model.
//!
//! The files have BIDS names and lie in one folder:
//!
//! ```text
//! mask.nii.gz   roi-face.nii.gz   …
//! sub-demo_task-shapes_run-1_bold.nii.gz   ..._bold.json   ..._events.tsv
//! ```
//!
//! The mask holds the brain, each region the voxels that respond most to one class.

use std::{fmt::Write as _, path::Path};

use corticast_bold::decode::{Dtype, Order};
use corticast_images::{
    dump::Dump,
    error::AdapterError,
    nifti::{format::NiftiFormat, write::write_3d},
    reorient::ToRas,
};

use super::{SyntheticScanner, options::SyntheticOptions};
use crate::adapter::ScannerAdapter;

/// Writes `n_runs` runs. Run labels count up from 1, seeds from `options.seed`.
///
/// # Errors
///
/// Fails when the options are invalid or the folder cannot be written.
pub fn write_runs(
    options: &SyntheticOptions,
    folder: &Path,
    n_runs: u32,
) -> Result<(), AdapterError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| AdapterError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    for at in 0..n_runs {
        let options = SyntheticOptions {
            run: (at + 1).to_string(),
            seed: options.seed.wrapping_add(u64::from(at)),
            ..options.clone()
        };
        let scanner = SyntheticScanner::open(options.clone())?;
        let name = scanner.entities.to_string();
        let mut events = "onset\tduration\ttrial_type\n".to_owned();
        for event in scanner.events() {
            writeln!(events, "{}\t{}\t{}", event.onset_s, event.duration_s, event.trial_type)
                .expect("writing to a string succeeds");
        }
        let json = serde_json::json!({
            "RepetitionTime": options.tr,
            "TaskName": options.task,
            "Instructions": format!("simulated: seed {}, pattern seed {}",
                options.seed, options.pattern_seed),
        });
        for (suffix, text) in [("events.tsv", events), ("bold.json", format!("{json:#}\n"))] {
            let path = folder.join(format!("{name}_{suffix}"));
            std::fs::write(&path, text).map_err(io(&path))?;
        }
        if at == 0 {
            write_mask(&scanner, scanner.mask(), &folder.join("mask.nii.gz"))?;
            for (class, name) in scanner.options.classes.iter().enumerate() {
                let name = name.replace(|c: char| !c.is_alphanumeric(), "_");
                let region = scanner.brain().region(class);
                write_mask(&scanner, &region, &folder.join(format!("roi-{name}.nii.gz")))?;
            }
        }
        Dump::new(Box::new(scanner), &folder.join(format!("{name}_bold.nii.gz"))).drain()?;
    }
    Ok(())
}

fn write_mask(scanner: &SyntheticScanner, mask: &[u32], path: &Path) -> Result<(), AdapterError> {
    let space = &scanner.brain().space;
    let mut inside = vec![0_u8; 2 * space.n_voxel()];
    for &voxel in mask {
        inside[2 * voxel as usize] = 1;
    }
    let to_ras = ToRas::new(space, Order::C)?;
    let format = NiftiFormat {
        space: to_ras.space().clone(),
        repetition_time: scanner.repetition_time,
        dtype: Dtype::Int16,
        slope: None,
        intercept: None,
    };
    Ok(write_3d(path, format, &to_ras.apply(&inside, 2))?)
}

#[cfg(test)]
mod tests {
    use corticast_bold::time::TrIndex;
    use corticast_images::{events, nifti::reader::NiftiReader};

    use super::*;

    #[test]
    fn files_hold_what_the_scanner_sends() {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SyntheticOptions { volumes: 20, matrix: [6, 5, 4], ..SyntheticOptions::default() };
        write_runs(&options, folder.path(), 2).unwrap();
        let second = SyntheticOptions { seed: 2, run: "2".into(), ..options };
        let scanner = SyntheticScanner::open(second).unwrap();
        let name =
            |suffix: &str| folder.path().join(format!("sub-demo_task-shapes_run-2_{suffix}"));
        assert_eq!(events::read(&name("events.tsv")).unwrap(), scanner.events());
        let mut reader = NiftiReader::open(&name("bold.nii.gz")).unwrap();
        let first = reader.next_voxels().unwrap().unwrap();
        let sent = scanner.voxels(TrIndex(0));
        // [x, y, z] = [1, 2, 3]: x fastest in the file, z fastest on the wire.
        let (in_file, on_wire) = (2 * (1 + 6 * (2 + 5 * 3)), 2 * ((5 + 2) * 4 + 3));
        assert_eq!(first[in_file..in_file + 2], sent[on_wire..on_wire + 2]);
        let mask = NiftiReader::open(&folder.path().join("mask.nii.gz")).unwrap();
        assert!(!mask.header().is_4d);
        assert!(folder.path().join("roi-face.nii.gz").is_file());
    }
}
