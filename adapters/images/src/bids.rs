//! Delivers a run of a BIDS dataset like a scanner.
//!
//! The run is selected by its entities or by its `_bold.nii[.gz]` file. TR and events are those of
//! [`NiftiAdapter`], by the inheritance principle. If several runs or none match, the error lists the
//! runs of the dataset. Phase images (`part-phase`) are left out unless asked for, and so is what
//! `.bidsignore` names.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use corticast_bold::run::{RunEntities, RunHeader};

use crate::{
    acquired::AcquiredVolume,
    beside::{bold_stem, entries, file_name},
    error::AdapterError,
    events::Event,
    labels::Labels,
    natural::natural,
    nifti::{NiftiAdapter, NiftiOptions},
    pattern::wild,
    source::ScannerAdapter,
};

/// Folders deeper than this below the dataset contain no runs (sub/ses/func is 3).
const MAX_DEPTH: usize = 5;
/// Largest number of files in a dataset. A folder with more is not taken for a dataset.
const MAX_FILES: usize = 200_000;
/// Folders of a dataset that hold no runs of it.
const NO_RUNS: [&str; 4] = ["derivatives", "sourcedata", "code", "stimuli"];

/// Selects a run of a dataset.
#[derive(Clone, Debug, Default)]
pub struct BidsOptions {
    /// The dataset's folder, or the run's `_bold.nii[.gz]` itself.
    pub dataset: PathBuf,
    /// Labels that the run must have.
    pub labels: Labels,
    /// Further entities that the run must have, e.g. `echo-1` or `space-T1w`.
    pub entities: Vec<String>,
    /// Repetition time in seconds; `None` uses the sidecar's, else the header's.
    pub tr: Option<f64>,
    /// BIDS `events.tsv`; `None`: the one that applies.
    pub events: Option<PathBuf>,
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
        let bold = run_of(&options)?;
        tracing::info!(bold = %bold.display(), "run found");
        let nifti = NiftiAdapter::open(NiftiOptions {
            files: vec![bold],
            tr: options.tr,
            events: options.events.into_iter().collect(),
            session: options.session,
            volumes: options.volumes,
            ..NiftiOptions::default()
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

    fn refused(&self) -> Option<Arc<AtomicU64>> {
        self.nifti.refused()
    }
}

/// The image of the run that is selected.
///
/// # Errors
///
/// Fails unless exactly one run matches.
pub fn run_of(options: &BidsOptions) -> Result<PathBuf, AdapterError> {
    if options.dataset.is_dir() { one_run(options) } else { Ok(options.dataset.clone()) }
}

/// The only run of the dataset that matches.
fn one_run(options: &BidsOptions) -> Result<PathBuf, AdapterError> {
    let mut runs = Vec::new();
    find_runs(&options.dataset, MAX_DEPTH, &mut runs, &mut 0)?;
    runs.retain(|path| !is_ignored(&options.dataset, path));
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
            && options.has_entities(path)
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
            "{} runs match; give --sub, --ses, --task, --run, --entity KEY-LABEL (echo-1, \
             space-T1w) or the file itself: {}",
            several.len(),
            listed(several)
        ))),
    }
}

impl BidsOptions {
    /// Whether the image has every entity that is asked for; of phase images none unless asked.
    fn has_entities(&self, image: &Path) -> bool {
        let stem = bold_stem(image).unwrap_or_default();
        let parts: Vec<&str> = stem.split('_').collect();
        let same = |asked: &str, found: &str| match (asked.split_once('-'), found.split_once('-')) {
            (Some((key, asked)), Some((found_key, found))) => {
                key == found_key && same_label(asked, found)
            }
            _ => asked == found,
        };
        let is_phase = parts.contains(&"part-phase");
        let asks_part = self.entities.iter().any(|entity| entity.starts_with("part-"));
        (asks_part || !is_phase)
            && self.entities.iter().all(|asked| parts.iter().any(|part| same(asked, part)))
    }
}

/// Whether `.bidsignore` of the dataset names a file: a pattern of its name, of its path, or a
/// folder that ends in `/`. `!` and `**` between names are not read.
fn is_ignored(dataset: &Path, path: &Path) -> bool {
    let Ok(text) = crate::text::read(&dataset.join(".bidsignore"), 1 << 20) else { return false };
    let relative = path.strip_prefix(dataset).unwrap_or(path).to_string_lossy().into_owned();
    let name = file_name(path);
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).any(
        |line| {
            let line = line.trim_start_matches("**/").trim_start_matches('/');
            match line.strip_suffix('/') {
                Some(folder) => {
                    relative.split('/').any(|part| wild(folder, part))
                        || relative.starts_with(&format!("{folder}/"))
                }
                None => wild(line, &name) || wild(line, &relative),
            }
        },
    )
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
    let paths = match entries(folder) {
        Err(AdapterError::Io { source, .. })
            if depth < MAX_DEPTH && source.kind() == io::ErrorKind::PermissionDenied =>
        {
            tracing::warn!(folder = %folder.display(), "no permission to list: skipped");
            return Ok(());
        }
        listed => listed?,
    };
    for path in paths {
        *n_seen += 1;
        if *n_seen > MAX_FILES {
            return Err(AdapterError::Malformed {
                path: folder.to_owned(),
                reason: format!("more than {MAX_FILES} files, expected one dataset or one run"),
            });
        }
        let name = file_name(&path);
        let is_hidden = name.starts_with('.');
        if bold_stem(&path).is_some() && !is_hidden {
            runs.push(path);
        } else if depth > 0 && !NO_RUNS.contains(&&*name) && !is_hidden && path.is_dir() {
            find_runs(&path, depth - 1, runs, n_seen)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn phase_images_and_ignored_files_are_left_out_and_echoes_are_chosen() {
        let root = dataset();
        let func = root.path().join("sub-01/func");
        let copy = |to: &str| {
            fs::copy(func.join("sub-01_task-movie_run-01_bold.nii.gz"), func.join(to)).unwrap();
        };
        copy("sub-01_task-me_echo-1_bold.NII.GZ");
        copy("sub-01_task-me_echo-2_bold.nii.gz");
        copy("sub-01_task-me_echo-2_part-phase_bold.nii.gz");
        copy("sub-01_task-me_echo-2_rec-old_bold.nii.gz");
        fs::write(root.path().join(".bidsignore"), "*_rec-old_*\n").unwrap();
        let task = |entities: &[&str]| BidsOptions {
            labels: Labels { task: Some("me".into()), ..Labels::default() },
            entities: entities.iter().map(|&entity| entity.to_owned()).collect(),
            dataset: root.path().to_owned(),
            ..BidsOptions::default()
        };
        let message = BidsAdapter::open(task(&[])).unwrap_err().to_string();
        assert!(message.contains("2 runs match") && message.contains("--entity"), "{message}");
        BidsAdapter::open(task(&["echo-02"])).unwrap();
        BidsAdapter::open(task(&["echo-1"])).unwrap();
        BidsAdapter::open(task(&["part-phase"])).unwrap();
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
