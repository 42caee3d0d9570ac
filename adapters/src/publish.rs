//! The pump: volumes out of an adapter, onto the wire, until all are acknowledged.
//!
//! The adapter blocks, so it has a thread; a short queue leads from it to the task that owns
//! the socket. What has to be said, and when, is the [`outbox`]'s business; here it meets the
//! socket and the clock.
//!
//! A daemon that is not there costs nothing but room: volumes of a scanner wait in memory, then
//! on disk. Volumes out of a file wait where they are.

pub mod outbox;

use std::time::{Duration, Instant};

use corticast_bold::run::RunHeader;
use corticast_wire::{
    message::{Encoding, FromAdapter, ToAdapter},
    socket::{ClientSecurity, Dealer, Limits, SocketError},
};
use indicatif::ProgressBar;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    adapter::{AcquiredVolume, AdapterError, Event, ScannerAdapter},
    pace::{Deadlines, Pace},
    spill::Spill,
};
use outbox::{Outbox, RESEND_AFTER, RunRefused, SILENCE};

/// Volumes read ahead of the pump.
const READ_AHEAD: usize = 2;
/// How often a sign of life is sent.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A sign of life that finds no room is not worth waiting for.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(50);
/// How often the operator is told that nobody answers.
const REMIND_AFTER: Duration = Duration::from_secs(10);
/// How long a stopped run waits for its last acknowledgements.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Where to, how fast, and how much is kept.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The daemon's endpoint.
    pub endpoint: String,
    /// Our key and the daemon's, off this machine.
    pub security: ClientSecurity,
    /// Limits of the socket.
    pub limits: Limits,
    /// Who sets the pace.
    pub pace: Pace,
    /// Leave out volumes that the daemon says it has: for sources that can be read again.
    pub skip_known: bool,
    /// Unacknowledged volumes kept in memory.
    pub window: usize,
    /// Bytes of further ones kept on disk.
    pub spill_max_bytes: u64,
    /// How long a finished run waits for a daemon that acknowledges nothing, before its volumes
    /// are given up.
    pub patience: Duration,
    /// Acknowledged volumes are counted here.
    pub progress: ProgressBar,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            endpoint: "tcp://127.0.0.1:5560".to_owned(),
            security: ClientSecurity::None,
            limits: Limits::default(),
            pace: Pace::Clock(1.0),
            skip_known: true,
            window: 64,
            spill_max_bytes: 4 << 30,
            patience: Duration::from_secs(60),
            progress: ProgressBar::hidden(),
        }
    }
}

/// What became of the volumes of all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishReport {
    /// Runs that were begun.
    pub n_runs: u32,
    /// Runs that the daemon did not want, and that were passed over.
    pub n_refused: u32,
    /// Volumes acknowledged.
    pub n_acked: u64,
    /// Volumes left out because the daemon had them.
    pub n_skipped: u64,
    /// Volumes sent more than once.
    pub n_resent: u64,
    /// Volumes that the daemon could not use, or for which there was no room.
    pub n_lost: u64,
    /// Volumes that nobody acknowledged to the end.
    pub n_unacked: u64,
}

impl PublishReport {
    /// Whether the daemon has every volume that was acquired.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.n_lost == 0 && self.n_unacked == 0 && self.n_refused == 0
    }
}

/// Why the pump cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The scanner side cannot go on. What it gave before was sent.
    #[error(transparent)]
    Adapter(Box<AdapterError>),
    /// The socket cannot be used.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The daemon does not want a run.
    #[error(transparent)]
    Refused(#[from] RunRefused),
    /// The adapter's thread cannot be started.
    #[error("the adapter's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

impl From<AdapterError> for PublishError {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(error.into())
    }
}

/// What comes out of the adapter's thread.
#[derive(Debug)]
enum Item {
    Run(Box<RunHeader>, Vec<Event>),
    Volume(AcquiredVolume),
    RunOver,
    Failed(AdapterError),
}

