//! rt-cloud's result files: `run<r>/classoutput/vol-<r>-<tr>.txt` with the value of a volume.
//!
//! `<r>` is the run's label (`run-2`: 2; 1 without a label), `<tr>` counts from 1. Each file appears
//! complete, by renaming. A run with the same label replaces the files, because readers wait for
//! these names. A volume without a value gets the neutral one. A disk that hangs delays the answer
//! to `blank`, never a subscriber.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use corticast_bold::run::RunEntities;

use super::{
    event::Event,
    sink::{Delivered, Sink},
};

/// The sink.
pub(super) struct RtCloud {
    folder: PathBuf,
    /// Label of the run.
    run: String,
}

impl RtCloud {
    pub(super) fn create(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), run: "1".to_owned() })
    }
}

/// The label of a run, which is checked to be letters and digits, without leading zeros.
fn label(run: &str) -> String {
    let label = RunEntities::from_name(run).and_then(|entities| entities.run);
    let label = label.unwrap_or_else(|| "1".to_owned());
    label.parse::<u32>().map_or(label, |number| number.to_string())
}

impl Sink for RtCloud {
    fn name(&self) -> &'static str {
        "rtcloud"
    }

    fn prepare(&mut self, event: &Event) -> anyhow::Result<()> {
        if let Event::Start { run } = event {
            self.run = label(run);
        }
        Ok(())
    }

    fn deliver(&mut self, event: &Event) -> anyhow::Result<Delivered> {
        let Event::Value(value) = event else { return Ok(Delivered::Nothing) };
        let run = &self.run;
        let folder = self.folder.join(format!("run{run}/classoutput"));
        let path = folder.join(format!("vol-{run}-{}.txt", value.index + 1));
        let aside = path.with_extension("part");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&aside, format!("{}", value.or_neutral())))
            .and_then(|()| fs::rename(&aside, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Delivered::Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_label() {
        assert_eq!(label("sub-01_task-x_run-02"), "2");
        assert_eq!(label("sub-01_task-x_run-2b"), "2b");
        assert_eq!(label("sub-01"), "1");
        assert_eq!(label("../../etc"), "1");
    }
}
