//! The feedback of a session: its files read, its source checked against the model.

use std::path::{Path, PathBuf};

use corticast_bold::{
    feedback::{
        Feedback,
        design::Design,
        options::{FeedbackOptions, ShamOptions, SourceOptions},
        seal::{Assignment, SealedAssignment, StudyKey},
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
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

use super::error::PlanError;
use crate::config::Config;

/// Largest file of the feedback that is read.
const MAX_BYTES: u64 = 256 << 20;

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
        let (sham, participant) = match &options.sham {
            None => (None, None),
            Some(files) => {
                let (assignment, participant) = open(files, &config.session.name)?;
                let recorded: RecordedSession = json(&files.scores)?;
                let sham = Sham::new(assignment, recorded).map_err(|e| failed(e.to_string()))?;
                (Some(sham), Some(participant))
            }
        };
        Ok(Some(Self {
            source: source(options, decoder, n_value)?,
            design: design::read(&options.events, &options.blocks)
                .map_err(|error| failed(error.to_string()))?,
            options: options.clone(),
            sham,
            participant,
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

/// The file beside a sealed assignment that names the session which used it.
#[must_use]
pub fn used_mark(assignment: &Path) -> PathBuf {
    let mut name = assignment.as_os_str().to_owned();
    name.push(".used");
    PathBuf::from(name)
}

/// Notes that this session uses the sealed assignment of its feedback, if it has one. Another
/// session is then refused.
///
/// # Errors
///
/// Fails when the mark cannot be written, or when another session was faster.
pub fn mark_used(config: &Config) -> Result<(), PlanError> {
    let sham = config.feedback.as_ref().and_then(|options| options.sham.as_ref());
    let Some(ShamOptions { assignment, .. }) = sham else { return Ok(()) };
    let path = used_mark(assignment);
    let failed = |error: std::io::Error| {
        PlanError::Feedback(format!("cannot write {}: {error}", path.display()))
    };
    let mut file = match std::fs::File::create_new(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let name = config.session.name.as_bytes();
    std::io::Write::write_all(&mut file, name).and_then(|()| file.sync_all()).map_err(failed)
}

/// Opens a sealed assignment for a session. Returns its participant too.
fn open(files: &ShamOptions, session: &str) -> Result<(Assignment, String), PlanError> {
    let sealed: SealedAssignment = json(&files.assignment)?;
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        PlanError::Feedback(format!("{}: {error}", path.display()))
    };
    let text = String::from_utf8(read(&files.key)?)
        .map_err(|_| failed(&files.key, &"not text, expected 64 hexadecimal digits"))?;
    let key = StudyKey::from_hex(&text).map_err(|error| failed(&files.key, &error))?;
    let mark = used_mark(&files.assignment);
    let used_by = match std::fs::read_to_string(&mark) {
        Ok(name) => Some(name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&mark, &error)),
    };
    let participant = sealed.participant.clone();
    let assignment = sealed
        .open(&key, &participant, session, used_by.as_deref())
        .map_err(|error| failed(&files.assignment, &error))?;
    Ok((assignment, participant))
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
            Source::concepts(names, classes(model()?.manifest())).map_err(invalid)
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

/// Names of the classes that a model decodes.
fn classes(manifest: &Manifest) -> &[String] {
    let network = manifest.network(Role::Decoder).or_else(|| manifest.network(Role::Concepts));
    network.map_or(&[], |network| &network.classes)
}

fn read(path: &Path) -> Result<Vec<u8>, PlanError> {
    let wrong = |reason: String| PlanError::Feedback(format!("{}: {reason}", path.display()));
    let n_byte = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if n_byte > MAX_BYTES {
        return Err(wrong(format!("{n_byte} bytes, expected at most {MAX_BYTES}")));
    }
    std::fs::read(path).map_err(|error| wrong(error.to_string()))
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, PlanError> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| PlanError::Feedback(format!("{}: {error}", path.display())))
}

/// A tensor of f32 in a safetensors file, flat.
fn tensor(path: &Path, name: &str) -> Result<Vec<f32>, PlanError> {
    let wrong = |reason: String| PlanError::Feedback(format!("{}: {reason}", path.display()));
    let bytes = read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
    let view = file
        .tensor(name)
        .map_err(|_| wrong(format!("no tensor `{name}`, found {:?}", file.names())))?;
    if view.dtype() != Dtype::F32 {
        return Err(wrong(format!("`{name}` is {:?}, expected F32", view.dtype())));
    }
    let (words, _) = view.data().as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}
