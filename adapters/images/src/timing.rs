//! The repetition time of an image: what the user says, else its sidecar, else its header.
//!
//! Every command that reads an image asks here, so all of them read it in one way. Where sources
//! disagree, a warning gives both values. Where none can be believed, the image is refused:
//!
//! - A file of one volume has no TR: nibabel and others fill `pixdim[4]` with 1.
//! - `VolumeTiming` (BIDS) replaces `RepetitionTime` in sparse acquisitions, and the header's value
//!   is then that of a single shot or nothing.
//! - Values above 60 s are milliseconds, and a volume of many slices takes more than 0.1 s.

use std::path::{Path, PathBuf};

use corticast_bold::time::RepetitionTime;
use serde_json::Value;

use crate::{
    beside::{bold_stem, inherited},
    error::AdapterError,
    nifti::header::NiftiHeader,
    text,
    text::json,
};

/// Largest sidecar that is read.
const MAX_SIDECAR_BYTES: u64 = 16 << 20;
/// No scanner acquires more than [`FEW_SLICES`] slices in less; it may be the time of one shot.
const SHORTEST_S: f64 = 0.1;
/// See [`SHORTEST_S`].
const FEW_SLICES: usize = 4;
/// Two times that differ by less are the same, as headers and sidecars round.
const TOLERANCE_S: f64 = 2e-3;

/// The repetition time of an image. `asked_s` is what the user says, and is taken as it is.
///
/// # Errors
///
/// Fails when a sidecar cannot be read, sidecars contradict each other, or no source can be
/// believed. The error says what to do.
pub fn repetition_time(
    image: &Path,
    header: &NiftiHeader,
    asked_s: Option<f64>,
) -> Result<RepetitionTime, AdapterError> {
    if let Some(seconds) = asked_s {
        return Ok(RepetitionTime::from_secs(seconds)?);
    }
    let of_header = header_s(header);
    let Some((path, sidecar)) = of_sidecars(image)? else {
        let refused = |reason| AdapterError::Malformed { path: image.to_owned(), reason };
        return from_header(image, header, of_header).map_err(refused);
    };
    let refused = |reason| AdapterError::Malformed { path: path.clone(), reason };
    let seconds = sidecar.seconds(of_header).map_err(refused)?;
    check(seconds, header).map_err(refused)?;
    if let Some(header_s) = of_header
        && (header_s - seconds).abs() > TOLERANCE_S
    {
        tracing::warn!(
            "the sidecar gives a TR of {seconds} s, the header of the image {header_s} s: the \
             sidecar is used; --tr SECONDS replaces it"
        );
    }
    Ok(RepetitionTime::from_secs(seconds)?)
}

/// The header's TR in seconds, if it can mean one. With one volume 0 and 1 are fillers.
fn header_s(header: &NiftiHeader) -> Option<f64> {
    let is_filler = |seconds: &f64| header.n_volumes == 1 && (seconds - 1.0).abs() < 1e-9;
    header.repetition_time_s.filter(|seconds| !is_filler(seconds))
}

fn from_header(
    image: &Path,
    header: &NiftiHeader,
    found_s: Option<f64>,
) -> Result<RepetitionTime, String> {
    let seconds = found_s.ok_or_else(|| {
        let why = match header.n_volumes {
            1 => "a file of one volume has no repetition time (pixdim[4] is a filler there)",
            _ => "the header has no repetition time (pixdim[4] is 0)",
        };
        format!("{why} and no sidecar gives it: pass --tr SECONDS")
    })?;
    check(seconds, header)?;
    if header.n_volumes == 1 {
        tracing::warn!("the TR of {seconds} s is from the header of a file of one volume");
    } else if (seconds - 1.0).abs() < 1e-9 {
        tracing::warn!(
            "the header gives a TR of 1 s, which programs also write when they do not know it; \
             --tr SECONDS replaces it"
        );
    } else if bold_stem(image).is_some() {
        tracing::warn!("no sidecar contains RepetitionTime: using the NIfTI header's, {seconds} s");
    }
    RepetitionTime::from_secs(seconds).map_err(|error| error.to_string())
}

/// Whether a scanner can acquire so many slices in this time.
fn check(seconds: f64, header: &NiftiHeader) -> Result<(), String> {
    if RepetitionTime::from_secs(seconds).is_err() {
        let what_to_do = in_milliseconds(seconds).map_or("pass --tr SECONDS".to_owned(), |in_s| {
            format!("if it is in milliseconds pass --tr {in_s}")
        });
        return Err(format!(
            "the repetition time is {seconds} s, expected more than 0 and at most 60 s; {what_to_do}"
        ));
    }
    let n_slices = header.space.matrix()[2];
    if seconds < SHORTEST_S && n_slices > FEW_SLICES {
        return Err(format!(
            "the repetition time is {seconds} s for {n_slices} slices, expected {SHORTEST_S} s or \
             more; it may be that of one shot: pass the time between volumes, --tr SECONDS"
        ));
    }
    Ok(())
}

/// A number in seconds, if as milliseconds it can be a repetition time.
fn in_milliseconds(number: f64) -> Option<f64> {
    let in_s = number / 1e3;
    (number > 60.0 && RepetitionTime::from_secs(in_s).is_ok()).then_some(in_s)
}

/// What a sidecar says about time. Both are in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sidecar {
    repetition_time: Option<f64>,
    volume_timing: Option<Vec<f64>>,
    /// The latest time of `SliceTiming`.
    last_slice: Option<f64>,
}

