//! The command line: subcommands, flags and their help.
//!
//! Sources that belong to this program (DICOM, simulated scanner) declare their flags beside
//! their code. Recorded files are read by a crate without a command line, so their flags are
//! declared here.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use corticast_adapter::{
    afni::AfniOptions,
    dicom::DicomOptions,
    doctor::DoctorOptions,
    mrd::MrdOptions,
    murfi::MurfiOptions,
    network::{RunOptions, options::tr_s},
    parrec::ParRecOptions,
    publish::pace::Pace,
    pyneal::PynealOptions,
    run_names::RunNames,
    session_state::SessionKey,
    store::StoreOptions,
    synthetic::SyntheticOptions,
    trigger::TriggerOptions,
};
use corticast_images::{beside::files_of, bids::BidsOptions, labels::Labels, nifti::NiftiOptions};
use corticast_wire::files::apart::{Apart, Kind, NotApart};

const EXAMPLES: &str = "\
Examples:
  A recorded run, in real time, then ten times faster, then as fast as acknowledged:
    corticast-adapter nifti run-01/bold.nii.gz --events run-01/events.tsv
    corticast-adapter nifti run-01/bold.nii.gz --speed 10
    corticast-adapter nifti run-01/bold.nii.gz run-02/bold.nii.gz --speed 0
  One run of a BIDS dataset, with its TR and its events:
    corticast-adapter bids ds000117 --sub 01 --task facerecognition --run 1
  A simulated scanner that loses volumes 3 and 7 and sends 9 twice; then its runs as files:
    corticast-adapter synthetic --drop 3,7 --duplicate 9 --speed 5
    corticast-adapter synthetic --seed 100 --write train --runs 4
  A scanner that exports DICOM files into a folder; first, whether the export works:
    corticast-adapter doctor /mnt/export
    corticast-adapter doctor /mnt/export --watch-s 60
  A scanner that sends over the network; first, what arrives:
    corticast-adapter doctor 7960 --listen 192.168.2.10 --allow 192.168.2.1
    corticast-adapter doctor 9002 --adapter mrd --watch-s 300
  Then the adapter:
    corticast-adapter dicom /mnt/export --sub 01 --task movie
  The images in a folder, as one file in RAS+, without a daemon:
    corticast-adapter dicom /mnt/export --once --dump run.nii.gz
  With the scanner's triggers, from a trigger box, the terminal or Lab Streaming Layer:
    corticast-adapter dicom /mnt/export --trigger serial:/dev/ttyUSB0:5
    corticast-adapter afni --trigger keyboard:t --trigger-dummies 2
    corticast-adapter mrd --trigger lsl:ScannerTriggers
  To a daemon on another machine:
    corticast-adapter dicom /mnt/export --connect tcp://10.0.0.2:5560 \\
        --key adapter.key --server-key daemon.pub

Exit codes: 0 all volumes acknowledged, 1 failed or refused, 2 bad arguments,
3 the runs are over but volumes or marks were lost, images could not be used, or a
scanner's run was refused. doctor: 0 a series can become a run, 1 none can.";

/// Sends volumes from a scanner to the Corticast daemon
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) source: Source,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// NIfTI-1 files: 4-D, or folders of 3-D volumes
    Nifti(NiftiArgs),
    /// One run of a BIDS dataset
    Bids(BidsArgs),
    /// A folder into which a scanner exports DICOM files
    Dicom(DicomOptions),
    /// Tell whether the export into a folder, or the sender on a port, works, and what to do if not
    Doctor(DoctorOptions),
    /// AFNI's real-time protocol: images that Dimon, rtfeedme or a scanner sends
    Afni(AfniOptions),
    /// MRD (ISMRMRD) streams of images: Siemens OpenRecon/FIRE, Gadgetron
    Mrd(MrdOptions),
    /// MURFI's vsend: one connection a volume
    Murfi(MurfiOptions),
    /// The scanner side of pyneal
    Pyneal(PynealOptions),
    /// A folder into which a Philips scanner exports PAR/REC pairs
    Parrec(ParRecOptions),
    /// The DICOM network: a scanner sends its images (C-STORE)
    Store(StoreOptions),
    /// A simulated scanner: known stimuli, responses and faults
    Synthetic(Synthetic),
}

impl Source {
    /// Whether a scanner sets the pace.
    pub(super) fn is_live(&self, once: bool) -> bool {
        match self {
            Self::Nifti(_) | Self::Bids(_) | Self::Synthetic(_) | Self::Doctor(_) => false,
            Self::Dicom(_) | Self::Parrec(_) => !once,
            Self::Afni(_) | Self::Mrd(_) | Self::Murfi(_) | Self::Pyneal(_) | Self::Store(_) => {
                true
            }
        }
    }

