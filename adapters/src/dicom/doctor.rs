//! The doctor's part on DICOM files: which images a folder holds, how they arrived, what is wrong,
//! and what to do at the console.
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

pub(crate) use super::series::n_excitation as excitations;
use super::{
    backlog,
    clock::{Moment, elapsed_us},
    error::DicomError,
    image::{Content, Image},
    kind::Kind,
    numbering::NoNumber,
    parts::parts,
    scan::Vendor,
    select::Wanted,
    series::{Refusal, Series},
    timing::Verdict,
    watch::{Arrivals, Pattern},
};
use crate::{
    page::{Advice, Lateness, Regularity, are_apart},
    parrec::is_pair,
};

/// Most files that are examined: the newest.
const MAX_FILES: usize = 20_000;

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
    /// When each volume was acquired, if its header says so, and when it was complete.
    complete: Vec<(Option<Moment>, SystemTime)>,
    verdict: Option<Verdict>,
    clock_s: Option<f64>,
}

/// What was found in a folder.
pub(crate) struct Examined {
    n_file: usize,
    n_nifti: usize,
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
    /// How long nothing had come when the doctor stopped watching.
    silent: Option<Duration>,
}

/// Examines a folder, after watching it if the options say so.
///
/// # Errors
///
/// Fails when the folder cannot be read.
pub(crate) fn examine(folder: &Path, watch_s: u64) -> io::Result<Examined> {
    let pattern = Pattern::new("*");
    let seen = if watch_s > 0 {
        arrivals::watch(folder, Duration::from_secs(watch_s))?
    } else {
        BTreeMap::new()
    };
    let mut found = backlog::list(folder, &pattern)?;
    let nothing = found.is_empty().then(|| backlog::nothing_here(folder, "*"));
    // Another adapter's, which the page has beside these.
    found.retain(|file| !is_pair(Path::new(&file.name)));
    let n_before = found.len();
    found.retain(|file| !is_nifti(Path::new(&file.name)));
    let n_nifti = n_before - found.len();
    let mut examined = Examined {
        n_file: n_before,
        n_nifti,
        n_image: 0,
        other: BTreeMap::new(),
        n_incomplete: 0,
        unreadable: BTreeMap::new(),
        nothing,
        series: Vec::new(),
        watched: (watch_s > 0).then(|| Duration::from_secs(watch_s)),
        silent: None,
    };
    let last_seen = seen.values().max().copied();
    examined.silent = last_seen.and_then(|last| SystemTime::now().duration_since(last).ok());
    let first = found.len().saturating_sub(MAX_FILES);
    let modified = |file: &backlog::Found| file.version.1.unwrap_or(SystemTime::UNIX_EPOCH);
    let mut files = found;
    files.sort_by_key(modified);
    let times: BTreeMap<PathBuf, SystemTime> = files[first..]
        .iter()
        .map(|file| {
            let path = folder.join(&file.name);
            let time = seen.get(&path).copied().unwrap_or_else(|| modified(file));
            (path, time)
        })
        .collect();
    let mut paths = backlog::all(folder, &files[first..]);
    if !seen.is_empty() || are_apart(times.values().copied()) {
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
            let n_held = found.series.held.len();
            let new = found.series.held[n_held - n_new.min(n_held)..].iter();
            found.complete.extend(new.map(|volume| (volume.time, time)));
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
    pub(crate) fn is_usable(&self) -> bool {
        self.series.iter().any(Found::is_usable)
    }

    /// When the newest volume became complete.
    fn last_arrival(&self) -> Option<SystemTime> {
        self.series.iter().filter_map(|found| found.complete.last()).map(|(_, at)| *at).max()
    }

    /// Whether there is an image, or what is left of one.
    pub(crate) fn has_image(&self) -> bool {
        self.n_image > 0 || self.n_incomplete > 0 || !self.unreadable.is_empty()
    }

    /// What is wrong, and what to do.
    pub(crate) fn advice(&self) -> Vec<Advice> {
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

    /// How regularly volumes became complete. `None` when their files were copied at once.
    fn regularity(&self) -> Option<Regularity> {
        if !are_apart(self.complete.iter().map(|(_, at)| *at)) {
            return None;
        }
        let times: Vec<f64> = self.complete.iter().map(|(_, at)| seconds(*at)).collect();
        Regularity::of(&times, self.series.repetition_time()?.as_secs())
    }

    /// How late they became complete, against their times of acquisition.
    fn lateness(&self) -> Option<Lateness> {
        self.regularity()?;
        let (first, _) = *self.complete.first()?;
        let first = first?;
        let mut times = Vec::new();
        for (acquired, at) in &self.complete {
            let acquired_s = elapsed_us(first.us, acquired.as_ref()?.us) as f64 / 1e6;
            times.push((acquired_s, seconds(*at)));
        }
        let late = Lateness::of(&times)?;
        // The time of day of the first volume's arrival, by this machine's clock in the scanner's
        // time zone, which is not known: whole quarters of an hour do not count.
        let tr_s = self.series.repetition_time()?.as_secs();
        let mut after: Vec<f64> = times
            .iter()
            .map(|(acquired_s, at_s)| {
                let began_s = first.us as f64 / 1e6 + acquired_s;
                (at_s - began_s - tr_s + ZONE_S / 2.0).rem_euclid(ZONE_S) - ZONE_S / 2.0
            })
            .collect();
        after.sort_by(f64::total_cmp);
        Some(Lateness { after_acquisition_s: after.get(after.len() / 2).copied(), ..late })
    }

    fn n_excitation(&self) -> usize {
        excitations(&self.series.slice_times_s)
    }
}

/// Time zones differ by whole quarters of an hour.
const ZONE_S: f64 = 900.0;

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Whether a file is a NIfTI image, by its name.
fn is_nifti(path: &Path) -> bool {
    let name = path.as_os_str().to_string_lossy().to_lowercase();
    name.ends_with(".nii") || name.ends_with(".nii.gz")
}

/// Whether a file begins as a DICOM image.
pub(crate) fn is_image(path: &Path) -> bool {
    backlog::header(path).is_ok()
}
