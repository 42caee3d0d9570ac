//! The scanner adapter trait, and the contract that the tests of every adapter check.
//!
//! To add a scanner, implement [`ScannerAdapter`] in a file of its own, open the adapter in
//! `main.rs`, and pass it to `contract::holds` in a test. The daemon does not change.

/// Defined in `corticast-images`, because the daemon replays files through the same trait without
/// depending on this crate. Re-exported here, where adapters are written.
pub use corticast_images::source::{ScannerAdapter, Stopper};

/// The folder of real scans for tests, from `CORTICAST_DATA`. Without it, the test reports that it
/// did not run.
#[cfg(test)]
pub(crate) fn real_data() -> Option<std::path::PathBuf> {
    let folder =
        std::env::var_os("CORTICAST_DATA").map(std::path::PathBuf::from).filter(|f| f.is_dir());
    if folder.is_none() {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("NOT RUN: {name}: CORTICAST_DATA does not name a folder of real scans");
    }
    folder
}

/// The rules that every adapter must follow; the tests of each adapter check them.
#[cfg(test)]
pub(crate) mod contract {
    use std::collections::HashSet;

    use corticast_bold::run::RunHeader;
    use corticast_images::acquired::AcquiredVolume;

    use super::ScannerAdapter;

    /// Runs the adapter to its end and checks what it delivered.
    pub(crate) fn holds(adapter: &mut dyn ScannerAdapter) -> Vec<(RunHeader, Vec<AcquiredVolume>)> {
        let mut runs = Vec::new();
        let mut names = HashSet::new();
        while let Some(header) = adapter.start_run().expect("a run starts") {
            assert!(!header.series_id.is_empty(), "each acquisition has a series id");
            assert!(
                names.insert((header.run_id(), header.series_id.clone())),
                "two runs of one adapter differ in name or series"
            );
            let onsets: Vec<f64> = adapter.events().iter().map(|event| event.onset_s).collect();
            assert!(onsets.is_sorted(), "events are sorted by onset");
            let mut volumes = Vec::new();
            while let Some(volume) = adapter.next_volume().expect("a volume comes") {
                let message = volume.clone().into_message(&header.run_id());
                message.check(&header.space).expect("a volume fits its run");
                volumes.push(volume);
            }
            let after = adapter.next_volume().expect("a finished run stays finished");
            assert_eq!(after, None);
            runs.push((header, volumes));
        }
        assert!(adapter.start_run().expect("no further run").is_none());
        runs
    }
}

/// Recorded files are adapters, too.
#[cfg(test)]
mod tests {
    use corticast_bold::time::RepetitionTime;
    use corticast_images::{
        bids::{BidsAdapter, BidsOptions},
        dump::Dump,
        nifti::{NiftiAdapter, NiftiOptions},
    };

    use super::*;
    use crate::synthetic::{SyntheticOptions, SyntheticScanner};

    #[test]
    fn recorded_files_keep_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub-01_task-movie_bold.nii.gz");
        let options =
            SyntheticOptions { volumes: 3, matrix: [4, 4, 4], ..SyntheticOptions::default() };
        let scanner = SyntheticScanner::open(options).unwrap();
        Dump::new(Box::new(scanner), &path).drain().unwrap();
        let nifti =
            NiftiOptions { files: vec![path.clone()], volumes: Some(2), ..NiftiOptions::default() };
        let runs = contract::holds(&mut NiftiAdapter::open(nifti).unwrap());
        assert_eq!(runs[0].1.len(), 2);
        let bids = BidsOptions { dataset: path, ..BidsOptions::default() };
        let runs = contract::holds(&mut BidsAdapter::open(bids).unwrap());
        assert_eq!(runs[0].1.len(), 3);
    }

    #[test]
    fn a_haxby_run_is_121_volumes_of_a_left_handed_slice() {
        let Some(data) = real_data() else { return };
        let folder = data.join("haxby2001/run-01");
        let options = NiftiOptions {
            files: vec![folder.join("bold_1slice.nii.gz")],
            events: vec![folder.join("bold_events.tsv")],
            ..NiftiOptions::default()
        };
        let mut adapter = NiftiAdapter::open(options).unwrap();
        let runs = contract::holds(&mut adapter);
        let (header, volumes) = &runs[0];
        assert_eq!((header.space.matrix(), volumes.len()), ([40, 20, 1], 121));
        assert_eq!(header.repetition_time, RepetitionTime::from_secs(2.5).unwrap());
        assert!((header.space.affine()[0][0] + 3.1).abs() < 1e-6);
        assert_eq!(adapter.events()[0].trial_type, "scissors");
    }
}
