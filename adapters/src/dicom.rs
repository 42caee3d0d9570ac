//! A folder into which a Siemens scanner exports mosaics: one DICOM file per volume.
//!
//! Each series is a run. A volume is handed on the moment its file is complete: when it was
//! closed after writing, renamed into place, or found by looking (`watch`); a file that is
//! cut off is tried again until a deadline (`intake`). Which volume a file is, is what its
//! header says (`series`); names of files lie.
//!
//! ```text
//! watch ──names──► intake ──elements, csa, image, mosaic──► series ──► start_run, next_volume
//! ```
//!
//! A run ends when the next series begins, when its volumes are all there, or when nothing came
//! for a while; the scanner does not say so. If the same series then goes on, so does the run:
//! same name, same `series_id`, and its indices continue.
//!
//! What was in the folder before comes first, in order of acquisition, so that an adapter that
//! is started late or again misses nothing.
//!
//! **Patient data ends here.** Runs are named on the command line, never by the header; a
//! series is known by a hash. Texts of the header, the folder's name and names of files that
//! hold more than the scanner's three numbers are neither handed on nor logged.

mod csa;
mod elements;
#[cfg(test)]
mod fixture;
mod image;
mod intake;
mod mosaic;
mod series;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use corticast_bold::run::{RunEntities, RunHeader};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};
use corticast_wire::message::Order;

pub use self::intake::Counts;
use self::{
    image::Image,
    intake::{Intake, Mosaic, Next},
    series::{Refusal, Series, run_label},
    watch::{Arrivals, Pattern},
};
use crate::adapter::ScannerAdapter;

/// Which folder, how runs are named, and how long to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct DicomOptions {
    /// Folder into which the scanner exports
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Subject label: a pseudonym; never taken from the images
    #[arg(long, default_value = "x")]
    pub sub: String,
    /// Session label
    #[arg(long)]
    pub ses: Option<String>,
    /// Task label
    #[arg(long)]
    pub task: Option<String>,
    /// Run label of the first series; each further series counts it up
    #[arg(long, default_value = "1")]
    pub run: String,
    /// Name of the session
    #[arg(long, default_value = "")]
    pub session: String,
    /// Read only files whose name matches, with * and ?
    #[arg(long, default_value = "*")]
    pub pattern: String,
    /// Take only the series of this number (e.g. not the motion-corrected copy)
    #[arg(long, value_name = "NUMBER")]
    pub series: Option<u32>,
    /// Volumes of a run; with the last one it ends [default: not known]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub volumes: Option<u32>,
    /// A run ends when nothing came for this long
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub end_after_s: Duration,
    /// An incomplete file is skipped after this long
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub deadline_s: Duration,
    /// Look at the folder this often, besides being notified: network shares do not notify
    #[arg(long, value_name = "MILLISECONDS", default_value = "200",
        value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub poll_ms: u64,
    /// Take what is there, in order of acquisition, and end
    #[arg(skip)]
    pub once: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| format!("expected 0 to 86400 seconds, got {seconds}"))
}

/// Reads Siemens mosaics out of a folder. See the module docs.
pub struct DicomAdapter {
    options: DicomOptions,
    intake: Intake,
    /// Everything that began since the adapter was opened, by `series_id`.
    series: HashMap<String, Series>,
    /// `series_id` of the run that goes on.
    current: Option<String>,
    /// Accepted and not yet handed on: the first volume of its run.
    held: Option<Mosaic>,
    last_volume: Instant,
}

impl DicomAdapter {
    /// Starts to watch the folder.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be read or a label is not one.
    pub fn open(options: DicomOptions) -> Result<Self, AdapterError> {
        let DicomOptions { sub, ses, task, run, .. } = &options;
        RunEntities::checked(sub, ses.as_deref(), task.as_deref(), Some(run))?;
        // Not the folder's name: scanners put the patient's into it.
        let error = |source| AdapterError::Io { path: "the DICOM folder".into(), source };

        let pattern = Pattern::new(&options.pattern);
        let poll = Duration::from_millis(options.poll_ms);
        // Watched before it is listed, or what comes between is seen late.
        let arrivals = match options.once {
            true => None,
            false => Some(Arrivals::watch(&options.folder, &pattern, poll).map_err(error)?),
        };
        let names = watch::list(&options.folder, &pattern).map_err(error)?;
        let files = names.iter().map(|name| options.folder.join(name)).collect();
        let intake = Intake::new(files, arrivals, options.deadline_s);
        Ok(Self {
            options,
            intake,
            series: HashMap::new(),
            current: None,
            held: None,
            last_volume: Instant::now(),
        })
    }

