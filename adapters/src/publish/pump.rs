//! The pump: connects the outbox with the adapter's thread, the socket and the clock.
//!
//! The pump sends one run at a time. A run ends when all its volumes are acknowledged, or when the
//! daemon has been silent for `patience`. A daemon that is alive and behind gets
//! [`patience::ALIVE_FACTOR`] times as long after each acknowledgement: it is stuck after that, for example
//! because its disk is full.

use std::time::{Duration, Instant};

use corticast_bold::run::RunHeader;
use corticast_images::{acquired::AcquiredVolume, events::Event};
use corticast_wire::{
    heartbeat::HEARTBEAT,
    message::{Encoding, FromAdapter, ToAdapter},
    socket::{Dealer, SocketError},
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    alarm::Alarm,
    options::PublishOptions,
    outbox::Outbox,
    pace::{Deadlines, Pace},
    patience,
    reader::Item,
    report::{PublishError, PublishReport, RunRefused},
    spill::Spill,
    triggers::Triggers,
};
use crate::session_state::KEEP_FRESH;

/// How long a heartbeat waits for room in the socket's queue.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(50);

/// See the module docs.
pub(super) struct Pump {
    dealer: Dealer,
    options: PublishOptions,
    items: mpsc::Receiver<Item>,
    triggers: Option<Triggers>,
    stop: watch::Receiver<bool>,
    stopping: bool,
    /// When the session's state was last kept from ageing.
    state_kept: Instant,
    report: PublishReport,
}

