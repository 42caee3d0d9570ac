//! The frames of a clip one by one, and its frame rate. Neither is trusted.
//!
//! A clip may come from a worker on another machine: its sizes are checked against its pixels
//! before the pixels are split into frames, and its frame rate is limited to a sensible range.

use std::sync::Arc;

use corticast_bold::time::TrIndex;

use crate::product::clips::ClipReport;

/// The pixels of a clip do not match its sizes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{index} of run {run}: found {got} bytes, expected {what} of {edge} x {edge}; the clip is \
     skipped; check {maker}"
)]
pub struct WrongPixels {
    run: Arc<str>,
    index: TrIndex,
    what: String,
    edge: usize,
    got: usize,
    maker: String,
}

impl WrongPixels {
    fn new(clip: &ClipReport, what: String, edge: usize, got: usize) -> Self {
        let maker = match &clip.worker {
            Some(worker) => format!("worker {worker}"),
            None => format!("the {} generator", clip.mode),
        };
        Self { run: Arc::clone(&clip.run), index: clip.index, what, edge, got, maker }
    }
}

/// Square pictures of one size, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pictures<'a> {
    bytes: &'a [u8],
    /// Pixels along an edge.
    pub(super) edge: usize,
    len: usize,
}

impl<'a> Pictures<'a> {
    /// `None` unless the bytes are a whole number of pictures.
    fn cut(bytes: &'a [u8], edge: usize, channels: usize) -> Option<Self> {
        let len = edge.checked_mul(edge)?.checked_mul(channels)?;
        let is_whole = bytes.is_empty() || (len > 0 && bytes.len().is_multiple_of(len));
        is_whole.then_some(Self { bytes, edge, len })
    }

    /// How many pictures there are.
    pub(super) fn n(&self) -> usize {
        self.bytes.len() / self.len.max(1)
    }

    /// The pictures in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(self.len.max(1))
    }

    /// The picture shown together with frame `at` of `n`; `None` if there are no pictures.
    pub(super) fn beside(&self, at: usize, n: usize) -> Option<&'a [u8]> {
        let own = (at * self.n() / n.max(1)).min(self.n().saturating_sub(1));
        self.iter().nth(own)
    }
}

/// The frames of a clip in RGB. Empty while feedback is blanked.
///
/// # Errors
///
/// Fails when the pixels do not match the sizes of the clip.
pub(super) fn frames(clip: &ClipReport) -> Result<Pictures<'_>, WrongPixels> {
    let (bytes, n, edge) = (&clip.pictures.frames, clip.n_frame, clip.edge);
    let wrong = || WrongPixels::new(clip, format!("{n} frames"), edge, bytes.len());
    let frames = Pictures::cut(bytes, edge, 3).ok_or_else(wrong)?;
    if frames.n() != 0 && frames.n() != n { Err(wrong()) } else { Ok(frames) }
}

/// All pictures of a clip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels<'a> {
    /// The clip itself, in RGB.
    pub(super) frames: Pictures<'a>,
    /// The decoded blurry frames, in RGB.
    pub(super) blurry: Pictures<'a>,
    /// 1 in pixels of the most probable class, else 0.
    pub(super) masks: Pictures<'a>,
}

impl<'a> Pixels<'a> {
    /// The pictures of a clip.
    ///
    /// # Errors
    ///
    /// Fails when the pixels do not match the sizes of the clip.
    pub(super) fn of(clip: &'a ClipReport) -> Result<Self, WrongPixels> {
        let pictures = &clip.pictures;
        let some = |what: &str, bytes: &'a [u8], edge, channels| {
            Pictures::cut(bytes, edge, channels)
                .ok_or_else(|| WrongPixels::new(clip, what.to_owned(), edge, bytes.len()))
        };
        Ok(Self {
            frames: frames(clip)?,
            blurry: some("blurry frames", &pictures.blurry, pictures.blurry_edge, 3)?,
            masks: some("masks", &pictures.mask, pictures.mask_edge, 1)?,
        })
    }
}

/// Frames per second as a fraction, so that times are whole numbers: `n / d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameRate {
    pub(super) n: u32,
    pub(super) d: u32,
}

impl FrameRate {
    /// One frame a minute: a clip of one frame at the longest TR.
    const SLOWEST: f64 = 1.0 / 60.0;
    /// Refresh rate of common screens.
    const FASTEST: f64 = 60.0;
    /// For a clip without a valid rate.
    const UNKNOWN: f64 = 8.0;
    /// 16 frames in a TR of 1.49 s are 1600 / 149: a TR is a whole number of milliseconds.
    const MAX_DENOMINATOR: u32 = 1000;

