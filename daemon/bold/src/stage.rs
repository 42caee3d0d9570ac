//! The trait that every step of the signal path implements.

/// One named step of the signal path.
///
/// A stage is synchronous, owns its state, and does no I/O, so the daemon, the trainer and a
/// test can all run it the same way.
pub trait Stage {
    /// Name in metrics, spans and recordings. Same as the stage's file name.
    const NAME: &'static str;
    /// Type of the input. It may borrow: a volume is masked where its bytes were received.
    type Input<'a>;
    /// Type of the output.
    type Output;
    /// Why one input could not be processed.
    type Error: std::error::Error;

    /// Processes one input. `Ok(None)` means the stage is still warming up.
    ///
    /// # Errors
    ///
    /// Fails when this input has to be dropped. The stage stays usable.
    fn process(&mut self, input: Self::Input<'_>) -> Result<Option<Self::Output>, Self::Error>;
}
