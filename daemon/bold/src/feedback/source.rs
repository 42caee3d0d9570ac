//! Sources: from what was read out of the brain to one number, the raw score.
//!
//! | source | raw score | unit |
//! |---|---|---|
//! | `concepts` | sum of the probabilities of the named concepts | probability |
//! | `cosine` | cosine of the angle between the embedding and a target embedding | -1 to 1 |
//! | `roi_change` | change of a region's signal against its baseline | % |
//! | `roi_difference` | change of one region minus change of another | % |
//! | `linear` | weights times the window of normalised BOLD, plus the intercept | the decoder's |
//!
//! A percent signal change is `100·(m - b)/b`, with the region's mean signal `m` and the mean `b` of
//! its baseline volumes so far. So a source does not give the raw score at once: it gives one or two
//! numbers ([`Sample`]), and [`Source::raw`] makes the score from them and their baseline means.
//! Regions therefore need a signal with its mean left in: scanner units, not z-scores.
//!
//! What cannot be read (a head that failed, a value that is not finite, a region without signal)
//! gives no score for this volume; it never stops the run.

use crate::time::TrIndex;

/// What was read out of one window of BOLD. All parts belong to the same stimulus.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings<'a> {
    /// Newest volume they are based on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// Start of acquisition of the newest volume, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// Probability of each class, in the model's order. Empty without a head for concepts.
    pub concepts: &'a [f32],
    /// Embedding of the stimulus. Shape `[n_feature]`.
    pub embedding: Option<&'a [f32]>,
    /// Mean signal of each region in scanner units, in the order of the configuration.
    pub rois: &'a [f32],
    /// Normalised BOLD, oldest volume first. Shape `[n_tr * n_voxel]`.
    pub window: &'a [f32],
}

/// One number of a source, or those of its two regions.
pub type Sample = [f64; 2];

/// Where the score comes from, with names replaced by positions. See the module docs.
#[derive(Clone, Debug, PartialEq)]
pub struct Source(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Concepts { indices: Vec<usize>, n_class: usize },
    Cosine { target: Vec<f32>, length: f64 },
    RoiChange { roi: usize },
    RoiDifference { plus: usize, minus: usize },
    Linear { weights: Vec<f32>, intercept: f64 },
}