    /// The fraction with the smallest denominator within 1e-6 of the rate.
    pub(super) fn of(frames_per_s: f64) -> Self {
        let is_rate = frames_per_s.is_finite() && frames_per_s > 0.0;
        let hz = if is_rate { frames_per_s } else { Self::UNKNOWN };
        let hz = hz.clamp(Self::SLOWEST, Self::FASTEST);
        let over = |d: u32| Self { n: ((hz * f64::from(d)).round() as u32).max(1), d };
        let is_close = |rate: &Self| (rate.hz() / hz - 1.0).abs() < 1e-6;
        (1..Self::MAX_DENOMINATOR)
            .map(over)
            .find(is_close)
            .unwrap_or_else(|| over(Self::MAX_DENOMINATOR))
    }

    /// The rate in frames per second.
    pub(super) fn hz(self) -> f64 {
        f64::from(self.n) / f64::from(self.d)
    }

    /// How long a frame is shown in milliseconds, rounded so that the errors do not add up.
    pub(super) fn frame_ms(self, at: usize) -> u32 {
        let start_ms =
            |at: u64| (at * 1000 * u64::from(self.d) + u64::from(self.n) / 2) / u64::from(self.n);
        (start_ms(at as u64 + 1) - start_ms(at as u64)) as u32
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use corticast_models::generator::Mode;
    use proptest::prelude::*;

    use super::*;
    use crate::product::clips::ClipPictures;

    /// A clip of `n_frame` frames that last for 2 s; `paint` gives the colour of each.
    pub(in crate::outputs) fn clip(
        index: u32,
        n_frame: usize,
        edge: usize,
        paint: impl Fn(usize) -> [u8; 3],
    ) -> ClipReport {
        let frames = (0..n_frame).flat_map(|at| paint(at).repeat(edge * edge));
        ClipReport {
            run: "sub-01_run-1".into(),
            index: TrIndex(index),
            stimulus_time_s: 2.0 * f64::from(index),
            received_ns: 1,
            published_ns: 3,
            age_ns: 2,
            took_ns: 1,
            mode: Mode::Live,
            steps: 4,
            seed: 7,
            superseded: 0,
            caption: None,
            caption_cut: false,
            worker: None,
            n_frame,
            edge,
            frames_per_s: n_frame as f64 / 2.0,
            blanked: false,
            pictures: ClipPictures { frames: frames.collect::<Bytes>(), ..Default::default() },
        }
    }

    #[test]
    fn frames_are_cut_by_the_clip_s_own_sizes() {
        let clip = clip(0, 3, 2, |at| [at as u8, 0, 9]);
        let frames = frames(&clip).unwrap();
        assert_eq!(frames.n(), 3);
        assert_eq!(frames.iter().nth(2).unwrap(), [2, 0, 9].repeat(4));
        // Three pictures beside six frames: each is shown twice.
        let reds: Vec<u8> = (0..6).map(|at| frames.beside(at, 6).unwrap()[0]).collect();
        assert_eq!(reds, [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn an_error_about_sizes_names_the_clip_and_its_maker() {
        let mut clip = clip(7, 3, 2, |_| [0; 3]);
        clip.n_frame = 4;
        clip.worker = Some("gpu-2".to_owned());
        let message = frames(&clip).unwrap_err().to_string();
        assert!(message.contains("volume 7 of run sub-01_run-1: found 36 bytes, "), "{message}");
        assert!(message.contains("4 frames of 2 x 2") && message.contains("gpu-2"), "{message}");
        // Sizes that overflow are refused.
        clip.edge = usize::MAX;
        assert!(frames(&clip).is_err());
        clip.pictures.frames = Bytes::new();
        clip.edge = 0;
        assert_eq!(frames(&clip).unwrap().n(), 0);
        assert_eq!(frames(&clip).unwrap().beside(0, 4), None);
        clip.pictures.mask = vec![1; 5].into();
        clip.pictures.mask_edge = 2;
        let message = Pixels::of(&clip).unwrap_err().to_string();
        assert!(message.contains("5 bytes, expected masks of 2 x 2"), "{message}");
    }

    #[test]
    fn a_frame_rate_is_a_fraction_with_the_smallest_denominator() {
        let fraction = |hz| {
            let rate = FrameRate::of(hz);
            (rate.n, rate.d)
        };
        assert_eq!(fraction(8.0), (8, 1));
        assert_eq!(fraction(16.0 / 1.5), (32, 3));
        assert_eq!(fraction(16.0 / 1.49), (1600, 149));
        assert_eq!(fraction(1e9), (60, 1));
        assert_eq!(fraction(0.0), (8, 1));
        assert_eq!(fraction(f64::NAN), (8, 1));
        assert_eq!(fraction(1e-9), (1, 60));
    }

    proptest! {
        /// Rounded to milliseconds, the frames keep their total time, and each is shown.
        #[test]
        fn frames_last_as_long_as_they_should(hz in 0.01_f64..100.0, n_frame in 1_usize..100) {
            let rate = FrameRate::of(hz);
            let whole_ms = (0..n_frame).map(|at| rate.frame_ms(at)).sum::<u32>();
            prop_assert!((f64::from(whole_ms) - 1000.0 * n_frame as f64 / rate.hz()).abs() <= 0.5);
            prop_assert!((0..n_frame).all(|at| rate.frame_ms(at) > 0));
        }
    }
}
