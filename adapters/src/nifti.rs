//! NIfTI-1 files as a scanner: each file, or each folder of 3-D volumes, is a run.
//!
//! Files are streamed volume by volume and their bytes are sent as they are stored. A 4-D file
//! that ends early gives its whole volumes and then an error; in a folder, a file that cannot
//! be used is skipped, logged, and shows up as a gap.

pub mod header;
pub mod reader;
pub mod write;

use std::{
    cmp::Ordering,
    collections::VecDeque,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use corticast_bold::{
    run::RunHeader,
    time::{RepetitionTime, TrIndex},
};
use corticast_wire::message::Order;

use crate::{
    adapter::{AcquiredVolume, AdapterError, Event, ScannerAdapter},
    events,
    labels::Labels,
};
use header::NiftiHeader;
use reader::NiftiReader;

/// Which files, and what they do not say themselves.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NiftiOptions {
    /// 4-D files, or folders of 3-D volumes (.nii, .nii.gz); each is a run, in this order
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    pub files: Vec<PathBuf>,
    /// Repetition time in seconds [default: from the header]
    #[arg(long, value_name = "SECONDS")]
    pub tr: Option<f64>,
    /// BIDS events.tsv, one per run; sent as marks
    #[arg(long, value_name = "FILE")]
    pub events: Vec<PathBuf>,
    /// Name of the session
    #[arg(long, default_value = "")]
    pub session: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the fields are documented where they are")]
    pub labels: Labels,
}

/// A run that waits to be read.
#[derive(Clone, Debug)]
struct Pending {
    path: PathBuf,
    events: Vec<Event>,
}

/// Reads NIfTI files as a scanner would send them. See the module docs.
#[derive(Debug)]
pub struct NiftiAdapter {
    options: NiftiOptions,
    waiting: VecDeque<Pending>,
    current: Option<Current>,
    events: Vec<Event>,
}

impl NiftiAdapter {
    /// Opens the runs: every event file is read now, so that a bad one is found before the
    /// first volume.
    ///
    /// # Errors
    ///
    /// Fails when a file is not there, an event file cannot be read, or there are event files
    /// but not one per run.
    pub fn open(options: NiftiOptions) -> Result<Self, AdapterError> {
        let count = options.files.len();
        if !options.events.is_empty() && options.events.len() != count {
            return Err(AdapterError::Malformed {
                path: options.events[0].clone(),
                reason: format!("{} files of events for {count} runs", options.events.len()),
            });
        }
        if count > 1 && options.labels.run.is_some() {
            return Err(AdapterError::Malformed {
                path: options.files[0].clone(),
                reason: format!("--run names one run, {count} were given"),
            });
        }
        let mut waiting = VecDeque::with_capacity(count);
        for (at, path) in options.files.iter().enumerate() {
            std::fs::metadata(path)
                .map_err(|source| AdapterError::Io { path: path.clone(), source })?;
            let events = match options.events.get(at) {
                Some(path) => events::read(path)?,
                None => Vec::new(),
            };
            waiting.push_back(Pending { path: path.clone(), events });
        }
        Ok(Self { options, waiting, current: None, events: Vec::new() })
    }
}

impl ScannerAdapter for NiftiAdapter {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.current = None;
        let Some(Pending { path, events }) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let current = Current::open(&path)?;
        let nifti = &current.header;
        let seconds = self.options.tr.or(nifti.repetition_time_s).ok_or_else(|| {
            let reason = "the header holds no repetition time (pixdim[4] is 0): pass --tr SECONDS";
            AdapterError::Malformed { path: path.clone(), reason: reason.to_owned() }
        })?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let header = RunHeader {
            session: self.options.session.clone(),
            entities: self.options.labels.entities_of(&path)?,
            repetition_time: RepetitionTime::from_secs(seconds)?,
            space: nifti.space.clone(),
            n_volumes: Some(current.n_volumes),
            source: format!("nifti {}", printable(&name)),
            series_id: current.series_id.clone(),
        };
        self.events = events;
        self.current = Some(current);
        Ok(Some(header))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        match &mut self.current {
            Some(current) => current.next_volume(),
            None => Ok(None),
        }
    }

    fn events(&self) -> &[Event] {
        &self.events
    }
}

