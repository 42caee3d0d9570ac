//! What the header of a file says of all its pictures: the series, the numbers, the times.
//!
//! Texts are compared or hashed, and only numbers are kept, so no later step has a patient's name
//! that it could print.

use super::{
    attributes::Attributes,
    clock::{Moment, moment},
    elements::text,
    error::DicomError,
    hash::short_hash,
    kind::ImageType,
    protocol,
    tags::{
        ACQUISITION_DATE, ACQUISITION_DATETIME, ACQUISITION_NUMBER, ACQUISITION_TIME, CONTENT_TIME,
        ECHO_NUMBER, ECHO_PLANAR, ECHO_TIME, EFFECTIVE_ECHO_TIME, GE_N_LOCATIONS, IMAGE_POSITION,
        IMAGES_IN_ACQUISITION, INSTANCE_NUMBER, MANUFACTURER, N_TEMPORAL_POSITIONS, PATIENT_ID,
        PHILIPS_N_SLICES, PHILIPS_SCALE_SLOPE, PROTOCOL_NAME, RELATED_SERIES, REPETITION_TIME,
        RESCALE_INTERCEPT, RESCALE_SLOPE, SCANNING_SEQUENCE, SERIES_DESCRIPTION,
        SERIES_INSTANCE_UID, SERIES_NUMBER, SIEMENS_PROTOCOL, SOFTWARE_VERSIONS, SOP_INSTANCE_UID,
        STUDY_INSTANCE_UID, TEMPORAL_POSITION,
    },
};

/// Largest accepted number of a volume or image; a larger one means a damaged header.
pub const MAX_NUMBER: i64 = 1_000_000;

/// Who made the scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Siemens, up to software VE.
    SiemensV,
    /// Siemens, software XA.
    SiemensXa,
    /// GE.
    Ge,
    /// Philips.
    Philips,
    /// United Imaging.
    UnitedImaging,
    /// Another maker, or none is named.
    Other,
}

/// The numbers that can tell which volume a picture belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numbers {
    /// TemporalPositionIdentifier or TemporalPositionIndex.
    pub temporal: Option<u32>,
    /// AcquisitionNumber.
    pub acquisition: Option<u32>,
    /// InstanceNumber.
    pub instance: Option<u32>,
}

/// Which echo a picture is of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Echo {
    /// EchoNumbers; `None` when missing or 0.
    pub number: Option<u32>,
    /// EchoTime, in ms.
    pub time_ms: Option<f64>,
}

/// `signal = slope · stored + intercept`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scale {
    /// Absent: 1.
    pub slope: Option<f64>,
    /// Absent: 0.
    pub intercept: Option<f64>,
}

impl Scale {
    /// The scale from rescale slope and intercept, and from Philips' own scale slope. With the
    /// latter, signal is in Philips' floating-point units, which can be compared between series:
    /// `(stored · rescale_slope + rescale_intercept) / (rescale_slope · scale_slope)`.
    #[must_use]
    pub fn of(rescale: [Option<f64>; 2], philips_slope: Option<f64>) -> Self {
        let not_zero = |value: &f64| value.abs() > 0.0 && value.is_finite();
        let [slope, intercept] = [rescale[0].filter(not_zero), rescale[1]];
        match philips_slope.filter(not_zero) {
            None => Self { slope, intercept },
            Some(philips) => Self {
                slope: Some(1.0 / philips),
                intercept: intercept.map(|i| i / (slope.unwrap_or(1.0) * philips)),
            },
        }
    }
}

/// Text of the header that is compared and never shown.
#[derive(Clone, Default, PartialEq)]
pub struct Hidden(Box<str>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hidden")
    }
}

impl Hidden {
    /// Whether the text contains another, whatever the case.
    #[must_use]
    pub fn contains(&self, part: &str) -> bool {
        self.0.contains(&part.to_lowercase())
    }
}

