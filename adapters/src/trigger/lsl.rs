//! Triggers as samples of a stream of the Lab Streaming Layer: an inlet of protocol 1.10.
//!
//! A stream is searched for by its name, on this machine and on the network it is connected to, and
//! searched for again when it is gone. A sample counts at its time stamp, corrected by the offset of
//! the sender's clock, as liblsl does it. Samples of every format are read, text and numbers.
//!
//! Sources: `resolver_impl.cpp`, `data_receiver.cpp`, `time_receiver.cpp`, `sample.cpp` of liblsl;
//! the daemon's outlet (`daemon/src/outputs/sinks/lsl.rs`).

mod clock;
mod resolve;
mod stream;

use std::{
    io,
    time::{Duration, Instant},
};

use self::{clock::SenderClock, resolve::Found, stream::Inlet};
use super::Edges;

/// How long one search takes.
const SEARCH: Duration = Duration::from_secs(1);
/// After so long without the stream the operator is told.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// A time stamp further than this from the arrival is of another clock.
const PLAUSIBLE: Duration = Duration::from_secs(5);

/// What reads the stream `name`; samples whose first channel is `value` are triggers, or all are.
pub(super) fn open(
    name: String,
    value: Option<String>,
) -> io::Result<Box<dyn FnOnce(Edges) + Send>> {
    if name.contains(['\'', '"', '\n', '\r']) || name.len() > 256 {
        let text = "the name of an LSL stream has at most 256 characters, without quotes";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let socket = resolve::socket()?;
    Ok(Box::new(move |mut edges| {
        while !edges.is_closed() {
            let Some(found) = search(&socket, &name, &edges) else { return };
            match listen(&found, value.as_deref(), &mut edges) {
                Ok(()) => return,
                Err(error) => tracing::error!(
                    "the LSL stream {name:?} is gone ({error}): volumes go on without triggers; it \
                     is searched for"
                ),
            }
            std::thread::park_timeout(SEARCH);
        }
    }))
}

/// Searches until the stream is found or nobody listens any more.
fn search(socket: &std::net::UdpSocket, name: &str, edges: &Edges) -> Option<Found> {
    let (started, mut is_told) = (Instant::now(), false);
    while !edges.is_closed() {
        if let Some(found) = resolve::search(socket, name, SEARCH) {
            return Some(found);
        }
        if !is_told && started.elapsed() > TELL_AFTER {
            is_told = true;
            tracing::warn!(
                "no LSL stream is named {name:?}: start the program that sends it, and let its \
                 machine and UDP port 16571 be reached from here; still searching"
            );
        }
    }
    None
}

/// Takes samples until the stream is gone (an error) or nobody listens any more.
fn listen(found: &Found, value: Option<&str>, edges: &mut Edges) -> io::Result<()> {
    let mut inlet = Inlet::connect(found)?;
    let mut clock = SenderClock::new(found.service)?;
    clock.measure();
    tracing::info!(
        address = %found.data, format = found.format.name(), channels = found.n_channel,
        offset_s = clock.offset_s(), "the LSL stream is connected"
    );
    let mut is_told = false;
    loop {
        if edges.is_closed() {
            return Ok(());
        }
        // Between samples, so that a sample never waits for it.
        let Some(sample) = inlet.next()? else {
            clock.measure_if_due();
            continue;
        };
        if value.is_some_and(|value| !sample.is(value)) {
            continue;
        }
        let now = Instant::now();
        let at = match sample.stamp_s.map(|stamp_s| clock.instant(stamp_s, now)) {
            Some(at) if distance(at, now) <= PLAUSIBLE => at.min(now),
            Some(at) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        "a time stamp of the LSL stream is {:.1} s from its arrival: the times of \
                         arrival are used",
                        distance(at, now).as_secs_f64()
                    );
                }
                now
            }
            None => now,
        };
        if !edges.push(at) {
            return Ok(());
        }
    }
}

/// Reads an answer to a search, as the adapter does. Returns the number of channels.
///
/// # Errors
///
/// Fails when the adapter would not connect to such a stream. The text says why.
pub fn read_description(bytes: &[u8]) -> Result<usize, String> {
    let from = std::net::Ipv4Addr::LOCALHOST.into();
    resolve::description(bytes, 7, from, "Markers").map(|found| found.n_channel)
}

/// Reads a stream of two channels of this format, as the adapter does. Returns the number of samples.
///
/// # Errors
///
/// Fails when the format is unknown or the stream does not begin as one.
pub fn read_samples(format: &str, bytes: &[u8]) -> Result<usize, String> {
    let format = stream::Format::named(format).ok_or("found an unknown format")?;
    let samples = stream::Samples::begin(bytes, format, 2).map_err(|error| error.to_string())?;
    let mut samples = samples;
    Ok(std::iter::from_fn(|| samples.sample().ok()).count())
}

fn distance(a: Instant, b: Instant) -> Duration {
    a.saturating_duration_since(b).max(b.saturating_duration_since(a))
}
