//! What an answer of the daemon changes.

use std::time::Instant;

use corticast_wire::message::{Ack, FromAdapter, Ready, RefusalCode, Refused, ToAdapter};

use super::{Outbox, RunRefused};

impl Outbox {
    /// Takes an answer of the daemon.
    ///
    /// # Errors
    ///
    /// Fails when the daemon refuses this run; it may still accept another run.
    pub(in crate::publish) fn answer(
        &mut self,
        answer: ToAdapter,
        now: Instant,
    ) -> Result<(), RunRefused> {
        if self.is_ready() && self.is_silent(now) {
            // The connection may have been lost, and with it what was on the way.
            self.send_all_again();
        }
        self.link.heard(matches!(answer, ToAdapter::Ping(_)), now);
        match answer {
            ToAdapter::Ready(ready) => self.ready(ready),
            ToAdapter::Ack(ack) => self.ack(&ack, now),
            ToAdapter::Refused(refused) => return self.refused(refused, now),
            ToAdapter::Ping(ping) if self.link.is_another(&ping.instance) => {
                tracing::warn!("another daemon is answering: announcing the run again");
                self.announce_again();
            }
            ToAdapter::Ping(_) => {}
        }
        Ok(())
    }

    fn announce_again(&mut self) {
        self.link.announce_again();
        self.send_all_again();
    }

    /// Sends everything again, in order, because messages in flight may not arrive.
    fn send_all_again(&mut self) {
        self.overflow.send_again();
        self.window.send_again();
        // Volumes come again from the window, and the end is due again by itself.
        self.returned = self.returned.take().filter(|m| matches!(m, FromAdapter::Mark(_)));
    }

    fn ready(&mut self, ready: Ready) {
        if self.link.ready(ready, &self.header.run_id()) {
            if let Some(FromAdapter::Mark(mark)) = &mut self.returned {
                self.link.run().clone_into(&mut mark.run);
            }
            // The daemon may not have received earlier messages; they are sent again, in order.
            self.send_all_again();
            self.window.mark_again();
            self.events.repeat_last();
            self.end_sent = None;
        }
    }

    fn ack(&mut self, ack: &Ack, now: Instant) {
        if ack.run != self.link.run() {
            return;
        }
        match ack.index {
            Some(index) => match self.window.remove(index, now) {
                0 => self.overflow.ack(index),
                n_acked => self.tally.acked += n_acked,
            },
            None => self.ended = self.ending,
        }
    }

    fn refused(&mut self, refused: Refused, now: Instant) -> Result<(), RunRefused> {
        let Refused { run, index, code, reason } = refused;
        let is_ours = |run: &String| *run == self.link.run() || *run == self.header.run_id();
        if !run.as_ref().is_none_or(is_ours) {
            return Ok(());
        }
        match (code, index) {
            // Each volume in flight is refused; announcing once is enough.
            (RefusalCode::UnknownRun, _) if self.is_ready() => self.announce_again(),
            (RefusalCode::UnknownRun, _) => {}
            (RefusalCode::Damaged, Some(index)) => {
                if !self.window.damaged(index) {
                    self.give_up(index, &reason, now);
                }
            }
            (_, Some(index)) => self.give_up(index, &reason, now),
            (RefusalCode::RunRefused, None) => return Err(self.refusal(reason)),
            (_, None) if !self.is_ready() => return Err(self.refusal(reason)),
            (_, None) => tracing::warn!(reason, "the daemon refused a message"),
        }
        Ok(())
    }

    fn refusal(&self, reason: String) -> RunRefused {
        RunRefused { run: self.link.run().to_owned(), reason }
    }

    fn give_up(&mut self, index: u32, reason: &str, now: Instant) {
        self.tally.lost += self.window.remove(index, now);
        tracing::warn!(index, reason, "volume lost: the daemon refused it");
    }
}