    /// What became of the files so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.intake.counts
    }

    /// Whether this is a volume to hand on; notes it in its series.
    fn place(&mut self, mosaic: &Mosaic) -> Result<bool, AdapterError> {
        let Mosaic { image, file, .. } = mosaic;
        if self.options.series.is_some_and(|wanted| image.series_number != Some(wanted)) {
            tracing::debug!(file, "another series than asked for");
            return Ok(false);
        }
        if !self.series.contains_key(&image.series_id) {
            let header = self.header(image)?;
            self.series.values_mut().for_each(|earlier| earlier.over = true);
            self.series.insert(image.series_id.clone(), Series::new(header));
        }
        let series = self.series.get_mut(&image.series_id).expect("inserted above if new");
        let counts = &mut self.intake.counts;
        match series.accept(image) {
            Ok(()) if series.over => {
                counts.refused += 1;
                tracing::warn!(
                    file, index = %image.index,
                    "volume skipped, another series began since (--series takes only one)"
                );
                Ok(false)
            }
            Ok(()) => Ok(true),
            Err(reason @ Refusal::SameImage) => {
                counts.duplicates += 1;
                tracing::debug!(file, %reason, "file skipped");
                Ok(false)
            }
            Err(reason @ Refusal::SameNumber(_)) => {
                counts.duplicates += 1;
                tracing::warn!(file, %reason, "file skipped");
                Ok(false)
            }
            Err(reason) => {
                counts.refused += 1;
                tracing::warn!(file, %reason, "file skipped");
                Ok(false)
            }
        }
    }

    fn header(&self, image: &Image) -> Result<RunHeader, AdapterError> {
        let DicomOptions { sub, ses, task, run, session, volumes, .. } = &self.options;
        let run = run_label(run, self.series.len() as u64);
        let entities = RunEntities::checked(sub, ses.as_deref(), task.as_deref(), Some(&run))?;
        Ok(RunHeader {
            session: session.clone(),
            entities,
            repetition_time: image.repetition_time,
            space: image.space.clone(),
            n_volumes: volumes.or(image.n_volumes),
            source: "dicom: Siemens mosaics".into(),
            series_id: image.series_id.clone(),
        })
    }

    fn hand_on(&mut self, mosaic: Mosaic) -> AcquiredVolume {
        let Mosaic { image, voxels, .. } = mosaic;
        self.last_volume = Instant::now();
        self.intake.counts.handed_on += 1;
        let series = self.series.get_mut(&image.series_id).expect("placed in its series");
        AcquiredVolume {
            index: image.index,
            acquisition_time_s: series.acquisition_time_s(&image),
            dtype: image.dtype,
            order: Order::F,
            slope: image.slope,
            intercept: image.intercept,
            scanner_wall_time: image.wall_time(),
            voxels,
        }
    }

    fn end_run(&mut self) {
        if let Some(series) = self.current.take().and_then(|id| self.series.get(&id)) {
            let (run, missing) = (series.header.run_id(), series.n_missing());
            let Counts { duplicates, refused, given_up, .. } = self.intake.counts;
            tracing::info!(run, missing, duplicates, refused, given_up, "run ended");
        }
    }
}