/// Sends all runs of an adapter. Ends when there is no further run, or soon after `stop`
/// becomes true. The adapter's thread ends with its next volume; a scanner that is silent can
/// keep it waiting beyond this function.
///
/// # Errors
///
/// Fails when the adapter does, the daemon refuses a run, or the endpoint cannot be. A daemon
/// that does not answer is no error.
pub async fn publish(
    adapter: Box<dyn ScannerAdapter>,
    options: PublishOptions,
    stop: watch::Receiver<bool>,
) -> Result<PublishReport, PublishError> {
    let dealer = Dealer::connect(&options.endpoint, &options.security, &options.limits).await?;
    let (sender, items) = mpsc::channel(READ_AHEAD);
    std::thread::Builder::new()
        .name("scanner".to_owned())
        .spawn(move || read(adapter, &sender))
        .map_err(PublishError::Thread)?;
    let report = PublishReport::default();
    Pump { dealer, options, items, stop, stopping: false, report }.run().await
}

/// Reads the adapter to its end, or until nobody listens any more.
fn read(mut adapter: Box<dyn ScannerAdapter>, sender: &mpsc::Sender<Item>) {
    let mut in_run = false;
    loop {
        let item = if in_run {
            adapter.next_volume().map(|volume| Some(volume.map_or(Item::RunOver, Item::Volume)))
        } else {
            let start = adapter.start_run();
            start.map(|run| run.map(|header| Item::Run(header.into(), adapter.events().to_vec())))
        };
        let item = match item {
            Ok(Some(item)) => item,
            Ok(None) => return,
            Err(error) => Item::Failed(error),
        };
        in_run = !matches!(item, Item::RunOver);
        let failed = matches!(item, Item::Failed(_));
        if sender.blocking_send(item).is_err() || failed {
            return;
        }
    }
}

struct Pump {
    dealer: Dealer,
    options: PublishOptions,
    items: mpsc::Receiver<Item>,
    stop: watch::Receiver<bool>,
    stopping: bool,
    report: PublishReport,
}

impl Pump {
    async fn run(mut self) -> Result<PublishReport, PublishError> {
        let mut heartbeat = heartbeat();
        while !self.stopping {
            tokio::select! {
                item = self.items.recv() => match item {
                    Some(Item::Run(header, events)) => {
                        let sent = self.one_run(*header, events).await;
                        self.or_next_run(sent)?;
                    }
                    Some(Item::Failed(error)) => return Err(error.into()),
                    // The volumes of a run belong to `one_run`.
                    Some(Item::Volume(_) | Item::RunOver) => {}
                    None => break,
                },
                _ = heartbeat.tick() => self.sign_of_life().await?,
                answer = self.dealer.recv() => { answer?; }
                () = stopped(&mut self.stop) => self.stopping = true,
            }
        }
        Ok(self.report)
    }

    /// A scanner goes on scanning: when the daemon does not want a run (another protocol's
    /// series, or one that the operator ended), the rest of it is passed over and the next one
    /// is offered. A file that is refused is an error.
    fn or_next_run(&mut self, sent: Result<(), PublishError>) -> Result<(), PublishError> {
        match sent {
            Err(PublishError::Refused(refused)) if self.options.pace == Pace::Scanner => {
                tracing::warn!("{refused}; the rest of it is passed over");
                self.report.n_refused += 1;
                Ok(())
            }
            other => other,
        }
    }

