//! The repetition time of a series: what the header states, if it can be believed, or what the
//! scanner's clock says.
//!
//! The header may hold the time of a shot or of a slice, or nothing. It is believed unless it is
//! shorter than its slices take. The clock is that of the acquisition times of the first volumes.

use corticast_bold::time::RepetitionTime;

/// A shorter repetition time is believed only if the clock keeps it, in seconds.
const SHORTEST_S: f64 = 0.1;
/// How far header and clock may differ, as a part of the repetition time.
const TOLERANCE: f64 = 0.02;

/// Whether a repetition time is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is known.
    Known(RepetitionTime),
    /// It is the clock's, because the header's cannot be believed for this reason.
    OfClock(RepetitionTime, String),
    /// One more volume is needed, because the header's cannot be believed for this reason.
    Unknown(String),
}

/// Decides which repetition time a series has.
///
/// `wanted` is the operator's, `stated_s` the header's, `slice_times_s` those of the first volume,
/// `clock_s` the time between volumes by the scanner's clock.
#[must_use]
pub fn repetition_time(
    wanted: Option<RepetitionTime>,
    stated_s: Option<f64>,
    slice_times_s: &[f64],
    clock_s: Option<f64>,
) -> Verdict {
    if let Some(wanted) = wanted {
        return Verdict::Known(wanted);
    }
    let stated = stated_s.and_then(|stated| RepetitionTime::from_secs(stated).ok());
    let last_slice_s = slice_times_s.iter().copied().fold(0.0, f64::max);
    let doubt = match (stated, stated_s) {
        (Some(stated), _) if stated.as_secs() <= last_slice_s => {
            format!("is {stated}, but the last slice starts {last_slice_s} s after the first")
        }
        (Some(stated), _) if stated.as_secs() < SHORTEST_S => {
            format!("is {stated}, which is a slice's or a shot's")
        }
        (Some(stated), _) => return Verdict::Known(stated),
        (None, Some(stated)) => format!("is {stated} s, expected more than 0 and at most 60 s"),
        (None, None) => "is missing".to_owned(),
    };
    let clock = clock_s.and_then(|clock_s| RepetitionTime::from_secs(clock_s).ok());
    match (clock, stated) {
        (Some(clock), Some(stated)) if agree(clock.as_secs(), stated.as_secs()) => {
            Verdict::Known(stated)
        }
        (Some(clock), _) => Verdict::OfClock(clock, doubt),
        (None, _) => Verdict::Unknown(doubt),
    }
}

/// Whether two times between volumes are the same.
#[must_use]
pub fn agree(a_s: f64, b_s: f64) -> bool {
    (a_s - b_s).abs() <= TOLERANCE * b_s.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tr(seconds: f64) -> RepetitionTime {
        RepetitionTime::from_secs(seconds).unwrap()
    }

    #[test]
    fn the_header_is_believed_unless_its_slices_take_longer() {
        let known = |stated, slices: &[f64], clock| repetition_time(None, stated, slices, clock);
        assert_eq!(known(Some(1.5), &[0.0, 1.4], None), Verdict::Known(tr(1.5)));
        assert!(matches!(known(Some(1.0), &[0.0, 1.4], None), Verdict::Unknown(_)));
        assert!(
            matches!(known(Some(0.065), &[], Some(2.08)), Verdict::OfClock(t, _) if t == tr(2.08))
        );
        assert_eq!(known(Some(0.065), &[], Some(0.0651)), Verdict::Known(tr(0.065)));
        assert!(matches!(known(None, &[], Some(2.0)), Verdict::OfClock(t, _) if t == tr(2.0)));
        assert!(matches!(known(Some(-1.0), &[], None), Verdict::Unknown(_)));
        assert_eq!(repetition_time(Some(tr(2.0)), None, &[], None), Verdict::Known(tr(2.0)));
    }
}
