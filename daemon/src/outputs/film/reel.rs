//! The reel turns clips into the pictures of a film, all of one size, and writes them to its file.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    canvas::Canvas,
    clock::Clock,
    compose::{Scene, Words, title},
    encode::{H264, Sample},
    layout::Layout,
    mux::Mux,
    outcome::{FilmError, FilmSummary},
};
use crate::{
    outputs::frames::{FrameRate, Pixels},
    product::clips::ClipReport,
};

/// How long the name of a run is shown, seconds.
const TITLE_S: f64 = 1.5;

/// The encoder and file of a film, from its first clip on.
pub(super) struct Reel {
    path: PathBuf,
    layout: Layout,
    rate: FrameRate,
    encoder: H264,
    mux: Mux<File>,
    on_screen: Option<OnScreen>,
}

/// The run shown now.
struct OnScreen {
    run: Arc<str>,
    clock: Clock,
    /// The picture shown while the next clip is late.
    held: Canvas,
}

impl Reel {
    /// Starts a film with the size and frame rate of a clip.
    ///
    /// # Errors
    ///
    /// Fails when writing or encoding fails.
    pub(super) fn start(path: &Path, file: File, clip: &ClipReport) -> Result<Self, FilmError> {
        let path = path.to_owned();
        let (layout, rate) = (Layout::of(clip), FrameRate::of(clip.frames_per_s));
        let encoder = match H264::new(layout.size(), rate.hz()) {
            Ok(encoder) => encoder,
            Err(source) => return Err(FilmError::Encoder { path, source }),
        };
        match Mux::start(file, &encoder.parameters, layout.size(), rate) {
            Ok(mux) => Ok(Self { path, layout, rate, encoder, mux, on_screen: None }),
            Err(source) => Err(FilmError::Io { path, source }),
        }
    }

    /// Shows a clip, after the title of a new run or a held picture that fills a gap.
    ///
    /// # Errors
    ///
    /// Fails when writing or encoding fails.
    pub(super) fn show(
        &mut self,
        clip: &ClipReport,
        pixels: Pixels,
        words: &Words,
        summary: &mut FilmSummary,
    ) -> Result<(), FilmError> {
        let before = self.on_screen.take().filter(|before| before.run == clip.run);
        let mut on_screen = match before {
            Some(on_screen) => on_screen,
            None => self.introduce(clip)?,
        };
        let lasts_s = clip.n_frame as f64 / FrameRate::of(clip.frames_per_s).hz();
        let place = on_screen.clock.place(clip.stimulus_time_s, lasts_s);
        if place.n_held > 0 {
            let sample = self.encode(&on_screen.held, true)?;
            self.write(&[(sample, place.n_held)])?;
            summary.n_held += 1;
        }
        let mut scene = Scene::new(self.layout, clip, pixels, words);
        let mut samples = Vec::new();
        for at in 0..scene.n_frame() {
            let n_frame = place.shown_for(at, scene.n_frame());
            if n_frame > 0 {
                let is_key = samples.is_empty();
                samples.push((self.encode(scene.frame(at), is_key)?, n_frame));
            }
        }
        if samples.is_empty() {
            summary.n_skipped += 1;
        } else {
            self.write(&samples)?;
            summary.n_shown += 1;
            on_screen.held = scene.held();
        }
        self.on_screen = Some(on_screen);
        Ok(())
    }

    /// Writes the film's length.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub(super) fn finish(self) -> io::Result<()> {
        self.mux.finish()?.sync_all()
    }

    /// Shows the name of a clip's run.
    fn introduce(&mut self, clip: &ClipReport) -> Result<OnScreen, FilmError> {
        let title = title(&self.layout, &clip.run);
        let n_frame = (TITLE_S * self.rate.hz()).round().max(1.0) as u64;
        let sample = self.encode(&title, true)?;
        self.write(&[(sample, n_frame)])?;
        let clock = Clock::start(self.rate, clip.stimulus_time_s);
        Ok(OnScreen { run: Arc::clone(&clip.run), clock, held: title })
    }

    fn encode(&mut self, canvas: &Canvas, is_key: bool) -> Result<Sample, FilmError> {
        let encoded = self.encoder.encode(canvas, is_key);
        encoded.map_err(|source| FilmError::Encoder { path: self.path.clone(), source })
    }

    fn write(&mut self, samples: &[(Sample, u64)]) -> Result<(), FilmError> {
        let written = self.mux.fragment(samples);
        written.map_err(|source| FilmError::Io { path: self.path.clone(), source })
    }
}
