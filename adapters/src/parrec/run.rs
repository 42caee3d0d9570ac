//! Which run a pair belongs to, which volume of it, and the repetition time.
//!
//! Pairs of one volume count in their names: `Dump-0000`, `Dump-0001`. A name that comes again
//! with other contents is a new scan. Pairs with several dynamics are a run each.
//!
//! The repetition time is that of the header, if it can be one: exports while the scan runs say
//! `1` ms. Else it is the time between the starts of two dynamics, so the first volume waits for
//! the second, unless `--tr` gives it.

use std::{collections::HashMap, sync::Arc};

use super::{arrival, folder::Found, header::Par};
use crate::network::{Arrival, Picture, Scan};

/// Repetition times that a header may say, in seconds.
const PLAUSIBLE_S: std::ops::RangeInclusive<f64> = 0.05..=60.0;
/// Times that differ by more than this are named, in seconds.
const TOLERANCE_S: f64 = 0.01;

/// The run that is being exported.
#[derive(Debug)]
struct Current {
    /// The name without its number.
    prefix: String,
    scan: Arc<Scan>,
    /// Number in the name of the first volume.
    base: u64,
    /// Hashes of the pairs that were read, by their number.
    seen: HashMap<u64, blake3::Hash>,
    /// Start of the first dynamic that was seen, and its index.
    start: (u32, f64),
    /// A volume that waits for the repetition time.
    waiting: Option<Picture>,
    warned: bool,
}

/// Names runs. See the module docs.
#[derive(Debug)]
pub(super) struct Runs {
    current: Option<Current>,
    /// `--tr` is given.
    has_tr: bool,
    named: Vec<u32>,
}

impl Runs {
    pub(super) fn new(has_tr: bool) -> Self {
        Self { current: None, has_tr, named: Vec::new() }
    }

    /// Names the kinds of images that are left out, each once.
    pub(super) fn name_left_out(&mut self, par: &Par, taken: u32) {
        for kind in par.types() {
            if kind != taken && !self.named.contains(&kind) {
                self.named.push(kind);
                tracing::info!("images of type {kind} are left out, those of type {taken} sent");
            }
        }
    }

    /// A pair with several volumes, which begin at these times in seconds: the scan that they
    /// belong to, and a volume of an earlier scan that still waits.
    pub(super) fn whole(
        &mut self,
        mut scan: Scan,
        begins_s: &[f64],
    ) -> (Option<Arrival>, Arc<Scan>) {
        let waiting = self.give_up();
        self.current = None;
        scan.n_volumes = u32::try_from(begins_s.len()).ok();
        if let [first, second, ..] = begins_s {
            scan.repetition_time_s = agreed(scan.repetition_time_s, second - first);
        }
        (waiting, Arc::new(scan))
    }

    /// A pair that is one volume of a run.
    pub(super) fn one(
        &mut self,
        found: &Found,
        number: u64,
        begin_s: f64,
        scan: Scan,
        picture: Picture,
    ) -> Vec<Arrival> {
        let known = self.current.as_ref().filter(|run| run.prefix == found.prefix);
        match known.map(|run| run.seen.get(&number)) {
            Some(Some(hash)) if *hash == found.hash => {
                tracing::info!(number, "pair skipped: the same pair arrived before");
                return Vec::new();
            }
            Some(None) => {}
            // Another name, or a number that comes again with another volume: another scan.
            Some(Some(_)) | None => return self.begin(found, number, begin_s, scan, picture),
        }
        let Some(run) = &mut self.current else { return Vec::new() };
        run.seen.insert(number, found.hash);
        let index = u32::try_from(number.saturating_sub(run.base)).unwrap_or(u32::MAX);
        let between_s =
            (begin_s - run.start.1) / f64::from(index.max(run.start.0 + 1) - run.start.0);
        let mut arrivals = Vec::new();
        if let Some(first) = run.waiting.take() {
            let tr = agreed(None, between_s);
            if let Some(tr) = tr {
                tracing::warn!(
                    "the PAR says a repetition time of {} ms, which is none: the dynamics begin \
                     {tr} s apart, which is used; --tr gives another",
                    found.par.repetition_time_ms.unwrap_or(0.0)
                );
            }
            run.scan = Arc::new(Scan { repetition_time_s: tr, ..(*run.scan).clone() });
            arrivals.push(arrival(&run.scan, first));
        } else if let (Some(tr), false) = (run.scan.repetition_time_s, run.warned)
            && between_s > 0.0
            && (between_s - tr).abs() > TOLERANCE_S
        {
            tracing::warn!("the TR is {tr} s, the dynamics begin {between_s:.3} s apart");
            run.warned = true;
        }
        // The run keeps its name; the place of this volume is compared with the run's.
        let scan = Scan {
            series: run.scan.series.clone(),
            repetition_time_s: run.scan.repetition_time_s,
            ..scan
        };
        arrivals.push(arrival(&Arc::new(scan), Picture { index, ..picture }));
        arrivals
    }

    fn begin(
        &mut self,
        found: &Found,
        number: u64,
        begin_s: f64,
        scan: Scan,
        picture: Picture,
    ) -> Vec<Arrival> {
        let mut arrivals: Vec<Arrival> = self.give_up().into_iter().collect();
        // Some consoles count from 1; then the dynamic that begins at 0 s is number 1.
        let base = u64::from(number == 1 && begin_s == 0.0);
        let index = u32::try_from(number - base).unwrap_or(u32::MAX);
        let mut run = Current {
            prefix: found.prefix.clone(),
            scan: Arc::new(scan),
            base,
            seen: HashMap::from([(number, found.hash)]),
            start: (index, begin_s),
            waiting: None,
            warned: false,
        };
        let picture = Picture { index, ..picture };
        if run.scan.repetition_time_s.is_none() && !self.has_tr {
            run.waiting = Some(picture);
        } else {
            arrivals.push(arrival(&run.scan, picture));
        }
        self.current = Some(run);
        arrivals
    }

    /// A first volume for which no second one came. It has no repetition time and is refused, with
    /// the reason.
    pub(super) fn give_up(&mut self) -> Option<Arrival> {
        let run = self.current.as_mut()?;
        run.waiting.take().map(|picture| arrival(&run.scan, picture))
    }
}

/// The repetition time of the header in seconds, if it can be one.
pub(super) fn header_s(par: &Par) -> Option<f64> {
    par.repetition_time_ms.map(|ms| ms / 1e3).filter(|tr| PLAUSIBLE_S.contains(tr))
}

/// The repetition time out of the header's and the time between two dynamics, in seconds.
fn agreed(header_s: Option<f64>, between_s: f64) -> Option<f64> {
    let between = Some(between_s).filter(|tr| PLAUSIBLE_S.contains(tr));
    match (header_s, between) {
        (Some(header), Some(between)) if (header - between).abs() > TOLERANCE_S => {
            tracing::warn!(
                "the PAR says a repetition time of {header} s, the dynamics begin {between:.3} s \
                 apart: the second is used; --tr gives another"
            );
            Some(between)
        }
        (Some(header), _) => Some(header),
        (None, between) => between,
    }
}
