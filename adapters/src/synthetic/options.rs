//! Options of the simulation: the flags of the command line, and their defaults.

use clap::Parser;

use super::{design::Design, faults::Faults};

/// Options of the simulation. `SyntheticOptions::default()` equals the command line without flags.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct SyntheticOptions {
    /// Seed of this run: order of stimuli, drift, noise, motion, faults
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Seed of the brain: a model decodes runs with the pattern seed that it was trained on
    #[arg(long, default_value = "2001")]
    pub pattern_seed: u64,
    /// Voxels along x, y and z
    #[arg(long, value_name = "XxYxZ", default_value = "32x32x16", value_parser = matrix)]
    pub matrix: [usize; 3],
    /// Repetition time in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub tr: f64,
    /// Volumes of the run
    #[arg(long, value_name = "NUMBER", default_value = "240",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub volumes: u32,
    /// Classes of stimuli
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "face,house,cat,shoe"
    )]
    pub classes: Vec<String>,
    /// Timing of the stimuli
    #[arg(long, value_enum, default_value = "block")]
    pub design: Design,
    /// Size of the responses, in percent of the signal
    #[arg(long, value_name = "PERCENT", default_value = "0.6")]
    pub contrast_percent: f32,
    /// Standard deviation of the noise, in percent of the signal
    #[arg(long, value_name = "PERCENT", default_value = "1.5")]
    pub noise_percent: f32,
    /// Size of slow drifts over the run, in percent of the signal
    #[arg(long, value_name = "PERCENT", default_value = "1")]
    pub drift_percent: f32,
    /// Largest displacement of the head along each axis, in mm
    #[arg(long, value_name = "MM", default_value = "0")]
    pub motion_mm: f64,
    /// Subject label
    #[arg(long, default_value = "demo")]
    pub sub: String,
    /// Session label
    #[arg(long)]
    pub ses: Option<String>,
    /// Task label
    #[arg(long, default_value = "shapes")]
    pub task: String,
    /// Run label
    #[arg(long, default_value = "1")]
    pub run: String,
    /// Name of the session
    #[arg(long, default_value = "")]
    pub session: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the fields are documented in their own structs")]
    pub faults: Faults,
}

impl Default for SyntheticOptions {
    fn default() -> Self {
        /// Parses the flags, so that each default is written in one place.
        #[derive(Parser)]
        struct Flags {
            #[command(flatten)]
            options: SyntheticOptions,
        }
        Flags::parse_from(["synthetic"]).options
    }
}

fn matrix(text: &str) -> Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
    sizes
        .and_then(|sizes| <[usize; 3]>::try_from(sizes).ok())
        .ok_or_else(|| "expected three numbers, e.g. 64x64x32".to_owned())
}
