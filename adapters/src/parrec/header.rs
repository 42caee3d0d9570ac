//! The text of a `.par`: values of the scan, and one line per image.
//!
//! Of the general part only the TR and the geometry are read; names and dates are not.

use std::collections::BTreeMap;

use corticast_bold::space::MAX_AXIS_VOXELS;

/// Largest `.par` that is read: some 50,000 images.
pub(super) const MAX_PAR_BYTES: u64 = 16 << 20;
/// Columns of a line that are read, of version 4.
const N_COLUMNS: usize = 32;
/// The last line of a whole file.
const END: &str = "END OF DATA DESCRIPTION FILE";
/// Types of images by their number, as named in version 4.2. Exports while the scan runs use 16 for
/// magnitude and 17 for phase.
const MAGNITUDE: [u32; 2] = [0, 16];

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// From 1.
    pub(super) slice: u32,
    pub(super) echo: u32,
    pub(super) dynamic: u32,
    pub(super) cardiac_phase: u32,
    pub(super) image_type: u32,
    /// Place in the `.rec`, in images.
    pub(super) at: usize,
    pub(super) bits: u32,
    /// Pixels along x, y.
    pub(super) size: [usize; 2],
    pub(super) rescale_intercept: f64,
    pub(super) rescale_slope: f64,
    pub(super) scale_slope: f64,
    /// About the axes AP, FH, RL, in degrees.
    pub(super) angulation_deg: [f64; 3],
    /// Along the axes AP, FH, RL, in mm.
    pub(super) off_centre_mm: [f64; 3],
    pub(super) thickness_mm: f64,
    pub(super) gap_mm: f64,
    /// 1 transverse, 2 sagittal, 3 coronal.
    pub(super) orientation: u32,
    pub(super) spacing_mm: [f64; 2],
    /// Start of the dynamic in seconds.
    pub(super) begin_s: f64,
}

/// What a `.par` says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Par {
    /// Repetition time, as it stands there.
    pub(super) repetition_time_ms: Option<f64>,
    /// Of the middle of the scan; zero in exports while the scan runs.
    pub(super) angulation_deg: [f64; 3],
    pub(super) off_centre_mm: [f64; 3],
    pub(super) images: Vec<Line>,
}

/// Whether the text has come to its end.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(4096)..];
    tail.windows(END.len()).any(|window| window == END.as_bytes())
}

