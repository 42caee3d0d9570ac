//! Enhanced multi-frame images: position, time, number and scale of each frame, from the
//! functional groups.
//!
//! A value stands in the group of its frame or in the group that all frames share. Frames stand in
//! any order. Nothing is told from the image type of the file, which can lie.

use super::{
    attributes::{Attributes, Blocks, decimal, float, numbers, unsigned},
    clock::{Moment, moment},
    elements::{Element, Elements, text},
    error::DicomError,
    geometry::Plane,
    image::Frame,
    kind::{ImageType, Kind},
    scan::{Numbers, Scale, Scan},
    tags::{
        COMPLEX_COMPONENT, EFFECTIVE_ECHO_TIME, FRAME_ACQUISITION_DATETIME, FRAME_TYPE,
        IMAGE_ORIENTATION, IMAGE_POSITION, PER_FRAME_GROUPS, PHILIPS_FRAME, PHILIPS_SCALE_SLOPE,
        PIXEL_SPACING, REPETITION_TIME, RESCALE_INTERCEPT, RESCALE_SLOPE, SHARED_GROUPS,
        SIEMENS_FRAME, SIEMENS_IMAGE_TYPE, SLICE_THICKNESS, SPACING_BETWEEN_SLICES,
        TEMPORAL_POSITION_INDEX,
    },
};

/// Largest accepted number of frames.
pub(super) const MAX_FRAMES: usize = 200_000;

/// Sequences of a functional group in which values are read: timing, echo, frame type, content,
/// position, orientation, measures, transformation.
const GROUPS: [u32; 8] = [
    0x0018_9112,
    0x0018_9114,
    0x0018_9226,
    0x0020_9111,
    0x0020_9113,
    0x0020_9116,
    0x0028_9110,
    0x0028_9145,
];

/// The values of one functional group.
#[derive(Clone, Copy, Default)]
struct Values<'a> {
    position: Option<&'a [u8]>,
    orientation: Option<&'a [u8]>,
    spacing: Option<&'a [u8]>,
    thickness: Option<&'a [u8]>,
    between_slices: Option<&'a [u8]>,
    repetition_ms: Option<f64>,
    echo_ms: Option<f64>,
    time: Option<&'a [u8]>,
    temporal: Option<u32>,
    slope: Option<f64>,
    intercept: Option<f64>,
    philips_slope: Option<f64>,
    frame_type: Option<&'a [u8]>,
    component: Option<&'a [u8]>,
    siemens_type: Option<&'a [u8]>,
}