impl ScannerAdapter for DicomAdapter {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.end_run();
        let first = loop {
            if let Some(held) = self.held.take() {
                break held;
            }
            match self.intake.next(None) {
                Next::Mosaic(mosaic) if self.place(&mosaic)? => break *mosaic,
                Next::Mosaic(_) | Next::Quiet => {}
                Next::End => return Ok(None),
            }
        };
        let header = self.series[&first.image.series_id].header.clone();
        // Slices that start together were excited together.
        let mut starts = first.image.slice_times_s.clone();
        starts.sort_by(f64::total_cmp);
        starts.dedup_by(|a, b| (*a - *b).abs() < 1e-4);
        let (n_slice, n_excitation) = (first.image.slice_times_s.len(), starts.len());
        tracing::info!(
            run = header.run_id(), matrix = ?header.space.matrix(),
            tr = %header.repetition_time, n_slice, n_excitation, "run started"
        );
        self.current = Some(header.series_id.clone());
        self.held = Some(first);
        Ok(Some(header))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        let Some(current) = self.current.clone() else { return Ok(None) };
        if let Some(first) = self.held.take() {
            return Ok(Some(self.hand_on(first)));
        }
        while !self.series[&current].is_complete() {
            match self.intake.next(Some(self.last_volume + self.options.end_after_s)) {
                Next::Mosaic(mosaic) if self.place(&mosaic)? => {
                    if mosaic.image.series_id == current {
                        return Ok(Some(self.hand_on(*mosaic)));
                    }
                    self.held = Some(*mosaic);
                    break;
                }
                Next::Mosaic(_) => {}
                Next::Quiet | Next::End => break,
            }
        }
        self.end_run();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write,
        path::Path,
        sync::{Arc, Mutex},
    };

    use clap::Parser;

    use super::*;
    use crate::adapter::{contract, real_data};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: DicomOptions,
    }

    fn options(folder: &Path, flags: &[&str]) -> DicomOptions {
        let folder = folder.to_str().unwrap();
        Command::try_parse_from(["dicom", folder].iter().chain(flags)).unwrap().options
    }

    fn watching(folder: &Path, flags: &[&str]) -> DicomAdapter {
        DicomAdapter::open(options(folder, flags)).unwrap()
    }

    fn once(folder: &Path, flags: &[&str]) -> DicomAdapter {
        DicomAdapter::open(DicomOptions { once: true, ..options(folder, flags) }).unwrap()
    }

    fn indices(volumes: &[AcquiredVolume]) -> Vec<u32> {
        volumes.iter().map(|volume| volume.index.0).collect()
    }

    fn rename_in(folder: &Path, name: &str, bytes: &[u8]) {
        let outside = tempfile::NamedTempFile::new_in(folder.parent().unwrap()).unwrap();
        fs::write(outside.path(), bytes).unwrap();
        outside.persist(folder.join(name)).unwrap();
    }

    /// A folder inside a folder of its own, to rename from.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("export");
        fs::create_dir(&inner).unwrap();
        (outer, inner)
    }

    #[test]
    fn what_is_there_comes_in_order_of_acquisition_and_without_duplicates() {
        let (_outer, folder) = folder();
        for (name, number) in [("c", 1), ("a", 3), ("b", 2), ("0_copy", 3)] {
            fs::write(folder.join(name), fixture::volume("skyra", number, &[])).unwrap();
        }
        fs::write(folder.join("prisma"), fixture::volume("prisma", 1, &[])).unwrap();
        fs::write(folder.join("notes.txt"), [b'x'; 500]).unwrap();
        fs::write(folder.join("cut"), &fixture::volume("skyra", 4, &[])[..5000]).unwrap();
        let mut adapter = once(&folder, &["--task", "rest", "--run", "07"]);
        let runs = contract::holds(&mut adapter);
        let names: Vec<_> = runs.iter().map(|(header, _)| header.run_id()).collect();
        assert_eq!(names, ["sub-x_task-rest_run-07", "sub-x_task-rest_run-08"]);
        let by_series: HashMap<_, _> =
            runs.iter().map(|(header, v)| (header.space.matrix(), indices(v))).collect();
        assert_eq!(by_series[&[64, 64, 27]], [0, 1, 2]);
        assert_eq!(by_series[&[64, 64, 18]], [0]);
        let counts = Counts { handed_on: 4, duplicates: 1, refused: 1, given_up: 1 };
        assert_eq!(adapter.counts(), counts);
    }

    #[test]
    fn a_folder_is_watched_through_renames_pieces_duplicates_and_lies() {
        let (_outer, folder) = folder();
        let flags = ["--volumes", "4", "--deadline-s", "30", "--end-after-s", "60"];
        let mut adapter = watching(&folder, &flags);
        let volume = |number| fixture::volume("skyra", number, &[]);

        rename_in(&folder, "001_000013_000001.dcm", &volume(1));
        let header = adapter.start_run().unwrap().unwrap();
        assert_eq!((header.run_id().as_str(), header.n_volumes), ("sub-x_run-1", Some(4)));
        let mut next = || adapter.next_volume().unwrap().map(|volume| volume.index.0);
        assert_eq!(next(), Some(0));

        // The same image under another name, then one whose name lies.
        rename_in(&folder, "001_000013_000000.dcm", &volume(1));
        rename_in(&folder, "001_000013_000099.dcm", &volume(2));
        assert_eq!(next(), Some(1));

        // Closed half written, and finished later by somebody who waits for nothing.
        let whole = volume(3);
        let path = folder.join("001_000013_000003.dcm");
        let writer = std::thread::spawn(move || {
            for piece in whole.chunks(whole.len() / 3 + 1) {
                let mut file = fs::File::options().append(true).create(true).open(&path).unwrap();
                file.write_all(piece).unwrap();
                drop(file);
                dawdle(20);
            }
        });
        assert_eq!(next(), Some(2));
        writer.join().unwrap();

        fs::write(folder.join("001_000013_000004.dcm"), volume(4)).unwrap();
        assert_eq!(next(), Some(3));
        assert_eq!(next(), None, "that was the last of four");
        let counts = adapter.counts();
        assert_eq!((counts.handed_on, counts.refused, counts.given_up), (4, 0, 0));
        assert!(counts.duplicates >= 1);
    }

    #[test]
    fn files_that_raise_no_event_are_found_by_looking() {
        let (outer, folder) = folder();
        let mut adapter = watching(&folder, &["--poll-ms", "20"]);
        // A hard link raises a creation only.
        let outside = outer.path().join("outside");
        fs::write(&outside, fixture::volume("skyra", 1, &[])).unwrap();
        fs::hard_link(&outside, folder.join("001_000013_000001.dcm")).unwrap();
        assert!(adapter.start_run().unwrap().is_some());
        assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
    }

    /// What a slow writer does between two pieces.
    #[allow(clippy::disallowed_methods, reason = "a writer in the world takes its time")]
    fn dawdle(milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }

    #[test]
    fn a_truncated_file_costs_its_volume_only_and_a_new_series_is_a_new_run() {
        let (_outer, folder) = folder();
        let mut adapter = watching(&folder, &["--deadline-s", "0.05", "--end-after-s", "60"]);
        rename_in(&folder, "1", &fixture::volume("skyra", 1, &[]));
        rename_in(&folder, "2", &fixture::volume("skyra", 2, &[])[..100_000]);
        rename_in(&folder, "3", &fixture::volume("skyra", 3, &[]));
        let first = adapter.start_run().unwrap().unwrap();
        assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
        assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 2);
        let writer = std::thread::spawn({
            let folder = folder.clone();
            move || {
                dawdle(150);
                rename_in(&folder, "4", &fixture::volume("prisma", 1, &[]));
            }
        });
        assert_eq!(adapter.next_volume().unwrap(), None);
        writer.join().unwrap();
        let second = adapter.start_run().unwrap().unwrap();
        assert_eq!(
            (first.run_id().as_str(), second.run_id().as_str()),
            ("sub-x_run-1", "sub-x_run-2")
        );
        assert_ne!(first.series_id, second.series_id);
        assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
        assert_eq!(adapter.counts().given_up, 1);
    }

    #[test]
    fn a_run_ends_when_nothing_comes_and_goes_on_when_its_series_does() {
        let (_outer, folder) = folder();
        let mut adapter = watching(&folder, &["--end-after-s", "0.1"]);
        rename_in(&folder, "1", &fixture::volume("skyra", 1, &[]));
        let header = adapter.start_run().unwrap().unwrap();
        assert!(adapter.next_volume().unwrap().is_some());
        assert_eq!(adapter.next_volume().unwrap(), None);
        rename_in(&folder, "2", &fixture::volume("skyra", 2, &[]));
        assert_eq!(adapter.start_run().unwrap(), Some(header));
        assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 1);
    }

    #[test]
    fn another_matrix_mid_run_costs_that_file() {
        let (_outer, folder) = folder();
        for number in [1, 3] {
            let bytes = fixture::volume("skyra", number, &[]);
            fs::write(folder.join(number.to_string()), bytes).unwrap();
        }
        // The prisma's picture under the skyra's series.
        let uid = fixture::text_of("skyra", fixture::SERIES_INSTANCE_UID);
        let edits =
            [(fixture::SERIES_INSTANCE_UID, uid.as_str()), (fixture::REPETITION_TIME, "1500")];
        fs::write(folder.join("2"), fixture::volume("prisma", 2, &edits)).unwrap();
        let mut adapter = once(&folder, &[]);
        let runs = contract::holds(&mut adapter);
        assert_eq!(runs.len(), 1);
        assert_eq!(indices(&runs[0].1), [0, 2]);
        assert_eq!(adapter.counts().refused, 1);
    }

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn neither_what_is_handed_on_nor_what_is_logged_names_the_patient() {
        let (_outer, folder) = folder();
        let folder = folder.join("Doe^Jane");
        fs::create_dir(&folder).unwrap();
        let whole = fixture::volume("skyra", 1, &[]);
        let bad = fixture::volume("skyra", 2, &[(fixture::REPETITION_TIME, "Doe^Jane")]);
        let late = fixture::volume("skyra", 3, &[(fixture::ACQUISITION_TIME, "030000")]);
        let cut = whole[..9000].to_vec();
        let files = [("1.dcm", &whole), ("copy", &whole), ("2", &bad), ("3", &late), ("cut", &cut)];
        for (name, bytes) in files {
            fs::write(folder.join(format!("Doe^Jane_{name}")), bytes).unwrap();
        }

        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let mut printed = tracing::subscriber::with_default(subscriber, || {
            let mut adapter = once(&folder, &[]);
            let runs = contract::holds(&mut adapter);
            assert_eq!(indices(&runs[0].1), [0, 2]);
            let missing = DicomAdapter::open(options(&folder.join("none"), &[])).err().unwrap();
            format!(
                "{:?} {missing} {missing:?}",
                runs.iter().map(|(run, _)| run).collect::<Vec<_>>()
            )
        });
        printed += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(printed.contains("file skipped"), "{printed}");
        let uid = fixture::text_of("skyra", fixture::SERIES_INSTANCE_UID);
        for identity in ["PLANTED", "Planted", "19000101", "Doe", uid.as_str()] {
            assert!(!printed.contains(identity), "{identity} in {printed}");
        }
    }

    #[test]
    fn the_real_series_come_in_order_although_a_name_lies() {
        let Some(data) = real_data() else { return };
        let mut adapter = once(&data.join("siemens_skyra_mosaic"), &[]);
        let runs = contract::holds(&mut adapter);
        assert_eq!(indices(&runs[0].1), (0..10).collect::<Vec<_>>());
        let times: Vec<_> = runs[0].1.iter().map(|v| v.acquisition_time_s.unwrap()).collect();
        for (index, time) in times.iter().enumerate() {
            assert!((time - 1.5 * index as f64).abs() < 1e-9, "{index}: {time} s");
        }
        let counts = Counts { handed_on: 10, duplicates: 1, refused: 0, given_up: 0 };
        assert_eq!((runs.len(), adapter.counts()), (1, counts));

        let mut adapter = once(&data.join("siemens_prisma_mosaic"), &[]);
        let runs = contract::holds(&mut adapter);
        assert_eq!((runs.len(), indices(&runs[0].1)), (1, vec![0, 1, 2]));

        for (folder, counts) in [
            ("damaged", Counts { given_up: 1, ..Counts::default() }),
            ("ge_slices", Counts { refused: 54, ..Counts::default() }),
        ] {
            let mut adapter = once(&data.join(folder), &[]);
            assert!(contract::holds(&mut adapter).is_empty());
            assert_eq!(adapter.counts(), counts, "{folder}");
        }
    }
}
