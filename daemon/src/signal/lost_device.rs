//! What happens when the device of the model is lost.
//!
//! A model that fails on one window may succeed on the next, so a failed window costs only itself.
//! If ONNX Runtime itself fails on [`LIMIT`] windows in a row, the device counts as lost, because
//! the remaining windows of the session would fail in the same way:
//!
//! ```text
//! works ──LIMIT failures──► reopening on the CPU ──a window fits the TR──► works, on the CPU
//!                                   └──does not open, or takes too long──► stopped
//! ```
//!
//! The networks are opened by a thread of their own, since large ones take minutes. Meanwhile, and
//! after a stop, windows are not decoded and count as dropped; recording and quality reports go
//! on. The networks are opened again once a session. If they fail in a row on the CPU too, or ran
//! there from the start and fail again, decoding stops.
//!
//! Every step is an alarm, which the recording holds too. The one at the change names the first
//! volume that the CPU decoded, since its results can differ in their last bits.

use std::{
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
    time::Instant,
};

use corticast_bold::{
    state::{Loader, Saver},
    volume::Window,
};
use corticast_models::{
    decoder::Decoder,
    error::ModelError,
    readout::{Readouts, Watch},
};

/// Failures of ONNX Runtime in a row after which the device counts as lost. One or two can be a
/// window's own; more only delay the answer by a TR each.
pub const LIMIT: u32 = 3;

/// Opens the networks of the model again, on the CPU.
pub type Reopen = Box<dyn FnOnce() -> Result<Decoder, ModelError> + Send>;

/// The model of a session, and what is done when it fails. See the module docs.
pub(super) struct Decoding {
    state: State,
    reopen: Option<Reopen>,
    alarm: Option<String>,
}

enum State {
    NoModel,
    Works { decoder: Box<Decoder>, n_failed: u32 },
    Reopening { opened: Receiver<Result<Box<Decoder>, String>>, before: String },
    Stopped,
}

/// Why a window has no readouts.
#[derive(Debug, thiserror::Error)]
pub enum NotDecoded {
    /// The model failed.
    #[error("the model failed on this window: {0}")]
    Failed(#[from] ModelError),
    /// The networks are being opened again.
    #[error("the model's networks are being opened again on the CPU")]
    Reopening,
    /// The model failed for good.
    #[error("decoding has stopped")]
    Stopped,
}

impl Decoding {
    pub(super) fn new(decoder: Option<Decoder>, reopen: Option<Reopen>) -> Self {
        let works = |decoder| State::Works { decoder: Box::new(decoder), n_failed: 0 };
        Self { state: decoder.map_or(State::NoModel, works), reopen, alarm: None }
    }

    /// Whether there is a model.
    pub(super) fn has_model(&self) -> bool {
        !matches!(self.state, State::NoModel)
    }

    /// Where windows are decoded: `cpu`, `cuda` or `none`.
    pub(super) fn provider(&self) -> &'static str {
        match &self.state {
            State::Works { decoder, .. } => decoder.provider().name(),
            State::NoModel | State::Reopening { .. } | State::Stopped => "none",
        }
    }

    /// What the operator has to be told since the last call.
    pub(super) fn take_alarm(&mut self) -> Option<String> {
        self.alarm.take()
    }

    /// Whether the result of a window depends on the windows before it.
    pub(super) fn has_memory(&self) -> bool {
        matches!(&self.state, State::Works { decoder, .. } if decoder.has_memory())
    }

    /// Forgets the previous run.
    pub(super) fn start_run(&mut self) {
        if let State::Works { decoder, .. } = &mut self.state {
            decoder.start_run();
        }
    }

