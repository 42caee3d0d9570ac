//! Keeps a warning that comes again and again from filling the log: after [`MAX_LINES`] lines
//! within [`PERIOD`], further ones are counted, and the count is logged as one line.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one warning within a period.
const MAX_LINES: u64 = 5;
/// Length of a period.
pub const PERIOD: Duration = Duration::from_secs(10);

/// One place in the code that warns.
struct Place {
    begun: Instant,
    n: u64,
    /// The first words of its warning, without values.
    message: String,
}

/// A filter for the log. Clones share their counts.
#[derive(Clone, Default)]
pub struct Repeated(Arc<Mutex<HashMap<Identifier, Place>>>);

impl Repeated {
    /// Logs how often warnings were left out in periods that are over; with `all`, in all.
    pub fn report(&self, all: bool) {
        let now = Instant::now();
        let mut left_out = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, place| {
            let is_over = all || now.saturating_duration_since(place.begun) >= PERIOD;
            if is_over && place.n > MAX_LINES {
                left_out.push((std::mem::take(&mut place.message), place.n - MAX_LINES));
            }
            !is_over
        });
        for (message, n) in left_out {
            // Its own place in the code, and at another level, so it is never left out itself.
            tracing::info!("repeated {n} times more: {message}");
        }
    }

    /// Whether this warning is logged.
    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(event.metadata().callsite()).or_insert_with(|| {
            let mut message = Message(String::new());
            event.record(&mut message);
            Place { begun: now, n: 0, message: message.0 }
        });
        place.n += 1;
        place.n <= MAX_LINES
    }
}

impl<S: Subscriber> Filter<S> for Repeated {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        *event.metadata().level() != Level::WARN || self.admits(event, Instant::now())
    }
}

/// Takes the message out of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_of_one_warning_is_a_few_lines_and_a_count() {
        let (log, repeated) = (Log::default(), Repeated::default());
        let writer = log.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(repeated.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for index in 0..1000 {
                tracing::warn!(index, "volume lost");
            }
            tracing::warn!("another");
            repeated.report(false);
            repeated.report(true);
            tracing::warn!("volume lost");
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), MAX_LINES as usize + 3, "{log}");
        assert!(lines.iter().any(|line| line.contains("repeated 995 times more: volume lost")));
        assert!(log.contains("another"));
    }
}
