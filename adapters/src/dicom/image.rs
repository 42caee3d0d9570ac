//! One file: what its header says, and where its pixels belong.
//!
//! ```text
//! Siemens mosaic, United Imaging grid   one picture with all slices of a volume
//! enhanced multi-frame                  frames: the slices of one volume, or of many
//! all others                            one slice
//! ```

use corticast_bold::{decode::Dtype, space::VoxelSpace};

use super::{
    attributes::{Attributes, missing},
    clock::Moment,
    codec::{self, Frames},
    csa::CsaImageHeader,
    enhanced::{self, MAX_FRAMES},
    error::DicomError,
    geometry::{Plane, cross},
    grid,
    kind::{ImageType, Kind},
    mosaic::Tiling,
    pixels::PixelFormat,
    scan::{Numbers, Scale, Scan, Vendor},
    tags::{
        COLUMNS, FLOAT_PIXEL_DATA, IMAGE_ORIENTATION, IMAGE_POSITION, MODALITY, N_FRAMES,
        N_IMAGES_IN_MOSAIC, PER_FRAME_GROUPS, PIXEL_DATA, PIXEL_SPACING, ROWS, SHARED_GROUPS,
        SLICE_THICKNESS, SPACING_BETWEEN_SLICES, UIH_SLICES,
    },
};

/// A slice of a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Where it lies.
    pub plane: Plane,
    /// When it was acquired.
    pub time: Option<Moment>,
    /// The numbers that can tell its volume.
    pub numbers: Numbers,
    /// What kind of image it is.
    pub kind: Kind,
    /// Values of its image type.
    pub image_type: ImageType,
    /// Its echo time, in ms.
    pub echo_ms: Option<f64>,
    /// Scale of its stored values.
    pub scale: Scale,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// One picture with all slices of a volume.
    Tiles {
        /// Arrangement of the slices in the picture.
        tiling: Tiling,
        /// Matrix and affine.
        space: VoxelSpace,
        /// Start of each slice after the first one, in seconds; empty if the header gives none.
        slice_times_s: Vec<f64>,
    },
    /// Slices, one after the other.
    Frames(Vec<Frame>),
}

/// The checked values of one file, without anything that identifies the patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// What holds for all pictures of the file.
    pub scan: Scan,
    /// What the file holds.
    pub content: Content,
    /// Pixels along a row and along a column of a picture.
    pub size: [usize; 2],
    /// How a pixel is stored.
    pub format: PixelFormat,
}

impl Image {
    /// Parses a whole file. The second value is the pixels, uncompressed.
    ///
    /// # Errors
    ///
    /// Fails when the file is not a valid image. [`DicomError::is_incomplete`] tells whether the
    /// file may still become one.
    pub fn parse(bytes: &[u8]) -> Result<(Self, std::borrow::Cow<'_, [u8]>), DicomError> {
        let attributes = Attributes::read(bytes)?;
        let image = Self::of(&attributes)?;
        let pixels = attributes.element(PIXEL_DATA).or(attributes.element(FLOAT_PIXEL_DATA));
        let pixels = pixels.ok_or_else(|| missing("PixelData"))?;
        let [columns, rows] = image.size;
        let n_frame = match &image.content {
            Content::Tiles { .. } => 1,
            Content::Frames(frames) => frames.len(),
        };
        let size = Frames { columns, rows, n_frame, pixel_bytes: image.format.bytes() };
        Ok((image, codec::frames(pixels, attributes.syntax, size)?))
    }

    /// Parses the beginning of a file, at least up to the pixels.
    ///
    /// # Errors
    ///
    /// Fails when the bytes do not begin a valid image, or end before the pixels.
    pub fn header(bytes: &[u8]) -> Result<Self, DicomError> {
        Self::of(&Attributes::read_header(bytes)?)
    }

    fn of(attributes: &Attributes<'_>) -> Result<Self, DicomError> {
        if attributes.text(MODALITY).is_some_and(|modality| modality != "MR") {
            return Err(DicomError::NotImage { found: "an image that is not of MR" });
        }
        let columns = attributes.short(COLUMNS, "Columns")?;
        let rows = attributes.short(ROWS, "Rows")?;
        let size = [columns, rows];
        let format = PixelFormat::of(attributes)?;
        let mut scan = Scan::of(attributes)?;
        let stated = attributes.integer(N_FRAMES).unwrap_or(1);
        let n_frame = usize::try_from(stated).unwrap_or(0);
        if !(1..=MAX_FRAMES).contains(&n_frame) {
            let reason = format!("is {stated}, expected 1 to {MAX_FRAMES}");
            return Err(DicomError::Attribute { name: "NumberOfFrames", reason });
        }
        // XA scanners also write MOSAIC into the image type of enhanced images, so functional
        // groups are looked for first.
        let has_groups =
            [SHARED_GROUPS, PER_FRAME_GROUPS].iter().any(|&tag| attributes.element(tag).is_some());
        let content = if has_groups || n_frame > 1 {
            Content::Frames(enhanced::frames(attributes, &mut scan, n_frame)?)
        } else {
            single(attributes, &mut scan, size)?
        };
        Ok(Self { scan, content, size, format })
    }

