//! What an adapter delivers while the doctor looks on: its runs, and when each volume came.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use corticast_bold::run::RunHeader;
use corticast_images::acquired::AcquiredVolume;
use corticast_wire::text::count;
use crossbeam::channel::{Receiver, bounded, never};
use serde_json::{Value, json};

use crate::{
    adapter::ScannerAdapter,
    dicom::doctor::excitations,
    page::{Advice, Lateness, Regularity, wrong},
};

/// Volumes on the way from the adapter's thread.
const QUEUE: usize = 16;
/// Volumes of a run whose times are kept.
const MAX_VOLUMES: usize = 100_000;
/// How far the time between volumes may be from the TR, as a part of it.
const SAME_TR: f64 = 0.02;

/// A volume that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    index: u32,
    acquired_s: Option<f64>,
    /// Seconds after the doctor began.
    at_s: f64,
}

/// A run that came.
pub(super) struct Received {
    pub(super) header: RunHeader,
    pub(super) volumes: Vec<Arrived>,
    /// Data type, slope and intercept of the first volume.
    stored: String,
    is_over: bool,
}

/// Everything that came.
pub(super) struct Reception {
    pub(super) runs: Vec<Received>,
    pub(super) n_refused: u64,
    pub(super) failed: Option<String>,
    pub(super) took: Duration,
}

enum Item {
    Run(Box<RunHeader>),
    Volume(Box<AcquiredVolume>, Instant),
    RunOver,
    Failed(String),
}

/// Runs an adapter until it ends, `until`, or a word from `stop`.
pub(super) fn receive(
    mut adapter: Box<dyn ScannerAdapter>,
    until: Option<Instant>,
    stop: &Receiver<()>,
) -> std::io::Result<Reception> {
    let began = Instant::now();
    let refused = adapter.refused();
    let (sender, items) = bounded(QUEUE);
    // The thread ends with its adapter, or with the program.
    std::thread::Builder::new().name("scanner".into()).spawn(move || {
        let mut in_run = false;
        loop {
            let item = if in_run {
                adapter.next_volume().map(|volume| {
                    Some(volume.map_or(Item::RunOver, |volume| {
                        Item::Volume(volume.into(), Instant::now())
                    }))
                })
            } else {
                adapter.start_run().map(|run| run.map(|header| Item::Run(header.into())))
            };
            let item = match item {
                Ok(Some(item)) => item,
                Ok(None) => return,
                Err(error) => Item::Failed(error.to_string()),
            };
            in_run = !matches!(item, Item::RunOver);
            let is_last = matches!(item, Item::Failed(_));
            if sender.send(item).is_err() || is_last {
                return;
            }
        }
    })?;
    let mut reception =
        Reception { runs: Vec::new(), n_refused: 0, failed: None, took: Duration::ZERO };
    let mut stop = stop.clone();
    loop {
        let left = until.map_or(Duration::from_secs(3600), |until| {
            until.saturating_duration_since(Instant::now())
        });
        crossbeam::channel::select! {
            recv(items) -> item => match item {
                Ok(item) => reception.take(item, began),
                Err(_) => break,
            },
            recv(stop) -> word => match word {
                Ok(()) => break,
                // Nobody can stop it any more.
                Err(_) => stop = never(),
            },
            default(left) => if until.is_some_and(|until| until <= Instant::now()) { break },
        }
    }
    reception.took = began.elapsed();
    reception.n_refused = refused.map_or(0, |refused| refused.load(Ordering::Relaxed));
    Ok(reception)
}

impl Reception {
    fn take(&mut self, item: Item, began: Instant) {
        match (item, self.runs.last_mut()) {
            (Item::Run(header), _) => self.runs.push(Received {
                header: *header,
                volumes: Vec::new(),
                stored: String::new(),
                is_over: false,
            }),
            (Item::Volume(volume, at), Some(run)) => {
                if run.volumes.is_empty() {
                    run.stored = format!("{:?}", volume.dtype).to_lowercase();
                    if let Some(slope) = volume.slope.filter(|slope| (slope - 1.0).abs() > 1e-12) {
                        let intercept = volume.intercept.unwrap_or(0.0);
                        run.stored += &format!(" times {slope}");
                        if intercept.abs() > 1e-12 {
                            run.stored += &format!(" plus {intercept}");
                        }
                    }
                }
                if run.volumes.len() < MAX_VOLUMES {
                    run.volumes.push(Arrived {
                        index: volume.index.0,
                        acquired_s: volume.acquisition_time_s,
                        at_s: at.saturating_duration_since(began).as_secs_f64(),
                    });
                }
            }
            (Item::RunOver, Some(run)) => run.is_over = true,
            (Item::Failed(error), _) => self.failed = Some(error),
            (Item::Volume(..) | Item::RunOver, None) => {}
        }
    }
}

impl Received {
    /// Volumes that lack before the last one.
    fn n_missing(&self) -> usize {
        let last = self.volumes.iter().map(|volume| volume.index).max();
        last.map_or(0, |last| (last as usize + 1).saturating_sub(self.volumes.len()))
    }

