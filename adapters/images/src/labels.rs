//! The BIDS labels of a run: given by the user, or taken from a BIDS name.
//!
//! People put names of patients into names of files and folders, and a run's name reaches every
//! subscriber and every recording. So a label is taken only from a name that is a BIDS name from
//! beginning to end, whose labels are pseudonyms by convention, and from a folder `run-NUMBER`.
//! Nothing of any other name is used.

use std::path::Path;

use corticast_bold::run::{InvalidEntity, RunEntities};

/// Task label of a run whose task is not known. BIDS requires a task.
const UNKNOWN_TASK: &str = "unknown";

/// BIDS labels given by the user; `sub-01` and `01` are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Subject label.
    pub sub: Option<String>,
    /// Session label.
    pub ses: Option<String>,
    /// Task label.
    pub task: Option<String>,
    /// Run label.
    pub run: Option<String>,
}

impl Labels {
    /// The entities of the run in this file, which is the run of this `number`, counted from 1.
    ///
    /// Given labels come first, then the labels of a BIDS name. Otherwise the subject is `x`, the
    /// task is `unknown`, and the run label comes from a folder such as `run-01`, or is `number`.
    ///
    /// # Errors
    ///
    /// Fails when a given label is not a BIDS label.
    pub fn entities_of(&self, path: &Path, number: usize) -> Result<RunEntities, InvalidEntity> {
        let name = |path: &Path| {
            path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let found = Labels::of_bids_name(&name(path));
        let folder = path.parent().map(name).unwrap_or_default();
        let named = found != Labels::default();
        let run = match (named, folder.strip_prefix("run-")) {
            (true, _) => None,
            (false, Some(digits)) if is_number(digits) => Some(digits.to_owned()),
            (false, _) => Some(number.to_string()),
        };
        let chosen = |asked: &Option<String>, found: Option<String>, default: Option<String>| {
            asked.clone().or(found).or(default)
        };
        RunEntities::checked(
            self.sub.as_deref().or(found.sub.as_deref()).unwrap_or("x"),
            chosen(&self.ses, found.ses, None).as_deref(),
            chosen(&self.task, found.task, Some(UNKNOWN_TASK.to_owned())).as_deref(),
            chosen(&self.run, found.run, run).as_deref(),
        )
    }

    /// The labels in a name such as `sub-01_task-movie_bold.nii.gz`. None of a name that contains
    /// anything but entities and the suffix `bold`.
    fn of_bids_name(name: &str) -> Self {
        let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".nii");
        let Some(entities) = stem.and_then(|stem| stem.strip_suffix("_bold")) else {
            return Self::default();
        };
        let mut labels = Self::default();
        for part in entities.split('_') {
            let Some((key, value)) = part.split_once('-') else { return Self::default() };
            if !is_label(key) || !is_label(value) {
                return Self::default();
            }
            let value = Some(value.to_owned());
            match key {
                "sub" => labels.sub = value,
                "ses" => labels.ses = value,
                "task" => labels.task = value,
                "run" => labels.run = value,
                _ => {}
            }
        }
        labels
    }
}

fn is_label(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '+';
    (1..=64).contains(&text.len()) && text.chars().all(is_letter)
}

fn is_number(text: &str) -> bool {
    (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(labels: &Labels, path: &str) -> String {
        labels.entities_of(Path::new(path), 3).unwrap().to_string()
    }

    #[test]
    fn a_run_is_named_by_the_flags_then_its_bids_name_then_its_folder() {
        let none = Labels::default();
        assert_eq!(named(&none, "a/run-07/bold_1slice.nii.gz"), "sub-x_task-unknown_run-07");
        assert_eq!(named(&none, "sub-01_task-movie_bold.nii"), "sub-01_task-movie");
        assert_eq!(
            named(&none, "sub-01_task-movie_acq-mb4_run-2_bold.nii.gz"),
            "sub-01_task-movie_run-2"
        );
        assert_eq!(named(&none, "run-2_bold.nii.gz"), "sub-x_task-unknown_run-2");
        let flags = Labels { sub: Some("sub-02".into()), ..Labels::default() };
        assert_eq!(named(&flags, "sub-01_task-movie_bold.nii"), "sub-02_task-movie");
        let bad = Labels { task: Some("../x".into()), ..Labels::default() };
        assert!(bad.entities_of(Path::new("a.nii"), 1).is_err());
    }

    #[test]
    fn nothing_of_a_name_that_is_not_a_bids_name_is_used() {
        let none = Labels::default();
        for path in [
            "smith_john_1960.nii",
            "smith_john/volumes",
            "run-smith/a.nii",
            "sub-01_smith_bold.nii",
            "sub-01_task-rest_smith.nii.gz",
            "sub-01_task-rest_bold_smith.nii.gz",
            "sub-smith john_bold.nii",
            "sub-01_task-rest_bold.smith.nii",
            "sub-01_smith-_bold.nii",
        ] {
            assert_eq!(named(&none, path), "sub-x_task-unknown_run-3", "{path}");
        }
    }
}