/// What the header of a file says of all its pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// First 16 hex digits of the BLAKE3 hash of what identifies the series.
    pub series_id: String,
    /// Hash of what identifies the study, a visit to the scanner; `None` if nothing does.
    pub study: Option<u64>,
    /// Number of the series within its study.
    pub series_number: Option<u32>,
    /// Hash of what identifies the image, which is the same in every copy of it.
    pub instance: u64,
    /// Who made the scanner.
    pub vendor: Vendor,
    /// The numbers that can tell the volume.
    pub numbers: Numbers,
    /// Day and time of acquisition.
    pub time: Option<Moment>,
    /// When its content was made, by the time of day.
    pub content: Option<Moment>,
    /// The repetition time that the header states, in seconds; it may be a shot's.
    pub repetition_s: Option<f64>,
    /// Number of volumes in the series, if the header gives it.
    pub n_volumes: Option<u32>,
    /// Slices of a volume, if the header of a single slice gives them.
    pub n_slice: Option<usize>,
    /// Values of the image type.
    pub image_type: ImageType,
    /// Which echo.
    pub echo: Echo,
    /// Scale of the stored values.
    pub scale: Scale,
    /// The header shows that the series is no time series: an anatomy, for example.
    pub is_still: bool,
    /// Names of protocol and series.
    pub names: Hidden,
}

impl Scan {
    /// What the header says.
    ///
    /// # Errors
    ///
    /// Fails when a sequence in the header is none.
    pub(super) fn of(attributes: &Attributes<'_>) -> Result<Self, DicomError> {
        let image_type = ImageType::of(attributes);
        let vendor = vendor(attributes);
        let n_volumes = attributes.integer(N_TEMPORAL_POSITIONS).and_then(count);
        let names = [PROTOCOL_NAME, SERIES_DESCRIPTION].map(|tag| attributes.text(tag));
        let names = names.map(Option::unwrap_or_default).join("\n").to_lowercase();
        let (series_id, series_number) = series(attributes, &image_type, &names)?;
        Ok(Self {
            series_id,
            study: attributes
                .get(STUDY_INSTANCE_UID)
                .map(without_padding)
                .filter(|uid| !uid.is_empty())
                .map(short_hash),
            series_number,
            instance: instance(attributes),
            vendor,
            numbers: Numbers {
                temporal: attributes.integer(TEMPORAL_POSITION).and_then(count),
                acquisition: attributes.integer(ACQUISITION_NUMBER).and_then(count),
                instance: attributes.integer(INSTANCE_NUMBER).and_then(count),
            },
            time: time(attributes),
            content: attributes.text(CONTENT_TIME).and_then(|time| moment("", time)),
            repetition_s: attributes.decimal(REPETITION_TIME).map(|ms| ms / 1000.0),
            n_volumes,
            n_slice: n_slice(attributes, &image_type),
            echo: Echo {
                number: attributes.integer(ECHO_NUMBER).and_then(count),
                time_ms: attributes.decimal(ECHO_TIME).or_else(|| {
                    attributes.element(EFFECTIVE_ECHO_TIME).and_then(|element| {
                        super::attributes::float(element.value, element.encoding)
                    })
                }),
            },
            scale: Scale::of(
                [RESCALE_SLOPE, RESCALE_INTERCEPT].map(|tag| attributes.decimal(tag)),
                attributes
                    .element(PHILIPS_SCALE_SLOPE)
                    .and_then(|element| super::attributes::float(element.value, element.encoding)),
            ),
            is_still: is_still(attributes, &image_type, n_volumes),
            image_type,
            names: Hidden(names.into()),
        })
    }
}

fn count(number: i64) -> Option<u32> {
    (1..=MAX_NUMBER).contains(&number).then_some(number as u32)
}

fn vendor(attributes: &Attributes<'_>) -> Vendor {
    let maker = attributes.text(MANUFACTURER).unwrap_or_default().to_ascii_lowercase();
    let is_xa = attributes.text(SOFTWARE_VERSIONS).is_some_and(|text| text.contains("XA"));
    match () {
        () if maker.starts_with("siemens") && is_xa => Vendor::SiemensXa,
        () if maker.starts_with("siemens") => Vendor::SiemensV,
        () if maker.starts_with("ge ") || maker == "ge" => Vendor::Ge,
        () if maker.starts_with("philips") => Vendor::Philips,
        () if maker.starts_with("uih") || maker.starts_with("united imaging") => {
            Vendor::UnitedImaging
        }
        () => Vendor::Other,
    }
}

