//! What decides the scores, in a form that is compared when a session continues, and in one that
//! people read.

use std::path::Path;

use corticast_bold::feedback::{
    design::BlockKind,
    options::{FeedbackOptions, SourceOptions, Z_RANGE},
    scaling::Scaling,
};
use toml::{Table, Value};

use super::{FeedbackPlan, files};
use crate::{
    config::QualityConfig,
    plan::{
        error::PlanError,
        mask_file::{self, MaskFileError},
    },
};

/// Hashes of the files that decide the scores: of the source, of each region, and of a sham.
pub(super) fn hashes(options: &FeedbackOptions) -> Result<Table, PlanError> {
    let mut hashes = Table::new();
    let mut add = |key: &str, hash: String| hashes.insert(key.to_owned(), Value::String(hash));
    match &options.source {
        SourceOptions::Cosine { target: file } | SourceOptions::Linear { decoder: file } => {
            add("source_sha256", files::sha256_of(file)?);
        }
        _ => {}
    }
    for (name, path) in &options.rois {
        add(&format!("roi_{name}"), region(mask_file::read(path))?.mask.hash().to_owned());
    }
    if let Some(sham) = &options.sham {
        add("assignment_sha256", files::sha256_of(&sham.assignment)?);
        add("scores_sha256", files::sha256_of(&sham.scores)?);
    }
    Ok(hashes)
}

impl FeedbackPlan {
    /// What decides the scores: options, hashes of the design and of files, and the thresholds of
    /// bad data. No path is part of it: a file may be moved.
    #[must_use]
    pub fn facts(&self, quality: &QualityConfig) -> Table {
        let mut facts = match Value::try_from(&*self.options) {
            Ok(Value::Table(table)) => table,
            _ => Table::new(),
        };
        for key in ["events", "blocks", "rois", "sham"] {
            facts.remove(key);
        }
        if let Some(Value::Table(source)) = facts.get_mut("source") {
            source.retain(|key, _| key != "target" && key != "decoder");
        }
        if self.options.scaling == Scaling::Z {
            let range = self.options.z_range.unwrap_or(Z_RANGE);
            facts.insert("z_range".to_owned(), Value::from(range.to_vec()));
        }
        let blocks = serde_json::to_vec(self.design.blocks()).unwrap_or_default();
        facts.insert("design_sha256".to_owned(), Value::String(files::sha256(&blocks)));
        facts.extend(self.hashes.clone());
        if let Ok(Value::Table(mut quality)) = Value::try_from(&**quality) {
            quality.remove("tsnr_every_volumes");
            facts.insert("quality".to_owned(), Value::Table(quality));
        }
        facts
    }

    /// Source, design and regions, one line each, for `corticast check`. `mask`: file of the mask.
    ///
    /// # Errors
    ///
    /// Fails when the mask of a region cannot be read.
    pub fn lines(&self, mask: Option<&Path>) -> Result<Vec<String>, PlanError> {
        let options = &self.options;
        let presentation = format!("{:?}", options.presentation).to_lowercase();
        let mut lines = vec![format!("{}, {presentation}", source(&options.source))];
        for kind in [BlockKind::Baseline, BlockKind::Regulate, BlockKind::Rest, BlockKind::Transfer]
        {
            let blocks: Vec<_> = self.design.blocks().iter().filter(|b| b.kind == kind).collect();
            if blocks.is_empty() {
                continue;
            }
            let mut conditions: Vec<&str> = blocks.iter().map(|b| &*b.condition).collect();
            conditions.sort_unstable();
            conditions.dedup();
            let (n, total_s) = (blocks.len(), self.design.total_s(kind));
            let (first_s, conditions) = (blocks[0].onset_s, conditions.join(", "));
            lines.push(format!(
                "{kind}: {n} blocks, {total_s} s in total, the first at {first_s} s ({conditions})"
            ));
        }
        lines.push(format!("the design ends at {} s", self.design.end_s()));
        // A sparse matrix has no image of its voxels.
        let brain = mask.and_then(|path| mask_file::read_image(path).ok());
        for (name, path) in &options.rois {
            let region = region(mask_file::read_image(path))?.values;
            let n_voxel = region.iter().filter(|value| **value > 0.0).count();
            let mut line = format!("region `{name}`: {n_voxel} voxels");
            if let Some(brain) = &brain {
                let both = region.iter().zip(&brain.values).filter(|(a, b)| **a > 0.0 && **b > 0.0);
                let (n_both, percent) = (both.clone().count(), 100 * both.count() / n_voxel.max(1));
                line += &format!(", {n_both} of them ({percent} %) in the mask");
            }
            lines.push(line);
        }
        if self.sham.is_some() {
            lines.extend(self.sham_lines());
        }
        Ok(lines)
    }
}

fn region<T>(read: Result<T, MaskFileError>) -> Result<T, PlanError> {
    let failed = |error| PlanError::Feedback(format!("cannot use a region of `rois`: {error}"));
    read.map_err(failed)
}

/// A source for people.
fn source(source: &SourceOptions) -> String {
    match source {
        SourceOptions::Concepts { names } => format!("probability of {}", names.join(" + ")),
        SourceOptions::Cosine { target } => format!("cosine to {}", target.display()),
        SourceOptions::RoiChange { roi } => format!("percent signal change of `{roi}`"),
        SourceOptions::RoiDifference { plus, minus } => {
            format!("percent signal change of `{plus}` minus that of `{minus}`")
        }
        SourceOptions::Linear { decoder } => format!("linear decoder {}", decoder.display()),
    }
}
