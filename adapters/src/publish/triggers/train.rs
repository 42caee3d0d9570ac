//! The train of triggers that a run begins with.
//!
//! Triggers come before their run is known: a run opens when its first volume is complete. Of the
//! edges that wait, those that are on one beat with the newest ones are the run's. A key that
//! somebody pressed before is not on it.

/// A train ends where nothing came for this many beats.
pub(super) const GAP_BEATS: f64 = 3.5;
/// How far an edge may be from the beat, as a part of it.
pub(super) const OFF_BEAT: f64 = 0.1;
/// Triggers that come more often than this part of the repetition time are those of slices.
const SLICES_BELOW: f64 = 0.7;
/// Edges from which the distance of triggers is taken.
const NEWEST: usize = 256;
/// Edges that are tried as the one that the others are on beat with.
const TRIED: usize = 8;

/// What comes of the edges that wait.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Train {
    /// Positions of the edges of the train, ascending. The first one is of its first volume.
    pub(super) edges: Vec<usize>,
    /// Time between the triggers of two volumes, in seconds.
    pub(super) beat_s: f64,
    /// Time between the triggers of two slices, in seconds; `None` with one trigger a volume.
    pub(super) slice_s: Option<f64>,
}

/// Finds the train in edges, which are in order of time, in seconds. `None` without edges.
pub(super) fn find(edges: &[f64], repetition_s: f64) -> Option<Train> {
    let newest = &edges[edges.len().saturating_sub(NEWEST)..];
    let typical_s = typical(newest);
    if let Some(slice_s) = typical_s.filter(|typical| *typical < SLICES_BELOW * repetition_s) {
        // A pause between volumes may be longer than that between slices.
        let is_gap = |pair: &[f64]| pair[1] - pair[0] > 1.5 * repetition_s;
        let start = edges.windows(2).rposition(is_gap).map_or(0, |at| at + 1);
        let edges = (start..edges.len()).collect();
        return Some(Train { edges, beat_s: repetition_s, slice_s: Some(slice_s) });
    }
    // A header may state another repetition time than the scanner keeps.
    let beat_s = typical_s.filter(|typical| *typical < repetition_s / SLICES_BELOW);
    let beat_s = beat_s.unwrap_or(repetition_s);
    let last = edges.len().checked_sub(1)?;
    let trains = (0..=last).rev().take(TRIED).map(|anchor| back_from(edges, anchor, beat_s));
    // The longest; of equals the one that ends latest.
    let edges = trains.reduce(|a, b| if b.len() > a.len() { b } else { a })?;
    Some(Train { edges, beat_s, slice_s: None })
}

/// The edges on one beat with this one, back to a gap.
fn back_from(edges: &[f64], anchor: usize, beat_s: f64) -> Vec<usize> {
    let mut found = vec![anchor];
    let mut later = edges[anchor];
    for at in (0..anchor).rev() {
        let beats = (later - edges[at]) / beat_s;
        if beats > GAP_BEATS {
            break;
        }
        if beats > 0.5 && (beats - beats.round()).abs() <= OFF_BEAT {
            found.push(at);
            later = edges[at];
        }
    }
    found.reverse();
    found
}

/// The usual time between edges: the median, if most are close to it.
fn typical(edges: &[f64]) -> Option<f64> {
    let mut steps: Vec<f64> = edges.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if steps.len() < 4 {
        return None;
    }
    steps.sort_by(f64::total_cmp);
    let median = steps[steps.len() / 2];
    let n_close = steps.iter().filter(|step| (*step - median).abs() <= OFF_BEAT * median).count();
    (2 * n_close > steps.len()).then_some(median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(from_s: f64, n: u32, beat_s: f64) -> Vec<f64> {
        (0..n).map(|at| from_s + f64::from(at) * beat_s).collect()
    }

    #[test]
    fn a_key_pressed_before_the_scan_is_not_of_its_train() {
        let edges = [vec![0.0, 7.3], beats(10.0, 3, 2.0)].concat();
        let train = find(&edges, 2.0).unwrap();
        assert_eq!((train.edges, train.slice_s), (vec![2, 3, 4], None));
        // One that is pressed while the scan runs neither, even if it is the newest.
        let train = find(&[10.0, 12.0, 12.7, 14.0, 14.9], 2.0).unwrap();
        assert_eq!(train.edges, [0, 1, 3]);
        // One that was missed leaves the train whole.
        assert_eq!(find(&[10.0, 12.0, 16.0], 2.0).unwrap().edges, [0, 1, 2]);
        assert_eq!(find(&[], 2.0), None);
        assert_eq!(find(&[3.0], 2.0).unwrap().edges, [0]);
    }

    #[test]
    fn triggers_of_slices_are_known_by_their_rate() {
        let train = find(&[vec![0.0], beats(60.0, 80, 0.0625)].concat(), 2.0).unwrap();
        assert_eq!(train.edges, Vec::from_iter(1..81));
        assert!(
            (train.slice_s.unwrap() - 0.0625).abs() < 1e-9
                && train.beat_s.to_bits() == 2.0_f64.to_bits()
        );
    }

    #[test]
    fn triggers_keep_their_own_beat_if_the_header_states_another() {
        let train = find(&beats(5.0, 6, 2.2), 2.0).unwrap();
        assert!((train.beat_s - 2.2).abs() < 1e-9 && train.edges.len() == 6, "{train:?}");
    }
}
