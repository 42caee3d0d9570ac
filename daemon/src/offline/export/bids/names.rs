//! Names of recorded runs in a BIDS dataset.
//!
//! BIDS requires a task and a numeric run label; the wire protocol does not. A run without a task
//! becomes `task-unnamed`; a run label that is not a number becomes `acq-`; a repeat, which the
//! daemon calls `…+2`, gets the next free number.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use corticast_bold::run::RunEntities;

use crate::offline::export::contents::RunContents;

/// The BIDS entities of a run's files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    sub: String,
    ses: Option<String>,
    task: String,
    acq: Option<String>,
    run: Option<String>,
}

impl Name {
    fn of(entities: &RunEntities) -> Self {
        let is_number = |label: &String| label.bytes().all(|byte| byte.is_ascii_digit());
        let (run, acq) = match entities.run.clone() {
            Some(label) if !is_number(&label) => (None, Some(label)),
            run => (run, None),
        };
        Self {
            sub: entities.sub.clone(),
            ses: entities.ses.clone(),
            task: entities.task.clone().unwrap_or_else(|| "unnamed".to_owned()),
            acq,
            run,
        }
    }

    /// `sub-01`.
    pub fn subject(&self) -> String {
        format!("sub-{}", self.sub)
    }

    /// The label of the task.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The path of the run's file with this suffix, in a dataset or a derivative of it.
    pub fn file(&self, dataset: &Path, suffix: &str) -> PathBuf {
        let mut folder = dataset.join(self.subject());
        folder.extend(self.ses.as_ref().map(|ses| format!("ses-{ses}")));
        folder.join("func").join(format!("{self}_{suffix}"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sub-{}", self.sub)?;
        let task = Some(&self.task);
        let entities = [("ses", self.ses.as_ref()), ("task", task), ("acq", self.acq.as_ref())];
        for (key, value) in entities.into_iter().chain([("run", self.run.as_ref())]) {
            if let Some(value) = value {
                write!(f, "_{key}-{value}")?;
            }
        }
        Ok(())
    }
}

/// A unique name for each run.
pub fn names(runs: &[&RunContents]) -> Vec<Name> {
    let own: Vec<Name> = runs.iter().map(|run| Name::of(&run.run.header.entities)).collect();
    let mut taken: BTreeSet<Name> = own.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(own.len());
    for (mut name, run) in own.into_iter().zip(runs) {
        if !seen.insert(name.clone()) {
            let width = name.run.as_ref().map_or(1, String::len);
            let free = (1_u32..).map(|number| {
                let run = Some(format!("{number:0width$}"));
                Name { run, ..name.clone() }
            });
            let after = name.run.as_ref().and_then(|run| run.parse().ok()).unwrap_or(1_usize);
            let free = free.skip(after).find(|name| !taken.contains(name));
            name = free.expect("there are more numbers than runs");
            taken.insert(name.clone());
            tracing::warn!(run = %run.run.name, name = %name, "a repeated run gets a new number");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corticast_bold::{run::RunHeader, time::RepetitionTime};

    use super::*;
    use crate::{
        recording::fixture,
        signal::happening::{Run, RunNumber},
    };

    fn called(names_of_runs: &[&str]) -> Vec<String> {
        let runs: Vec<RunContents> = names_of_runs
            .iter()
            .map(|name| {
                let header = RunHeader {
                    session: String::new(),
                    entities: RunEntities::from_name(name).unwrap(),
                    repetition_time: RepetitionTime::from_secs(1.0).unwrap(),
                    space: fixture::space(),
                    n_volumes: None,
                    source: String::new(),
                    series_id: String::new(),
                    slice_times: None,
                };
                let (number, name) = (RunNumber(0), Arc::from(*name));
                RunContents::new(Run { number, name, header: Arc::new(header) })
            })
            .collect();
        names(&runs.iter().collect::<Vec<_>>()).iter().map(Name::to_string).collect()
    }

    #[test]
    fn a_repeat_gets_a_number_that_no_other_run_has() {
        let names = called(&["sub-1_task-a_run-01", "sub-1_task-a_run-01", "sub-1_task-a_run-02"]);
        assert_eq!(names, ["sub-1_task-a_run-01", "sub-1_task-a_run-03", "sub-1_task-a_run-02"]);
        assert_eq!(called(&["sub-1_task-a", "sub-1_task-a"])[1], "sub-1_task-a_run-2");
    }

    #[test]
    fn labels_that_bids_does_not_allow_go_into_other_entities() {
        assert_eq!(called(&["sub-1_run-test"]), ["sub-1_task-unnamed_acq-test"]);
        let names = called(&["sub-1_ses-2_task-a_run-1"]);
        assert_eq!(names, ["sub-1_ses-2_task-a_run-1"]);
    }
}
