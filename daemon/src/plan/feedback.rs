//! The feedback of a session: its files read, its source checked against the model.

mod facts;
pub mod files;
mod recorded;
pub mod sealed;

use std::path::PathBuf;

use corticast_bold::{
    feedback::{
        Feedback,
        design::Design,
        options::{FeedbackOptions, SourceOptions},
        sham::{RecordedSession, Sham},
        source::{InvalidSource, Source},
    },
    run::RunHeader,
};
use corticast_images::design;
use corticast_models::{
    decoder::{Decoder, FamilyDecoder},
    manifest::{Manifest, Role},
};

use self::files::tensor;
use super::error::PlanError;
use crate::config::{Config, SessionConfig};

/// The feedback of a session, read and checked.
#[derive(Clone, Debug)]
pub struct FeedbackPlan {
    /// The options.
    pub options: FeedbackOptions,
    /// Where the score comes from.
    pub source: Source,
    /// The blocks of every run.
    pub design: Design,
    /// Sham or real feedback, by a sealed assignment.
    pub sham: Option<Sham>,
    /// The participant of the assignment: only their runs are accepted.
    pub participant: Option<String>,
    /// The runs whose scores a sham shows.
    recorded: Vec<recorded::Recorded>,
    /// Hashes of the files that decide the scores.
    hashes: toml::Table,
}

impl FeedbackPlan {
    /// Reads the files of the section; `None` without a section.
    pub(super) fn make(
        config: &Config,
        decoder: Option<&Decoder>,
        n_value: usize,
    ) -> Result<Option<Self>, PlanError> {
        let Some(options) = &config.feedback else { return Ok(None) };
        let failed = |error: String| PlanError::Feedback(error);
        let mut runs = Vec::new();
        let (sham, participant) = match &options.sham {
            None => (None, None),
            Some(sham) => {
                // A name that every session has would not tell two sessions apart.
                if config.session.name == SessionConfig::default().name {
                    let what =
                        "a sealed assignment is for one session; name it, `name` in [session]";
                    return Err(failed(what.to_owned()));
                }
                let (assignment, participant) = sealed::open(sham, &config.session.name)?;
                let recorded: RecordedSession = files::json(&sham.scores)?;
                runs = recorded::summary(&recorded);
                let sham = Sham::new(assignment, recorded).map_err(|e| failed(e.to_string()))?;
                (Some(sham), Some(participant))
            }
        };
        Ok(Some(Self {
            source: source(options, decoder, n_value)?,
            design: design::read(&options.events, &options.blocks)
                .map_err(|error| failed(error.to_string()))?,
            hashes: facts::hashes(options)?,
            options: options.clone(),
            sham,
            participant,
            recorded: runs,
        }))
    }

    /// The feedback itself.
    ///
    /// # Errors
    ///
    /// Fails when the design does not fit the presentation.
    pub fn engine(&self, hrf_delay_s: f64) -> Result<Feedback, PlanError> {
        let Self { options, source, design, sham, .. } = self.clone();
        Feedback::new(options, source, design, hrf_delay_s, sham)
            .map_err(|error| PlanError::Feedback(error.to_string()))
    }

    /// Whether a run fits the feedback; else the reason.
    pub(super) fn admit(&self, header: &RunHeader, hrf_delay_s: f64) -> Result<(), String> {
        let sub = &header.entities.sub;
        if let Some(participant) = self.participant.as_ref().filter(|expected| *expected != sub) {
            return Err(format!(
                "the run is of participant {sub}, the sealed assignment of {participant}"
            ));
        }
        let mut engine = self.engine(hrf_delay_s).map_err(|error| error.to_string())?;
        engine
            .start_run(&header.entities, header.repetition_time)
            .map_err(|error| format!("[feedback]: {error}"))
    }
}

/// Masks of the regions, in the order of their names.
pub(super) fn rois(config: &Config) -> Vec<PathBuf> {
    config.feedback.iter().flat_map(|options| options.rois.values().cloned()).collect()
}

/// The source, checked against the model. `n_value`: values of a window.
fn source(
    options: &FeedbackOptions,
    decoder: Option<&Decoder>,
    n_value: usize,
) -> Result<Source, PlanError> {
    let names: Vec<String> = options.rois.keys().cloned().collect();
    let model = || {
        decoder.ok_or_else(|| {
            PlanError::Feedback(
                "the source needs a model, but there is none; set `dir` in [model]".to_owned(),
            )
        })
    };
    let invalid = |error: InvalidSource| PlanError::Feedback(format!("source: {error}"));
    match &options.source {
        SourceOptions::Concepts { names } => {
            let mut names_before = names.iter().enumerate();
            if let Some((_, twice)) = names_before.find(|(k, name)| names[..*k].contains(name)) {
                return Err(PlanError::Feedback(format!(
                    "source: `names` is {names:?} with `{twice}` twice, expected each concept once"
                )));
            }
            Source::concepts(names, &classes(model()?.manifest())).map_err(invalid)
        }
        SourceOptions::Cosine { target } => {
            let FamilyDecoder::Neurons(neurons) = model()?.family() else {
                return Err(PlanError::Feedback(
                    "source: `cosine` needs a model of family `neurons`, which has an embedding; \
                     a linear model has `concepts`"
                        .to_owned(),
                ));
            };
            let target = tensor(target, "target")?;
            let sizes = neurons.sizes();
            let image = sizes.n_token * sizes.channels;
            let n_feature = if target.len() == image { image } else { sizes.text_dim };
            Source::cosine(target, n_feature).map_err(invalid)
        }
        SourceOptions::RoiChange { roi } => Source::roi_change(roi, &names).map_err(invalid),
        SourceOptions::RoiDifference { plus, minus } => {
            Source::roi_difference(plus, minus, &names).map_err(invalid)
        }
        SourceOptions::Linear { decoder } => {
            let weights = tensor(decoder, "weights")?;
            let intercept = tensor(decoder, "intercept")?;
            let &[intercept] = intercept.as_slice() else {
                return Err(PlanError::Feedback(format!(
                    "{}: `intercept` has {} values, expected 1",
                    decoder.display(),
                    intercept.len()
                )));
            };
            Source::linear(weights, f64::from(intercept), n_value).map_err(invalid)
        }
    }
}

/// Names of the classes that a model decodes: those of its network, without the rest of a model
/// that adds up evidence.
pub(super) fn classes(manifest: &Manifest) -> Vec<String> {
    let network = manifest.network(Role::Decoder).or_else(|| manifest.network(Role::Concepts));
    let names = network.map(|network| network.classes.clone()).unwrap_or_default();
    let rest = manifest.evidence.map(|evidence| evidence.rest);
    let decoded = names.into_iter().enumerate().filter(|(place, _)| Some(*place) != rest);
    decoded.map(|(_, name)| name).collect()
}
