//! `doctor`: one page that tells a site whether its export works: which images arrive, how
//! regularly, what is wrong, and what to do at the console.
//!
//! Every file is read as the adapter would read it. Texts of headers and names of files are not
//! shown.

mod advice;
mod arrivals;
mod page;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

pub use self::page::{json, text};
use self::{advice::Advice, arrivals::Regularity};
use super::{
    backlog,
    error::DicomError,
    image::{Content, Image},
    kind::Kind,
    numbering::NoNumber,
    parts::parts,
    scan::Vendor,
    select::Wanted,
    series::{Refusal, Series, n_excitation},
    timing::Verdict,
    watch::{Arrivals, Pattern},
};

/// Most files that are examined: the newest.
const MAX_FILES: usize = 20_000;

/// Which folder, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorOptions {
    /// Folder into which the scanner exports
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Watch the folder for this long first, to see how images arrive
    #[arg(long, value_name = "SECONDS", default_value = "0",
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub watch_s: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How the pictures of a series are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Mosaics,
    Grids,
    Enhanced,
    Slices,
}

/// What was found of one series.
struct Found {
    series: Series,
    layout: Layout,
    kinds: BTreeMap<Kind, u64>,
    /// Echo times in units of 0.01 ms.
    echoes_ms: BTreeMap<i64, u64>,
    n_file: u64,
    n_refused: BTreeMap<String, u64>,
    n_copy: u64,
    /// When each volume was complete.
    complete: Vec<SystemTime>,
    verdict: Option<Verdict>,
    clock_s: Option<f64>,
}

/// What was found in a folder.
pub struct Examined {
    n_file: usize,
    n_image: u64,
    /// Files that are no images, by what they are.
    other: BTreeMap<String, u64>,
    n_incomplete: u64,
    /// Images that cannot be read, by reason.
    unreadable: BTreeMap<String, u64>,
    /// What to say if there is no file.
    nothing: Option<String>,
    series: Vec<Found>,
    watched: Option<Duration>,
}

/// Examines a folder, after watching it if the options say so.
///
/// # Errors
///
/// Fails when the folder cannot be read.
pub fn examine(options: &DoctorOptions) -> io::Result<Examined> {
    let pattern = Pattern::new("*");
    let seen = if options.watch_s > 0 {
        arrivals::watch(&options.folder, Duration::from_secs(options.watch_s))?
    } else {
        BTreeMap::new()
    };
    let found = backlog::list(&options.folder, &pattern)?;
    let nothing = found.is_empty().then(|| backlog::nothing_here(&options.folder, "*"));
    let mut examined = Examined {
        n_file: found.len(),
        n_image: 0,
        other: BTreeMap::new(),
        n_incomplete: 0,
        unreadable: BTreeMap::new(),
        nothing,
        series: Vec::new(),
        watched: (options.watch_s > 0).then(|| Duration::from_secs(options.watch_s)),
    };
    let first = found.len().saturating_sub(MAX_FILES);
    let modified = |file: &backlog::Found| file.version.1.unwrap_or(SystemTime::UNIX_EPOCH);
    let mut files = found;
    files.sort_by_key(modified);
    let times: BTreeMap<PathBuf, SystemTime> = files[first..]
        .iter()
        .map(|file| {
            let path = options.folder.join(&file.name);
            let time = seen.get(&path).copied().unwrap_or_else(|| modified(file));
            (path, time)
        })
        .collect();
    let mut paths = backlog::all(&options.folder, &files[first..]);
    if !seen.is_empty() || arrivals::are_apart(times.values().copied()) {
        paths.sort_by_key(|path| times.get(path).copied());
    }
    let mut by_id: BTreeMap<String, Found> = BTreeMap::new();
    for path in paths {
        let time = times.get(&path).copied().unwrap_or(SystemTime::UNIX_EPOCH);
        examined.file(&path, time, &mut by_id);
    }
    for found in by_id.values_mut() {
        let refusals = found.series.flush();
        refusals.iter().for_each(|refusal| found.refuse(refusal));
        found.clock_s = found.series.clock_s();
        if !found.series.held.is_empty() {
            found.verdict = Some(found.series.settle(None));
        }
    }
    examined.series = by_id.into_values().collect();
    examined.series.sort_by_key(|found| found.series.scan.series_number);
    Ok(examined)
}

