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
        fd_mm: None,
        is_spike: false,
        blanked: false,
    })
}

/// A clip of four red frames in 2 s, with green blurry frames and objects on the left.
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

/// How long each picture is shown, in milliseconds, and the decoded pictures.
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

/// A pixel of panel `panel`, in a picture with three panels.
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
    // The header holds the length.
    let mp4 = Mp4::read_bytes(&fs::read(&path).unwrap()).unwrap();
    let mvhd = &mp4.moov.mvhd;
    assert_eq!(mvhd.duration * 1000 / u64::from(mvhd.timescale), 5500);
    let message = Film::create(&path).err().unwrap().to_string();
    assert!(message.contains("already exists; choose a new file for the film"), "{message}");
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
fn while_clips_are_missing_the_last_one_is_held_and_darkened() {
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
fn an_invalid_clip_is_skipped_and_odd_ones_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.mp4");
    let mut film = Film::create(&path).unwrap();
    let mut odd = red(0);
    odd.pictures.frames = vec![0; 7].into();
    let message = film.deliver(&Product::Clip(odd)).unwrap_err().to_string();
    assert!(message.contains("7 bytes, expected 4 frames of 64 x 64"), "{message}");
    // No frames, an odd edge, other sizes than the first clip, a blanked clip, a very long caption.
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
