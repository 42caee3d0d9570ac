//! Delivers a run of a BIDS dataset like a scanner.
//!
//! The run is selected by its entities or by its `_bold.nii[.gz]` file. Its TR comes from the
//! sidecar and its events from `_events.tsv`, by the inheritance principle (BIDS 1.10, "Common
//! principles"): first the run's own file, then less specific files beside it, then files in the
//! folders above. If several runs or none match, the error lists the runs of the dataset.

use std::{
    fs,
    path::{Path, PathBuf},
};

use corticast_bold::run::{RunEntities, RunHeader};
use corticast_wire::files;

use crate::{
    acquired::AcquiredVolume,
    error::AdapterError,
    events::Event,
    labels::Labels,
    natural::natural,
    nifti::{NiftiAdapter, NiftiOptions},
    source::ScannerAdapter,
};

/// Folders deeper than this below the dataset contain no runs (sub/ses/func is 3).
const MAX_DEPTH: usize = 5;
/// Largest number of folders between a run and its sidecars.
const MAX_LEVELS_UP: usize = 4;
/// Largest number of files in a dataset. A folder with more is not taken for a dataset.
const MAX_FILES: usize = 200_000;
/// Largest sidecar that is read.
const MAX_SIDECAR_BYTES: u64 = 16 << 20;

/// Selects a run of a dataset.
#[derive(Clone, Debug, Default)]
pub struct BidsOptions {
    /// The dataset's folder, or the run's `_bold.nii[.gz]` itself.
    pub dataset: PathBuf,
    /// Labels that the run must have.
    pub labels: Labels,
    /// Name of the session.
    pub session: String,
    /// The run ends after this many volumes. At least 1.
    pub volumes: Option<u32>,
}

/// Sends one run of a BIDS dataset. See the module docs.
#[derive(Debug)]
pub struct BidsAdapter {
    nifti: NiftiAdapter,
}

impl BidsAdapter {
    /// Finds the run, its TR and its events.
    ///
    /// # Errors
    ///
    /// Fails unless exactly one run matches, or when one of its files cannot be read.
    pub fn open(options: BidsOptions) -> Result<Self, AdapterError> {
        let bold =
            if options.dataset.is_dir() { one_run(&options)? } else { options.dataset.clone() };
        tracing::info!(bold = %bold.display(), "run found");
        let tr = repetition_time_s(&bold)?;
        if tr.is_none() {
            tracing::warn!("no sidecar contains RepetitionTime: using the NIfTI header's");
        }
        let events = inherited(&bold, "events.tsv")?.into_iter().next();
        let nifti = NiftiAdapter::open(NiftiOptions {
            files: vec![bold],
            tr,
            events: events.into_iter().collect(),
            session: options.session,
            labels: Labels::default(),
            volumes: options.volumes,
        })?;
        Ok(Self { nifti })
    }
}

impl ScannerAdapter for BidsAdapter {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        let header = self.nifti.start_run()?;
        Ok(header.map(|header| RunHeader { source: "bids".to_owned(), ..header }))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        self.nifti.next_volume()
    }

    fn events(&self) -> &[Event] {
        self.nifti.events()
    }
}

