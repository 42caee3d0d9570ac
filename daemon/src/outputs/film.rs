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
    reel::Reel,
};
use super::frames::{Pixels, WrongPixels};
use crate::product::{Product, clips::ClipReport, results::DecodedResult};

/// Results that wait for their clip. A clip that is later than so many TRs has no concepts.
const REMEMBERED_RESULTS: usize = 256;
/// Runs of which it is known what was shown last.
const REMEMBERED_RUNS: usize = 64;

/// Why a clip is not in the film.
#[derive(Debug, thiserror::Error)]
pub enum FilmError {
    /// A film is never written over another.
    #[error("{0} exists; a film goes into a new file")]
    Exists(PathBuf),
    /// The disk does not take it.
    #[error("cannot write the film {path}: {source}; it ends here, the session goes on")]
    Io {
        /// The film.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The encoder does not take it.
    #[error("cannot encode the film {path}: {source}; it ends here, the session goes on")]
    Encoder {
        /// The film.
        path: PathBuf,
        /// What the encoder said.
        #[source]
        source: openh264::Error,
    },
    /// The clip is not what it says; the next one may be.
    #[error(transparent)]
    Pixels(#[from] WrongPixels),
}

/// What became of the clips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilmSummary {
    /// Clips that are in the film. Without any there is no file.
    pub n_shown: u32,
    /// Clips that were not newer than what was shown of their run before.
    pub n_skipped: u32,
    /// Gaps in which a clip was held.
    pub n_held: u32,
}

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
mod tests {
    use corticast_bold::volume::{MadeFrom, ShiftInterpolation};
    use re_mp4::{Mp4, StsdBoxContent};

    use super::{
        canvas::Canvas,
        encode::{Parameters, Sample, tests::decode},
        *,
    };
    use crate::{outputs::frames::tests::clip, product::results::Probabilities};

    fn result(index: u32, caption: &str) -> Product {
        Product::Result(DecodedResult {
            run: "sub-01_run-1".into(),
            index: TrIndex(index),
            stimulus_time_s: 2.0 * f64::from(index),
            acquisition_time_s: 0.0,
            received_ns: 0,
            stages_ns: Default::default(),
            published_ns: 0,
            concepts: Probabilities {
                names: ["animal", "plant", "toy", "car"].map(str::to_owned).into(),
                values: vec![0.1, 0.7, 0.2, 0.4],
                is_exclusive: false,
            },
            caption: Some(caption.to_owned()),
            failed_heads: Vec::new(),
            made_from: MadeFrom::Measured,
            shift: ShiftInterpolation::Nearest,
            dvars: None,
            blanked: false,
        })
    }

    /// A clip of four red frames in 2 s, with a green blurry one and objects on the left.
    fn red(index: u32) -> ClipReport {
        let mut clip = clip(index, 4, 64, |_| [200, 30, 30]);
        clip.pictures.blurry = [30, 160, 60].repeat(8 * 8).into();
        clip.pictures.blurry_edge = 8;
        clip.pictures.mask = [1, 0].repeat(2).into();
        clip.pictures.mask_edge = 2;
        clip
    }

    fn film(path: &Path, products: &[Product]) -> FilmSummary {
        let mut film = Film::create(path).unwrap();
        products.iter().for_each(|product| film.deliver(product).unwrap());
        film.finish().unwrap()
    }

    /// How long each picture is shown in milliseconds, and what a decoder makes of it.
    fn watch(path: &Path) -> (Vec<u64>, Vec<Canvas>) {
        let bytes = fs::read(path).unwrap();
        let mp4 = Mp4::read_bytes(&bytes).unwrap();
        assert_eq!(mp4.moov.mvhd.creation_time, 0);
        let track = &mp4.tracks()[&1];
        let StsdBoxContent::Avc1(avc1) = &track.trak(&mp4).mdia.minf.stbl.stsd.contents else {
            panic!("no H.264");
        };
        let parameters = Parameters {
            sequence: avc1.avcc.sequence_parameter_sets[0].bytes.clone(),
            picture: avc1.avcc.picture_parameter_sets[0].bytes.clone(),
        };
        let sample = |sample: &re_mp4::Sample| Sample {
            bytes: bytes[sample.byte_range()].to_vec(),
            is_key: sample.is_sync,
        };
        let samples: Vec<Sample> = track.samples.iter().map(sample).collect();
        let canvases = decode(&parameters, &samples);
        let size = (usize::from(track.width), usize::from(track.height));
        assert!(canvases.iter().all(|canvas| (canvas.width, canvas.height) == size));
        let ms = |sample: &re_mp4::Sample| sample.duration * 1000 / track.timescale;
        (track.samples.iter().map(ms).collect(), canvases)
    }

    /// A pixel of the panel at a position, in a picture of three.
    fn pixel(canvas: &Canvas, panel: usize) -> [u8; 3] {
        let (x, y) = (24 + panel * 280 + 20, 100);
        let at = 3 * (y * canvas.width + x);
        canvas.rgb[at..at + 3].try_into().unwrap()
    }

    fn is_near(got: [u8; 3], expected: [u8; 3]) -> bool {
        got.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 8)
    }