/// Identity and number of the series. De-identified exports give several series one UID, or none,
/// and several participants the same, so study, participant and number belong to the identity; without UID or number, the names of protocol and series
/// do, too. An XA scanner that exports one slice a file makes a series of each volume, and names
/// the series that they were taken from.
fn series(
    attributes: &Attributes<'_>,
    image_type: &ImageType,
    names: &str,
) -> Result<(String, Option<u32>), DicomError> {
    let mut uid = attributes.get(SERIES_INSTANCE_UID).map(without_padding).unwrap_or_default();
    let mut number = attributes.integer(SERIES_NUMBER).and_then(|n| u32::try_from(n).ok());
    if image_type.has("MFSPLIT") {
        number = number.map(|n| if n >= 1000 { n / 1000 } else { n });
        if let Some(related) = attributes.element(RELATED_SERIES)
            && let Some(mut item) = related.first_item()?
        {
            while let Some(element) = item.next()? {
                if element.tag == SERIES_INSTANCE_UID && !element.value.is_empty() {
                    uid = without_padding(element.value);
                }
            }
        }
    }
    let stated = number.map(|number| number.to_string()).unwrap_or_default();
    let names = if uid.is_empty() || number.is_none() { names } else { "" };
    let other = [STUDY_INSTANCE_UID, PATIENT_ID]
        .map(|tag| attributes.get(tag).map(without_padding).unwrap_or_default());
    let identity = [uid, stated.as_bytes(), names.as_bytes(), other[0], other[1]].join(&0);
    Ok((format!("{:016x}", short_hash(&identity)), number))
}

/// Identity of the image: its UID, and what differs between images if an export gave them one UID
/// or none.
fn instance(attributes: &Attributes<'_>) -> u64 {
    let parts = [
        SOP_INSTANCE_UID,
        ACQUISITION_NUMBER,
        INSTANCE_NUMBER,
        TEMPORAL_POSITION,
        ACQUISITION_TIME,
        ACQUISITION_DATETIME,
        CONTENT_TIME,
        ECHO_NUMBER,
        ECHO_TIME,
        IMAGE_POSITION,
    ];
    let parts = parts.map(|tag| attributes.get(tag).map(without_padding).unwrap_or_default());
    short_hash(&parts.join(&0))
}

fn time(attributes: &Attributes<'_>) -> Option<Moment> {
    let date = attributes.text(ACQUISITION_DATE).unwrap_or_default();
    let stamp = attributes.text(ACQUISITION_DATETIME);
    let single = |tag| moment(date, attributes.text(tag)?);
    let joined = |text: &str| moment(text.get(..8)?, text.get(8..)?);
    single(ACQUISITION_TIME).or_else(|| stamp.and_then(joined)).or_else(|| single(CONTENT_TIME))
}

/// Slices of a volume according to the header of one slice.
fn n_slice(attributes: &Attributes<'_>, image_type: &ImageType) -> Option<usize> {
    let counts = [IMAGES_IN_ACQUISITION, PHILIPS_N_SLICES, GE_N_LOCATIONS].into_iter();
    let mut counts = counts.filter_map(|tag| {
        attributes.integer(tag).or_else(|| attributes.number(tag).map(i64::from))
    });
    let known = counts.find(|n| (1..=2048).contains(n)).map(|n| n as usize);
    known.or_else(|| {
        let text = attributes.get(SIEMENS_PROTOCOL).filter(|_| image_type.has("MFSPLIT"))?;
        protocol::number(text, b"sSliceArray.lSize")
            .filter(|n| (1..=2048).contains(n))
            .map(|n| n as usize)
    })
}

/// Whether the header shows that the series is no time series.
fn is_still(attributes: &Attributes<'_>, image_type: &ImageType, n_volumes: Option<u32>) -> bool {
    let sequence = attributes.text(SCANNING_SEQUENCE).unwrap_or_default();
    let is_planar = sequence.split('\\').any(|part| part.trim() == "EP")
        || attributes.text(ECHO_PLANAR) == Some("YES")
        || ["MOSAIC", "VFRAME", "EPI", "FMRI", "MFSPLIT"].iter().any(|v| image_type.has(v));
    !sequence.is_empty() && !is_planar && n_volumes.is_none_or(|n| n < 2)
}

/// A text without what fills it up to an even length.
fn without_padding(value: &[u8]) -> &[u8] {
    let is_blank = value.iter().all(|byte| matches!(byte, 0 | b' '));
    if is_blank { &[] } else { text(value).map_or(value, str::as_bytes) }
}
