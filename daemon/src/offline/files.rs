//! The files of a command: it writes into none that it reads, and into none twice.
//!
//! A recording is all its segments, also those that it does not have yet: tools take a file with
//! the name of a segment for a part of the recording.

use std::path::{Path, PathBuf};

use corticast_images::beside::files_of;
use corticast_wire::files::apart::{Apart, Kind, NotApart, is_same, resolved};

use super::source::{self, Source};
use crate::{config::Config, recording::segments};

/// Why the files of a command cannot be used together.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// An output is an input or another output, or no file.
    #[error(transparent)]
    NotApart(#[from] NotApart),
    /// An output has the name of a segment.
    #[error(
        "{what} is {path}, which would be taken for a segment of the recording {recording}; choose \
         another name"
    )]
    Segment {
        /// Name of the output.
        what: String,
        /// Its path.
        path: PathBuf,
        /// The recording.
        recording: PathBuf,
    },
}

/// What a command reads and writes. Outputs go by the names of their flags or keys.
#[derive(Clone, Debug, Default)]
pub struct Files {
    apart: Apart,
    recordings: Vec<PathBuf>,
    outputs: Vec<(String, PathBuf)>,
}

impl Files {
    /// Adds a file or a folder that is read.
    pub fn input(&mut self, what: impl Into<String>, path: &Path) {
        self.apart.input(what, path);
    }

    /// Adds the configuration, and the files and folders that it names.
    pub fn config(&mut self, path: &Path, config: &Config) {
        self.input("the configuration", path);
        config.inputs().iter().for_each(|(what, path)| self.input(what, path));
    }

    /// As [`Files::config`], without folders. A daemon changes no file that exists, and what it has
    /// made in a folder must not keep it from a restart.
    pub fn config_of_session(&mut self, path: &Path, config: &Config) {
        self.input("the configuration", path);
        let files = config.inputs().into_iter().filter(|(_, path)| !path.is_dir());
        files.for_each(|(what, path)| self.input(what, &path));
    }

    /// Adds a recording that is read.
    pub fn recording(&mut self, path: &Path) {
        self.input("the recording", path);
        // A folder that cannot be listed is an error of the reader.
        for (_, segment) in segments::of(path).unwrap_or_default() {
            self.input("the recording's segment", &segment);
        }
        self.recordings.push(path.to_owned());
    }

    /// Adds a source of runs.
    pub fn source(&mut self, source: &Source) {
        match source.kind {
            source::Kind::Recording => self.recording(&source.path),
            source::Kind::Image | source::Kind::Bids => {
                self.input("the run", &source.path);
                files_of(&source.path).iter().for_each(|file| self.input("the run's file", file));
            }
        }
        source.events.iter().for_each(|events| self.input("the events", events));
    }

    /// Adds what is written, if the user asked for it.
    pub fn output(&mut self, what: &str, path: Option<&Path>, kind: Kind) {
        let Some(path) = path else { return };
        self.apart.output(what, path, kind);
        self.outputs.push((what.to_owned(), path.to_owned()));
    }

    /// Adds a recording that is written.
    pub fn records(&mut self, what: &str, path: Option<&Path>) {
        self.output(what, path, Kind::File);
        self.recordings.extend(path.map(Path::to_owned));
    }

    /// Checks the files.
    ///
    /// # Errors
    ///
    /// Fails when an output is an input, another output, or no file, or when it has the name of a
    /// recording's segment.
    pub fn check(&self) -> Result<(), FilesError> {
        self.apart.check()?;
        for (what, path) in &self.outputs {
            let Some((of, _)) = segments::parse(&resolved(path)) else { continue };
            if let Some(recording) = self.recordings.iter().find(|known| is_same(known, &of)) {
                let (what, path, recording) = (what.clone(), path.clone(), recording.clone());
                return Err(FilesError::Segment { what, path, recording });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_of_a_recording_is_an_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        ["a.mcap", "a.001.mcap"].iter().for_each(|name| std::fs::write(path(name), "a").unwrap());
        std::fs::hard_link(path("a.001.mcap"), path("hard")).unwrap();
        let refusal = |name: &str| {
            let mut files = Files::default();
            files.recording(&path("a.mcap"));
            files.output("--jsonl", Some(&path(name)), Kind::File);
            files.check().err().map(|error| error.to_string())
        };
        for name in ["a.mcap", "a.001.mcap", "hard"] {
            assert!(refusal(name).unwrap().contains("the same file as the recording"), "{name}");
        }
        let refused = refusal("a.002.mcap").unwrap();
        assert!(refused.contains("would be taken for a segment of the recording"), "{refused}");
        for name in ["b.mcap", "b.001.mcap", "a.02.mcap"] {
            assert_eq!(refusal(name), None);
        }
        let mut files = Files::default();
        files.records("--record", Some(&path("new.mcap")));
        files.output("--results", Some(&path("new.001.mcap")), Kind::Stream);
        assert!(files.check().is_err());
    }

    #[test]
    fn files_that_the_configuration_names_are_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let text = "[signal]\nmask = 'mask.nii'\n[denoise]\nnuisance = ['a.nii', 'b.nii']\n\
                    [model]\ndir = 'model'\n";
        std::fs::create_dir(path("model")).unwrap();
        for name in ["site.toml", "mask.nii", "a.nii", "b.nii", "model/x.onnx"] {
            std::fs::write(path(name), text).unwrap();
        }
        let config = Config::load(&path("site.toml"), &[]).unwrap();
        let is_refused = |name: &str| {
            let mut files = Files::default();
            files.config(&path("site.toml"), &config);
            files.output("--out", Some(&path(name)), Kind::File);
            files.check().is_err()
        };
        for name in ["site.toml", "mask.nii", "a.nii", "b.nii", "model/x.onnx"] {
            assert!(is_refused(name), "{name}");
        }
        assert!(!is_refused("model/new.jsonl"));
    }
}