    #[test]
    fn a_decoder_shows_the_run_s_name_and_then_every_clip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("films/session.mp4");
        let products = [result(0, "a"), Product::Clip(red(0)), Product::Clip(red(1))];
        let summary = film(&path, &products);
        assert_eq!(summary, FilmSummary { n_shown: 2, n_skipped: 0, n_held: 0 });
        let (ms, pictures) = watch(&path);
        assert_eq!(ms, [vec![1500], vec![500; 8]].concat());
        assert!(is_near(pixel(&pictures[0], 2), [17, 19, 24]), "{:?}", pixel(&pictures[0], 2));
        for picture in &pictures[1..] {
            assert!(is_near(pixel(picture, 0), [30, 160, 60]), "{:?}", pixel(picture, 0));
            assert!(is_near(pixel(picture, 2), [200, 30, 30]), "{:?}", pixel(picture, 2));
        }
        // Its length is in the header.
        let mp4 = Mp4::read_bytes(&fs::read(&path).unwrap()).unwrap();
        let mvhd = &mp4.moov.mvhd;
        assert_eq!(mvhd.duration * 1000 / u64::from(mvhd.timescale), 5500);
        let message = Film::create(&path).err().unwrap().to_string();
        assert!(message.contains("exists; a film goes into a new file"), "{message}");
    }

    #[test]
    fn two_replays_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str, now: u64| {
            let path = folder.path().join(name);
            let products: Vec<Product> = (0..6)
                .flat_map(|index| {
                    let mut clip = red(2 * index);
                    (clip.age_ns, clip.published_ns, clip.took_ns) = (now, now, now);
                    [result(2 * index, "a red dog"), Product::Clip(clip)]
                })
                .collect();
            film(&path, &products);
            fs::read(path).unwrap()
        };
        assert!(bytes("a.mp4", 1) == bytes("b.mp4", 2));
    }

    #[test]
    fn where_clips_are_missing_the_last_one_is_held_and_darker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.mp4");
        let summary = film(&path, &[0, 3].map(|index| Product::Clip(red(index))));
        assert_eq!(summary, FilmSummary { n_shown: 2, n_skipped: 0, n_held: 1 });
        let (ms, pictures) = watch(&path);
        assert_eq!(ms, [1500, 500, 500, 500, 500, 4000, 500, 500, 500, 500]);
        let [red, _, _] = pixel(&pictures[5], 2);
        assert!((50..120).contains(&red), "{red}");
    }

    #[test]
    fn an_older_clip_is_skipped_and_a_new_run_starts_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.mp4");
        let mut other = red(0);
        other.run = "sub-01_run-2".into();
        let clips = [red(4), red(3), red(4), other, red(2)];
        let summary = film(&path, &clips.map(Product::Clip));
        assert_eq!(summary, FilmSummary { n_shown: 2, n_skipped: 3, n_held: 0 });
        assert_eq!(watch(&path).0, [vec![1500], vec![500; 4]].concat().repeat(2));
    }

    #[test]
    fn a_film_that_was_not_finished_can_be_watched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.mp4");
        let mut film = Film::create(&path).unwrap();
        film.deliver(&Product::Clip(red(0))).unwrap();
        drop(film);
        assert_eq!(watch(&path).0.len(), 5);
    }

    #[test]
    fn a_session_without_clips_leaves_no_film() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.mp4");
        assert_eq!(film(&path, &[result(0, "a")]), FilmSummary::default());
        assert!(!path.exists());
    }

    #[test]
    fn odd_clips_cost_themselves_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.mp4");
        let mut film = Film::create(&path).unwrap();
        let mut odd = red(0);
        odd.pictures.frames = vec![0; 7].into();
        let message = film.deliver(&Product::Clip(odd)).unwrap_err().to_string();
        assert!(message.contains("7 bytes are no 4 frames of 64 x 64"), "{message}");
        // No frames, an odd edge, other sizes than the first, blanked, a caption of no end.
        let mut blanked = red(3);
        blanked.blanked = true;
        for clip in [clip(1, 0, 0, |_| [0; 3]), clip(2, 1, 7, |_| [0; 3]), blanked, red(4)] {
            film.deliver(&result(clip.index.0, &"犬 über ".repeat(999))).unwrap();
            film.deliver(&Product::Clip(clip)).unwrap();
        }
        assert_eq!(film.finish().unwrap().n_shown, 4);
        let (_, pictures) = watch(&path);
        let last = pictures.last().unwrap();
        assert!(is_near(pixel(last, 2), [200, 30, 30]), "{:?}", pixel(last, 2));
    }

    #[test]
    fn a_disk_that_fails_ends_the_film_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.mp4");
        let mut film = Film::create(&path).unwrap();
        film.file = Some(File::open(&path).unwrap());
        let message = film.deliver(&Product::Clip(red(0))).unwrap_err().to_string();
        assert!(message.contains("session.mp4: ") && message.contains("ends here"), "{message}");
        film.deliver(&Product::Clip(red(1))).unwrap();
    }

    #[test]
    fn a_film_shows_the_most_probable_concepts_of_its_volume() {
        let folder = tempfile::tempdir().unwrap();
        let mut film = Film::create(&folder.path().join("session.mp4")).unwrap();
        for index in 0..1000 {
            film.deliver(&result(index, &index.to_string())).unwrap();
        }
        assert_eq!(film.results.len(), REMEMBERED_RESULTS);
        let words = film.words(&red(999));
        assert_eq!(words.caption, "999");
        let names: Vec<&str> = words.concepts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["plant", "car", "toy"]);
        let mut clip = red(0);
        clip.caption = Some("of the clip itself".to_owned());
        assert_eq!(film.words(&clip).caption, "of the clip itself");
        clip.blanked = true;
        assert_eq!(film.words(&clip), Words::default());
    }
}
