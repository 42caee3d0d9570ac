//! Interpolated frames, and which of a clip's frames are shown.
//!
//! A decoder gives fewer blurry frames than the networks take, so two frames are mixed in between
//! each pair, with the weights of NEURONS (`cccat` in its `neuroclips_video_enhance.py`),
//! literally 0.67 and 0.33.

/// Weight of the nearer frame.
const NEAR: f32 = 0.67;
/// Weight of the farther frame.
const FAR: f32 = 0.33;

/// Number of frames after mixing: `n` frames and two between each pair.
#[must_use]
pub fn n_between(n: usize) -> usize {
    (3 * n).saturating_sub(2)
}

/// Mixes two frames between each pair of frames, shape `[n_frame, …]` with `frame_len` values each.
/// Shape `[3 n_frame - 2, …]`.
#[must_use]
pub fn between(frames: &[f32], frame_len: usize) -> Vec<f32> {
    let mut mixed = Vec::with_capacity(3 * frames.len());
    let mut before: Option<&[f32]> = None;
    for frame in frames.chunks_exact(frame_len) {
        if let Some(before) = before {
            mixed.extend(before.iter().zip(frame).map(|(a, b)| NEAR * a + FAR * b));
            mixed.extend(before.iter().zip(frame).map(|(a, b)| FAR * a + NEAR * b));
        }
        mixed.extend_from_slice(frame);
        before = Some(frame);
    }
    mixed
}

/// Which frames of a clip are shown; only these are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// All frames.
    #[default]
    All,
    /// The frames that NEURONS evaluates: every second one from the fifth on, so 4, 6, … 14 of
    /// 16 frames.
    Evaluated,
}

impl Shown {
    /// Places of the shown frames in a clip of `n_frame` frames.
    pub fn places(self, n_frame: usize) -> impl Iterator<Item = usize> {
        let (first, stride) = match self {
            Self::All => (0, 1),
            Self::Evaluated => (4, 2),
        };
        (first..n_frame).step_by(stride)
    }
}

/// Values of 0 to 1 as bytes, truncated instead of rounded as in NEURONS.
#[must_use]
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|value| (255.0 * value) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_frames_become_sixteen() {
        let frames: Vec<f32> = (0_u8..6).map(f32::from).collect();
        let mixed = between(&frames, 1);
        assert_eq!((mixed.len(), n_between(6)), (16, 16));
        let expected = [0.0, 0.33, 0.67, 1.0, 1.33, 1.67];
        for (found, expected) in mixed.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(mixed.iter().step_by(3).copied().collect::<Vec<_>>(), frames);
    }

    #[test]
    fn a_frame_is_mixed_value_by_value() {
        let mixed = between(&[0.0, 100.0, 100.0, 0.0], 2);
        assert_eq!(mixed, [0.0, 100.0, 33.0, 67.0, 67.0, 33.0, 100.0, 0.0]);
        assert_eq!(between(&[1.0, 2.0], 2), [1.0, 2.0]);
        assert_eq!((n_between(0), n_between(1)), (0, 1));
    }

    #[test]
    fn six_of_sixteen_are_evaluated() {
        assert_eq!(Shown::Evaluated.places(16).collect::<Vec<_>>(), [4, 6, 8, 10, 12, 14]);
        assert_eq!(Shown::All.places(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Shown::Evaluated.places(4).count(), 0);
    }

    #[test]
    fn bytes_are_truncated() {
        assert_eq!(to_bytes(&[0.0, 0.0039, 0.00393, 0.9999, 1.0]), [0, 0, 1, 254, 255]);
    }
}
