//! Writes the volumes of an adapter into NIfTI files, in RAS+, each volume at its index.
//!
//! [`Dump`] wraps an adapter and is itself an adapter, so a run can be sent and written at the same
//! time. A duplicate overwrites the first copy of its volume. A missing volume is written as
//! zeros, and the number of missing volumes is logged. Scaled integers stay integers as long as all
//! volumes have the same scaling; otherwise the file becomes `float32`.
//!
//! An adapter can wait for its scanner for ever. So another thread can end the dump ([`Dump::end`])
//! while the adapter's thread waits: what was received by then is written.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use corticast_bold::{
    decode::{Dtype, Order},
    run::RunHeader,
    time::{RepetitionTime, TrIndex},
};

use crate::{
    acquired::AcquiredVolume,
    error::AdapterError,
    events::Event,
    nifti::{
        format::NiftiFormat,
        write::{NiftiWriter, WriteError},
    },
    reorient::ToRas,
    source::{ScannerAdapter, Stopper},
};

/// Largest accepted jump of the index. A larger one means a damaged header; filling it as a gap
/// would write zeros to disk.
const MAX_GAP: u32 = 10_000;

/// An adapter that writes the volumes that it passes on. See the module docs.
pub struct Dump {
    inner: Box<dyn ScannerAdapter>,
    end: DumpEnd,
}

/// Ends a dump, from any thread.
#[derive(Clone)]
pub struct DumpEnd(Arc<Mutex<Writing>>);

/// What is written.
struct Writing {
    path: PathBuf,
    n_runs: u32,
    n_volumes: u64,
    run: Option<Run>,
    /// The dump was ended: what comes later is not written.
    is_ended: bool,
}

/// The run that is being written.
struct Run {
    path: PathBuf,
    header: RunHeader,
    written: BTreeSet<u32>,
    /// Known from the first volume on.
    file: Option<File>,
}

struct File {
    order: Order,
    to_ras: ToRas,
    writer: NiftiWriter,
}

impl Dump {
    /// Writes the first run to `path`, and each further run to a file beside it with the run's name
    /// added.
    #[must_use]
    pub fn new(inner: Box<dyn ScannerAdapter>, path: &Path) -> Self {
        let writing =
            Writing { path: path.to_owned(), n_runs: 0, n_volumes: 0, run: None, is_ended: false };
        Self { inner, end: DumpEnd(Arc::new(Mutex::new(writing))) }
    }

    /// Ends the dump, from any thread.
    #[must_use]
    pub fn end(&self) -> DumpEnd {
        self.end.clone()
    }

    /// Writes all volumes of the adapter without sending them. Returns the number of volumes.
    ///
    /// # Errors
    ///
    /// Fails when the adapter fails or a file cannot be written. Earlier volumes are written.
    pub fn drain(mut self) -> Result<u64, AdapterError> {
        while self.start_run()?.is_some() {
            while self.next_volume()?.is_some() {}
        }
        self.end.finish()
    }
}

impl DumpEnd {
    /// Writes the file of the run that is open, and nothing that comes later. Returns the number of
    /// volumes in all files.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub fn finish(&self) -> Result<u64, AdapterError> {
        let mut writing = self.lock();
        writing.is_ended = true;
        writing.finish()?;
        Ok(writing.n_volumes)
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    fn begin(&mut self, header: &RunHeader) {
        if self.is_ended {
            return;
        }
        let path = match self.n_runs {
            0 => self.path.clone(),
            _ => with_suffix(&self.path, &header.run_id()),
        };
        self.n_runs += 1;
        self.run = Some(Run { path, header: header.clone(), written: BTreeSet::new(), file: None });
    }

    fn write(&mut self, volume: &AcquiredVolume) -> Result<(), AdapterError> {
        let Some(run) = &mut self.run else { return Ok(()) };
        run.write(volume)?;
        self.n_volumes += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), AdapterError> {
        let Some(Run { path, written, file: Some(file), .. }) = self.run.take() else {
            return Ok(());
        };
        let n_volumes = file.writer.finish()?;
        let missing = n_volumes.saturating_sub(u32::try_from(written.len()).unwrap_or(u32::MAX));
        if missing > 0 {
            tracing::warn!(path = %path.display(), n_volumes, missing, "missing volumes are zeros");
        }
        tracing::info!(path = %path.display(), n_volumes, "run written");
        Ok(())
    }
}

impl ScannerAdapter for Dump {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.end.lock().finish()?;
        let Some(header) = self.inner.start_run()? else { return Ok(None) };
        self.end.lock().begin(&header);
        Ok(Some(header))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        // The lock is not held while the adapter waits.
        let next = self.inner.next_volume();
        let mut writing = self.end.lock();
        match &next {
            Ok(Some(volume)) => writing.write(volume)?,
            // Also when the adapter fails, because the earlier volumes are worth keeping.
            _ => writing.finish()?,
        }
        drop(writing);
        next
    }

    fn events(&self) -> &[Event] {
        self.inner.events()
    }

    fn stopper(&self) -> Option<Stopper> {
        self.inner.stopper()
    }

    fn refused(&self) -> Option<Arc<AtomicU64>> {
        self.inner.refused()
    }
}

