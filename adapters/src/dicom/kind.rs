//! What kind of image a picture is, from its image type. Only magnitude images are a run's volumes
//! unless another kind is asked for.
//!
//! Texts of the header are compared and never kept.

use std::fmt;

use super::{
    attributes::Attributes,
    tags::{
        COMPLEX_COMPONENT, GE_IMAGE_TYPE, IMAGE_COMMENTS, IMAGE_TYPE, SERIES_DESCRIPTION,
        SIEMENS_IMAGE_TYPE,
    },
};

/// The kinds that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Strength of the signal.
    Magnitude,
    /// Phase of the signal.
    Phase,
    /// Real part.
    Real,
    /// Imaginary part.
    Imaginary,
    /// Field or frequency, in Hz.
    FieldMap,
    /// A copy that the scanner corrected for motion.
    MotionCorrected,
    /// The single-band reference of a multiband series.
    Reference,
    /// A localizer.
    Localizer,
    /// Made from other images: a mean, a map of statistics, a projection.
    Derived,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magnitude => "magnitude images",
            Self::Phase => "phase images",
            Self::Real => "real images",
            Self::Imaginary => "imaginary images",
            Self::FieldMap => "field maps",
            Self::MotionCorrected => "motion-corrected copies",
            Self::Reference => "single-band references",
            Self::Localizer => "localizers",
            Self::Derived => "derived images",
        })
    }
}

impl Kind {
    /// The option that takes images of this kind.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::MotionCorrected => "--moco",
            Self::Phase => "--image-type P",
            Self::Real => "--image-type R",
            Self::Imaginary => "--image-type I",
            Self::Derived => "--image-type DERIVED",
            Self::Localizer => "--image-type LOCALIZER",
            Self::FieldMap => "--image-type FIELD_MAP",
            Self::Magnitude | Self::Reference => "--series",
        }
    }
}

/// The values of an image type, in capitals.
#[derive(Clone, Default, PartialEq)]
pub struct ImageType(Vec<Box<str>>);

/// Shows the kind and no text of the header.
impl fmt::Debug for ImageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())
    }
}

/// Most values that are read of one image type.
const MAX_VALUES: usize = 16;
/// Longest value of an image type, in bytes.
const MAX_VALUE_BYTES: usize = 64;

impl ImageType {
    /// Adds values separated by backslashes.
    pub(super) fn add(&mut self, text: &str) {
        for value in text.split('\\').map(str::trim).filter(|v| v.len() <= MAX_VALUE_BYTES) {
            if !value.is_empty() && self.0.len() < MAX_VALUES && !self.has(value) {
                self.0.push(value.to_ascii_uppercase().into());
            }
        }
    }

    /// Whether a value is among them, whatever its case.
    #[must_use]
    pub fn has(&self, value: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(value))
    }

    fn has_any(&self, values: &[&str]) -> bool {
        values.iter().any(|value| self.has(value))
    }

    /// The image type of a file.
    pub(super) fn of(attributes: &Attributes<'_>) -> Self {
        let mut values = Self::default();
        for tag in [IMAGE_TYPE, SIEMENS_IMAGE_TYPE, COMPLEX_COMPONENT] {
            if let Some(text) = attributes.text(tag) {
                values.add(text);
            }
        }
        match attributes.number(GE_IMAGE_TYPE) {
            Some(1) => values.add("PHASE"),
            Some(2) => values.add("REAL"),
            Some(3) => values.add("IMAGINARY"),
            _ => {}
        }
        let says = |tag, what: &str| {
            let text = attributes.text(tag).unwrap_or_default().to_ascii_lowercase();
            text.ends_with(what)
        };
        if says(SERIES_DESCRIPTION, "_sbref") || says(IMAGE_COMMENTS, "single-band reference") {
            values.add("SBREF");
        }
        values
    }

    /// The kind of image.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.has_any(&["SBREF"]) {
            Kind::Reference
        } else if self.has_any(&["LOCALIZER", "SCOUT"]) {
            Kind::Localizer
        } else if self.has_any(&[
            "FIELD_MAP",
            "FIELD MAP",
            "B0",
            "B0 MAP",
            "VELOCITY",
            "VELOCITY MAP",
        ]) {
            Kind::FieldMap
        } else if self.has_any(&["P", "PHASE", "PHASE MAP", "P_FFE", "P_SE", "PHASE_MAP"]) {
            Kind::Phase
        } else if self.has_any(&["REAL", "R", "R_FFE", "R_SE"]) {
            Kind::Real
        } else if self.has_any(&["IMAGINARY", "I", "I_FFE", "I_SE"]) {
            Kind::Imaginary
        } else if self.has_any(&["MOCO", "RETRO_MOCO", "PMC_MOCO"]) {
            Kind::MotionCorrected
        } else if self.has_any(&["DERIVED", "SECONDARY"]) && !self.is_only_copied() {
            Kind::Derived
        } else {
            Kind::Magnitude
        }
    }

    /// Some exports call an image derived because they wrote it anew.
    fn is_only_copied(&self) -> bool {
        self.has_any(&["MOSAIC", "MFSPLIT", "VFRAME"]) && !self.has_any(&MAPS)
    }
}

/// Values of maps that a scanner computes from a series.
const MAPS: [&str; 14] = [
    "MEAN",
    "T_MAP",
    "TTEST",
    "T-TEST",
    "GLM",
    "BETA",
    "ZMAP",
    "ADC",
    "FA",
    "TRACEW",
    "TENSOR",
    "CBF",
    "TTP",
    "PROJECTION IMAGE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_the_values_that_scanners_write() {
        let kind = |text: &str| {
            let mut values = ImageType::default();
            values.add(text);
            values.kind()
        };
        for (text, expected) in [
            (r"ORIGINAL\PRIMARY\M\ND\MOSAIC", Kind::Magnitude),
            (r"ORIGINAL\PRIMARY\P\ND\MOSAIC", Kind::Phase),
            (r"ORIGINAL\PRIMARY\M\ND\MOCO\MOSAIC", Kind::MotionCorrected),
            (r"DERIVED\PRIMARY\M\ND\MOSAIC", Kind::Magnitude),
            (r"DERIVED\PRIMARY\M\ND\MEAN\MOSAIC", Kind::Derived),
            (r"DERIVED\PRIMARY\FMRI\NONE", Kind::Derived),
            (r"ORIGINAL\PRIMARY\FMRI\NONE\MAGNITUDE", Kind::Magnitude),
            (r"ORIGINAL\PRIMARY\M_FFE\M\FFE", Kind::Magnitude),
            (r"ORIGINAL\PRIMARY\PHASE MAP\P\FFE", Kind::Phase),
            (r"ORIGINAL\PRIMARY\EPI\NONE", Kind::Magnitude),
            (r"ORIGINAL\PRIMARY\T1\FIELD_MAP\REAL", Kind::FieldMap),
            (r"ORIGINAL\PRIMARY\M\VFRAME", Kind::Magnitude),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
