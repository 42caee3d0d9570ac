//! How the runs of a scanner are named: labels from the command line, and the run's number counts up.

use corticast_bold::run::{InvalidEntity, RunEntities};

/// How runs are named.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct RunNames {
    /// Subject label: a pseudonym; never taken from what the scanner sends
    #[arg(long, default_value = "x")]
    pub sub: String,
    /// Session label
    #[arg(long)]
    pub ses: Option<String>,
    /// Task label
    #[arg(long)]
    pub task: Option<String>,
    /// Run label of the first run; each further run counts it up
    #[arg(long, default_value = "1")]
    pub run: String,
    /// Name of the session
    #[arg(long, default_value = "")]
    pub session: String,
}

impl Default for RunNames {
    fn default() -> Self {
        Self {
            sub: "x".to_owned(),
            ses: None,
            task: None,
            run: "1".to_owned(),
            session: String::new(),
        }
    }
}

impl RunNames {
    /// The name of the run that follows `n_before` others.
    ///
    /// # Errors
    ///
    /// Fails when a label is not a BIDS label.
    pub fn entities(&self, n_before: u64) -> Result<RunEntities, InvalidEntity> {
        let run = run_label(&self.run, n_before);
        RunEntities::checked(&self.sub, self.ses.as_deref(), self.task.as_deref(), Some(&run))
    }
}

/// The label of the run that follows `further` runs after the one labelled `first`.
fn run_label(first: &str, further: u64) -> String {
    match first.parse::<u64>() {
        _ if further == 0 => first.to_owned(),
        Ok(number) => format!("{:0width$}", number.saturating_add(further), width = first.len()),
        Err(_) => format!("{first}{}", further + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_runs_count_up() {
        let labels = [run_label("01", 0), run_label("01", 9), run_label("loc", 1)];
        assert_eq!(labels, ["01", "10", "loc2"]);
        assert!(RunNames { sub: "a b".to_owned(), ..RunNames::default() }.entities(0).is_err());
    }
}