    /// Sends one run and waits until it is acknowledged.
    async fn one_run(&mut self, header: RunHeader, events: Vec<Event>) -> Result<(), PublishError> {
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
            if outbox.is_over() || self.gives_up(&outbox, over) {
                break;
            }
            let wanted = over.is_none()
                && held.is_none()
                && match self.options.pace {
                    Pace::AsAcknowledged => outbox.is_ready() && outbox.has_room(),
                    // A file does not run away before the daemon is there.
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
                            outbox.push(volume);
                        }
                    }
                    other => {
                        if let Some(Item::Failed(error)) = other {
                            failed = Some(error);
                        }
                        outbox.finish();
                        over = Some(Instant::now());
                    }
                },
                () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    if let Some((_, volume)) = held.take() {
                        outbox.push(volume);
                    }
                }
                _ = heartbeat.tick() => {
                    self.sign_of_life().await?;
                    alarm.look(&outbox, &self.options.endpoint);
                }
                () = stopped(&mut self.stop), if !self.stopping => {
                    tracing::info!("stopping: waiting for the last acknowledgements");
                    self.stopping = true;
                    held = None;
                    outbox.finish();
                    over = Some(Instant::now());
                }
            }
        }

        let tally = outbox.tally();
        self.report.n_acked += tally.acked;
        self.report.n_skipped += n_skipped;
        self.report.n_resent += tally.resent;
        self.report.n_lost += tally.lost;
        self.report.n_unacked += outbox.n_unacked();
        tracing::info!(
            acked = tally.acked,
            lost = tally.lost,
            unacked = outbox.n_unacked(),
            resent = tally.resent,
            skipped = n_skipped,
            "run is over"
        );
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Sends all that is due now.
    async fn send_due(&self, outbox: &mut Outbox) -> Result<(), PublishError> {
        while let Some(message) = outbox.next_due(Instant::now()) {
            match self.dealer.send(message.to_frames(Encoding::MessagePack)).await {
                Ok(()) => {}
                Err(error @ SocketError::SendTimeout { .. }) => {
                    tracing::warn!(%error, "volumes are kept");
                    outbox.not_sent();
                    // An announcement that finds no room would be due again at once.
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn sign_of_life(&self) -> Result<(), SocketError> {
        let ping = FromAdapter::Ping.to_frames(Encoding::MessagePack);
        match timeout(HEARTBEAT_TIMEOUT, self.dealer.send(ping)).await {
            // No room: whoever is there has signs of life enough to read.
            Err(_) | Ok(Ok(()) | Err(SocketError::SendTimeout { .. })) => Ok(()),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Whether a run that is over has waited long enough for a daemon that acknowledges nothing.
    fn gives_up(&self, outbox: &Outbox, over: Option<Instant>) -> bool {
        let Some(over) = over else { return false };
        let quiet_since = outbox.progressed().map_or(over, |progressed| progressed.max(over));
        if self.stopping && over.elapsed() > STOP_WITHIN {
            return true;
        }
        // Nothing is lost without the end: the daemon sees that the adapter has left.
        if outbox.waits_for_end_only() && over.elapsed() > 2 * RESEND_AFTER {
            return quiet_since.elapsed() > SILENCE || over.elapsed() > self.options.patience;
        }
        quiet_since.elapsed() > self.options.patience
    }
}

/// Tells the operator, now and then, that nobody answers.
struct Alarm {
    since: Instant,
    told: Option<Instant>,
}

impl Alarm {
    fn new() -> Self {
        Self { since: Instant::now(), told: None }
    }

    fn look(&mut self, outbox: &Outbox, endpoint: &str) {
        let silent = outbox.is_silent(Instant::now()) && self.since.elapsed() > SILENCE;
        match self.told {
            Some(_) if !silent => {
                tracing::info!(endpoint, "the daemon answers again");
                self.told = None;
            }
            Some(told) if told.elapsed() < REMIND_AFTER => {}
            _ if silent => {
                let kept = outbox.n_unacked();
                tracing::warn!(kept, "no daemon answers at {endpoint}; trying on");
                self.told = Some(Instant::now());
            }
            _ => {}
        }
    }
}

fn take_answer(outbox: &mut Outbox, frames: &[bytes::Bytes]) -> Result<(), RunRefused> {
    match ToAdapter::parse(frames) {
        Ok(answer) => outbox.answer(answer, Instant::now()),
        Err(error) => {
            tracing::warn!(%error, "an answer cannot be read");
            Ok(())
        }
    }
}

fn heartbeat() -> tokio::time::Interval {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

/// Waits until `stop` is true; for ever when nobody can set it any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use corticast_bold::{
        run::RunEntities,
        space::VoxelSpace,
        time::{RepetitionTime, TrIndex},
    };
    use corticast_wire::{
        message::{
            Ack, DaemonPing, Dtype, Durability, Order, PROTOCOL, Ready, RefusalCode, Refused,
        },
        socket::{Router, ServerSecurity},
    };

    use super::*;

    /// A run of volumes with these indices, and one event.
    struct Scanner {
        header: Option<RunHeader>,
        indices: VecDeque<u32>,
    }

    impl Scanner {
        fn of(n: u32) -> Box<Self> {
            let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
            let header = RunHeader {
                session: String::new(),
                entities: RunEntities::checked("01", None, None, None).unwrap(),
                repetition_time: RepetitionTime::from_secs(1.0).unwrap(),
                space: VoxelSpace::new([2, 2, 2], affine).unwrap(),
                n_volumes: Some(n),
                source: "test".into(),
                series_id: "a".into(),
            };
            Box::new(Self { header: Some(header), indices: (0..n).collect() })
        }
    }

    impl ScannerAdapter for Scanner {
        fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
            Ok(self.header.take())
        }

        fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
            Ok(self.indices.pop_front().map(|index| AcquiredVolume {
                index: TrIndex(index),
                acquisition_time_s: None,
                dtype: Dtype::Int16,
                order: Order::C,
                slope: None,
                intercept: None,
                scanner_wall_time: None,
                voxels: vec![0; 16].into(),
            }))
        }
    }

    /// A daemon that acknowledges, and vanishes without a word after `n_volumes`. Returns what
    /// it acknowledged, in order.
    async fn daemon(router: Router, instance: &str, n_volumes: usize) -> Vec<u32> {
        let mut acked = Vec::new();
        let mut known = false;
        let run = || "sub-01".to_owned();
        loop {
            let (peer, frames) = router.recv().await.unwrap();
            let answer = match FromAdapter::parse(&frames).unwrap().0 {
                FromAdapter::Run { .. } => {
                    known = true;
                    ToAdapter::Ready(Ready {
                        protocol: PROTOCOL,
                        run: run(),
                        durability: Durability::None,
                        next_index: 0,
                        instance: instance.to_owned(),
                    })
                }
                FromAdapter::Volume(volume) if !known => ToAdapter::Refused(Refused {
                    run: Some(run()),
                    index: Some(volume.header.index.0),
                    code: RefusalCode::UnknownRun,
                    reason: "no run is open".into(),
                }),
                FromAdapter::Volume(volume) => {
                    if acked.len() == n_volumes {
                        return acked;
                    }
                    acked.push(volume.header.index.0);
                    ToAdapter::Ack(Ack { run: run(), index: Some(volume.header.index.0) })
                }
                FromAdapter::Mark(_) => continue,
                FromAdapter::End(_) => ToAdapter::Ack(Ack { run: run(), index: None }),
                FromAdapter::Ping => ToAdapter::Ping(DaemonPing { instance: instance.to_owned() }),
            };
            let over = matches!(&answer, ToAdapter::Ack(Ack { index: None, .. }));
            router.send(&peer, answer.to_frames(Encoding::MessagePack)).await.unwrap();
            if over {
                // Let the answer leave before the socket closes.
                tokio::time::sleep(Duration::from_millis(200)).await;
                return acked;
            }
        }
    }

    async fn listen(endpoint: &str) -> Router {
        let limits = Limits::default();
        // A port that was just given back may still be taken for a moment.
        for _ in 0..50 {
            if let Ok(router) = Router::bind(endpoint, &ServerSecurity::LoopbackOnly, &limits).await
            {
                return router;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{endpoint} stays taken");
    }

    fn options(router: &Router, pace: Pace) -> PublishOptions {
        let endpoint = router.endpoint().to_owned();
        PublishOptions { endpoint, pace, window: 4, ..PublishOptions::default() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_is_acknowledged_in_order() {
        let router = listen("tcp://127.0.0.1:0").await;
        let options = options(&router, Pace::AsAcknowledged);
        let daemon = tokio::spawn(daemon(router, "a", usize::MAX));
        let (_stop, stopped) = watch::channel(false);
        let report = publish(Scanner::of(300), options, stopped).await.unwrap();
        assert_eq!((report.n_runs, report.n_acked, report.n_lost), (1, 300, 0));
        assert!(report.is_complete());
        assert_eq!(daemon.await.unwrap(), Vec::from_iter(0..300));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_killed_daemon_loses_nothing_that_it_did_not_acknowledge() {
        // An address that no other process uses: nobody takes the port while no daemon listens.
        let [_, a, b, c] = ((std::process::id() << 2) | 2).to_be_bytes();
        let router = listen(&format!("tcp://127.{a}.{b}.{c}:0")).await;
        let endpoint = router.endpoint().to_owned();
        let options = options(&router, Pace::Clock(100.0));
        let daemons = tokio::spawn(async move {
            let before = daemon(router, "a", 20).await;
            let after = daemon(listen(&endpoint).await, "b", usize::MAX).await;
            (before, after)
        });
        let (_stop, stopped) = watch::channel(false);
        let report = publish(Scanner::of(100), options, stopped).await.unwrap();
        let (before, after) = daemons.await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(before, Vec::from_iter(0..20));
        assert!(after.is_sorted() && after.first() <= Some(&20), "{after:?}");
        assert!((20..100).all(|index| after.contains(&index)), "{after:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stop_ends_the_run_after_what_was_sent() {
        let router = listen("tcp://127.0.0.1:0").await;
        let options = options(&router, Pace::Clock(20.0));
        let daemon = tokio::spawn(daemon(router, "a", usize::MAX));
        // The operator stops it once some were acknowledged.
        let progress = options.progress.clone();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            while progress.position() < 5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop.send_replace(true);
        });
        let report = publish(Scanner::of(100_000), options, stopped).await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        // At this pace the run would last more than an hour.
        assert!((5..100_000).contains(&report.n_acked), "{report:?}");
        assert_eq!(daemon.await.unwrap().len() as u64, report.n_acked);
    }

    /// Two runs after another: the daemon does not want the first.
    struct TwoRuns(VecDeque<Box<Scanner>>, Option<Box<Scanner>>);

    impl ScannerAdapter for TwoRuns {
        fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
            self.1 = self.0.pop_front();
            self.1.as_mut().map_or(Ok(None), |run| run.start_run())
        }

        fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
            self.1.as_mut().map_or(Ok(None), |run| run.next_volume())
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_run_that_a_scanner_offers_in_vain_is_passed_over() {
        let router = listen("tcp://127.0.0.1:0").await;
        let options = options(&router, Pace::Scanner);
        let daemon = tokio::spawn(async move {
            let (peer, frames) = loop {
                let (peer, frames) = router.recv().await.unwrap();
                if frames[0].as_ref() == b"run" {
                    break (peer, frames);
                }
            };
            assert!(FromAdapter::parse(&frames).is_ok());
            let refused = ToAdapter::Refused(Refused {
                run: Some("sub-01".to_owned()),
                index: None,
                code: RefusalCode::RunRefused,
                reason: "another matrix".to_owned(),
            });
            router.send(&peer, refused.to_frames(Encoding::MessagePack)).await.unwrap();
            daemon(router, "a", usize::MAX).await
        });
        let (_stop, stopped) = watch::channel(false);
        let runs = TwoRuns(VecDeque::from([Scanner::of(5), Scanner::of(7)]), None);
        let report = publish(Box::new(runs), options, stopped).await.unwrap();
        assert_eq!((report.n_runs, report.n_refused, report.n_acked), (2, 1, 7));
        assert!(!report.is_complete());
        // What waited on disk may be said twice.
        let acked = std::collections::BTreeSet::from_iter(daemon.await.unwrap());
        assert_eq!(acked, (0..7).collect());
    }
}
