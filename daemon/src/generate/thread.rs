//! The generator thread: takes the newest conditions, makes a clip and publishes it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use corticast_models::error::ModelError;
use corticast_wire::heartbeat::HEARTBEAT;

use super::{
    failures::{Failures, status},
    maker::{ClipError, ClipMaker},
    pace::Pace,
};
use crate::{
    clock::monotonic_ns,
    config::generator::WhenSuperseded,
    failpoint,
    metrics::Metrics,
    product::{Product, results::ConditionsReport},
    queue::latest::Newest,
    supervise::Guard,
};

/// How long an unfinished clip may take once the session is over.
const LAST_CLIP: Duration = Duration::from_secs(5);
/// Under contention the generator gets about a tenth of the signal thread's CPU share.
const NICENESS: i32 = 10;

/// Starts the thread. It ends when the mailbox is closed; an unfinished clip then gets
/// 5 s more. Needs a tokio runtime to wait for the mailbox.
///
/// # Errors
///
/// Fails when the operating system cannot start a thread.
pub fn start(
    mut maker: ClipMaker,
    pace: Pace,
    newest: Newest<ConditionsReport>,
    metrics: Metrics,
    out: impl Fn(Product) + Send + Sync + 'static,
    guard: Guard,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Handle::current();
    let out = Arc::new(out);
    let clip = Arc::new(UnderWay::default());
    runtime.spawn(watch(Arc::downgrade(&clip), pace, Arc::clone(&out)));
    let out = move |product| out(product);
    std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
        // Dropped by a panic, too.
        let guard = guard;
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "cannot lower the priority of the generator thread");
        }
        let mut failures = Failures::default();
        let (mut was_aborted, mut n_before) = (false, 0);
        while let Some((conditions, n_superseded)) = runtime.block_on(newest.take()) {
            failpoint::point("generator");
            let started = Instant::now();
            let n_superseded = n_before + n_superseded;
            let mut closed_at = None;
            let may_abort = pace.when_superseded == WhenSuperseded::Abort && !was_aborted;
            clip.start();
            let made = maker.make(&conditions, |_| {
                if newest.is_closed() {
                    return closed_at.get_or_insert_with(Instant::now).elapsed() < LAST_CLIP;
                }
                !(may_abort && newest.is_waiting())
            });
            clip.end();
            (was_aborted, n_before) = (false, n_superseded);
            match made {
                Ok(Some(made)) => {
                    n_before = 0;
                    failures.end();
                    let tr_s = maker.plan().repetition_time_s;
                    let report =
                        made.into_report(&conditions, n_superseded, tr_s, None, monotonic_ns());
                    metrics.clip(&report);
                    out(Product::Clip(report));
                }
                Ok(None) => metrics.clips_skipped.increment(1),
                Err(ClipError::Model(ModelError::Cancelled)) => {
                    was_aborted = true;
                    n_before += 1;
                    metrics.conditions_superseded.increment(1);
                }
                Err(error) => {
                    metrics.clips_failed.increment(1);
                    let gave_up = matches!(error, ClipError::Model(ModelError::Run(_)));
                    failures.fail(format!("{}: {error}", conditions.index), &out);
                    if gave_up && !go_on_still(&mut maker, &out) {
                        guard.has_ended_well();
                        return;
                    }
                }
            }
            // The wait ends early when the session does.
            let left = pace.min_interval.saturating_sub(started.elapsed());
            runtime.block_on(newest.closed_or(left));
        }
    })
}

/// The clip that is being made, for the task that watches how long it takes.
#[derive(Default)]
struct UnderWay(Mutex<Times>);

#[derive(Default)]
struct Times {
    since: Option<Instant>,
    is_alarmed: bool,
    /// Average time per clip in seconds; 0 before the first.
    average_s: f64,
}

impl UnderWay {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) {
        let mut times = self.times();
        (times.since, times.is_alarmed) = (Some(Instant::now()), false);
    }

    fn end(&self) {
        let mut times = self.times();
        let Some(since) = times.since.take() else { return };
        let took_s = since.elapsed().as_secs_f64();
        let before = if times.average_s > 0.0 { times.average_s } else { took_s };
        times.average_s = before + 0.3 * (took_s - before);
    }

    /// How long a clip has taken, if it has just become overdue.
    fn newly_overdue(&self, pace: &Pace) -> Option<Duration> {
        let mut times = self.times();
        let took = times.since?.elapsed();
        let is_overdue = took > pace.deadline(times.average_s);
        (is_overdue && !std::mem::replace(&mut times.is_alarmed, is_overdue)).then_some(took)
    }
}