/// The run that is being read.
#[derive(Debug)]
struct Current {
    header: NiftiHeader,
    n_volumes: u32,
    series_id: String,
    /// Read ahead, because the series' name depends on it.
    first: Option<Bytes>,
    next_index: u32,
    input: Input,
}

#[derive(Debug)]
enum Input {
    File(Box<NiftiReader>),
    Folder { rest: VecDeque<PathBuf> },
}

impl Current {
    fn open(path: &Path) -> Result<Self, AdapterError> {
        let malformed = |path: &Path, reason: &str| AdapterError::Malformed {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let is_folder = path.is_dir();
        let mut rest: VecDeque<PathBuf> =
            if is_folder { volumes_in(path)?.into() } else { VecDeque::new() };
        let n_files = rest.len();
        let first_path = match (is_folder, rest.pop_front()) {
            (false, _) => path.to_owned(),
            (true, Some(first)) => first,
            (true, None) => return Err(malformed(path, "no .nii or .nii.gz file in this folder")),
        };
        let mut reader = NiftiReader::open(&first_path)?;
        let header = reader.header().clone();
        if is_folder && header.n_volumes > 1 {
            let reason = "a 4-D file in a folder of volumes: name the files themselves";
            return Err(malformed(&first_path, reason));
        }
        let first = reader.next_voxels()?;

        // A restarted adapter has to find the same name, so that the daemon goes on.
        let (raw, file_bytes) = reader.fingerprint();
        let mut hash = blake3::Hasher::new();
        hash.update(raw).update(&file_bytes.to_le_bytes()).update(first.as_deref().unwrap_or(&[]));
        let series_id = hash.finalize().to_hex()[..16].to_owned();

        let n_volumes =
            if is_folder { u32::try_from(n_files).unwrap_or(u32::MAX) } else { header.n_volumes };
        let input = if is_folder { Input::Folder { rest } } else { Input::File(Box::new(reader)) };
        Ok(Self { header, n_volumes, series_id, first, next_index: 0, input })
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        if let Some(first) = self.first.take() {
            let header = self.header.clone();
            return Ok(Some(self.acquired(&header, first)));
        }
        loop {
            let path = match &mut self.input {
                Input::File(reader) => {
                    let header = reader.header().clone();
                    let voxels = reader.next_voxels()?;
                    return Ok(voxels.map(|voxels| self.acquired(&header, voxels)));
                }
                Input::Folder { rest } => match rest.pop_front() {
                    Some(path) => path,
                    None => return Ok(None),
                },
            };
            match one_volume(&path, &self.header) {
                Ok((header, voxels)) => return Ok(Some(self.acquired(&header, voxels))),
                Err(error) => {
                    tracing::warn!(index = self.next_index, %error, "volume skipped");
                    self.next_index += 1;
                }
            }
        }
    }

    fn acquired(&mut self, header: &NiftiHeader, voxels: Bytes) -> AcquiredVolume {
        let index = TrIndex(self.next_index);
        self.next_index += 1;
        AcquiredVolume {
            index,
            acquisition_time_s: None,
            dtype: header.stored.on_wire(),
            order: Order::F,
            slope: header.slope,
            intercept: header.intercept,
            scanner_wall_time: None,
            voxels,
        }
    }
}

/// The only volume of a file, which has to fit its run.
fn one_volume(path: &Path, run: &NiftiHeader) -> Result<(NiftiHeader, Bytes), AdapterError> {
    let mut reader = NiftiReader::open(path)?;
    let header = reader.header().clone();
    header
        .space
        .check_is(&run.space)
        .map_err(|mismatch| AdapterError::Space { path: path.to_owned(), mismatch })?;
    match (header.n_volumes, reader.next_voxels()?) {
        (1, Some(voxels)) => Ok((header, voxels)),
        (n, _) => Err(AdapterError::Malformed {
            path: path.to_owned(),
            reason: format!("holds {n} volumes, expected 1"),
        }),
    }
}

/// The NIfTI files of a folder in natural order: `v2` before `v10`.
fn volumes_in(folder: &Path) -> Result<Vec<PathBuf>, AdapterError> {
    let io = |source| AdapterError::Io { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && (name.ends_with(".nii") || name.ends_with(".nii.gz")) {
            names.push(name);
        }
    }
    names.sort_by(|a, b| natural(a, b));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Compares runs of digits as numbers, everything else as text.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (split(&mut a, false), split(&mut b, false));
        let (digits_a, digits_b) = (split(&mut a, true), split(&mut b, true));
        let (number_a, number_b) =
            (digits_a.trim_start_matches('0'), digits_b.trim_start_matches('0'));
        let order = text_a
            .cmp(text_b)
            .then(number_a.len().cmp(&number_b.len()))
            .then(number_a.cmp(number_b))
            .then(digits_a.len().cmp(&digits_b.len()));
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// Takes the leading digits, or the leading rest, off a text.
fn split<'a>(text: &mut &'a str, digits: bool) -> &'a str {
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use corticast_bold::space::VoxelSpace;
    use corticast_wire::message::Dtype;

