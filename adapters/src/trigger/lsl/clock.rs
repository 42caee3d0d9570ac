//! The sender's clock against ours.
//!
//! LSL stamps samples by the sender's monotonic clock. Of a few questions by UDP the one with the
//! shortest way there and back tells the offset, as in liblsl's `time_receiver.cpp`. On one machine
//! there is one clock.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Questions of one measurement.
const QUESTIONS: u32 = 5;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(100);
/// A new measurement is due after this long: clocks drift apart by up to 0.1 ms a second.
const EVERY: Duration = Duration::from_secs(10);

/// See the module docs.
pub(super) struct SenderClock {
    socket: UdpSocket,
    is_ours: bool,
    /// Our clock minus the sender's, in seconds.
    offset_s: f64,
    measured: Instant,
}

/// The monotonic clock, in seconds.
fn now_s() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

impl SenderClock {
    /// A clock that was not compared yet.
    pub(super) fn new(service: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(service)?;
        socket.set_read_timeout(Some(ANSWER))?;
        let is_ours = service.ip().is_loopback() || socket.local_addr()?.ip() == service.ip();
        Ok(Self { socket, is_ours, offset_s: 0.0, measured: Instant::now() })
    }

    /// Our clock minus the sender's, in seconds.
    pub(super) fn offset_s(&self) -> f64 {
        self.offset_s
    }

    /// The moment of a time stamp.
    pub(super) fn instant(&self, stamp_s: f64, now: Instant) -> Instant {
        let ago_s = now_s() - (stamp_s + self.offset_s);
        let shift = Duration::try_from_secs_f64(ago_s.abs()).unwrap_or(Duration::MAX);
        let moved = if ago_s >= 0.0 { now.checked_sub(shift) } else { now.checked_add(shift) };
        // A time before the machine started, or no time at all: as far off as can be said.
        moved.unwrap_or_else(|| now + Duration::from_secs(1 << 32))
    }

    /// Measures the offset again if that is due.
    pub(super) fn measure_if_due(&mut self) {
        if self.measured.elapsed() > EVERY {
            self.measure();
        }
    }

    /// Measures the offset. Keeps the one before when no answer comes.
    pub(super) fn measure(&mut self) {
        self.measured = Instant::now();
        if self.is_ours {
            return;
        }
        let found = (0..QUESTIONS).filter_map(|wave| self.ask(wave));
        if let Some((_, offset_s)) = found.min_by(|a, b| a.0.total_cmp(&b.0)) {
            self.offset_s = offset_s;
        }
    }

    /// One question: time there and back, and the offset, in seconds.
    fn ask(&self, wave: u32) -> Option<(f64, f64)> {
        let question = format!("LSL:timedata\r\n{wave} {:.9}\r\n", now_s());
        self.socket.send(question.as_bytes()).ok()?;
        let mut answer = [0; 512];
        let n = self.socket.recv(&mut answer).ok()?;
        offset(std::str::from_utf8(&answer[..n]).ok()?, wave, now_s())
    }
}

/// Reads an answer that arrived at `now_s`: the question's number and time, when it arrived there,
/// and when it was answered. Returns the time there and back, and our clock minus theirs.
fn offset(answer: &str, wave: u32, now_s: f64) -> Option<(f64, f64)> {
    let mut words = answer.split_whitespace();
    if words.next()?.parse() != Ok(wave) {
        return None;
    }
    let mut time = || words.next()?.parse::<f64>().ok().filter(|time| time.is_finite());
    let (asked, arrived, answered) = (time()?, time()?, time()?);
    let round_trip = (now_s - asked) - (answered - arrived);
    Some((round_trip, ((asked - arrived) + (now_s - answered)) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_half_the_difference_of_both_ways() {
        // Theirs is 100 s behind; the way there takes 3 s, the answer 2 s, the way back 1 s. Nobody
        // can tell the two ways apart: half their difference is the error.
        let (round_trip, offset_s) = offset(" 4 1000 903 905", 4, 1006.0).unwrap();
        assert!((round_trip - 4.0).abs() < 1e-9 && (offset_s - 99.0).abs() < 1e-9);
        assert_eq!(offset("5 1 2 3", 4, 4.0), None);
        assert_eq!(offset("4 1 NaN 3", 4, 4.0), None);
        assert_eq!(offset("", 4, 4.0), None);
    }

    #[test]
    fn a_stamp_becomes_a_moment_of_this_machine() {
        let mut clock = SenderClock::new(SocketAddr::from(([127, 0, 0, 1], 9))).unwrap();
        clock.measure();
        let now = Instant::now();
        let at = clock.instant(now_s() - 2.0, now);
        let ago = now.saturating_duration_since(at).as_secs_f64();
        assert!((ago - 2.0).abs() < 0.5, "{ago}");
        for stamp_s in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            assert!(clock.instant(stamp_s, now) > now + Duration::from_secs(100), "{stamp_s}");
        }
    }
}
