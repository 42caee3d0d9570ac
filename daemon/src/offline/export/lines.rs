//! Exports recorded results and other JSON entries as JSON lines.
//!
//! Lines keep their recorded bytes, so the lines of `concepts` equal the results file of the live
//! session.

use std::path::Path;

use super::{
    contents::Contents,
    error::{ExportError, io},
    files::check_free,
};
use crate::{
    outputs::json_lines::JsonLines,
    recording::{
        file::beside,
        format::{COMMAND, ORDER, SESSION},
        reader::Recording,
    },
};

/// Topic to export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Topic {
    /// Results
    #[default]
    Concepts,
    /// What the participant was shown
    Feedback,
    /// Reports on volumes
    Volume,
    /// Reports on runs
    Run,
    /// Warnings and alarms
    Status,
    /// Commands of the operator
    Command,
    /// Volumes that were decoded before they could be recorded
    Order,
    /// Configuration, model, versions, clocks
    Session,
    /// All of these, each line with its `topic`
    All,
}

impl Topic {
    /// Its name in recordings; `None` for all.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Concepts => Some("concepts"),
            Self::Feedback => Some("feedback"),
            Self::Volume => Some("volume"),
            Self::Run => Some("run"),
            Self::Status => Some("status"),
            Self::Command => Some(COMMAND),
            Self::Order => Some(ORDER),
            Self::Session => Some(SESSION),
            Self::All => None,
        }
    }
}

/// Exports the lines of a topic, or only those of the run `asked`. Returns their number.
///
/// # Errors
///
/// Fails when the recording cannot be read, the file cannot be written, or there is no such run.
/// No file `out` is left then.
pub fn export(
    contents: &Contents,
    topic: Topic,
    asked: Option<&str>,
    out: &Path,
    force: bool,
) -> Result<u64, ExportError> {
    check_free(out, force)?;
    if let Some(asked) = asked
        && !contents.runs.iter().any(|run| *run.run.name == *asked)
    {
        let names = contents.runs.iter().map(|run| run.run.name.to_string()).collect();
        return Err(ExportError::NoSuchRun { asked: asked.to_owned(), names });
    }
    let aside = beside(out, ".part");
    let mut lines = JsonLines::create(&aside)?;
    let mut n_line = 0;
    let mut recording = Recording::open(&contents.path)?;
    for entry in &mut recording {
        let is_json = entry.data.first() == Some(&b'{');
        let is_wanted = match topic.name() {
            Some(name) => entry.topic == name,
            None => is_json,
        };
        if !is_wanted || asked.is_some_and(|asked| run_of(&entry.data).as_deref() != Some(asked)) {
            continue;
        }
        match topic {
            Topic::All => {
                let mut line = format!("{{\"topic\":\"{}\",", entry.topic).into_bytes();
                line.extend_from_slice(&entry.data[1..]);
                lines.line(&line)?;
            }
            _ => lines.line(&entry.data)?,
        }
        n_line += 1;
    }
    recording.check_read()?;
    lines.flush()?;
    std::fs::rename(&aside, out).map_err(io(out))?;
    Ok(n_line)
}

/// The run that a line is about.
pub(super) fn run_of(json: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Line {
        run: String,
    }
    serde_json::from_slice::<Line>(json).ok().map(|line| line.run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::fixture::{self, AGAIN, RUN, result};

    #[test]
    fn results_keep_their_recorded_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (recording, out) = (folder.path().join("a.mcap"), folder.path().join("a.jsonl"));
        fixture::record(&recording, &fixture::session());
        let contents = Contents::of(&recording, &mut || {}).unwrap();
        let read = |topic, run| {
            export(&contents, topic, run, &out, true).unwrap();
            std::fs::read_to_string(&out).unwrap()
        };
        let (a, b, c) = (result(RUN, 0), result(RUN, 1), result(AGAIN, 0));
        assert_eq!(read(Topic::Concepts, None), format!("{a}\n{b}\n{c}\n"));
        assert_eq!(read(Topic::Concepts, Some(AGAIN)), format!("{c}\n"));
        let all = read(Topic::All, None);
        let topics: Vec<String> = all
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["topic"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(topics, ["session", "concepts", "concepts", "command", "concepts", "volume"]);
        let error = export(&contents, Topic::Concepts, Some("x"), &out, true).unwrap_err();
        assert!(matches!(error, ExportError::NoSuchRun { .. }), "{error}");
    }
}
