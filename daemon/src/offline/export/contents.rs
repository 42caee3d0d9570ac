//! Contents of a recording: its runs, and the volumes and marks of each.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use corticast_wire::message::{Mark, VolumeHeader};

use super::error::ExportError;
use crate::{
    recording::log::Log,
    signal::happening::{Event, Run, RunNumber},
};

/// A larger jump of the index counts as a damaged number, because exporting it as a gap would
/// fill the disk with zeros.
const MAX_GAP: u32 = 10_000;

/// Contents of one run.
#[derive(Clone, Debug)]
pub struct RunContents {
    /// The run.
    pub run: Run,
    /// Indices of the recorded volumes, without indices that are implausibly large.
    pub indices: BTreeSet<u32>,
    /// Its marks by time, without duplicates.
    pub marks: Vec<Mark>,
    /// Header of the first recorded volume.
    pub first: Option<VolumeHeader>,
    /// Whether all volumes have the data type and scaling of the first.
    pub is_uniform: bool,
}

impl RunContents {
    pub(super) fn new(run: Run) -> Self {
        Self { run, indices: BTreeSet::new(), marks: Vec::new(), first: None, is_uniform: true }
    }

    fn volume(&mut self, header: &VolumeHeader) {
        self.indices.insert(header.index.0);
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        let first = self.first.get_or_insert_with(|| header.clone());
        self.is_uniform &= first.dtype == header.dtype
            && bits(first.slope) == bits(header.slope)
            && bits(first.intercept) == bits(header.intercept);
    }

    /// Sorts the marks and removes damaged indices, after the last entry.
    fn finish(&mut self) {
        self.marks.sort_by(|a, b| a.time_s.total_cmp(&b.time_s).then(a.name.cmp(&b.name)));
        self.marks.dedup();
        let mut expected = 0;
        let far = self.indices.iter().copied().find(|&index| {
            let is_far = index > expected + MAX_GAP;
            expected = index + 1;
            is_far
        });
        if let Some(far) = far {
            let left_out = self.indices.split_off(&far);
            tracing::warn!(
                run = %self.run.name, index = far, n_volume = left_out.len(),
                "skipping volumes whose index is implausibly large"
            );
        }
    }

    /// Indices of missing volumes, from 0 to the last recorded volume.
    #[must_use]
    pub fn missing(&self) -> Vec<u32> {
        let end = self.indices.last().map_or(0, |last| last + 1);
        (0..end).filter(|index| !self.indices.contains(index)).collect()
    }
}

/// Contents of a recording.
#[derive(Clone, Debug)]
pub struct Contents {
    pub(super) path: PathBuf,
    /// Its runs, in order of their start.
    pub runs: Vec<RunContents>,
    /// What is wrong with the recording, if it is not whole.
    pub fault: Option<String>,
}

impl Contents {
    /// Reads a recording. `progress` is called for each volume.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be opened or read, or is not a recording.
    pub fn of(path: &Path, progress: &mut dyn FnMut()) -> Result<Self, ExportError> {
        let mut runs: Vec<RunContents> = Vec::new();
        let mut log = Log::open(path)?;
        let mut is_empty = true;
        for (_, events) in &mut log {
            is_empty = false;
            for event in events {
                match event {
                    Event::RunStarted(run) => runs.push(RunContents::new(run)),
                    Event::Volume(RunNumber(number), volume) => {
                        runs[number].volume(&volume.header);
                        progress();
                    }
                    Event::Mark(RunNumber(number), mark) => runs[number].marks.push(mark),
                    Event::RunEnded { .. } => {}
                }
            }
        }
        runs.iter_mut().for_each(RunContents::finish);
        let recording = log.recording();
        recording.check_read()?;
        if is_empty {
            return Err(ExportError::Nothing { path: path.to_owned(), what: "entry" });
        }
        let fault = (!recording.is_whole()).then(|| recording.faults().to_string());
        Ok(Self { path: path.to_owned(), runs, fault })
    }

    /// All runs that have volumes, or only the run `asked`.
    ///
    /// # Errors
    ///
    /// Fails when there is no such run.
    pub fn with_volumes(&self, asked: Option<&str>) -> Result<Vec<&RunContents>, ExportError> {
        let there: Vec<_> = self.runs.iter().filter(|run| !run.indices.is_empty()).collect();
        let names = || there.iter().map(|run| run.run.name.to_string()).collect();
        let chosen: Vec<_> = match asked {
            None => there.clone(),
            Some(asked) => there.iter().copied().filter(|run| *run.run.name == *asked).collect(),
        };
        match (chosen.is_empty(), asked) {
            (false, _) => Ok(chosen),
            (true, Some(asked)) => {
                Err(ExportError::NoSuchRun { asked: asked.to_owned(), names: names() })
            }
            (true, None) => Err(ExportError::Nothing { path: self.path.clone(), what: "volume" }),
        }
    }

    /// The only run that has volumes, or the run `asked`.
    ///
    /// # Errors
    ///
    /// Fails when there is no such run, or several and `asked` is `None`.
    pub fn one_run(&self, asked: Option<&str>) -> Result<&RunContents, ExportError> {
        match self.with_volumes(asked)?.as_slice() {
            [run] => Ok(run),
            several => Err(ExportError::SeveralRuns {
                names: several.iter().map(|run| run.run.name.to_string()).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use corticast_wire::message::FromAdapter;

    use super::*;
    use crate::recording::fixture::{self, Line};

    fn contents(lines: &[Line]) -> Contents {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcap");
        fixture::record(&path, lines);
        Contents::of(&path, &mut || {}).unwrap()
    }

    #[test]
    fn volumes_and_marks_recorded_twice_count_once() {
        let contents = contents(&fixture::session());
        assert_eq!(contents.fault, None);
        let [first, again] = contents.runs.as_slice() else { panic!("{contents:?}") };
        assert_eq!(first.indices, BTreeSet::from([0, 1, 2, 4]));
        assert_eq!(first.missing(), [3]);
        let marks: Vec<_> = first.marks.iter().map(|mark| mark.name.as_str()).collect();
        assert_eq!(marks, ["ttl", "house"]);
        assert_eq!(&*again.run.name, fixture::AGAIN);
    }

    #[test]
    fn of_several_runs_one_has_to_be_named() {
        let contents = contents(&fixture::session());
        let message = contents.one_run(None).unwrap_err().to_string();
        assert!(message.contains(fixture::RUN) && message.contains(fixture::AGAIN), "{message}");
        assert_eq!(contents.one_run(Some(fixture::AGAIN)).unwrap().indices.len(), 1);
        let message = contents.one_run(Some("sub-02")).unwrap_err().to_string();
        assert!(message.starts_with("no run `sub-02`"), "{message}");
    }

    #[test]
    fn a_damaged_index_does_not_make_a_file_of_zeros() {
        let far = FromAdapter::Volume(fixture::volume(fixture::RUN, 900_000, 0));
        let near = FromAdapter::Volume(fixture::volume(fixture::RUN, 1, 0));
        let lines = [fixture::run("a"), near, far].map(Line::Wire);
        assert_eq!(contents(&lines).runs[0].indices, BTreeSet::from([1]));
    }
}