impl Par {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        if !text.lines().any(|line| line.starts_with('#') && line.contains("export tool")) {
            return Err("found no PAR header, expected `Research image export tool V4.2`".into());
        }
        let version = text.lines().find_map(|line| line.split_once("export tool"));
        let version = version.map_or("", |(_, rest)| rest.trim());
        if !version.starts_with("V4") {
            let version: String = version.chars().take(16).collect();
            return Err(format!("found PAR version {version:?}, expected V4, V4.1 or V4.2"));
        }
        let mut par = Self {
            repetition_time_ms: None,
            angulation_deg: [0.0; 3],
            off_centre_mm: [0.0; 3],
            images: Vec::new(),
        };
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            if let Some(general) = line.strip_prefix('.') {
                par.take(general);
            } else if !line.starts_with('#') {
                par.images.push(Line::parse(line)?);
            }
        }
        par.check()?;
        Ok(par)
    }

    fn take(&mut self, general: &str) {
        let Some((name, value)) = general.split_once(':') else { return };
        let mut values = value.split_whitespace().map(str::parse::<f64>);
        let mut three = || {
            let values: Option<Vec<f64>> = values.by_ref().take(3).map(Result::ok).collect();
            values.and_then(|values| <[f64; 3]>::try_from(values).ok()).unwrap_or_default()
        };
        match name.trim() {
            name if name.starts_with("Angulation midslice") => self.angulation_deg = three(),
            name if name.starts_with("Off Centre midslice") => self.off_centre_mm = three(),
            name if name.starts_with("Repetition time [ms") => {
                self.repetition_time_ms = values.next().and_then(Result::ok);
            }
            _ => {}
        }
    }

    fn check(&self) -> Result<(), String> {
        let first = self.images.first().ok_or("found no image lines in the PAR")?;
        for line in &self.images {
            if (line.size, line.bits) != (first.size, first.bits) {
                return Err(format!(
                    "found images of {:?} and {:?} pixels, {} and {} bits, in one file, expected \
                     one size",
                    first.size, line.size, first.bits, line.bits
                ));
            }
        }
        Ok(())
    }

    /// Bytes of one image in the `.rec`.
    pub(super) fn image_bytes(&self) -> usize {
        let Line { size: [x, y], bits, .. } = &self.images[0];
        x * y * *bits as usize / 8
    }

    /// Bytes of the whole `.rec`.
    pub(super) fn rec_bytes(&self) -> u64 {
        let last = self.images.iter().map(|line| line.at).max().unwrap_or(0);
        (last as u64 + 1) * self.image_bytes() as u64
    }

    /// Voxels along x, y, z of a volume of these images.
    pub(super) fn matrix(&self, images: &[&Line]) -> [usize; 3] {
        let [x, y] = images[0].size;
        [x, y, images.len()]
    }

    /// The images of each volume, in order of time, slices from 1.
    pub(super) fn choose(
        &self,
        image_type: Option<u32>,
        echo: u32,
    ) -> Result<Vec<Vec<&Line>>, String> {
        let wanted = match image_type {
            Some(wanted) => wanted,
            None => self.magnitude()?,
        };
        let phase = self.images.iter().map(|line| line.cardiac_phase).min();
        let mut volumes = BTreeMap::<u32, Vec<&Line>>::new();
        let taken = self.images.iter().filter(|line| {
            (line.image_type, line.echo, Some(line.cardiac_phase)) == (wanted, echo, phase)
        });
        taken.for_each(|line| volumes.entry(line.dynamic).or_default().push(line));
        let n_slice = volumes.values().map(Vec::len).max().ok_or_else(|| {
            format!(
                "found no images of type {wanted} and echo {echo}, expected some of types {:?}",
                self.types()
            )
        })?;
        volumes.values_mut().for_each(|images| images.sort_by_key(|line| line.slice));
        let is_whole =
            |images: &Vec<&Line>| images.iter().map(|line| line.slice as usize).eq(1..=n_slice);
        // A scan that was stopped lacks the last slices of its last volume.
        let (n_volumes, last) = (volumes.len(), volumes.keys().last().copied());
        let mut whole = Vec::new();
        for (dynamic, images) in volumes {
            if is_whole(&images) {
                whole.push(images);
            } else if Some(dynamic) == last && n_volumes > 1 {
                tracing::warn!("the last volume lacks slices and is left out");
            } else {
                return Err(format!(
                    "found slices {:?} of dynamic {dynamic}, expected 1 to {n_slice} once each",
                    images.iter().map(|line| line.slice).take(80).collect::<Vec<_>>()
                ));
            }
        }
        Ok(whole)
    }

    /// All types of images in the file.
    pub(super) fn types(&self) -> Vec<u32> {
        let mut types: Vec<u32> = self.images.iter().map(|line| line.image_type).collect();
        types.sort_unstable();
        types.dedup();
        types
    }

    /// The type that is magnitude.
    fn magnitude(&self) -> Result<u32, String> {
        let types = self.types();
        let found = MAGNITUDE.into_iter().find(|magnitude| types.contains(magnitude));
        found.ok_or_else(|| {
            format!(
                "found image types {types:?}, expected magnitude (0 or 16): choose one with \
                 --image-type"
            )
        })
    }
}

impl Line {
    fn parse(line: &str) -> Result<Self, String> {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns.len() < N_COLUMNS {
            return Err(format!(
                "found an image line of {} values, expected at least {N_COLUMNS}",
                columns.len()
            ));
        }
        let number = |at: usize| -> Result<f64, String> {
            let value: f64 = columns[at].parse().map_err(|_| wrong(at, columns[at]))?;
            value.is_finite().then_some(value).ok_or_else(|| wrong(at, columns[at]))
        };
        let whole = |at: usize| columns[at].parse::<u32>().map_err(|_| wrong(at, columns[at]));
        let three = |at: usize| Ok::<_, String>([number(at)?, number(at + 1)?, number(at + 2)?]);
        let line = Self {
            slice: whole(0)?,
            echo: whole(1)?,
            dynamic: whole(2)?,
            cardiac_phase: whole(3)?,
            image_type: whole(4)?,
            at: whole(6)? as usize,
            bits: whole(7)?,
            size: [whole(9)? as usize, whole(10)? as usize],
            rescale_intercept: number(11)?,
            rescale_slope: number(12)?,
            scale_slope: number(13)?,
            angulation_deg: three(16)?,
            off_centre_mm: three(19)?,
            thickness_mm: number(22)?,
            gap_mm: number(23)?,
            orientation: whole(25)?,
            spacing_mm: [number(28)?, number(29)?],
            begin_s: number(31)?,
        };
        if !line.size.iter().all(|n| (1..=MAX_AXIS_VOXELS).contains(n)) {
            return Err(format!("found images of {:?} pixels, expected 1 to 1024", line.size));
        }
        if ![8, 16].contains(&line.bits) {
            return Err(format!("found {} bits per pixel, expected 8 or 16", line.bits));
        }
        if line.rescale_slope == 0.0 {
            return Err("found a rescale slope of 0, expected another number".into());
        }
        Ok(line)
    }
}

fn wrong(column: usize, text: &str) -> String {
    let text: String = text.chars().take(40).collect();
    format!("found {text:?} in column {} of an image line, expected a number", column + 1)
}
