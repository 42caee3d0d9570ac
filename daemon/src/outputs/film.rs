//! A session as a film: decoded frames and the clips made from them, with captions, in one MP4
//! file.
//!
//! The film follows the time of the session: a clip is shown at the time of its stimulus, counted
//! from the first clip of the run. While a clip is missing because the generator was slower than
//! the TR, the film holds the last clip and darkens it. A run starts with its name. Caption and
//! concepts come from the result of the same volume, which arrives before its clip.
//!
//! Two replays of a recording give the same bytes. Each clip is written to the file before the
//! next one arrives, so the film of a killed daemon can still be played.

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

/// Results kept until their clip arrives. A clip that is later than this many TRs has no concepts.
const REMEMBERED_RESULTS: usize = 256;
/// Runs whose newest clip is remembered.
const REMEMBERED_RUNS: usize = 64;

/// A film that grows with the session.
pub struct Film {
    path: PathBuf,
    /// The empty file, until the first clip sets the size and frame rate of the film.
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
    /// Fails when the file exists, or on an I/O error.
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

    /// Adds a clip to the film; keeps a result for its clip. Ignores other products.
    ///
    /// # Errors
    ///
    /// Fails when writing or encoding fails: the film then ends here, and later products are
    /// ignored. Also fails when the pixels of a clip do not match its sizes; the next clip may
    /// succeed.
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

    /// Writes the length of the film, and returns how many clips it shows.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the part that was written can still be played.
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

    /// The caption and concepts that belong to a clip.
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

/// The caption and concepts that the film shows of a result.
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

/// Adds an item; drops the oldest if there are `most` items already.
fn remember<T>(items: &mut VecDeque<T>, most: usize, item: T) {
    if items.len() == most {
        items.pop_front();
    }
    items.push_back(item);
}

#[cfg(test)]
mod tests;