/// The only run of the dataset that matches.
fn one_run(options: &BidsOptions) -> Result<PathBuf, AdapterError> {
    let mut runs = Vec::new();
    find_runs(&options.dataset, MAX_DEPTH, &mut runs, &mut 0)?;
    runs.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
    let asked = &options.labels;
    let fits = |path: &&PathBuf| {
        let name = file_name(path);
        let Some(found) = RunEntities::from_name(&name) else { return false };
        let fit = |key: &str, asked: &Option<String>, found: Option<&String>| {
            asked.as_ref().is_none_or(|asked| {
                let asked = asked.strip_prefix(key).unwrap_or(asked);
                found.is_some_and(|found| same_label(asked, found))
            })
        };
        fit("sub-", &asked.sub, Some(&found.sub))
            && fit("ses-", &asked.ses, found.ses.as_ref())
            && fit("task-", &asked.task, found.task.as_ref())
            && fit("run-", &asked.run, found.run.as_ref())
    };
    let fitting: Vec<&PathBuf> = runs.iter().filter(fits).collect();
    let malformed = |reason| AdapterError::Malformed { path: options.dataset.clone(), reason };
    match fitting.as_slice() {
        [run] => Ok((*run).clone()),
        [] if runs.is_empty() => {
            Err(malformed("found no *_bold.nii or *_bold.nii.gz in this dataset".to_owned()))
        }
        [] => Err(malformed(format!("no run matches; the dataset has {}", listed(&runs)))),
        several => Err(malformed(format!(
            "{} runs match; give --sub, --ses, --task, --run or the file itself: {}",
            several.len(),
            listed(several)
        ))),
    }
}

/// `1` and `01` name the same run.
fn same_label(a: &str, b: &str) -> bool {
    let number = |label: &str| label.parse::<u64>().ok();
    a == b || (number(a).is_some() && number(a) == number(b))
}

fn listed<P: AsRef<Path>>(paths: &[P]) -> String {
    const SHOWN: usize = 12;
    let mut text =
        paths.iter().take(SHOWN).map(|p| file_name(p.as_ref())).collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN {
        text.push_str(&format!(" and {} more", paths.len() - SHOWN));
    }
    text
}

fn find_runs(
    folder: &Path,
    depth: usize,
    runs: &mut Vec<PathBuf>,
    n_seen: &mut usize,
) -> Result<(), AdapterError> {
    for path in entries(folder)? {
        *n_seen += 1;
        if *n_seen > MAX_FILES {
            return Err(AdapterError::Malformed {
                path: folder.to_owned(),
                reason: format!("more than {MAX_FILES} files, expected one dataset or one run"),
            });
        }
        let name = file_name(&path);
        if name.ends_with("_bold.nii") || name.ends_with("_bold.nii.gz") {
            runs.push(path);
        } else if depth > 0 && name != "derivatives" && !name.starts_with('.') && path.is_dir() {
            find_runs(&path, depth - 1, runs, n_seen)?;
        }
    }
    Ok(())
}

/// `RepetitionTime` from the closest sidecar that contains it.
fn repetition_time_s(bold: &Path) -> Result<Option<f64>, AdapterError> {
    for path in inherited(bold, "bold.json")? {
        let io = |source| AdapterError::Io { path: path.clone(), source };
        let malformed = |reason| AdapterError::Malformed { path: path.clone(), reason };
        let text = files::read_text(&path, MAX_SIDECAR_BYTES).map_err(io)?;
        if let Some(seconds) = repetition_time_of(&text).map_err(malformed)? {
            return Ok(Some(seconds));
        }
    }
    Ok(None)
}

/// `RepetitionTime` in the text of a sidecar, in seconds; `None` when it has none.
///
/// # Errors
///
/// Fails when the text is not JSON, or the value is not a number.
pub fn repetition_time_of(sidecar: &str) -> Result<Option<f64>, String> {
    let sidecar: serde_json::Value =
        serde_json::from_str(sidecar).map_err(|error| error.to_string())?;
    let Some(value) = sidecar.get("RepetitionTime") else { return Ok(None) };
    let seconds =
        value.as_f64().ok_or_else(|| format!("RepetitionTime is {value}, expected seconds"))?;
    Ok(Some(seconds))
}