    /// What makes a session of this source: its place, and the labels that the user gave.
    pub(super) fn session_key(&self) -> SessionKey<'_> {
        match self {
            // The folder, so that further files of it belong to the same session.
            Self::Nifti(args) => {
                let file = args.files.first().map_or(Path::new(""), PathBuf::as_path);
                let folder = file.parent().filter(|folder| *folder != Path::new(""));
                SessionKey {
                    kind: "nifti",
                    place: folder.unwrap_or(Path::new(".")),
                    labels: [&args.session, text(&args.sub), text(&args.ses), "", "", ""],
                }
            }
            Self::Bids(args) => SessionKey {
                kind: "bids",
                place: &args.dataset,
                labels: [&args.session, text(&args.sub), text(&args.ses), "", "", ""],
            },
            // Two adapters can watch one folder, each for its own series.
            Self::Dicom(options) => of_dicom("dicom", options),
            Self::Store(options) => of_dicom("store", &options.dicom),
            Self::Doctor(DoctorOptions { target, .. }) => {
                SessionKey { kind: "doctor", place: Path::new(target), labels: [""; 6] }
            }
            Self::Afni(options) => of_runs("afni", Path::new(""), &options.run),
            Self::Mrd(options) => of_runs("mrd", Path::new(""), &options.run),
            Self::Murfi(options) => of_runs("murfi", Path::new(""), &options.run),
            Self::Pyneal(options) => of_runs("pyneal", Path::new(""), &options.run),
            Self::Parrec(options) => of_runs("parrec", &options.folder, &options.run),
            Self::Synthetic(Synthetic { options, .. }) => SessionKey {
                kind: "synthetic",
                place: Path::new(""),
                labels: [&options.session, &options.sub, text(&options.ses), "", "", ""],
            },
        }
    }
}

fn text(label: &Option<String>) -> &str {
    label.as_deref().unwrap_or("")
}

/// The session of a DICOM source. Two adapters can watch one folder, each for its own series.
fn of_dicom<'a>(kind: &'a str, options: &'a DicomOptions) -> SessionKey<'a> {
    let DicomOptions { folder, names, pattern, .. } = options;
    let RunNames { sub, ses, task, run, session } = names;
    let labels = [session, sub, text(ses), text(task), run, pattern];
    SessionKey { kind, place: folder, labels }
}

/// The session of a source that names its runs itself.
fn of_runs<'a>(kind: &'a str, place: &'a Path, options: &'a RunOptions) -> SessionKey<'a> {
    let RunNames { sub, ses, task, run, session } = &options.names;
    SessionKey { kind, place, labels: [session, sub, text(ses), text(task), run, ""] }
}

impl Output {
    /// Checks that `--dump` writes into no file that is read.
    ///
    /// # Errors
    ///
    /// Fails when its file is one of the source's, or a key, or no regular file.
    pub(super) fn check_dump(&self, source: &Source) -> Result<(), NotApart> {
        let Some(dump) = &self.dump else { return Ok(()) };
        let mut files = Apart::default();
        match source {
            Source::Nifti(args) => {
                for file in &args.files {
                    files.input("the image", file);
                    files_of(file).iter().for_each(|file| files.input("the image's file", file));
                }
                args.events.iter().for_each(|file| files.input("the events", file));
            }
            Source::Bids(args) => files.input("the dataset", &args.dataset),
            Source::Dicom(options) => files.input("the folder", &options.folder),
            Source::Parrec(options) => files.input("the folder", &options.folder),
            _ => {}
        }
        self.key.iter().chain(&self.server_key).for_each(|key| files.input("the key", key));
        files.output("--dump", dump, Kind::File);
        files.check()
    }
}

/// Separate from the BIDS flags, because the labels have other defaults here.
#[derive(Debug, clap::Args)]
pub(super) struct NiftiArgs {
    /// 4-D files, or folders of 3-D volumes (.nii, .nii.gz, .hdr with .img); each is a run, in this
    /// order
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    files: Vec<PathBuf>,
    /// Names of the volumes in a folder, with * and ? [default: those whose names count on]
    #[arg(long, value_name = "GLOB")]
    pattern: Option<String>,
    /// Repetition time in seconds [default: from the sidecar, else the header]
    #[arg(long, value_name = "SECONDS", value_parser = tr_s, allow_negative_numbers = true)]
    tr: Option<f64>,
    /// BIDS events.tsv, one per run; sent as marks [default: those that apply to BIDS images]
    #[arg(long, value_name = "FILE")]
    events: Vec<PathBuf>,
    /// Name of the session
    #[arg(long, default_value = "")]
    session: String,
    /// Subject label [default: from a BIDS file name, else `x`]
    #[arg(long)]
    sub: Option<String>,
    /// Session label
    #[arg(long)]
    ses: Option<String>,
    /// Task label [default: from a BIDS file name, else `unknown`]
    #[arg(long)]
    task: Option<String>,
    /// Run label [default: from a BIDS file name, a folder run-NUMBER, or the file's position]
    #[arg(long)]
    run: Option<String>,
    /// End each run after this many volumes [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    volumes: Option<u32>,
}

