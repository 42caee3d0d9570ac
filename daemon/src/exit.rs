//! Exit codes, for scripts of operators.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command succeeded.
    Fine,
    /// The command failed; its message gives the reason.
    Failed,
    /// The arguments are invalid, or the operator did not confirm the command.
    BadArguments,
    /// The command ran to its end, but volumes were lost.
    VolumesLost,
    /// The configuration, the mask or the model is invalid.
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
