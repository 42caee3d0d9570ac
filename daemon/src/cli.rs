//! The commands of `corticast`, one per file.

pub mod check;
pub mod ctl;
pub mod demo;
pub mod export;
pub mod generate;
pub mod keygen;
pub mod prepare;
pub mod recover;
pub mod replay;
pub mod run;

use std::{path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{Config, ConfigError, Overlay, from_environment};

/// Which configuration, and what is laid over it.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Model folder, instead of the one in the file
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Sets one key, e.g. --set signal.hrf_delay_s=4.5; over file and environment
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = Overlay::from_flag)]
    pub set: Vec<Overlay>,
}

impl ConfigArgs {
    /// The configuration: file, then environment, then `--set`, then the flags that have a name.
    ///
    /// # Errors
    ///
    /// Fails on the first thing that cannot be.
    pub fn load(&self, flags: &[Overlay]) -> Result<Config, ConfigError> {
        let mut overlays = from_environment(std::env::vars());
        overlays.extend(self.set.iter().cloned());
        if let Some(dir) = &self.model {
            overlays.push(Overlay::from_path("--model", "model", "dir", dir));
        }
        overlays.extend(flags.iter().cloned());
        Config::load(&self.config, &overlays)
    }
}

/// A bar that counts volumes; nothing when the terminal is none.
#[must_use]
pub fn volume_bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::no_length().with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} volumes {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// One more volume, of a run of `expected`.
pub fn advance(bar: &ProgressBar, expected: Option<u32>) {
    bar.inc(1);
    let expected = u64::from(expected.unwrap_or(0));
    if expected > 0 && bar.length().is_none_or(|length| bar.position() > length) {
        bar.set_length(bar.position() - 1 + expected);
    }
}

/// The runtime for sockets: one thread beside the one that receives. With a second, work moves
/// from one to the other, and each move costs a result 0.1 ms.
///
/// # Errors
///
/// Fails when the system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