impl Pump {
    /// A pump that sends the runs and volumes received from `items`.
    pub(super) fn new(
        dealer: Dealer,
        options: PublishOptions,
        items: mpsc::Receiver<Item>,
        triggers: Option<Triggers>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            dealer,
            options,
            items,
            triggers,
            stop,
            stopping: false,
            state_kept: Instant::now(),
            report: PublishReport::default(),
        }
    }

    /// Sends all runs.
    ///
    /// # Errors
    ///
    /// Fails for the same reasons as [`super::publish`].
    pub(super) async fn run(mut self) -> Result<PublishReport, PublishError> {
        let mut heartbeat = heartbeat();
        while !self.stopping {
            tokio::select! {
                item = self.items.recv() => match item {
                    Some(Item::Run(header, events)) => {
                        let sent = self.one_run(*header, events).await;
                        self.or_next_run(sent)?;
                    }
                    Some(Item::Failed(error)) => return Err(error.into()),
                    // `one_run` takes the volumes of a run.
                    Some(Item::Volume(_) | Item::RunOver) => {}
                    None => break,
                },
                _ = heartbeat.tick() => self.sign_of_life().await?,
                answer = self.dealer.recv() => { answer?; }
                at = next_edge(&mut self.triggers) => self.edge(at, None),
                () = stopped(&mut self.stop) => self.stopping = true,
            }
        }
        Ok(self.report)
    }

    /// Turns the refusal of a scanner's run into a warning: the scanner keeps scanning, so the pump
    /// skips the rest of the run and offers the next one. The daemon refuses, for example, a
    /// series of another protocol or a run that the operator ended. A refused file is an error.
    fn or_next_run(&mut self, sent: Result<(), PublishError>) -> Result<(), PublishError> {
        match sent {
            Err(PublishError::Refused(refused)) if self.options.pace == Pace::Scanner => {
                tracing::warn!("{refused}; skipping the rest of this run");
                self.report.n_refused += 1;
                if let Some(triggers) = &mut self.triggers {
                    triggers.run_is_refused();
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Sends one run and waits until it is acknowledged.
    async fn one_run(
        &mut self,
        mut header: RunHeader,
        events: Vec<Event>,
    ) -> Result<(), PublishError> {
        // The only way out for an id of a series, whatever the source.
        header.series_id = self.options.state.series_id(&header.series_id);
        tracing::info!(run = %header.entities, source = header.source, "run starts");
        self.report.n_runs += 1;
        let progress = self.options.progress.clone();
        progress.set_position(0);
        progress.set_message(header.run_id());
        if let Some(n) = header.n_volumes {
            progress.set_length(n.into());
        }
        let spill = Spill::new(self.options.spill_max_bytes);
        let mut clock = match self.options.pace {
            Pace::Clock(speed) => Some(Deadlines::new(speed, header.repetition_time)),
            Pace::AsAcknowledged | Pace::Scanner => None,
        };
        let repetition_time = header.repetition_time;
        let mut outbox = Outbox::new(header, events, self.options.window.max(1), spill);
        if let Some(triggers) = &mut self.triggers {
            triggers.run_starts(repetition_time);
        }
        let mut heartbeat = heartbeat();
        let mut held: Option<(tokio::time::Instant, AcquiredVolume)> = None;
        let mut begun = false;
        let mut over: Option<Instant> = None;
        let mut failed = None;
        let mut n_skipped = 0;
        let mut alarm = Alarm::new();

        loop {
            self.send_due(&mut outbox).await?;
            begun |= outbox.is_ready();
            progress.set_position(outbox.tally().acked + n_skipped);
            let gives_up = over.is_some_and(|over| {
                patience::gives_up(&outbox, over, self.stopping, self.options.patience)
            });
            if outbox.is_over() || gives_up {
                break;
            }
            let wanted = over.is_none()
                && held.is_none()
                && match self.options.pace {
                    Pace::AsAcknowledged => outbox.is_ready() && outbox.has_room(),
                    // A file can wait for the daemon.
                    Pace::Clock(_) => begun,
                    Pace::Scanner => true,
                };
            let due = held.as_ref().map(|(due, _)| *due);
            tokio::select! {
                answer = self.dealer.recv() => take_answer(&mut outbox, &answer?)?,
                item = self.items.recv(), if wanted => match item {
                    Some(Item::Volume(volume)) => {
                        if self.options.skip_known && volume.index.0 < outbox.next_index() {
                            n_skipped += 1;
                            outbox.skip(&volume);
                        } else if let Some(clock) = &mut clock {
                            let start_s = volume
                                .acquisition_time_s
                                .unwrap_or_else(|| repetition_time.start_of(volume.index));
                            held = Some((clock.due(start_s, Instant::now()).into(), volume));
                        } else {
                            self.push(&mut outbox, volume);
                        }
                    }
                    other => {
                        if let Some(Item::Failed(error)) = other {
                            failed = Some(error);
                        }
                        self.finish(&mut outbox);
                        over = Some(Instant::now());
                    }
                },
                () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    if let Some((_, volume)) = held.take() {
                        self.push(&mut outbox, volume);
                    }
                }
                at = next_edge(&mut self.triggers) => self.edge(at, Some(&mut outbox)),
                _ = heartbeat.tick() => {
                    self.sign_of_life().await?;
                    // Answers that wait to be read tell whether the daemon is silent.
                    self.read_answers(&mut outbox).await?;
                    alarm.look(&outbox, &self.options.endpoint);
                    if let Some(over) = over.filter(|_| self.stopping) {
                        patience::tell(&outbox, over);
                    }
                }
                () = stopped(&mut self.stop), if !self.stopping => {
                    self.stopping = true;
                    held = None;
                    self.finish(&mut outbox);
                    patience::tell(&outbox, *over.insert(Instant::now()));
                }
            }
        }

        add(&mut self.report, &outbox, n_skipped);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Takes a volume that has arrived.
    fn push(&mut self, outbox: &mut Outbox, mut volume: AcquiredVolume) {
        if let Some(triggers) = &mut self.triggers {
            triggers.volume(&mut volume, Instant::now());
            outbox.add_marks(triggers.take_marks());
        }
        outbox.push(volume);
    }

    /// Takes an edge of the scanner's triggers.
    fn edge(&mut self, at: Instant, outbox: Option<&mut Outbox>) {
        let Some(triggers) = &mut self.triggers else { return };
        triggers.edge(at);
        if let Some(outbox) = outbox {
            outbox.add_marks(triggers.take_marks());
        }
    }

    /// The run has no further volume.
    fn finish(&mut self, outbox: &mut Outbox) {
        if let Some((counts, marks)) = self.triggers.as_mut().and_then(Triggers::run_ends) {
            outbox.add_marks(marks);
            outbox.add_triggers(counts);
        }
        outbox.finish();
    }

    /// Sends all messages that are due now.
    async fn send_due(&self, outbox: &mut Outbox) -> Result<(), PublishError> {
        while let Some(message) = outbox.next_due(Instant::now()) {
            match self.dealer.send(message.to_frames(Encoding::MessagePack)).await {
                Ok(()) => {}
                Err(error @ SocketError::SendTimeout { .. }) => {
                    tracing::warn!(%error, "cannot send to the daemon; volumes wait");
                    outbox.not_sent(message);
                    // An announcement that does not fit into the queue would be due again at once.
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn sign_of_life(&mut self) -> Result<(), SocketError> {
        if self.state_kept.elapsed() > KEEP_FRESH {
            self.state_kept = Instant::now();
            if let Err(error) = self.options.state.keep_fresh() {
                tracing::warn!(%error, "the session's state may be lost before the session is over");
            }
        }
        let ping = FromAdapter::Ping.to_frames(Encoding::MessagePack);
        match timeout(HEARTBEAT_TIMEOUT, self.dealer.send(ping)).await {
            // Queue full: the daemon already has unread traffic, so this heartbeat is skipped.
            Err(_) | Ok(Ok(()) | Err(SocketError::SendTimeout { .. })) => Ok(()),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Takes the answers that have arrived, at most as many as the socket's queue holds.
    async fn read_answers(&self, outbox: &mut Outbox) -> Result<(), PublishError> {
        for _ in 0..self.options.limits.recv_hwm {
            match timeout(Duration::ZERO, self.dealer.recv()).await {
                Ok(answer) => take_answer(outbox, &answer?)?,
                Err(_) => break,
            }
        }
        Ok(())
    }
}

/// Adds a run that is over, and logs what became of its volumes.
fn add(report: &mut PublishReport, outbox: &Outbox, n_skipped: u64) {
    let tally = outbox.tally();
    report.n_acked += tally.acked;
    report.n_skipped += n_skipped;
    report.n_resent += tally.resent;
    report.n_lost += tally.lost;
    report.n_unacked += outbox.n_unacked();
    report.n_lost_marks += outbox.n_unsent_marks();
    if outbox.n_unacked() > 0 {
        tracing::warn!(
            in_memory = outbox.n_unacked() - u64::from(outbox.n_on_disk()),
            on_disk = outbox.n_on_disk(),
            "volumes given up: the daemon has not acknowledged them, and no copy of them \
             outlives this run in the adapter"
        );
    }
    if outbox.n_unsent_marks() > 0 {
        tracing::warn!(marks = outbox.n_unsent_marks(), "marks lost: they were never sent");
    }
    tracing::info!(
        acked = tally.acked,
        lost = tally.lost,
        unacked = outbox.n_unacked(),
        resent = tally.resent,
        skipped = n_skipped,
        "run is over"
    );
}

fn take_answer(outbox: &mut Outbox, frames: &[bytes::Bytes]) -> Result<(), RunRefused> {
    match ToAdapter::parse(frames) {
        Ok(answer) => outbox.answer(answer, Instant::now()),
        Err(error) => {
            tracing::warn!(%error, "ignoring an invalid message from the daemon");
            Ok(())
        }
    }
}

/// Waits for an edge of the scanner's triggers; for ever without any.
async fn next_edge(triggers: &mut Option<Triggers>) -> Instant {
    match triggers {
        Some(triggers) => triggers.next().await,
        None => std::future::pending().await,
    }
}

fn heartbeat() -> tokio::time::Interval {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

/// Waits until `stop` is true; waits for ever when its sender is dropped.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