/// Raises an alarm when a clip takes too long. The thread that makes it cannot be interrupted.
async fn watch(clip: Weak<UnderWay>, pace: Pace, out: Arc<impl Fn(Product)>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let Some(clip) = clip.upgrade() else { return };
        if let Some(took) = clip.newly_overdue(&pace) {
            let message = format!(
                "the generator has not finished a clip in {:.0} s, so there are no new clips; \
                 decoding continues; check its device, and restart the daemon after the run",
                took.as_secs_f64()
            );
            status("alarm", message, &*out);
        }
    }
}

/// Falls back to blurry frames. Returns `false` if the thread has to end.
fn go_on_still(maker: &mut ClipMaker, out: &impl Fn(Product)) -> bool {
    match maker.fall_back_to_still() {
        Ok(true) => {
            let message = "the generator continues with blurry frames (mode `still`) until the \
                           daemon is restarted; decoding is not affected";
            status("alarm", message.to_owned(), out);
            true
        }
        Ok(false) => true,
        Err(error) => {
            let message = format!("no clips until the daemon is restarted: {error}");
            status("alarm", message, out);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::mpsc};

    use corticast_bold::time::TrIndex;
    use corticast_models::{conditions::Conditions, manifest::Manifest};
    use metrics::Counter;

    use super::*;
    use crate::{
        plan::clips::ClipPlan,
        product::{clips::ClipReport, tensors::to_safetensors},
        queue::latest::latest,
    };

    /// A maker whose clips take three steps.
    fn maker() -> ClipMaker {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo");
        let config =
            format!("mode = \"live\"\ndir = {:?}\nsteps = 3\ndevice = \"cpu\"", demo.join("video"));
        let model = Manifest::read(&demo).unwrap();
        let plan = ClipPlan::make(&toml::from_str(&config).unwrap(), &model).unwrap().unwrap();
        ClipMaker::open(plan).unwrap()
    }

    fn conditions(maker: &ClipMaker, index: u32) -> ConditionsReport {
        let blank = Conditions::blank(maker.plan().model.sizes);
        ConditionsReport {
            run: "sub-01".into(),
            index: TrIndex(index),
            stimulus_time_s: f64::from(index),
            received_ns: 0,
            published_ns: 0,
            blanked: false,
            tensors: to_safetensors(&blank, "sub-01", index, f64::from(index)),
        }
    }

    /// The clips made from conditions 1, 2 and 3. Each arrives while the clip before is made.
    fn clips(when_superseded: WhenSuperseded, n_expected: usize) -> Vec<ClipReport> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.unwrap();
        let _inside = runtime.enter();
        let maker = maker();
        let [first, second, third] = [1, 2, 3].map(|index| conditions(&maker, index));
        let (mailbox, newest) = latest(Counter::noop());
        let (out, made) = mpsc::sync_channel(8);
        let pace = Pace { when_superseded, min_interval: Duration::ZERO, clip_deadline: None };
        let guard = crate::supervise::Supervisor::new().0.guard("generator");
        let thread = start(
            maker,
            pace,
            newest,
            Metrics::new(),
            move |product| {
                if let Product::Clip(clip) = product {
                    out.send(clip).unwrap();
                }
            },
            guard,
        )
        .unwrap();
        mailbox.put_when_taken(second);
        mailbox.put_when_taken(third);
        mailbox.put(first);
        // A clip that is being made when the mailbox is closed gets only a few more seconds.
        let patience = Duration::from_secs(600);
        let mut clips: Vec<_> =
            (0..n_expected).map(|_| made.recv_timeout(patience).unwrap()).collect();
        drop(mailbox);
        thread.join().unwrap();
        clips.extend(made);
        clips
    }

    #[test]
    fn newer_conditions_let_the_current_clip_finish() {
        let clips = clips(WhenSuperseded::Finish, 3);
        let said: Vec<_> = clips.iter().map(|clip| (clip.index.0, clip.superseded)).collect();
        assert_eq!(said, [(1, 0), (2, 0), (3, 0)]);
    }

    #[test]
    fn newer_conditions_abort_a_clip_between_steps_but_never_two_in_a_row() {
        let clips = clips(WhenSuperseded::Abort, 2);
        let said: Vec<_> = clips.iter().map(|clip| (clip.index.0, clip.superseded)).collect();
        assert_eq!(said, [(2, 1), (3, 0)]);
        assert!(clips.iter().all(|clip| clip.steps == 3 && clip.n_frame == 16));
    }
}
