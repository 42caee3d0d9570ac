//! A folder into which a Philips scanner exports PAR/REC pairs.
//!
//! Two kinds of export are read: one pair per volume while the scan runs (`Dump-0000.par`, …), and
//! one pair with all dynamics of a scan. The `.par` is text with one line per image, the `.rec`
//! holds the pixels. A pair is read once both are whole.
//!
//! A pair can hold several kinds of images of one volume; magnitude is taken, and each kind that is
//! left out is named once. What is sent is what the console displays, `PV · RS + RI`, unless
//! `--scaling true` asks for the true values, `PV / SS + RI / (RS · SS)`. The header of the run says
//! which.
//!
//! Sources: the text of the `.par` files of version 4.2; for the affine, nibabel's `parrec.py`.

mod folder;
mod geometry;
mod header;
mod run;
mod volume;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use corticast_images::error::AdapterError;

use self::{
    folder::{Folder, Found},
    header::{Line, Par},
    run::Runs,
};
use crate::network::{
    Arrival, NetworkAdapter, Picture, RunOptions, Scan, Source, options::seconds,
};

/// Which values are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scaling {
    /// As the console displays them: PV · RS + RI
    #[default]
    Display,
    /// True values, comparable between scans: PV / SS + RI / (RS · SS)
    True,
}

/// Which folder, and which images of a pair are taken.
#[derive(Clone, Debug, clap::Args)]
pub struct ParRecOptions {
    /// Folder into which the scanner exports
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// How runs are named, and when a run ends.
    #[command(flatten)]
    pub run: RunOptions,
    /// Take images of this type number [default: magnitude]
    #[arg(long, value_name = "NUMBER")]
    pub image_type: Option<u32>,
    /// Take this echo
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub echo: u32,
    /// Which values are sent
    #[arg(long, value_enum, default_value_t)]
    pub scaling: Scaling,
    /// An incomplete pair is skipped after this long
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub deadline_s: Duration,
    /// Interval of polling the folder, in addition to notifications: network shares send none
    #[arg(long, value_name = "MILLISECONDS", default_value = "200",
        value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub poll_ms: u64,
    /// Send the pairs that exist now, and end
    #[arg(skip)]
    pub once: bool,
}

/// Watches a folder for PAR/REC pairs. A folder that does not exist yet is waited for.
///
/// # Errors
///
/// Fails when a label is invalid.
pub fn open(options: ParRecOptions) -> Result<NetworkAdapter, AdapterError> {
    let run = options.run.clone();
    let source = ParRec {
        folder: Folder::new(&options),
        runs: Runs::new(options.run.tr.is_some()),
        ready: VecDeque::new(),
        open: None,
        options,
    };
    NetworkAdapter::new(Box::new(source), run)
}

/// Reads the text of a `.par` as the adapter does. Returns the matrix and the number of volumes.
///
/// # Errors
///
/// Fails when the adapter would refuse the file. The text says why.
pub fn read_par(bytes: &[u8]) -> Result<([usize; 3], usize), String> {
    let par = Par::parse(bytes)?;
    let chosen = par.choose(None, 1)?;
    geometry::affine(&par, &chosen[0])?;
    Ok((par.matrix(&chosen[0]), chosen.len()))
}

/// Whether a file is one of a PAR/REC pair, by its name.
pub(crate) fn is_pair(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ["par", "rec"].iter().any(|known| ext.eq_ignore_ascii_case(known)))
}

/// A source of PAR/REC pairs. See the module docs.
struct ParRec {
    options: ParRecOptions,
    folder: Folder,
    runs: Runs,
    ready: VecDeque<Arrival>,
    /// A pair with several volumes that is being read.
    open: Option<Open>,
}

/// The volumes of a pair that are not read yet.
struct Open {
    found: Box<Found>,
    scan: Arc<Scan>,
    /// Index, time since the first dynamic in seconds, and slices.
    volumes: VecDeque<(u32, f64, Vec<Line>)>,
}

impl ParRec {
    /// Looks at a pair, and adds what it gives to the queue.
    fn take(&mut self, found: Box<Found>) {
        if let Err(reason) = self.begin(found) {
            self.refuse(&reason);
        }
    }

    fn refuse(&mut self, reason: &str) {
        tracing::warn!(reason, "pair skipped");
        self.ready.push_back(Arrival::Refused);
    }

    fn begin(&mut self, found: Box<Found>) -> Result<(), String> {
        let ParRecOptions { image_type, echo, scaling, .. } = self.options;
        let par = &found.par;
        let chosen = par.choose(image_type, echo)?;
        let scan = Scan {
            series: format!("parrec {}", found.hash.to_hex()),
            repetition_time_s: run::header_s(par),
            matrix: par.matrix(&chosen[0]),
            affine: geometry::affine(par, &chosen[0])?,
            n_volumes: None,
            slice_times_s: Vec::new(),
            source: format!("parrec: Philips, {} values", scaling.name()),
        };
        self.runs.name_left_out(par, chosen[0][0].image_type);
        let begins_s: Vec<f64> = chosen.iter().map(|images| images[0].begin_s).collect();
        if let (&[begin_s], Some(number)) = (&*begins_s, found.number) {
            let picture = volume::read(&found.rec, par, &chosen[0], scaling)?;
            self.ready.extend(self.runs.one(&found, number, begin_s, scan, picture));
            return Ok(());
        }
        let (waiting, scan) = self.runs.whole(scan, &begins_s);
        self.ready.extend(waiting);
        let volumes = (0..).zip(chosen).map(|(index, images)| {
            (index, images[0].begin_s - begins_s[0], images.into_iter().cloned().collect())
        });
        let volumes = volumes.collect();
        self.open = Some(Open { found, scan, volumes });
        Ok(())
    }

    /// The next volume of the pair that is being read.
    fn next_of_pair(&mut self) -> Option<Arrival> {
        let Open { found, scan, volumes } = self.open.as_mut()?;
        let Some((index, time_s, images)) = volumes.pop_front() else {
            self.open = None;
            return None;
        };
        let images: Vec<&Line> = images.iter().collect();
        Some(match volume::read(&found.rec, &found.par, &images, self.options.scaling) {
            Ok(picture) => {
                // Without times of the dynamics all are 0.
                let acquisition_time_s = (index == 0 || time_s > 0.0).then_some(time_s);
                arrival(scan, Picture { index, acquisition_time_s, ..picture })
            }
            Err(reason) => {
                tracing::warn!(index, reason, "volume skipped");
                Arrival::Refused
            }
        })
    }
}

impl Scaling {
    fn name(self) -> &'static str {
        match self {
            Self::Display => "display",
            Self::True => "true",
        }
    }
}

impl Source for ParRec {
    fn next(&mut self, until: Option<Instant>) -> Arrival {
        loop {
            if let Some(arrival) = self.ready.pop_front().or_else(|| self.next_of_pair()) {
                return arrival;
            }
            match self.folder.next(until) {
                folder::Next::Pair(found) => self.take(found),
                folder::Next::Skipped => return Arrival::Refused,
                folder::Next::Quiet => return self.runs.give_up().unwrap_or(Arrival::Quiet),
                folder::Next::End => return self.runs.give_up().unwrap_or(Arrival::Over),
            }
        }
    }
}

/// A volume that is ready, with its scan.
fn arrival(scan: &Arc<Scan>, picture: Picture) -> Arrival {
    Arrival::Volume(Arc::clone(scan), picture)
}

#[cfg(test)]
mod tests;
