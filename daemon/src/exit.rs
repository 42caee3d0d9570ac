//! Exit codes, which operators script against.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// It failed; the message says why.
    Failed,
    /// What was asked for cannot be done this way, or was not confirmed.
    BadArguments,
    /// It ran to its end, but volumes were lost on the way.
    VolumesLost,
    /// The configuration, the mask or the model cannot be run.
    BadConfiguration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fine => Self::SUCCESS,
            Exit::Failed => Self::FAILURE,
            Exit::BadArguments => Self::from(2),
            Exit::VolumesLost => Self::from(3),
            Exit::BadConfiguration => Self::from(78),
        }
    }
}
