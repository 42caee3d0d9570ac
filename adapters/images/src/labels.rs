//! The BIDS labels of a run: given by the user, or taken from the name of its file.

use std::path::Path;

use corticast_bold::run::{InvalidEntity, RunEntities};

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
    /// The entities of the run in this file. Given labels come first, then labels of a BIDS
    /// name. Otherwise the subject is `x`, the task is the file's stem, and the run label comes
    /// from a folder such as `run-01`.
    ///
    /// # Errors
    ///
    /// Fails when a given label is not a BIDS label.
    pub fn entities_of(&self, path: &Path) -> Result<RunEntities, InvalidEntity> {
        let name = |path: &Path| {
            path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let file = name(path);
        let folder = path.parent().map(name).unwrap_or_default();
        let found = RunEntities::from_name(&file).unwrap_or_else(|| RunEntities {
            sub: "x".to_owned(),
            ses: None,
            task: sanitized(&file),
            run: folder.strip_prefix("run-").and_then(sanitized),
        });
        let chosen = |asked: &Option<String>, found: Option<String>| asked.clone().or(found);
        RunEntities::checked(
            self.sub.as_deref().unwrap_or(&found.sub),
            chosen(&self.ses, found.ses).as_deref(),
            chosen(&self.task, found.task).as_deref(),
            chosen(&self.run, found.run).as_deref(),
        )
    }
}

/// The letters and digits of a file's stem; `None` if it has none.
fn sanitized(name: &str) -> Option<String> {
    let stem = name.split('.').next().unwrap_or_default();
    let label: String = stem.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_the_flags_then_its_file_then_its_folder() {
        let named =
            |labels: &Labels, path: &str| labels.entities_of(Path::new(path)).unwrap().to_string();
        let none = Labels::default();
        assert_eq!(named(&none, "a/run-07/bold_1slice.nii.gz"), "sub-x_task-bold1slice_run-07");
        assert_eq!(named(&none, "sub-01_task-movie_bold.nii"), "sub-01_task-movie");
        let flags = Labels { sub: Some("sub-02".into()), ..Labels::default() };
        assert_eq!(named(&flags, "sub-01_task-movie_bold.nii"), "sub-02_task-movie");
        let bad = Labels { task: Some("../x".into()), ..Labels::default() };
        assert!(bad.entities_of(Path::new("a.nii")).is_err());
    }
}