    /// Adds what the model remembers of the run to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        to.u32(u32::from(self.has_memory()));
        if let State::Works { decoder, .. } = &self.state {
            decoder.save(to);
        }
    }

    /// Takes what the model remembers from a checkpoint. `None` when the bytes do not fit; then
    /// nothing has changed.
    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        match (&mut self.state, from.u32()?) {
            (State::Works { decoder, .. }, 1) => decoder.load(from),
            (_, 0) => {
                self.start_run();
                Some(())
            }
            _ => None,
        }
    }

    /// The model's readouts of a window; `None` without a model.
    pub(super) fn decode(
        &mut self,
        window: &Window,
        watch: &mut dyn Watch,
    ) -> Result<Option<Readouts>, NotDecoded> {
        self.take_opened(window);
        match &mut self.state {
            State::NoModel => Ok(None),
            State::Reopening { .. } => Err(NotDecoded::Reopening),
            State::Stopped => Err(NotDecoded::Stopped),
            State::Works { decoder, n_failed } => {
                let error = match decoder.decode(window, watch) {
                    Ok(readouts) => {
                        *n_failed = 0;
                        return Ok(Some(readouts));
                    }
                    Err(error) => error,
                };
                // Other errors are those of the window or of the model's numbers.
                *n_failed = if matches!(error, ModelError::Run(_)) { *n_failed + 1 } else { 0 };
                if *n_failed >= LIMIT {
                    let before = decoder.provider().to_string();
                    self.give_up(before, &error);
                }
                Err(error.into())
            }
        }
    }

    fn give_up(&mut self, before: String, error: &ModelError) {
        let what = format!("the model failed on {LIMIT} windows in a row on `{before}`: {error}");
        let Some(reopen) = self.reopen.take() else {
            return self.stop(&what);
        };
        let (send, opened) = sync_channel(1);
        let reopening = thread::Builder::new().name("reopen".to_owned());
        let started = reopening.spawn(move || {
            let opened = open_and_time(reopen);
            // Nobody waits when the session has ended.
            drop(send.send(opened));
        });
        if let Err(error) = started {
            return self.stop(&format!("{what}; no thread could be started: {error}"));
        }
        self.alarm = Some(format!(
            "{what}; its networks are being opened again on the CPU, and until then no window is \
             decoded. Recording goes on"
        ));
        self.state = State::Reopening { opened, before };
    }

    /// Takes the networks over that were opened again, if they are ready.
    fn take_opened(&mut self, window: &Window) {
        let State::Reopening { opened, before } = &self.state else { return };
        match opened.try_recv() {
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.stop("opening the networks again failed"),
            Ok(Err(reason)) => self.stop(&reason),
            Ok(Ok(mut decoder)) => {
                // It was tried on windows that belong to no run.
                decoder.start_run();
                self.alarm = Some(format!(
                    "the model's networks were opened again on the CPU: results from {} on come \
                     from `{}`, those before from `{before}`",
                    window.tr,
                    decoder.provider()
                ));
                self.state = State::Works { decoder, n_failed: 0 };
            }
        }
    }

    fn stop(&mut self, reason: &str) {
        self.alarm = Some(format!(
            "decoding has stopped: {reason}. Recording goes on; to decode again, repair the device \
             and restart the daemon with the same recording"
        ));
        self.state = State::Stopped;
    }
}

/// Opens the networks and checks that a window takes less than a TR.
fn open_and_time(reopen: Reopen) -> Result<Box<Decoder>, String> {
    let mut decoder =
        reopen().map_err(|error| format!("the model does not open on the CPU: {error}"))?;
    let window = decoder.manifest().zeros();
    let failed = |error| format!("the model fails on the CPU too: {error}");
    // The first window may be slower than the others.
    decoder.decode(&window, &mut ()).map_err(failed)?;
    let started = Instant::now();
    decoder.decode(&window, &mut ()).map_err(failed)?;
    let took_s = started.elapsed().as_secs_f64();
    let tr_s = decoder.manifest().signal.repetition_time.as_secs();
    if took_s > tr_s {
        return Err(format!("on the CPU a window takes {took_s:.2} s, and the TR is {tr_s} s"));
    }
    Ok(Box::new(decoder))
}