impl From<NiftiArgs> for NiftiOptions {
    fn from(args: NiftiArgs) -> Self {
        let NiftiArgs { files, pattern, tr, events, session, sub, ses, task, run, volumes } = args;
        let labels = Labels { sub, ses, task, run };
        Self { files, pattern, tr, events, session, labels, volumes }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct BidsArgs {
    /// The dataset's folder, or the run's _bold.nii[.gz] itself
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    /// Subject label
    #[arg(long)]
    sub: Option<String>,
    /// Session label
    #[arg(long)]
    ses: Option<String>,
    /// Task label
    #[arg(long)]
    task: Option<String>,
    /// Run label
    #[arg(long)]
    run: Option<String>,
    /// Any further entity of the run's name, e.g. echo-1 or space-T1w
    #[arg(long = "entity", value_name = "KEY-LABEL")]
    entities: Vec<String>,
    /// Repetition time in seconds [default: from the sidecar, else the header]
    #[arg(long, value_name = "SECONDS", value_parser = tr_s, allow_negative_numbers = true)]
    tr: Option<f64>,
    /// Name of the session
    #[arg(long, default_value = "")]
    session: String,
    /// End the run after this many volumes [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    volumes: Option<u32>,
}

impl From<BidsArgs> for BidsOptions {
    fn from(args: BidsArgs) -> Self {
        let BidsArgs { dataset, sub, ses, task, run, entities, tr, session, volumes } = args;
        let labels = Labels { sub, ses, task, run };
        Self { dataset, labels, entities, tr, events: None, session, volumes }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Synthetic {
    #[command(flatten)]
    pub(super) options: SyntheticOptions,
    /// Send nothing: write runs as .nii.gz, with events.tsv and a mask, into this folder
    #[arg(long, value_name = "FOLDER", help_heading = "Files")]
    pub(super) write: Option<PathBuf>,
    /// Runs to write; their seeds count up from --seed
    #[arg(long, value_name = "NUMBER", default_value = "1", requires = "write",
        help_heading = "Files", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) runs: u32,
}

/// Where volumes go. The same for every source.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Output {
    /// Endpoint of the daemon [default: tcp://127.0.0.1:5560; none with --dump]
    #[arg(long, global = true, value_name = "ENDPOINT", env = "CORTICAST_CONNECT")]
    pub(super) connect: Option<String>,
    /// 1 is real time, 10 ten times faster, 0 as fast as acknowledged; a watched folder keeps
    /// its own time
    #[arg(long, global = true, value_name = "FACTOR", default_value = "1", value_parser = pace)]
    pub(super) speed: Pace,
    /// Write the sent volumes in RAS+; the run's name is added to the file names of further runs.
    /// Without --connect, no daemon is needed
    #[arg(long, global = true, value_name = "OUT.nii.gz")]
    pub(super) dump: Option<PathBuf>,
    /// Send the images that exist now, in order of acquisition, without duplicates, and end
    #[arg(long, global = true)]
    pub(super) once: bool,
    /// The adapter's own key file, for a daemon on another machine
    #[arg(long, global = true, value_name = "FILE", requires = "server_key")]
    pub(super) key: Option<PathBuf>,
    /// The daemon's public key file
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    pub(super) server_key: Option<PathBuf>,
    /// Unacknowledged volumes kept in memory; the rest wait on disk
    #[arg(long, global = true, value_name = "VOLUMES", default_value = "64",
        value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) window: u16,
    /// Disk space for volumes that wait for the daemon; 0.5 is 512 MiB
    #[arg(long, global = true, value_name = "GB", default_value = "4", value_parser = gigabytes)]
    pub(super) spill_max_gb: f64,
    /// How long a finished run waits for a silent daemon; ten times as long for one that is behind
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60",
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(super) patience_s: u32,
    /// Folder for what a restarted adapter needs to continue its run
    /// [default: $STATE_DIRECTORY, else corticast-adapter in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
    /// Write the log as JSON lines
    #[arg(long, global = true)]
    pub(super) log_json: bool,
    /// The scanner's triggers.
    #[command(flatten)]
    pub(super) triggers: TriggerOptions,
}

fn gigabytes(text: &str) -> Result<f64, String> {
    let gigabytes: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let is_valid = (0.0..=1000.0).contains(&gigabytes);
    is_valid.then_some(gigabytes).ok_or_else(|| format!("expected 0 to 1000 GB, got {gigabytes}"))
}

fn pace(text: &str) -> Result<Pace, String> {
    Pace::from_speed(text.parse().map_err(|_| "expected a number".to_owned())?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_negative_repetition_time_is_named_and_not_taken_for_a_flag() {
        for source in [&["nifti", "a.nii"][..], &["bids", "a"], &["dicom", "a"], &["afni"]] {
            let arguments = [&["x"], source, &["--tr", "-2"]].concat();
            let error = Cli::try_parse_from(arguments).unwrap_err().to_string();
            assert!(
                error.contains("expected more than 0 and at most 60 seconds, got -2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_without_the_daemons_is_a_bad_argument() {
        let error = Cli::try_parse_from(["x", "nifti", "a.nii", "--key", "k"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        for invalid in [["--speed", "-1"], ["--spill-max-gb", "NaN"], ["--spill-max-gb", "1001"]] {
            assert!(Cli::try_parse_from(["x", "synthetic"].iter().chain(&invalid)).is_err());
        }
    }
}