    /// What kind of image the first picture is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.content {
            Content::Frames(frames) => frames.first().map_or(Kind::Derived, |frame| frame.kind),
            Content::Tiles { .. } => self.scan.image_type.kind(),
        }
    }

    /// How a voxel is sent, if all slices have one scale.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.format.dtype()
    }
}

/// The only picture of a file: tiles or a slice.
fn single(
    attributes: &Attributes<'_>,
    scan: &mut Scan,
    size: [usize; 2],
) -> Result<Content, DicomError> {
    let [xx, xy, xz, yx, yy, yz] =
        attributes.numbers(IMAGE_ORIENTATION, "ImageOrientationPatient")?;
    let orientation = [[xx, xy, xz], [yx, yy, yz]];
    if let Some(list) = attributes.element(UIH_SLICES) {
        let (content, time) = grid::volume(attributes, list, orientation, size)?;
        scan.time = time.or(scan.time);
        return Ok(content);
    }
    // The first number is the distance between rows, which is a step along y.
    let [y_mm, x_mm] = attributes.numbers(PIXEL_SPACING, "PixelSpacing")?;
    let between = attributes.decimal(SPACING_BETWEEN_SLICES).filter(|mm| mm.abs() > 1e-6);
    let plane = Plane {
        position_mm: attributes.numbers(IMAGE_POSITION, "ImagePositionPatient")?,
        orientation,
        pixel_mm: [x_mm, y_mm],
        slice_mm: between.or_else(|| attributes.decimal(SLICE_THICKNESS)),
    };
    if let Some(n_slice) = n_tiles(attributes, scan)? {
        return mosaic(attributes, &plane, size, n_slice);
    }
    let kind = scan.image_type.kind();
    Ok(Content::Frames(vec![Frame {
        plane,
        time: scan.time,
        numbers: scan.numbers,
        kind,
        image_type: scan.image_type.clone(),
        echo_ms: scan.echo.time_ms,
        scale: scan.scale,
    }]))
}

/// Number of slices in a Siemens mosaic; `None` when the picture is no mosaic.
fn n_tiles(attributes: &Attributes<'_>, scan: &Scan) -> Result<Option<usize>, DicomError> {
    let says_mosaic = scan.image_type.has("MOSAIC");
    if !says_mosaic && !matches!(scan.vendor, Vendor::SiemensV | Vendor::Other) {
        return Ok(None);
    }
    let private = attributes.number(N_IMAGES_IN_MOSAIC).map(f64::from);
    match attributes.csa().map(|csa| csa.n_slice) {
        Ok(None) if private.is_none() && says_mosaic => Err(DicomError::Attribute {
            name: "NumberOfImagesInMosaic",
            reason: "is missing, expected in a mosaic: the export removed Siemens' private \
                     attributes (0029,1010) and (0019,100A); let it keep them"
                .into(),
        }),
        Err(error) if private.is_none() && says_mosaic => Err(error),
        // Negative numbers and NaN become 0, which `Tiling::new` refuses.
        Ok(Some(n_slice)) if says_mosaic || n_slice > 1.0 => Ok(Some(n_slice as usize)),
        _ if says_mosaic => Ok(private.map(|n_slice| n_slice as usize)),
        _ => Ok(None),
    }
}

fn mosaic(
    attributes: &Attributes<'_>,
    plane: &Plane,
    [columns, rows]: [usize; 2],
    n_slice: usize,
) -> Result<Content, DicomError> {
    let csa = attributes.csa().unwrap_or_else(|_| CsaImageHeader::default());
    let tiling = Tiling::new(columns, rows, n_slice)?;
    // The normal in Siemens' header points from tile to tile, also when tiles are in reverse.
    let normal = csa.slice_normal.unwrap_or_else(|| cross(plane.orientation));
    let space = tiling.space(plane, normal)?;
    let slice_times_s = if csa.slice_times_ms.len() == n_slice {
        csa.slice_times_ms.iter().map(|ms| ms / 1000.0).collect()
    } else {
        Vec::new()
    };
    Ok(Content::Tiles { tiling, space, slice_times_s })
}

#[cfg(test)]
mod tests;
