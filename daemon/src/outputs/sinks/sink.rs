//! The trait of sinks: what each does with an event.

use super::event::Event;

/// What an event gave the peer. Only a value shows that the sink works: nothing fails when nothing
/// is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::outputs) enum Delivered {
    /// No value: the event has none for this protocol.
    Nothing,
    /// A value.
    Value,
}

/// An output in the protocol of another program.
pub(in crate::outputs) trait Sink: Send {
    /// Name of its table in the configuration, of its thread, and in metrics.
    fn name(&self) -> &'static str;

    /// Prepares to deliver an event, for example by connecting. May take a fraction of a second.
    ///
    /// # Errors
    ///
    /// Fails when this event cannot be delivered; the next may be.
    fn prepare(&mut self, _: &Event) -> anyhow::Result<()> {
        Ok(())
    }

    /// Delivers an event. `blank` is not confirmed before this returns, so it must not wait.
    ///
    /// # Errors
    ///
    /// Fails when this event cannot be delivered; the next may be.
    fn deliver(&mut self, event: &Event) -> anyhow::Result<Delivered>;
}