impl Sidecar {
    fn parse(text: &str) -> Result<Self, String> {
        let sidecar: Value = json(text)?;
        let times = |key: &str| {
            let times = sidecar.get(key)?.as_array()?;
            times.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()
        };
        let last = |times: Vec<f64>| times.into_iter().fold(0.0, f64::max);
        Ok(Self {
            repetition_time: repetition_time_of(&sidecar)?,
            volume_timing: times("VolumeTiming"),
            last_slice: times("SliceTiming").map(last),
        })
    }

    fn says_something(&self) -> bool {
        self.repetition_time.is_some() || self.volume_timing.is_some()
    }

    /// The TR. `header_s` decides whether a large number is in milliseconds.
    fn seconds(&self, header_s: Option<f64>) -> Result<f64, String> {
        if let Some(starts_s) = &self.volume_timing {
            let step_s = regular_step(starts_s);
            let agrees = |tr_s: f64| step_s.is_some_and(|step| (step - tr_s).abs() < TOLERANCE_S);
            match self.repetition_time {
                Some(tr_s) if agrees(tr_s) => {}
                _ => {
                    let how = match step_s {
                        Some(step_s) => {
                            format!("volumes start every {step_s} s: pass --tr {step_s}")
                        }
                        None => {
                            "volumes do not start at one distance: such runs have no repetition \
                                 time"
                                .to_owned()
                        }
                    };
                    return Err(format!("VolumeTiming (sparse acquisition): {how}"));
                }
            }
        }
        let found = self.repetition_time.unwrap_or(f64::NAN);
        if RepetitionTime::from_secs(found).is_err() {
            let in_s = found / 1e3;
            if header_s.is_some_and(|header_s| (header_s - in_s).abs() < TOLERANCE_S) {
                tracing::warn!(
                    "RepetitionTime of the sidecar is {found}, expected seconds: {in_s} s, as the \
                     header says"
                );
                return Ok(in_s);
            }
            let what_to_do = match in_milliseconds(found) {
                Some(in_s) => {
                    format!("if it is in milliseconds write {in_s}, or pass --tr {in_s}")
                }
                None => "correct it, or pass --tr SECONDS".to_owned(),
            };
            return Err(format!(
                "RepetitionTime is {found}, expected seconds, more than 0 and at most 60; {what_to_do}"
            ));
        }
        if let Some(last_s) = self.last_slice
            && last_s > found + TOLERANCE_S
        {
            return Err(format!(
                "RepetitionTime is {found} s but SliceTiming goes up to {last_s} s, which are in \
                 seconds; correct the sidecar, or pass --tr SECONDS"
            ));
        }
        Ok(found)
    }
}

/// The distance of times that rise evenly, in seconds, rounded to a millisecond.
fn regular_step(starts_s: &[f64]) -> Option<f64> {
    let (first, last) = (starts_s.first()?, starts_s.last()?);
    let step = (last - first) / (starts_s.len().checked_sub(1).filter(|&n| n > 0)? as f64);
    let is_even = starts_s.windows(2).all(|pair| (pair[1] - pair[0] - step).abs() < TOLERANCE_S);
    (is_even && step > 0.0).then(|| (step * 1e3).round() / 1e3)
}

/// The closest sidecar that says something about the TR. Files in one folder must agree.
fn of_sidecars(image: &Path) -> Result<Option<(PathBuf, Sidecar)>, AdapterError> {
    for level in inherited(image, "bold.json")? {
        let mut here: Vec<(PathBuf, Sidecar)> = Vec::new();
        for path in level {
            let malformed = |reason| AdapterError::Malformed { path: path.clone(), reason };
            let sidecar =
                Sidecar::parse(&text::read(&path, MAX_SIDECAR_BYTES)?).map_err(malformed)?;
            if sidecar.says_something() {
                here.push((path, sidecar));
            }
        }
        let mut here = here.into_iter();
        let Some((path, sidecar)) = here.next() else { continue };
        let differs = |other: &Sidecar| {
            (&other.repetition_time, &other.volume_timing)
                != (&sidecar.repetition_time, &sidecar.volume_timing)
        };
        if let Some((other, theirs)) = here.find(|(_, other)| differs(other)) {
            let shown = |sidecar: &Sidecar| match sidecar.repetition_time {
                Some(seconds) => format!("RepetitionTime {seconds}"),
                None => "VolumeTiming".to_owned(),
            };
            return Err(AdapterError::Malformed {
                reason: format!(
                    "{}, but {} in the same folder says {}; BIDS allows one sidecar for an image in \
                     a folder: remove one, or pass --tr SECONDS",
                    shown(&sidecar),
                    other.display(),
                    shown(&theirs),
                ),
                path,
            });
        }
        return Ok(Some((path, sidecar)));
    }
    Ok(None)
}

/// `RepetitionTime` of a sidecar, in seconds; `None` when it has none.
fn repetition_time_of(sidecar: &Value) -> Result<Option<f64>, String> {
    let Some(value) = sidecar.get("RepetitionTime") else { return Ok(None) };
    let seconds =
        value.as_f64().ok_or_else(|| format!("RepetitionTime is {value}, expected seconds"))?;
    Ok(Some(seconds))
}

/// Parses the text of a sidecar, for the search for input that makes a reader panic. Returns its
/// `RepetitionTime`, in seconds.
///
/// # Errors
///
/// Fails when the text is not JSON, or the value is not a number.
pub fn repetition_time_in(sidecar: &str) -> Result<Option<f64>, String> {
    Sidecar::parse(sidecar).map(|sidecar| sidecar.repetition_time)
}

#[cfg(test)]
mod tests;
