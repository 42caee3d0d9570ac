//! A recording as a BIDS dataset (BIDS 1.10): images and events as raw data, results as a
//! derivative.
//!
//! ```text
//! dataset_description.json  README  participants.tsv
//! sub-01/ses-02/func/sub-01_ses-02_task-movie_run-1_{bold.nii.gz,bold.json,events.tsv}
//! derivatives/corticast/dataset_description.json
//! derivatives/corticast/sub-01/ses-02/func/sub-01_…_desc-decoded_results.{tsv,json}
//! ```
//!
//! Further sessions can go into the same dataset: its description and README stay unchanged, and
//! participants are added. All file names are checked before the first file is written.

mod names;
mod results;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use corticast_wire::files::apart::Kind;
use serde_json::{Value, json};

use self::{
    names::{Name, names},
    results::Table,
};
use super::{
    contents::{Contents, RunContents},
    error::{ExportError, io},
    files::{check_free, pretty, put},
    lines::run_of,
    volumes::{Image, write},
};
use crate::{offline::files::Files as FilesOfCommand, recording::format::Entry};

const BIDS_VERSION: &str = "1.10.0";

/// Name and files of one run in the dataset.
struct Files {
    name: Name,
    bold: PathBuf,
    sidecar: PathBuf,
    events: PathBuf,
    results: PathBuf,
}

impl Files {
    fn of(name: Name, dataset: &Path) -> Self {
        let raw = |suffix: &str| name.file(dataset, suffix);
        let results = name.file(&dataset.join("derivatives/corticast"), "desc-decoded_results.tsv");
        Self {
            bold: raw("bold.nii.gz"),
            sidecar: raw("bold.json"),
            events: raw("events.tsv"),
            results,
            name,
        }
    }

    fn all(&self) -> [&Path; 4] {
        [&self.bold, &self.sidecar, &self.events, &self.results]
    }
}

/// Exports all runs, or only the run `asked`. Returns the paths of the images.
///
/// # Errors
///
/// Fails when the recording cannot be read, a file exists and `force` is not set, or a file cannot
/// be written. Images get their names only once they are complete.
pub fn export(
    contents: &Contents,
    asked: Option<&str>,
    dataset: &Path,
    force: bool,
    progress: &mut dyn FnMut(),
) -> Result<Vec<PathBuf>, ExportError> {
    let runs = contents.with_volumes(asked)?;
    let files: Vec<Files> = names(&runs).into_iter().map(|name| Files::of(name, dataset)).collect();
    for path in files.iter().flat_map(Files::all) {
        check_free(path, force)?;
    }
    let mut apart = FilesOfCommand::default();
    apart.recording(&contents.path);
    for path in files.iter().flat_map(Files::all) {
        apart.output("--bids", Some(path), Kind::File);
    }
    apart.check()?;
    for folder in files.iter().flat_map(|files| [&files.bold, &files.results]) {
        let folder = folder.parent().unwrap_or(dataset);
        fs::create_dir_all(folder).map_err(io(folder))?;
    }
    describe(contents, dataset, &files)?;

    let mut images = Vec::with_capacity(runs.len());
    let mut tables = Vec::with_capacity(runs.len());
    for (run, files) in runs.iter().zip(&files) {
        images.push(Image::create(run, &files.bold)?);
        tables.push(Table::new(&run.run.name, &files.results));
    }
    let mut each = |entry: &Entry| {
        if entry.topic != "concepts" {
            return Ok(());
        }
        let run = run_of(&entry.data);
        let table = tables.iter_mut().find(|table| Some(&table.run) == run.as_ref());
        table.map_or(Ok(()), |table| table.row(&entry.data))
    };
    write(&contents.path, &mut images, &mut each, progress)?;
    for (image, (run, files)) in images.into_iter().zip(runs.iter().zip(&files)) {
        put(&files.sidecar, &pretty(&sidecar(run, &files.name)))?;
        match events(run) {
            Some(events) => put(&files.events, &events)?,
            // With --force, an earlier export may have left one.
            None => drop(fs::remove_file(&files.events)),
        }
        image.finish()?;
    }
    tables.into_iter().try_for_each(Table::finish)?;
    Ok(files.into_iter().map(|files| files.bold).collect())
}

/// Writes the files that describe the dataset as a whole.
fn describe(contents: &Contents, dataset: &Path, files: &[Files]) -> Result<(), ExportError> {
    let name = contents.path.file_stem().unwrap_or_default().to_string_lossy();
    let made_by = json!([{ "Name": "corticast", "Version": env!("CARGO_PKG_VERSION") }]);
    let raw = json!({
        "Name": name, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw", "GeneratedBy": made_by,
    });
    let derivative = json!({
        "Name": format!("{name}, decoded while it was scanned"), "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative", "GeneratedBy": made_by,
    });
    let readme = format!(
        "{name}\n\nExported by corticast {} from the recording of a real-time session. Volumes \
         are as the scanner sent\nthem; a missing volume is zeros and is listed in \
         MissingVolumes of its run's sidecar. Results decoded\nwhile the participant was in \
         the scanner are in derivatives/corticast.\n",
        env!("CARGO_PKG_VERSION")
    );
    let described = [
        (dataset.join("dataset_description.json"), pretty(&raw)),
        (dataset.join("README"), readme),
        (dataset.join("derivatives/corticast/dataset_description.json"), pretty(&derivative)),
    ];
    for (path, text) in described {
        if !path.exists() {
            put(&path, &text)?;
        }
    }
    participants(&dataset.join("participants.tsv"), files)
}