/// The files with this suffix that apply to the run, closest and most specific first. A file
/// applies if the run has all its entities.
fn inherited(bold: &Path, suffix: &str) -> Result<Vec<PathBuf>, AdapterError> {
    let name = file_name(bold);
    let run: Vec<&str> = name.split('_').collect();
    let mut found = Vec::new();
    let start = match bold.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    for folder in start.ancestors().take(MAX_LEVELS_UP) {
        // `ancestors` of a relative path ends with an empty one.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut here: Vec<(usize, PathBuf)> = entries(folder)?
            .into_iter()
            .filter_map(|path| {
                let name = file_name(&path);
                let entities = match name.strip_suffix(suffix)? {
                    "" => "",
                    entities => entities.strip_suffix('_')?,
                };
                let parts: Vec<&str> = entities.split('_').filter(|p| !p.is_empty()).collect();
                parts.iter().all(|part| run.contains(part)).then_some((parts.len(), path))
            })
            .collect();
        here.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        found.extend(here.into_iter().map(|(_, path)| path));
        // Files above the dataset do not belong to it.
        if folder.join("dataset_description.json").is_file() {
            break;
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, AdapterError> {
    let io = |source| AdapterError::Io { path: folder.to_owned(), source };
    fs::read_dir(folder)
        .map_err(io)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(io))
        .collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use corticast_bold::{decode::Dtype, space::VoxelSpace, time::RepetitionTime};

    use super::*;
    use crate::nifti::{format::NiftiFormat, write::NiftiWriter};

    /// Two runs of a subject; TR 2 s for the task, 0.8 s for run 2 alone. The headers say 1 s.
    fn dataset() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let func = root.path().join("sub-01/func");
        fs::create_dir_all(&func).unwrap();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write("dataset_description.json", "{}");
        write("task-movie_bold.json", r#"{"RepetitionTime": 2.0}"#);
        write("task-rest_bold.json", r#"{"RepetitionTime": 9.0}"#);
        write("sub-01/func/sub-01_task-movie_run-02_bold.json", r#"{"RepetitionTime": 0.8}"#);
        write(
            "sub-01/func/sub-01_task-movie_run-01_events.tsv",
            "onset\tduration\ttrial_type\n1\t2\tface\n",
        );
        for run in ["01", "02"] {
            let path = func.join(format!("sub-01_task-movie_run-{run}_bold.nii.gz"));
            let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
            let format = NiftiFormat {
                space: VoxelSpace::new([2, 1, 1], affine).unwrap(),
                repetition_time: RepetitionTime::from_secs(1.0).unwrap(),
                dtype: Dtype::Int16,
                slope: None,
                intercept: None,
            };
            let mut writer = NiftiWriter::create(&path, format).unwrap();
            writer.write(&[0; 4]).unwrap();
            writer.finish().unwrap();
        }
        root
    }

    fn options(dataset: &Path, run: Option<&str>) -> BidsOptions {
        let labels = Labels { run: run.map(str::to_owned), ..Labels::default() };
        BidsOptions { dataset: dataset.to_owned(), labels, ..BidsOptions::default() }
    }

    #[test]
    fn tr_and_events_are_inherited() {
        let root = dataset();
        let mut adapter = BidsAdapter::open(options(root.path(), Some("1"))).unwrap();
        let header = adapter.start_run().unwrap().unwrap();
        assert_eq!(header.run_id(), "sub-01_task-movie_run-01");
        assert_eq!(header.repetition_time, RepetitionTime::from_secs(2.0).unwrap());
        assert_eq!(adapter.events()[0].trial_type, "face");
        let file = root.path().join("sub-01/func/sub-01_task-movie_run-02_bold.nii.gz");
        let mut adapter = BidsAdapter::open(options(&file, None)).unwrap();
        let header = adapter.start_run().unwrap().unwrap();
        assert_eq!(header.repetition_time, RepetitionTime::from_secs(0.8).unwrap());
        assert!(adapter.events().is_empty());
    }

    #[test]
    fn what_fits_several_runs_or_none_lists_them() {
        let root = dataset();
        let several = BidsAdapter::open(options(root.path(), None)).unwrap_err().to_string();
        assert!(several.contains("2 runs match") && several.contains("run-02"), "{several}");
        let none = BidsAdapter::open(options(root.path(), Some("3"))).unwrap_err().to_string();
        assert!(none.contains("no run matches") && none.contains("run-01"), "{none}");
    }
}
