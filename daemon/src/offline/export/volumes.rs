//! Exports recorded volumes as a 4-D NIfTI image.
//!
//! Voxels, data type, scaling, matrix and affine are the scanner's; only the axis order in the
//! file is NIfTI's, x fastest. Each volume is stored at its index. A missing volume is zeros,
//! because skipping it would shift all later volumes in time, and integers have no NaN; the
//! caller reports which are missing. If the volumes of a run differ in data type or scaling,
//! which one NIfTI file cannot express, the image is `float32` in scanner units.

use std::{borrow::Cow, path::Path};

use corticast_bold::decode::{Dtype, Order, StoredVolume};
use corticast_images::nifti::{format::NiftiFormat, write::NiftiWriter};
use corticast_wire::message::VolumeMessage;

use super::{
    contents::{Contents, RunContents},
    error::ExportError,
    files::check_free,
};
use crate::{
    recording::{format::Entry, log::Log},
    signal::happening::Event,
};

/// The image of one run, while it is written.
pub struct Image<'a> {
    contents: &'a RunContents,
    writer: NiftiWriter,
}

impl<'a> Image<'a> {
    /// Starts the image of a run that has volumes. It gets its final name in [`Self::finish`].
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be created.
    pub fn create(contents: &'a RunContents, path: &Path) -> Result<Self, ExportError> {
        let header = &contents.run.header;
        let first = contents.first.as_ref().filter(|_| contents.is_uniform);
        // On the wire a slope of 0 means 1; in NIfTI it would switch off the intercept too.
        let slope =
            first.and_then(|first| first.slope).map(|s| if s.abs() > 0.0 { s } else { 1.0 });
        let format = NiftiFormat {
            space: header.space.clone(),
            repetition_time: header.repetition_time,
            dtype: first.map_or(Dtype::Float32, |first| first.dtype),
            slope,
            intercept: first.and_then(|first| first.intercept),
        };
        Ok(Self { contents, writer: NiftiWriter::create(path, format)? })
    }

    /// Writes a volume of this run at its index.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn volume(&mut self, volume: &VolumeMessage) -> Result<(), ExportError> {
        let tr = volume.header.index;
        if !self.contents.indices.contains(&tr.0) {
            return Ok(());
        }
        if self.contents.is_uniform {
            self.writer.write_at(tr, &x_fastest(volume, self.contents))?;
        } else {
            let voxels = x_fastest(volume, self.contents);
            let header = &self.contents.run.header;
            let turned = StoredVolume { voxels: &voxels, ..volume.stored(header) };
            let voxels: Vec<u8> = turned.signal()?.into_iter().flat_map(f32::to_le_bytes).collect();
            self.writer.write_at(tr, &voxels)?;
        }
        Ok(())
    }

    /// Completes the image and gives it its final name. Returns the number of volumes.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn finish(self) -> Result<u32, ExportError> {
        Ok(self.writer.finish()?)
    }
}

fn x_fastest<'v>(volume: &'v VolumeMessage, contents: &RunContents) -> Cow<'v, [u8]> {
    if volume.header.order == Order::F {
        return Cow::Borrowed(&volume.voxels);
    }
    let [nx, ny, nz] = contents.run.header.space.matrix();
    let size = volume.header.dtype.size_bytes();
    let mut turned = Vec::with_capacity(volume.voxels.len());
    for z in 0..nz {
        for y in 0..ny {
            for x in 0..nx {
                let at = ((x * ny + y) * nz + z) * size;
                turned.extend_from_slice(&volume.voxels[at..at + size]);
            }
        }
    }
    Cow::Owned(turned)
}

/// Reads the recording again: volumes go into the images, all entries to `each`.
pub(super) fn write(
    recording: &Path,
    images: &mut [Image<'_>],
    each: &mut dyn FnMut(&Entry) -> Result<(), ExportError>,
    progress: &mut dyn FnMut(),
) -> Result<(), ExportError> {
    let mut log = Log::open(recording)?;
    for (entry, events) in &mut log {
        for event in events {
            let Event::Volume(number, volume) = event else { continue };
            let mut images = images.iter_mut();
            if let Some(image) = images.find(|image| image.contents.run.number == number) {
                image.volume(&volume)?;
            }
            progress();
        }
        each(&entry)?;
    }
    Ok(log.recording().check_read()?)
}

/// Exports one run as a NIfTI image. Returns the number of volumes in the file.
///
/// # Errors
///
/// Fails when the recording cannot be read, the file cannot be written, or the run is missing
/// or ambiguous. No file `out` is left then.
pub fn export(
    contents: &Contents,
    asked: Option<&str>,
    out: &Path,
    force: bool,
    progress: &mut dyn FnMut(),
) -> Result<u32, ExportError> {
    let name = out.to_string_lossy();
    if !name.ends_with(".nii") && !name.ends_with(".nii.gz") {
        return Err(ExportError::NotNifti(out.to_owned()));
    }
    check_free(out, force)?;
    let run = contents.one_run(asked)?;
    let mut images = [Image::create(run, out)?];
    write(&contents.path, &mut images, &mut |_| Ok(()), progress)?;
    let [image] = images;
    image.finish()
}

#[cfg(test)]
mod tests {
    use corticast_images::nifti::reader::NiftiReader;
    use corticast_wire::message::FromAdapter;

    use super::*;
    use crate::recording::fixture::{self, AGAIN, Line, RUN, stored};

    fn exported(lines: &[Line], run: &str) -> (NiftiReader, Vec<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let (recording, out) = (folder.path().join("a.mcap"), folder.path().join("a.nii.gz"));
        fixture::record(&recording, lines);
        let contents = Contents::of(&recording, &mut || {}).unwrap();
        export(&contents, Some(run), &out, false, &mut || {}).unwrap();
        let again = export(&contents, Some(run), &out, false, &mut || {}).unwrap_err();
        assert!(matches!(again, ExportError::Exists(_)), "{again}");
        export(&contents, Some(run), &out, true, &mut || {}).unwrap();
        let mut reader = NiftiReader::open(&out).unwrap();
        let mut volumes = Vec::new();
        while let Some(voxels) = reader.next_voxels().unwrap() {
            volumes.push(voxels.to_vec());
        }
        (reader, volumes)
    }

    #[test]
    fn volumes_are_stored_unchanged_at_their_index_and_a_gap_is_zeros() {
        let (reader, volumes) = exported(&fixture::session(), RUN);
        assert_eq!(volumes, [stored(0), stored(10), stored(20), vec![0; 12], stored(40)]);
        let header = reader.header();
        header.space.check_is(&fixture::space()).unwrap();
        assert_eq!(header.repetition_time_s, Some(1.5));
        assert_eq!((header.slope, header.intercept), (Some(0.5), Some(10.0)));
        let (_, again) = exported(&fixture::session(), AGAIN);
        assert_eq!(again, [stored(7)]);
    }

    #[test]
    fn volumes_that_are_scaled_differently_become_float_in_scanner_units() {
        let mut other = fixture::c_order(fixture::volume(RUN, 1, 10));
        other.header.slope = Some(2.0);
        let volumes = [fixture::volume(RUN, 0, 0), other].map(FromAdapter::Volume);
        let lines: Vec<_> =
            std::iter::once(fixture::run("a")).chain(volumes).map(Line::Wire).collect();
        let (_, volumes) = exported(&lines, RUN);
        let floats = |values: [f32; 6]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let first: Vec<u8> = floats([10., 10.5, 11., 11.5, 12., 12.5]);
        let second: Vec<u8> = floats([30., 32., 34., 36., 38., 40.]);
        assert_eq!(volumes, [first, second]);
    }
}