/// A source that does not fit the model or the regions.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidSource {
    /// A name that nobody knows.
    #[error("no {what} `{name}`, expected one of {known:?}")]
    Unknown {
        /// What is named: a concept or a region.
        what: &'static str,
        /// Name found.
        name: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// A list of another length.
    #[error("{what} has {found} values, the model gives {expected}")]
    Length {
        /// Which list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// Length expected.
        expected: usize,
    },
    /// A value that is not a number, or a target without direction.
    #[error("{0}")]
    Values(&'static str),
}

impl Source {
    /// Sum of the probabilities of these concepts, of a model with these classes.
    ///
    /// # Errors
    ///
    /// Fails when the model has no such concept, or when none is named.
    pub fn concepts(wanted: &[String], classes: &[String]) -> Result<Self, InvalidSource> {
        if wanted.is_empty() {
            return Err(InvalidSource::Values("no concept is named, expected at least one"));
        }
        let indices = wanted.iter().map(|name| position("concept", name, classes));
        let indices = indices.collect::<Result<_, _>>()?;
        Ok(Self(Kind::Concepts { indices, n_class: classes.len() }))
    }

    /// Cosine similarity to a target, for embeddings of `n_feature` values.
    ///
    /// # Errors
    ///
    /// Fails when the target has another length, holds a value that is not finite, or is zero.
    pub fn cosine(target: Vec<f32>, n_feature: usize) -> Result<Self, InvalidSource> {
        checked("the target embedding", &target, n_feature)?;
        let length = length(&target);
        if length <= 0.0 {
            return Err(InvalidSource::Values("the target embedding is zero and has no direction"));
        }
        Ok(Self(Kind::Cosine { target, length }))
    }

    /// Percent signal change of a region.
    ///
    /// # Errors
    ///
    /// Fails when there is no such region.
    pub fn roi_change(roi: &str, rois: &[String]) -> Result<Self, InvalidSource> {
        Ok(Self(Kind::RoiChange { roi: position("region", roi, rois)? }))
    }

    /// Percent signal change of one region minus that of another.
    ///
    /// # Errors
    ///
    /// Fails when there is no such region.
    pub fn roi_difference(plus: &str, minus: &str, rois: &[String]) -> Result<Self, InvalidSource> {
        let (plus, minus) = (position("region", plus, rois)?, position("region", minus, rois)?);
        Ok(Self(Kind::RoiDifference { plus, minus }))
    }

    /// Output of a linear decoder, for windows of `n_value` values (volumes times voxels).
    ///
    /// # Errors
    ///
    /// Fails when the weights have another length or a value is not finite.
    pub fn linear(
        weights: Vec<f32>,
        intercept: f64,
        n_value: usize,
    ) -> Result<Self, InvalidSource> {
        checked("the linear decoder", &weights, n_value)?;
        if !intercept.is_finite() {
            return Err(InvalidSource::Values("the intercept is not a finite number"));
        }
        Ok(Self(Kind::Linear { weights, intercept }))
    }

    /// Whether the source is the signal of regions, and not what a model decodes.
    #[must_use]
    pub fn is_of_regions(&self) -> bool {
        matches!(self.0, Kind::RoiChange { .. } | Kind::RoiDifference { .. })
    }

    /// Values of the target embedding, if the source has one.
    #[must_use]
    pub fn n_feature(&self) -> Option<usize> {
        match &self.0 {
            Kind::Cosine { target, .. } => Some(target.len()),
            _ => None,
        }
    }

    /// The numbers of this volume. `None` when a part is missing, has another length than the
    /// source was made for, or gives a value that is not finite.
    #[must_use]
    pub fn sample(&self, readings: &Readings<'_>) -> Option<Sample> {
        let roi = |index: usize| readings.rois.get(index).map(|&mean| f64::from(mean));
        let sample = match &self.0 {
            Kind::Concepts { indices, n_class } => {
                let values = Some(readings.concepts).filter(|values| values.len() == *n_class)?;
                [indices.iter().map(|&index| f64::from(values[index])).sum(), 0.0]
            }
            Kind::Cosine { target, length: of_target } => {
                let found = readings.embedding.filter(|found| found.len() == target.len())?;
                [dot(found, target) / (length(found) * of_target), 0.0]
            }
            Kind::RoiChange { roi: index } => [roi(*index)?, 0.0],
            Kind::RoiDifference { plus, minus } => [roi(*plus)?, roi(*minus)?],
            Kind::Linear { weights, intercept } => {
                let window = Some(readings.window).filter(|found| found.len() == weights.len())?;
                [dot(window, weights) + intercept, 0.0]
            }
        };
        sample.iter().all(|value| value.is_finite()).then_some(sample)
    }

    /// The raw score of a sample. `baseline` holds the means of the baseline's samples; regions
    /// have no score before it, nor where its signal is not positive.
    #[must_use]
    pub fn raw(&self, sample: Sample, baseline: Option<Sample>) -> Option<f64> {
        let change = |k: usize| {
            let mean = baseline?[k];
            (mean > 0.0).then(|| 100.0 * (sample[k] - mean) / mean)
        };
        let raw = match self.0 {
            Kind::Concepts { .. } | Kind::Cosine { .. } | Kind::Linear { .. } => sample[0],
            Kind::RoiChange { .. } => change(0)?,
            Kind::RoiDifference { .. } => change(0)? - change(1)?,
        };
        raw.is_finite().then_some(raw)
    }
}

fn position(what: &'static str, name: &str, known: &[String]) -> Result<usize, InvalidSource> {
    known.iter().position(|known| known == name).ok_or_else(|| InvalidSource::Unknown {
        what,
        name: name.to_owned(),
        known: known.to_vec(),
    })
}

fn checked(what: &'static str, values: &[f32], expected: usize) -> Result<(), InvalidSource> {
    if values.len() != expected {
        return Err(InvalidSource::Length { what, found: values.len(), expected });
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err(InvalidSource::Values("a weight or target value is not a finite number"));
    }
    Ok(())
}

/// Summed from the first value to the last, so that the bits do not depend on the machine.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn length(values: &[f32]) -> f64 {
    dot(values, values).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
    }

    #[test]
    fn concepts_are_summed_by_name() {
        let classes = names(&["cat", "face", "house"]);
        let source = Source::concepts(&names(&["house", "cat"]), &classes).unwrap();
        let readings = Readings { concepts: &[0.5, 0.25, 0.125], ..Readings::default() };
        close(source.raw(source.sample(&readings).unwrap(), None), 0.625);
        let error = Source::concepts(&names(&["dog"]), &classes).unwrap_err().to_string();
        assert_eq!(error, "no concept `dog`, expected one of [\"cat\", \"face\", \"house\"]");
        assert!(Source::concepts(&[], &classes).is_err());
    }

    #[test]
    fn the_cosine_is_that_of_the_angle() {
        let source = Source::cosine(vec![1.0, 1.0], 2).unwrap();
        let at = |embedding: &[f32]| {
            let readings = Readings { embedding: Some(embedding), ..Readings::default() };
            source.sample(&readings).map(|sample| sample[0])
        };
        close(at(&[0.0, 7.0]), std::f64::consts::FRAC_1_SQRT_2);
        close(at(&[-2.0, -2.0]), -1.0);
        assert_eq!(at(&[0.0, 0.0]), None, "no direction");
        assert_eq!(at(&[1.0]), None, "another length");
        let error = Source::cosine(vec![1.0], 2).unwrap_err().to_string();
        assert_eq!(error, "the target embedding has 1 values, the model gives 2");
        assert!(Source::cosine(vec![0.0, 0.0], 2).is_err());
    }

    #[test]
    fn a_region_changes_in_percent_of_its_baseline() {
        let rois = names(&["ffa", "ppa"]);
        let readings = Readings { rois: &[510.0, 198.0], ..Readings::default() };
        let change = Source::roi_change("ffa", &rois).unwrap();
        let sample = change.sample(&readings).unwrap();
        close(change.raw(sample, Some([500.0, 0.0])), 2.0);
        assert_eq!(change.raw(sample, None), None, "no baseline yet");
        assert_eq!(change.raw(sample, Some([0.0, 0.0])), None, "no signal");
        let difference = Source::roi_difference("ffa", "ppa", &rois).unwrap();
        let sample = difference.sample(&readings).unwrap();
        close(difference.raw(sample, Some([500.0, 200.0])), 3.0);
    }

    #[test]
    fn a_linear_decoder_is_a_sum_of_products() {
        let source = Source::linear(vec![1.0, -2.0], 0.5, 2).unwrap();
        let readings = Readings { window: &[3.0, 1.0], ..Readings::default() };
        close(source.sample(&readings).map(|sample| sample[0]), 1.5);
        assert!(Source::linear(vec![f32::NAN, 1.0], 0.0, 2).is_err());
    }

    #[test]
    fn what_cannot_be_read_gives_no_sample() {
        let source = Source::roi_change("a", &names(&["a"])).unwrap();
        assert_eq!(source.sample(&Readings::default()), None);
        let readings = Readings { rois: &[f32::NAN], ..Readings::default() };
        assert_eq!(source.sample(&readings), None);
    }
}
