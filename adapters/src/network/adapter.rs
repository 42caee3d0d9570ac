//! Runs out of what a source delivers.
//!
//! A run starts with its first volume. It ends when the sender says so or is gone, when a volume of
//! another scan arrives, when all its volumes have arrived, or after a pause. If a scan goes on
//! after its run ended, the run goes on too: same name, same `series_id`, its indices continue.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use corticast_bold::{
    run::{RunHeader, SliceTimes},
    settings::Axis,
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};

use super::{Arrival, Picture, RunOptions, Scan, Source};
use crate::adapter::ScannerAdapter;

/// Scans that are remembered; a sender with more of them in one session is no scanner.
const MAX_SCANS: usize = 10_000;
/// Largest accepted jump of the volume number. A larger one means a damaged header.
const MAX_GAP: u32 = 10_000;

/// A scan that became a run.
#[derive(Debug)]
struct Series {
    header: RunHeader,
    seen: HashSet<u32>,
    /// The largest number so far.
    last: Option<u32>,
    duplicates: u64,
}

/// An adapter of a source. See the module docs.
pub struct NetworkAdapter {
    source: Box<dyn Source>,
    options: RunOptions,
    series: HashMap<String, Series>,
    current: Option<String>,
    /// The first volume of a run, not yet delivered.
    held: Option<(String, Picture)>,
    last_volume: Instant,
    n_runs: u32,
    refused: Arc<AtomicU64>,
}

impl NetworkAdapter {
    /// An adapter that names the runs of `source`.
    ///
    /// # Errors
    ///
    /// Fails when a label is not a BIDS label or `--tr` is no repetition time.
    pub fn new(source: Box<dyn Source>, options: RunOptions) -> Result<Self, AdapterError> {
        options.names.entities(0)?;
        options.tr.map(RepetitionTime::from_secs).transpose()?;
        Ok(Self {
            source,
            options,
            series: HashMap::new(),
            current: None,
            held: None,
            last_volume: Instant::now(),
            n_runs: 0,
            refused: Arc::default(),
        })
    }

    /// Whether a volume is one to deliver. Begins the series of a new scan.
    fn admit(&mut self, scan: &Scan, picture: &Picture) -> bool {
        if !self.series.contains_key(&scan.series) {
            match self.header(scan) {
                Ok(header) => {
                    let series = Series { header, seen: HashSet::new(), last: None, duplicates: 0 };
                    self.series.insert(scan.series.clone(), series);
                }
                Err(reason) => return self.refuse(picture, &reason),
            }
        }
        let series = self.series.get_mut(&scan.series).expect("inserted above if new");
        let space = VoxelSpace::new(scan.matrix, scan.affine).map_err(|error| error.to_string());
        let differs = space
            .and_then(|space| space.check_is(&series.header.space).map_err(|e| e.to_string()))
            .err();
        if let Some(reason) = differs {
            return self.refuse(picture, &reason);
        }
        let expected = series.last.map_or(0, |last| last.saturating_add(1));
        if picture.index > expected.saturating_add(MAX_GAP) {
            let reason = format!("found volume {}, expected about {expected}", picture.index);
            return self.refuse(picture, &reason);
        }
        series.last = series.last.max(Some(picture.index));
        if !series.seen.insert(picture.index) {
            series.duplicates += 1;
            tracing::warn!(volume = picture.index, "volume dropped: it arrived before");
            return false;
        }
        true
    }