    use super::*;
    use crate::{
        adapter::contract,
        nifti::write::{NiftiFormat, NiftiWriter},
    };

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
        let runs = contract::holds(&mut NiftiAdapter::open(options(&[&a, &b])).unwrap());
        assert_eq!(runs[0].0.run_id(), "sub-x_task-b_run-01");
        assert_eq!(runs[1].0.run_id(), "sub-x_task-b_run-02");
        let bytes: Vec<_> = runs[0].1.iter().map(|v| v.voxels.to_vec()).collect();
        assert_eq!(bytes, [voxels(0), voxels(10), voxels(20)]);
        assert!(runs[0].1.iter().all(|v| v.order == Order::F && v.dtype == Dtype::Int16));
        let again = contract::holds(&mut NiftiAdapter::open(options(&[&a])).unwrap());
        assert_eq!(again[0].0.series_id, runs[0].0.series_id, "a restart finds the same name");
        assert_ne!(runs[0].0.series_id, runs[1].0.series_id);
    }

    #[test]
    fn a_folder_is_read_in_natural_order_and_a_bad_file_is_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        for (name, first) in [("v10.nii", 10), ("v2.nii", 2), ("v1.nii", 1)] {
            write(&folder.path().join(name), &[first], 1.0);
        }
        fs::write(folder.path().join("v3.nii"), b"nonsense").unwrap();
        let runs = contract::holds(&mut NiftiAdapter::open(options(&[folder.path()])).unwrap());
        let got: Vec<_> = runs[0].1.iter().map(|v| (v.index.0, v.voxels[0])).collect();
        assert_eq!(got, [(0, 1), (1, 2), (3, 10)]);
    }

    #[test]
    fn a_truncated_file_gives_its_whole_volumes_then_says_so() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.nii", "a.nii.gz"] {
            let path = folder.path().join(name);
            write(&path, &[0, 1000, 2000], 1.0);
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() - if name == "a.nii" { 3 } else { 12 }]).unwrap();
            let mut adapter = NiftiAdapter::open(options(&[&path])).unwrap();
            adapter.start_run().unwrap().unwrap();
            let mut whole = 0;
            let error = loop {
                match adapter.next_volume() {
                    Ok(volume) => whole += u32::from(volume.is_some()),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(error.contains(&format!("{whole} of 3 volumes are whole")), "{error}");
        }
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
    fn numbers_in_names_are_compared_as_numbers() {
        let mut names = ["v10", "v9a", "v9", "v", "w1", "v09", "v1b"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["v", "v1b", "v9", "v9a", "v09", "v10", "w1"]);
    }

    #[test]
    fn a_haxby_run_is_121_volumes_of_a_left_handed_slice() {
        let Some(data) = crate::adapter::real_data() else { return };
        let folder = data.join("haxby2001/run-01");
        let mut options = options(&[&folder.join("bold_1slice.nii.gz")]);
        options.events = vec![folder.join("bold_events.tsv")];
        let mut adapter = NiftiAdapter::open(options).unwrap();
        let runs = contract::holds(&mut adapter);
        let (header, volumes) = &runs[0];
        assert_eq!((header.space.matrix(), volumes.len()), ([40, 20, 1], 121));
        assert_eq!(header.repetition_time, RepetitionTime::from_secs(2.5).unwrap());
        assert!((header.space.affine()[0][0] + 3.1).abs() < 1e-6);
        assert_eq!(adapter.events()[0].trial_type, "scissors");
    }
}