/// Writes the volumes of an interrupted run.
impl Drop for Dump {
    fn drop(&mut self) {
        if let Err(error) = self.end.finish() {
            tracing::error!(%error, "cannot write the interrupted run");
        }
    }
}

impl Run {
    fn write(&mut self, volume: &AcquiredVolume) -> Result<(), AdapterError> {
        let expected = self.written.last().map_or(0, |last| last + 1);
        if volume.index.0 > expected.saturating_add(MAX_GAP) {
            return Err(AdapterError::Malformed {
                path: self.path.clone(),
                reason: format!("found {}, expected about volume {expected}", volume.index),
            });
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::create(&self.path, &self.header, volume)?),
        };
        if !file.takes(volume) {
            file.become_float(&self.path, self.header.repetition_time, &self.written)?;
        }
        file.write(volume)?;
        self.written.insert(volume.index.0);
        Ok(())
    }
}

impl File {
    fn create(path: &Path, run: &RunHeader, first: &AcquiredVolume) -> Result<Self, AdapterError> {
        let to_ras = ToRas::new(&run.space, first.order)?;
        let format = NiftiFormat {
            space: to_ras.space().clone(),
            repetition_time: run.repetition_time,
            dtype: first.dtype,
            slope: first.slope,
            intercept: first.intercept,
        };
        Ok(Self { order: first.order, to_ras, writer: NiftiWriter::create(path, format)? })
    }

    fn takes(&self, volume: &AcquiredVolume) -> bool {
        let format = self.writer.format();
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        let same = format.dtype == volume.dtype
            && bits(format.slope) == bits(volume.slope)
            && bits(format.intercept) == bits(volume.intercept);
        same || self.is_plain_float()
    }

    fn is_plain_float(&self) -> bool {
        let format = self.writer.format();
        format.dtype == Dtype::Float32 && format.slope.is_none() && format.intercept.is_none()
    }

    fn become_float(
        &mut self,
        path: &Path,
        repetition_time: RepetitionTime,
        written: &BTreeSet<u32>,
    ) -> Result<(), WriteError> {
        let old = self.writer.format().clone();
        tracing::info!(path = %path.display(), "volumes have different scaling: writing float32");
        let format = NiftiFormat {
            space: old.space.clone(),
            repetition_time,
            dtype: Dtype::Float32,
            slope: None,
            intercept: None,
        };
        let mut float = NiftiWriter::create(path, format)?;
        for &index in written {
            let stored = self.writer.read_back(TrIndex(index))?;
            let scaled = scaled(&stored, old.dtype, old.slope, old.intercept);
            float.write_at(TrIndex(index), &scaled)?;
        }
        self.writer = float;
        Ok(())
    }

    fn write(&mut self, volume: &AcquiredVolume) -> Result<(), AdapterError> {
        if volume.order != self.order {
            self.to_ras = ToRas::new(self.to_ras.space(), volume.order)?;
            self.order = volume.order;
        }
        let turned = self.to_ras.apply(&volume.voxels, volume.dtype.size_bytes());
        if self.is_plain_float() {
            let scaled = scaled(&turned, volume.dtype, volume.slope, volume.intercept);
            self.writer.write_at(volume.index, &scaled)?;
        } else {
            self.writer.write_at(volume.index, &turned)?;
        }
        Ok(())
    }
}

/// Stored voxels in scanner units, as `float32`.
fn scaled(voxels: &[u8], dtype: Dtype, slope: Option<f64>, intercept: Option<f64>) -> Vec<u8> {
    let slope = slope.filter(|slope| slope.abs() > 0.0).unwrap_or(1.0) as f32;
    let intercept = intercept.unwrap_or(0.0) as f32;
    let scale = |stored: f32| (slope * stored + intercept).to_le_bytes();
    let pairs = || voxels.as_chunks::<2>().0.iter().copied();
    match dtype {
        Dtype::Int16 => pairs().flat_map(|b| scale(i16::from_le_bytes(b).into())).collect(),
        Dtype::UInt16 => pairs().flat_map(|b| scale(u16::from_le_bytes(b).into())).collect(),
        Dtype::Float32 => {
            let words = voxels.as_chunks::<4>().0.iter().copied();
            words.flat_map(|b| scale(f32::from_le_bytes(b))).collect()
        }
    }
}

/// `a/out.nii.gz` → `a/out_sub-01_run-2.nii.gz`.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (stem, extension) = name.split_once('.').unwrap_or((&name, "nii"));
    path.with_file_name(format!("{stem}_{suffix}.{extension}"))
}

#[cfg(test)]
mod tests;