impl Examined {
    fn file(&mut self, path: &Path, time: SystemTime, by_id: &mut BTreeMap<String, Found>) {
        let Ok(bytes) = fs::read(path) else {
            *self.unreadable.entry("cannot be read".into()).or_default() += 1;
            return;
        };
        let read =
            Image::parse(&bytes).and_then(|(image, pixels)| Ok((parts(&image, &pixels)?, image)));
        let (parts, image) = match read {
            Ok(read) => read,
            Err(error) => return self.no_image(&bytes, &error),
        };
        self.n_image += 1;
        let scan = image.scan.clone();
        let found = by_id.entry(scan.series_id.clone()).or_insert_with(|| Found::new(&image));
        found.n_file += 1;
        let wanted = Wanted::default();
        for part in parts {
            *found.kinds.entry(part.kind).or_default() += 1;
            if wanted.admits(&scan, &part).is_err() {
                continue;
            }
            let echo = part.echo.time_ms.map_or(0, |ms| (ms * 100.0).round() as i64);
            *found.echoes_ms.entry(echo).or_default() += 1;
            if found.series.echoes.admits(part.echo, None).is_err() {
                continue;
            }
            if found.series.has(scan.instance) {
                found.n_copy += 1;
                continue;
            }
            let n_before = found.series.n_volume();
            let refusals = found.series.add(&scan, part);
            refusals.iter().for_each(|refusal| found.refuse(refusal));
            let n_new = found.series.n_volume() - n_before;
            found.complete.extend(std::iter::repeat_n(time, n_new));
            // The voxels are not needed any more.
            found.series.held.iter_mut().for_each(|volume| volume.voxels = bytes::Bytes::new());
        }
        found.series.is_known(scan.instance);
    }

    fn no_image(&mut self, bytes: &[u8], error: &DicomError) {
        let is_dicom = bytes.get(128..132) == Some(b"DICM");
        let count = match error {
            DicomError::NotImage { found } => self.other.entry((*found).into()).or_default(),
            _ if error.is_incomplete() && is_dicom => &mut self.n_incomplete,
            _ if error.is_no_image() || error.is_incomplete() => {
                self.other.entry("no DICOM file".into()).or_default()
            }
            _ => self.unreadable.entry(error.to_string()).or_default(),
        };
        *count += 1;
    }

    /// Whether at least one series can become a run.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.series.iter().any(Found::is_usable)
    }

    /// What is wrong, and what to do.
    fn advice(&self) -> Vec<Advice> {
        advice::of(self)
    }
}

impl Found {
    fn new(image: &Image) -> Self {
        let layout = match &image.content {
            Content::Tiles { .. } if image.scan.vendor == Vendor::UnitedImaging => Layout::Grids,
            Content::Tiles { .. } => Layout::Mosaics,
            Content::Frames(frames) if frames.len() > 1 => Layout::Enhanced,
            Content::Frames(_) => Layout::Slices,
        };
        Self {
            series: Series::new(image.scan.clone(), None),
            layout,
            kinds: BTreeMap::new(),
            echoes_ms: BTreeMap::new(),
            n_file: 0,
            n_refused: BTreeMap::new(),
            n_copy: 0,
            complete: Vec::new(),
            verdict: None,
            clock_s: None,
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        if matches!(refusal, Refusal::Number(NoNumber::Copy)) {
            self.n_copy += 1;
        } else if self.n_refused.len() < 16 {
            *self.n_refused.entry(refusal.to_string()).or_default() += 1;
        }
    }

    fn is_usable(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Known(_) | Verdict::OfClock(..)))
            && (!self.series.scan.is_still || self.series.n_volume() > 1)
    }

    fn regularity(&self) -> Option<Regularity> {
        Regularity::of(&self.complete, self.series.repetition_time()?)
    }

    fn n_excitation(&self) -> usize {
        n_excitation(&self.series.slice_times_s)
    }
}