impl<'a> Values<'a> {
    /// Adds the values of a functional group.
    fn add(&mut self, mut group: Elements<'a>) -> Result<(), DicomError> {
        let mut blocks = Blocks::default();
        while let Some(element) = group.next()? {
            let tag = blocks.tag(&element);
            let is_private = matches!(tag, Some(PHILIPS_FRAME | SIEMENS_FRAME));
            if !is_private && !tag.is_some_and(|tag| GROUPS.contains(&tag)) {
                continue;
            }
            let Some(mut item) = element.first_item()? else { continue };
            let mut blocks = Blocks::default();
            while let Some(element) = item.next()? {
                match blocks.tag(&element) {
                    Some(PHILIPS_SCALE_SLOPE) => {
                        self.philips_slope = float(element.value, element.encoding);
                    }
                    Some(SIEMENS_IMAGE_TYPE) => self.siemens_type = Some(element.value),
                    Some(tag) if !is_private => self.put(tag, &element),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, tag: u32, element: &Element<'a>) {
        let value = Some(element.value).filter(|value| !value.is_empty());
        let number = value.and_then(decimal);
        match tag {
            IMAGE_POSITION => self.position = value.or(self.position),
            IMAGE_ORIENTATION => self.orientation = value.or(self.orientation),
            PIXEL_SPACING => self.spacing = value.or(self.spacing),
            SLICE_THICKNESS => self.thickness = value.or(self.thickness),
            SPACING_BETWEEN_SLICES => self.between_slices = value.or(self.between_slices),
            REPETITION_TIME => self.repetition_ms = number.or(self.repetition_ms),
            RESCALE_SLOPE => self.slope = number.or(self.slope),
            RESCALE_INTERCEPT => self.intercept = number.or(self.intercept),
            EFFECTIVE_ECHO_TIME => {
                self.echo_ms =
                    value.and_then(|value| float(value, element.encoding)).or(self.echo_ms);
            }
            FRAME_ACQUISITION_DATETIME => self.time = value.or(self.time),
            TEMPORAL_POSITION_INDEX => {
                let number = value.and_then(|value| unsigned(value, element.encoding));
                self.temporal = number.or(self.temporal);
            }
            FRAME_TYPE => self.frame_type = value.or(self.frame_type),
            COMPLEX_COMPONENT => self.component = value.or(self.component),
            _ => {}
        }
    }

    fn plane(&self) -> Result<Plane, DicomError> {
        let [xx, xy, xz, yx, yy, yz] = numbers(self.orientation, "ImageOrientationPatient")?;
        // The first number is the distance between rows, which is a step along y.
        let [y_mm, x_mm] = numbers(self.spacing, "PixelSpacing")?;
        let position_mm = numbers(self.position, "ImagePositionPatient")?;
        let orientation = [[xx, xy, xz], [yx, yy, yz]];
        let slice_mm = self.between_slices.or(self.thickness).and_then(decimal);
        Ok(Plane { position_mm, orientation, pixel_mm: [x_mm, y_mm], slice_mm })
    }

    fn moment(&self) -> Option<Moment> {
        let text = self.time.and_then(text)?;
        moment(text.get(..8)?, text.get(8..)?)
    }

    /// The image type of a frame.
    fn image_type(&self, scan: &Scan) -> ImageType {
        let mut image_type = scan.image_type.clone();
        if let Some(text) = self.frame_type.and_then(text) {
            // The type of the frame replaces that of the file, which is MIXED if frames differ.
            image_type = ImageType::default();
            image_type.add(text);
            if scan.image_type.has("SBREF") {
                image_type.add("SBREF");
            }
        }
        for value in [self.component, self.siemens_type] {
            image_type.add(value.and_then(text).unwrap_or_default());
        }
        image_type
    }

    /// The frame. Most frames have the image type of the one before, `last`.
    fn frame(&self, scan: &Scan, last: Option<(&Self, &Frame)>) -> Result<Frame, DicomError> {
        let types =
            |v: &Self| [v.frame_type, v.component, v.siemens_type].map(Option::unwrap_or_default);
        let same = last.filter(|(values, _)| types(values) == types(self));
        let image_type = same.map_or_else(|| self.image_type(scan), |(_, f)| f.image_type.clone());
        let kind = image_type.kind();
        let is_hz = kind == Kind::FieldMap;
        Ok(Frame {
            plane: self.plane()?,
            time: self.moment(),
            numbers: Numbers { temporal: self.temporal, ..scan.numbers },
            kind,
            image_type,
            echo_ms: self.echo_ms.or(scan.echo.time_ms),
            scale: Scale::of([self.slope, self.intercept], self.philips_slope.filter(|_| !is_hz)),
        })
    }
}

/// The frames of an enhanced image, in their order in the file. Also sets the repetition time of
/// the scan, which stands in a functional group.
///
/// # Errors
///
/// Fails when a frame has no position, orientation or spacing.
pub(super) fn frames(
    attributes: &Attributes<'_>,
    scan: &mut Scan,
    n_frame: usize,
) -> Result<Vec<Frame>, DicomError> {
    let mut shared = Values {
        slope: scan.scale.slope,
        intercept: scan.scale.intercept,
        // Some files have these at the top level only.
        position: attributes.get(IMAGE_POSITION),
        orientation: attributes.get(IMAGE_ORIENTATION),
        spacing: attributes.get(PIXEL_SPACING),
        thickness: attributes.get(SLICE_THICKNESS),
        between_slices: attributes.get(SPACING_BETWEEN_SLICES),
        ..Values::default()
    };
    if let Some(group) = attributes.element(SHARED_GROUPS)
        && let Some(item) = group.first_item()?
    {
        shared.add(item)?;
    }
    let mut frames: Vec<Frame> = Vec::new();
    let mut last: Option<Values<'_>> = None;
    let mut repetition_ms = shared.repetition_ms;
    if let Some(groups) = attributes.element(PER_FRAME_GROUPS) {
        let mut items = groups.items();
        while let Some(item) = items.next()? {
            if frames.len() == n_frame {
                break;
            }
            let mut values = shared;
            values.add(item)?;
            repetition_ms = repetition_ms.or(values.repetition_ms);
            let before = last.as_ref().zip(frames.last());
            let frame = values.frame(scan, before)?;
            frames.push(frame);
            last = Some(values);
        }
    }
    if frames.is_empty() && n_frame == 1 {
        frames.push(shared.frame(scan, None)?);
    }
    let found = frames.len();
    if found != n_frame {
        let reason = format!("describe {found} frames, expected {n_frame}");
        return Err(DicomError::Attribute { name: "the functional groups", reason });
    }
    scan.repetition_s = repetition_ms.map(|ms| ms / 1000.0).or(scan.repetition_s);
    Ok(frames)
}