fn participants(path: &Path, files: &[Files]) -> Result<(), ExportError> {
    let mut table = match fs::read_to_string(path) {
        Ok(table) => table,
        Err(_) if !path.exists() => "participant_id\n".to_owned(),
        Err(error) => return Err(io(path)(error)),
    };
    let n_column = table.lines().next().map_or(1, |header| header.split('\t').count());
    let subjects: BTreeSet<String> = files.iter().map(|files| files.name.subject()).collect();
    for subject in subjects {
        let is_known = table.lines().any(|line| line.split('\t').next() == Some(subject.as_str()));
        if !is_known {
            if !table.ends_with('\n') {
                table.push('\n');
            }
            table.push_str(&subject);
            table.push_str(&"\tn/a".repeat(n_column - 1));
            table.push('\n');
        }
    }
    put(path, &table)
}

fn sidecar(run: &RunContents, name: &Name) -> Value {
    let header = &run.run.header;
    let mut sidecar = json!({
        "RepetitionTime": header.repetition_time.as_secs(),
        "TaskName": name.task(),
        "ConversionSoftware": "corticast",
        "ConversionSoftwareVersion": env!("CARGO_PKG_VERSION"),
        // Keys of our own, which BIDS permits.
        "RecordedRun": &*run.run.name,
        "RecordedFrom": header.source,
        "SeriesId": header.series_id,
        "MissingVolumes": run.missing(),
    });
    if let Some(slices) = &header.slice_times {
        sidecar["SliceTiming"] = json!(slices.times_s);
        sidecar["SliceEncodingDirection"] = json!(["i", "j", "k"][slices.axis.position()]);
    }
    sidecar
}

/// `events.tsv` of a run's marks; `None` when it has none.
fn events(run: &RunContents) -> Option<String> {
    if run.marks.is_empty() {
        return None;
    }
    let mut table = "onset\tduration\ttrial_type\n".to_owned();
    for mark in &run.marks {
        let duration = mark.value.filter(|value| *value >= 0.0);
        let duration = duration.map_or_else(|| "n/a".to_owned(), |value| value.to_string());
        // A tab or newline in a name would end the cell.
        let name: String =
            mark.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let name = if name.trim().is_empty() { "n/a" } else { name.trim() };
        writeln!(table, "{}\t{duration}\t{name}", mark.time_s)
            .expect("a string takes what is written");
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use corticast_images::{events, nifti::reader::NiftiReader};

    use super::*;
    use crate::recording::fixture;

    #[test]
    fn a_session_becomes_a_dataset_and_a_second_one_is_added_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (recording, dataset) = (folder.path().join("pilot.mcap"), folder.path().join("bids"));
        fixture::record(&recording, &fixture::session());
        let contents = Contents::of(&recording, &mut || {}).unwrap();
        let images = export(&contents, None, &dataset, false, &mut || {}).unwrap();

        let func = dataset.join("sub-01/func");
        // The repeat of run 1 gets a number of its own.
        let expected =
            [1, 2].map(|run| func.join(format!("sub-01_task-rest_run-{run}_bold.nii.gz")));
        assert_eq!(images, expected);
        assert_eq!(NiftiReader::open(&images[0]).unwrap().header().n_volumes, 5);
        let read = |path: &str| fs::read_to_string(dataset.join(path)).unwrap();
        let json = |path: &str| serde_json::from_str::<Value>(&read(path)).unwrap();
        let sidecar = json("sub-01/func/sub-01_task-rest_run-1_bold.json");
        assert_eq!(sidecar["RepetitionTime"], 1.5);
        assert_eq!(sidecar["TaskName"], "rest");
        assert_eq!(sidecar["MissingVolumes"], json!([3]));
        let again = json("sub-01/func/sub-01_task-rest_run-2_bold.json");
        assert_eq!(again["RecordedRun"], fixture::AGAIN);

        let marks = events::read(&func.join("sub-01_task-rest_run-1_events.tsv")).unwrap();
        let marks: Vec<_> =
            marks.iter().map(|e| (e.onset_s, e.duration_s, e.trial_type.as_str())).collect();
        assert_eq!(marks, [(0.0, 0.0, "ttl"), (3.0, 1.5, "house")]);
        assert!(!func.join("sub-01_task-rest_run-2_events.tsv").exists(), "it has no marks");

        let derivatives = "derivatives/corticast/sub-01/func/sub-01_task-rest";
        let table = read(&format!("{derivatives}_run-1_desc-decoded_results.tsv"));
        assert_eq!(
            table,
            "index\tstimulus_time_s\tacquisition_time_s\tmade_from\tblanked\tcat\thouse\n\
             0\t0\t0\tmeasured\tfalse\t0.25\t0.75\n1\t1.5\t1.5\tmeasured\tfalse\t0.25\t0.75\n"
        );
        assert_eq!(read("participants.tsv"), "participant_id\nsub-01\n");

        let error = export(&contents, None, &dataset, false, &mut || {}).unwrap_err();
        assert!(matches!(error, ExportError::Exists(_)), "{error}");
        fs::write(dataset.join("participants.tsv"), "participant_id\tage\nsub-02\t30").unwrap();
        export(&contents, None, &dataset, true, &mut || {}).unwrap();
        assert_eq!(read("participants.tsv"), "participant_id\tage\nsub-02\t30\nsub-01\tn/a\n");
    }
}
