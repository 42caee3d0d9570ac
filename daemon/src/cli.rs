//! The commands of `corticast`, one per file.

pub mod check;
pub mod ctl;
pub mod demo;
pub mod export;
pub mod generate;
pub mod keygen;
pub mod motion;
pub mod prepare;
pub mod recover;
pub mod replay;
pub mod report;
pub mod run;
pub mod sham;

use std::{io::Write as _, path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{Config, ConfigError, Overlay, from_environment};

/// The configuration file, and the flags that overlay it.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Model folder, instead of the one in the file
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Set one key, e.g. --set signal.hrf_delay_s=4.5; overrides file and environment
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = Overlay::from_flag)]
    pub set: Vec<Overlay>,
}

impl ConfigArgs {
    /// The configuration: file, then environment, then `--set`, then dedicated flags.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, or on the first invalid key or value.
    pub fn load(&self, flags: &[Overlay]) -> Result<Config, ConfigError> {
        let mut overlays = from_environment(
            // Variables that are not text are not ours.
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }),
        );
        overlays.extend(self.set.iter().cloned());
        if let Some(dir) = &self.model {
            overlays.push(Overlay::from_path("--model", "model", "dir", dir));
        }
        overlays.extend(flags.iter().cloned());
        Config::load(&self.config, &overlays)
    }
}

/// A progress bar that counts volumes; hidden when the output is not a terminal.
#[must_use]
pub fn volume_bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::no_length().with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} volumes {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Advances the bar by one volume, of `expected`.
pub fn advance(bar: &ProgressBar, expected: Option<u32>) {
    bar.inc(1);
    let expected = u64::from(expected.unwrap_or(0));
    if expected > 0 && bar.length().is_none_or(|length| bar.position() > length) {
        bar.set_length(bar.position() - 1 + expected);
    }
}

/// The runtime for sockets: one worker thread beside the thread that receives. With a second one,
/// tasks move between workers, and each move delays a result by 0.1 ms.
///
/// # Errors
///
/// Fails when the system cannot start the thread.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Prints a line on standard output. Returns false if its reader has gone away, as `head` does;
/// that is no error of the command.
///
/// # Errors
///
/// Fails when standard output cannot be written for another reason.
pub fn print_line(line: &str) -> std::io::Result<bool> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
