//! Where to listen, who may connect, and how runs are named.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use corticast_bold::time::RepetitionTime;

use crate::{run_names::RunNames, session_state::SessionState};

/// Where to listen, and for whom.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
pub struct ListenOptions {
    /// Address of this machine to listen at. Any other than the loopback needs --allow
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// Address of a machine that may connect; repeat it for several. This machine always may
    #[arg(long, value_name = "IP")]
    pub allow: Vec<IpAddr>,
    /// A sender that is silent for this long within a message is dropped
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub stall_s: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            listen: Ipv4Addr::LOCALHOST.into(),
            allow: Vec::new(),
            stall_s: Duration::from_secs(10),
        }
    }
}

/// How runs are named, and when a run ends.
#[derive(Clone, Debug, clap::Args)]
pub struct RunOptions {
    /// How runs are named.
    #[command(flatten)]
    pub names: RunNames,
    /// Repetition time in seconds [default: as the sender says]
    #[arg(long, value_name = "SECONDS", value_parser = tr_s, allow_negative_numbers = true)]
    pub tr: Option<f64>,
    /// Number of volumes after which a run ends [default: as the sender says]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub volumes: Option<u32>,
    /// A run ends when no volume arrived for this long
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub end_after_s: Duration,
    /// End after this many runs [default: never]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: Option<u32>,
    /// Numbers the series, so that a restarted adapter gives them the same names
    #[arg(skip)]
    pub state: Option<SessionState>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            names: RunNames::default(),
            tr: None,
            volumes: None,
            end_after_s: Duration::from_secs(30),
            runs: None,
            state: None,
        }
    }
}

/// Seconds from the command line, at most a day.
///
/// # Errors
///
/// Fails when the text is not a number from 0 to 86,400.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| format!("expected 0 to 86400 seconds, got {seconds}"))
}

/// A repetition time from the command line.
///
/// # Errors
///
/// Fails when the text is not a number of seconds that can be a repetition time.
pub fn repetition_time(text: &str) -> Result<RepetitionTime, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    RepetitionTime::from_secs(seconds).map_err(|_| {
        let in_s = seconds / 1e3;
        let is_ms = seconds > 60.0 && RepetitionTime::from_secs(in_s).is_ok();
        let hint =
            if is_ms { format!("; in milliseconds? Then give {in_s}") } else { String::new() };
        format!("expected more than 0 and at most 60 seconds, got {seconds}{hint}")
    })
}

/// A repetition time from the command line, in seconds.
///
/// # Errors
///
/// As [`repetition_time`].
pub fn tr_s(text: &str) -> Result<f64, String> {
    repetition_time(text).map(RepetitionTime::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_time_that_cannot_be_is_refused_with_what_is_expected() {
        assert_eq!(tr_s("2.0").map(f64::to_bits), Ok(2.0_f64.to_bits()));
        for text in ["-2", "0", "nan", "inf"] {
            let error = tr_s(text).unwrap_err();
            assert!(error.starts_with("expected more than 0 and at most 60 seconds"), "{error}");
            assert!(!error.contains("milliseconds"), "{error}");
        }
        assert!(tr_s("2000").unwrap_err().ends_with("in milliseconds? Then give 2"));
        assert_eq!(tr_s("2 s").unwrap_err(), "expected a number of seconds");
    }
}
