//! The two files of a report: `RUN_report.html` and `RUN_report.json`.
//!
//! A file has its name only once it is complete. A file with the same bytes is left as it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Report, error::ReportError};
use crate::recording::file::beside;

/// What happens when a file of this name exists and holds something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is an error, and nothing is written.
    Refuse,
    /// It is replaced.
    Replace,
    /// The report gets the next free name (`RUN_report-2.html`).
    Keep,
}

/// Writes the two files of a report into a folder, which is created. Returns their paths.
///
/// # Errors
///
/// Fails when a file exists and `existing` refuses it, or on an I/O error.
pub fn write(
    report: &Report,
    folder: &Path,
    existing: Existing,
) -> Result<[PathBuf; 2], ReportError> {
    fs::create_dir_all(folder).map_err(io(folder))?;
    let mut paths = named(report, folder, 1);
    let contents = [report.page.as_bytes(), report.document.as_bytes()];
    let is_taken = |paths: &[PathBuf; 2]| {
        paths
            .iter()
            .zip(contents)
            .find(|(path, content)| {
                fs::read(path).map_or_else(|_| path.exists(), |found| found != **content)
            })
            .map(|(path, _)| path.clone())
    };
    match (existing, is_taken(&paths)) {
        (Existing::Refuse, Some(taken)) => return Err(ReportError::Exists(taken)),
        (Existing::Keep, Some(_)) => {
            let numbered = (2_u32..1000).map(|number| named(report, folder, number));
            let free = numbered.into_iter().find(|paths| is_taken(paths).is_none());
            paths = free.ok_or(ReportError::Exists(folder.to_owned()))?;
        }
        _ => {}
    }
    for (path, content) in paths.iter().zip(contents) {
        let aside = beside(path, ".part");
        fs::write(&aside, content).and_then(|()| fs::rename(&aside, path)).map_err(io(path))?;
    }
    Ok(paths)
}

/// The paths of a report's files, if no other report has them.
#[must_use]
pub fn paths(report: &Report, folder: &Path) -> [PathBuf; 2] {
    named(report, folder, 1)
}

fn named(report: &Report, folder: &Path, number: u32) -> [PathBuf; 2] {
    let number = if number == 1 { String::new() } else { format!("-{number}") };
    ["html", "json"].map(|kind| folder.join(format!("{}_report{number}.{kind}", report.run)))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ReportError {
    let path = path.to_owned();
    |source| ReportError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        Report {
            run: "sub-01_run-1".to_owned(),
            has_ended: true,
            verdict: String::new(),
            page: text.to_owned(),
            document: "{}".to_owned(),
        }
    }

    #[test]
    fn another_report_of_the_same_name_is_refused_kept_or_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/reports");
        let names = |paths: [PathBuf; 2]| {
            paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        };
        let first = names(write(&report("a"), &out, Existing::Refuse).unwrap());
        assert_eq!(first, ["sub-01_run-1_report.html", "sub-01_run-1_report.json"]);
        // The same report again is no conflict.
        assert_eq!(names(write(&report("a"), &out, Existing::Refuse).unwrap()), first);
        let refused = write(&report("b"), &out, Existing::Refuse).unwrap_err().to_string();
        assert!(refused.contains("_report.html exists; choose another folder"), "{refused}");
        let second = names(write(&report("b"), &out, Existing::Keep).unwrap());
        assert_eq!(second, ["sub-01_run-1_report-2.html", "sub-01_run-1_report-2.json"]);
        assert_eq!(names(write(&report("b"), &out, Existing::Keep).unwrap()), second);
        write(&report("b"), &out, Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(out.join(&first[0])).unwrap(), "b");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 4, "no part is left");
    }
}
