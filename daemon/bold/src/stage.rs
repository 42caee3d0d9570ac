//! What all steps of the signal path have in common.

/// One named step of the signal path.
///
/// A stage is synchronous, owns its state, and does no I/O, so the daemon, the trainer and a
/// test can all run it the same way.
pub trait Stage {
    /// Name in metrics, spans and recordings. Same as the stage's file name.
    const NAME: &'static str;
    /// What the stage takes.
    type Input;
    /// What the stage hands on.
    type Output;
    /// Why one input could not be processed.
    type Error: std::error::Error;

    /// Processes one input. `Ok(None)` means the stage is still warming up.
    ///
    /// # Errors
    ///
    /// Returns an error when this input has to be dropped. The stage stays usable.
    fn process(&mut self, input: Self::Input) -> Result<Option<Self::Output>, Self::Error>;
}