    fn refuse(&self, picture: &Picture, reason: &str) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(volume = picture.index, reason, "volume refused");
        false
    }

    /// The header of a new run.
    fn header(&self, scan: &Scan) -> Result<RunHeader, String> {
        if self.series.len() >= MAX_SCANS {
            return Err(format!("found more than {MAX_SCANS} scans in one session"));
        }
        let RunOptions { names, tr, volumes, state, .. } = &self.options;
        let repetition_time = match (tr, scan.repetition_time_s) {
            (None, None) => {
                return Err("found no repetition time, expected one in the sender's header: give \
                            --tr SECONDS"
                    .to_owned());
            }
            (Some(tr), None) => *tr,
            (None, Some(sent)) => sent,
            (Some(tr), Some(sent)) => {
                if (tr - sent).abs() > 1e-4 {
                    tracing::warn!("the sender says a TR of {sent} s, --tr says {tr} s: used {tr}");
                }
                *tr
            }
        };
        let repetition_time = RepetitionTime::from_secs(repetition_time)
            .map_err(|error| format!("{error}: give --tr SECONDS"))?;
        let space = VoxelSpace::new(scan.matrix, scan.affine).map_err(|error| error.to_string())?;
        let n_before = match state {
            Some(state) => state.number_of(&scan.series),
            None => self.series.len() as u64,
        };
        let entities = names.entities(n_before).map_err(|error| error.to_string())?;
        let slice_times = SliceTimes::checked(scan.slice_times_s.clone(), Axis::Z, scan.matrix);
        if slice_times.is_none() && !scan.slice_times_s.is_empty() {
            tracing::warn!(
                "the sender says {} slice times that do not fit {} slices: left out",
                scan.slice_times_s.len(),
                scan.matrix[2]
            );
        }
        Ok(RunHeader {
            session: names.session.clone(),
            entities,
            repetition_time,
            space,
            n_volumes: volumes.or(scan.n_volumes),
            source: scan.source.clone(),
            series_id: scan.series.clone(),
            slice_times,
        })
    }

    fn deliver(&mut self, picture: Picture) -> AcquiredVolume {
        self.last_volume = Instant::now();
        AcquiredVolume {
            index: TrIndex(picture.index),
            acquisition_time_s: picture.acquisition_time_s,
            dtype: picture.dtype,
            order: picture.order,
            slope: picture.slope,
            intercept: picture.intercept,
            scanner_wall_time: None,
            voxels: picture.voxels,
        }
    }

    fn is_complete(&self, series: &str) -> bool {
        let series = &self.series[series];
        let n_seen = u32::try_from(series.seen.len()).unwrap_or(u32::MAX);
        series
            .header
            .n_volumes
            .is_some_and(|n| n_seen >= n && (0..n).all(|index| series.seen.contains(&index)))
    }

    fn end_run(&mut self) {
        if let Some(series) = self.current.take().and_then(|id| self.series.get(&id)) {
            let (run, n_volumes, duplicates) =
                (series.header.run_id(), series.seen.len(), series.duplicates);
            let missing = series.last.map_or(0, |last| last as usize + 1) - n_volumes;
            let refused = self.refused.load(Ordering::Relaxed);
            tracing::info!(run, n_volumes, missing, duplicates, refused, "run ended");
        }
    }
}

impl ScannerAdapter for NetworkAdapter {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.end_run();
        let (series, picture) = loop {
            if let Some(held) = self.held.take() {
                break held;
            }
            if self.options.runs.is_some_and(|runs| self.n_runs >= runs) {
                return Ok(None);
            }
            match self.source.next(None) {
                Arrival::Volume(scan, picture) => {
                    if self.admit(&scan, &picture) {
                        break (scan.series.clone(), picture);
                    }
                }
                Arrival::Refused => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                Arrival::End | Arrival::Quiet => {}
                Arrival::Over => return Ok(None),
            }
        };
        self.n_runs += 1;
        let header = self.series[&series].header.clone();
        tracing::info!(
            run = header.run_id(), matrix = ?header.space.matrix(), tr = %header.repetition_time,
            source = header.source, "run started"
        );
        self.current = Some(series.clone());
        self.held = Some((series, picture));
        Ok(Some(header))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        let Some(current) = self.current.clone() else { return Ok(None) };
        if let Some((_, first)) = self.held.take() {
            return Ok(Some(self.deliver(first)));
        }
        while !self.is_complete(&current) {
            match self.source.next(Some(self.last_volume + self.options.end_after_s)) {
                Arrival::Volume(scan, picture) => {
                    if !self.admit(&scan, &picture) {
                        continue;
                    }
                    if scan.series == current {
                        return Ok(Some(self.deliver(picture)));
                    }
                    self.held = Some((scan.series.clone(), picture));
                    break;
                }
                Arrival::Refused => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                Arrival::End | Arrival::Quiet | Arrival::Over => break,
            }
        }
        self.end_run();
        Ok(None)
    }

    fn refused(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.refused))
    }
}
