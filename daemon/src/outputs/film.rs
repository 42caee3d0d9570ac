//! A session as a film: what was decoded and the clips made of it, with captions, as one MP4 file.
//!
//! The film's time is the session's: a clip is shown when its stimulus was, counted from the
//! first clip of the run. Where clips are missing because the generator was slower than the TR,
//! the last one is held, darker. A run starts with its name. The caption and the concepts are
//! those of the result of the same volume, which comes before its clip.
//!
//! Two replays of a recording give the same bytes. What the film holds of a clip is written
//! before the next one comes, so what a daemon that was killed leaves behind can be played.

mod canvas;
mod clock;
mod compose;
mod encode;
mod layout;
mod mux;
mod outcome;
mod reel;
mod text;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use corticast_bold::time::TrIndex;

use self::{
    compose::{CONCEPTS, Words},
    outcome::{FilmError, FilmSummary},
    reel::Reel,
};
use super::frames::Pixels;
use crate::product::{Product, clips::ClipReport, results::DecodedResult};

/// Results that wait for their clip. A clip that is later than so many TRs has no concepts.
const REMEMBERED_RESULTS: usize = 256;
/// Runs of which it is known what was shown last.
const REMEMBERED_RUNS: usize = 64;

/// A film that grows with the session.
pub struct Film {
    path: PathBuf,
    /// Until the first clip says how large and how fast the film is.
    file: Option<File>,
    reel: Option<Reel>,
    results: VecDeque<(Arc<str>, TrIndex, Words)>,
    /// The newest clip of each run.
    newest: VecDeque<(Arc<str>, TrIndex)>,
    summary: FilmSummary,
    has_ended: bool,
}

impl Film {
    /// Creates the file, and its folder. It is empty until the first clip.
    ///
    /// # Errors
    ///
    /// Fails when the file exists, or when the disk does.
    pub fn create(path: &Path) -> Result<Self, FilmError> {
        let io = |source| FilmError::Io { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), fs::create_dir_all).map_err(io)?;
        let file = File::create_new(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FilmError::Exists(path.to_owned()),
            _ => io(source),
        })?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            reel: None,
            results: VecDeque::new(),
            newest: VecDeque::new(),
            summary: FilmSummary::default(),
            has_ended: false,
        })
    }

    /// Shows a product, if it is a clip, and remembers it, if it is a result.
    ///
    /// # Errors
    ///
    /// Fails when the disk or the encoder does: the film then ends here, and later products are
    /// ignored. Fails too when a clip is not what it says; the next may succeed.
    pub fn deliver(&mut self, product: &Product) -> Result<(), FilmError> {
        match product {
            _ if self.has_ended => Ok(()),
            Product::Result(result) => {
                let words = words(result);
                remember(
                    &mut self.results,
                    REMEMBERED_RESULTS,
                    (Arc::clone(&result.run), result.index, words),
                );
                Ok(())
            }
            Product::Clip(clip) => {
                let shown = self.show(clip);
                self.has_ended = shown.as_ref().is_err_and(|e| !matches!(e, FilmError::Pixels(_)));
                shown
            }
            _ => Ok(()),
        }
    }

    /// Writes the film's length, and says what became of the clips.
    ///
    /// # Errors
    ///
    /// Fails when the disk does; what was written can be played all the same.
    pub fn finish(self) -> Result<FilmSummary, FilmError> {
        let finished = match self.reel {
            Some(reel) => reel.finish(),
            // An empty file is no film.
            None => fs::remove_file(&self.path),
        };
        finished.map_err(|source| FilmError::Io { path: self.path, source })?;
        Ok(self.summary)
    }

    fn show(&mut self, clip: &ClipReport) -> Result<(), FilmError> {
        let is_of_run = |(run, _): &&mut (Arc<str>, TrIndex)| *run == clip.run;
        match self.newest.iter_mut().find(is_of_run) {
            Some((_, newest)) if clip.index <= *newest => {
                self.summary.n_skipped += 1;
                return Ok(());
            }
            Some((_, newest)) => *newest = clip.index,
            None => {
                let newest = (Arc::clone(&clip.run), clip.index);
                remember(&mut self.newest, REMEMBERED_RUNS, newest);
            }
        }
        let pixels = Pixels::of(clip)?;
        let words = self.words(clip);
        if let Some(file) = self.file.take() {
            self.reel = Some(Reel::start(&self.path, file, clip)?);
        }
        if let Some(reel) = &mut self.reel {
            reel.show(clip, pixels, &words, &mut self.summary)?;
        }
        Ok(())
    }

    /// The words that belong to a clip.
    fn words(&self, clip: &ClipReport) -> Words {
        if clip.blanked {
            return Words::default();
        }
        let mut known = self.results.iter().rev();
        match known.find(|(run, index, _)| *run == clip.run && *index == clip.index) {
            Some((_, _, words)) => words.clone(),
            None => Words { caption: clip.caption.clone().unwrap_or_default(), concepts: vec![] },
        }
    }
}

/// What a film shows of a result.
fn words(result: &DecodedResult) -> Words {
    if result.blanked {
        return Words::default();
    }
    let names = result.concepts.names.iter().cloned();
    let mut concepts: Vec<_> = names.zip(result.concepts.values.iter().copied()).collect();
    concepts.sort_by(|a, b| b.1.total_cmp(&a.1));
    concepts.truncate(CONCEPTS);
    Words { caption: result.caption.clone().unwrap_or_default(), concepts }
}

/// Adds an item; of more than `most` the oldest goes.
fn remember<T>(items: &mut VecDeque<T>, most: usize, item: T) {
    if items.len() == most {
        items.pop_front();
    }
    items.push_back(item);
}

#[cfg(test)]
mod tests;