    /// Time from one volume to the next by their arrival: the median, in seconds.
    fn step_s(&self) -> Option<f64> {
        let step = |pair: &[Arrived]| {
            let n = pair[1].index.checked_sub(pair[0].index).filter(|n| *n > 0)?;
            Some((pair[1].at_s - pair[0].at_s) / f64::from(n))
        };
        let mut steps: Vec<f64> = self.volumes.windows(2).filter_map(step).collect();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).copied()
    }

    fn regularity(&self) -> Option<Regularity> {
        let times: Vec<f64> = self.volumes.iter().map(|volume| volume.at_s).collect();
        Regularity::of(&times, self.header.repetition_time.as_secs())
    }

    fn lateness(&self) -> Option<Lateness> {
        let tr_s = self.header.repetition_time.as_secs();
        let acquired =
            |volume: &Arrived| volume.acquired_s.unwrap_or(f64::from(volume.index) * tr_s);
        let times: Vec<(f64, f64)> =
            self.volumes.iter().map(|volume| (acquired(volume), volume.at_s)).collect();
        Lateness::of(&times)
    }

    /// The lines of a page. Without `is_live` volumes came from files, as fast as they were read.
    pub(super) fn text(&self, number: usize, is_live: bool) -> String {
        let header = &self.header;
        let [nx, ny, nz] = header.space.matrix();
        let [x, y, z] = header.space.voxel_size_mm();
        let tr_s = header.repetition_time.as_secs();
        let announced = header.n_volumes.map_or(String::new(), |n| format!("; {n} are announced"));
        let mut text = format!(
            "Run {number}: {}\n  {} of {nx} x {ny} x {nz} voxels of {x:.2} x {y:.2} x \
             {z:.2} mm, {}{announced}\n",
            header.source,
            count(self.volumes.len() as u64, "volume"),
            self.stored
        );
        let by_arrival = self.step_s().filter(|_| is_live && self.volumes.len() > 2);
        let by_arrival = by_arrival.map_or(String::new(), |s| format!(", {s:.4} s by arrival"));
        let by_header = if is_live { " by the header" } else { "" };
        text += &format!("  repetition time: {tr_s} s{by_header}{by_arrival}\n");
        text += &match &header.slice_times {
            Some(slices) => format!(
                "  slice times: {} slices in {} excitations\n",
                slices.times_s.len(),
                excitations(&slices.times_s)
            ),
            None => "  slice times: none stated\n".to_owned(),
        };
        if !is_live {
            return text + "  arrival: not seen\n";
        }
        let regularity = self.regularity().map(|regularity| regularity.text());
        text += &regularity.unwrap_or_else(|| "  arrival: too few volumes to tell\n".to_owned());
        text + &self.lateness().map(|late| late.text()).unwrap_or_default()
    }

    /// For programs.
    pub(super) fn json(&self, is_live: bool) -> Value {
        let header = &self.header;
        json!({
            "source": header.source,
            "volumes": self.volumes.len(),
            "missing": self.n_missing(),
            "announced": header.n_volumes,
            "matrix": header.space.matrix(),
            "affine": header.space.affine(),
            "tr_s": header.repetition_time.as_secs(),
            "tr_by_arrival_s": self.step_s().filter(|_| is_live),
            "slice_times_s": header.slice_times.as_ref().map(|slices| &slices.times_s),
            "stored": self.stored,
            "is_over": self.is_over,
            "arrival": self.regularity().filter(|_| is_live).map(|found| found.json()),
            "late": self.lateness().filter(|_| is_live).map(|found| found.json()),
        })
    }

    /// What is wrong with a run that came live until `now_s`.
    pub(super) fn advice(&self, number: usize, now_s: f64) -> Vec<Advice> {
        let mut advice = Vec::new();
        let tr_s = self.header.repetition_time.as_secs();
        if self.n_missing() > 0 {
            advice.push(wrong(
                format!(
                    "run {number}: {} before the last one did not come",
                    count(self.n_missing() as u64, "volume")
                ),
                "Look at the sender's log and at the network between the machines.",
            ));
        }
        if let Some(step_s) = self.step_s().filter(|_| self.volumes.len() >= 10)
            && (step_s - tr_s).abs() > SAME_TR * tr_s
        {
            advice.push(wrong(
                format!("run {number}: the TR is {tr_s} s, but volumes come every {step_s:.4} s"),
                format!(
                    "Look it up in the protocol. If a scan was replayed faster or slower, all is \
                     well; if not, give --tr {step_s:.4}."
                ),
            ));
        }
        let regularity = self.regularity();
        if let Some(found) = regularity.filter(|found| found.n_stall > 0) {
            advice.push(wrong(
                format!(
                    "run {number}: {} of more than 2 TR, up to {:.1} s",
                    count(found.n_stall, "pause"),
                    found.longest_s
                ),
                "Look at what else the sender and the network do at these times.",
            ));
        }
        let silent_s = self.volumes.last().map_or(0.0, |last| now_s - last.at_s);
        if !self.is_over && silent_s > 2.0 * tr_s && !self.volumes.is_empty() {
            advice.push(wrong(
                format!("run {number}: nothing came for the last {silent_s:.1} s, and no end"),
                "If the scan still runs, the sender has stalled. If not, it sends no end: the run \
                 ends after --end-after-s.",
            ));
        }
        advice
    }
}
