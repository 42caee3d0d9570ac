//! When a series becomes a run, and how that is named.

use corticast_bold::run::RunHeader;
use corticast_images::error::AdapterError;

use super::{Beside, DicomAdapter, DicomOptions, Left, State};
use crate::dicom::{
    scan::{Scan, Vendor},
    timing::{Verdict, agree},
};

impl DicomAdapter {
    /// Makes a series ready to be a run, if it has enough volumes and a repetition time, and covers the
    /// times of no other.
    pub(super) fn try_start(&mut self, series_id: &str, at_end: bool) -> Result<(), AdapterError> {
        let scan = self.series.get(series_id).map(|series| &series.scan);
        let beside = scan.map_or(Beside::No, |scan| self.beside(scan, None));
        let tr = self.options.tr;
        let Some(series) = self.series.get_mut(series_id) else { return Ok(()) };
        if series.state != State::Waiting || series.held.is_empty() {
            return Ok(());
        }
        if at_end {
            series.begin();
        }
        let least = self.options.min_volumes.unwrap_or(if series.scan.is_still { 2 } else { 1 });
        if series.n_volume() < least as usize {
            if at_end {
                let scan = series.scan.clone();
                series.state = State::Refused;
                self.drop_held(series_id);
                self.leave_out(&scan, Left::TooShort);
            }
            return Ok(());
        }
        if beside != Beside::No {
            if at_end {
                self.leave_out_series(series_id);
            }
            return Ok(());
        }
        // The header of the run states them, so it waits for the second volume.
        if !at_end && series.doubts_slice_times() {
            return Ok(());
        }
        let number = series.scan.series_number;
        match series.settle_if(tr, at_end) {
            Verdict::Known(known) => {
                if let Some(stated) = series
                    .scan
                    .repetition_s
                    .filter(|stated| tr.is_some() && !agree(*stated, known.as_secs()))
                {
                    tracing::info!("the header's repetition time is {stated} s; --tr says {known}");
                }
            }
            Verdict::OfClock(tr, doubt) => tracing::warn!(
                series = number,
                "the header's repetition time {doubt}; the scanner's clock says {tr}, which is \
                 used; --tr sets another"
            ),
            Verdict::Unknown(_) if !at_end && (series.held.len() < 2 || !series.is_numbered()) => {
                return Ok(());
            }
            Verdict::Unknown(doubt) => {
                series.state = State::Refused;
                self.intake.counts.refused += self.drop_held(series_id);
                tracing::error!(
                    series = number,
                    "series refused: the header's repetition time {doubt}, and the scanner's \
                     clock tells none; give it with --tr"
                );
                return Ok(());
            }
        }
        series.state = State::Ready;
        self.ready.push_back(series_id.to_owned());
        Ok(())
    }

    /// The header of the run that a series becomes.
    pub(super) fn make_run(&mut self, series_id: &str) -> Result<Option<RunHeader>, AdapterError> {
        let DicomOptions { names, volumes, state, .. } = &self.options;
        let n_before = match state {
            Some(state) => state.number_of(series_id),
            None => self.n_run,
        };
        self.n_run += 1;
        let entities = names.entities(n_before)?;
        let Some(series) = self.series.get_mut(series_id) else { return Ok(None) };
        let (Some(space), Some(repetition_time)) =
            (series.space().cloned(), series.repetition_time())
        else {
            return Ok(None);
        };
        series.state = State::Run;
        let slice_times = series.slice_times(space.matrix());
        series.header = Some(RunHeader {
            session: names.session.clone(),
            entities,
            repetition_time,
            space,
            n_volumes: volumes.or(series.scan.n_volumes.filter(|n| *n > 1)),
            source: source(&series.scan).into(),
            series_id: series_id.to_owned(),
            slice_times,
        });
        Ok(series.header.clone())
    }

    /// The first volumes of a series wait for no other one. Returns whether that makes some deliverable.
    pub(super) fn begin(&mut self, series_id: &str) -> bool {
        let waiting = self.series.get_mut(series_id).filter(|series| !series.is_numbered());
        waiting.is_some_and(|series| {
            series.begin();
            series.is_numbered() && !series.held.is_empty()
        })
    }
}

/// What is sent, for the run's header.
fn source(scan: &Scan) -> &'static str {
    match scan.vendor {
        Vendor::SiemensV => "dicom: Siemens",
        Vendor::SiemensXa => "dicom: Siemens XA",
        Vendor::Ge => "dicom: GE",
        Vendor::Philips => "dicom: Philips, floating-point values (stored / (2005,100E))",
        Vendor::UnitedImaging => "dicom: United Imaging",
        Vendor::Other => "dicom",
    }
}
