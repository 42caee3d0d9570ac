//! The layout of a picture of a film.
//!
//! ```text
//! ┌────────┐ ┌────────┐ ┌────────┐   panels: the decoded frame, its objects, and the clip made
//! │        │ │        │ │        │   from both
//! └────────┘ └────────┘ └────────┘
//!  blurry     objects    clip
//!  a red dog runs over green grass   the caption, two lines at most
//!  animal 81 % plant 64 % toy 9 %    the most probable concepts, with bars
//!  ━━━━━━━───  ━━━━━─────  ━───────
//!  sub-01_run-1 · volume 42 · …      the run, the position in it, and how the clip was made
//! ```
//!
//! A picture shows no times of the daemon's clock, because a replay must draw the same picture.

use super::{
    canvas::{Canvas, Rgb, Square},
    layout::{CAPTION_LINES, Layout},
    text::{line, wrap},
};
use crate::{
    outputs::frames::{Pictures, Pixels},
    product::clips::ClipReport,
};

const BACKGROUND: Rgb = [17, 19, 24];
const EMPTY: Rgb = [42, 46, 55];
const BLANKED: Rgb = [112, 114, 118];
const TEXT: Rgb = [236, 238, 242];
const FAINT: Rgb = [140, 146, 158];
const ACCENT: Rgb = [96, 176, 255];
const OBJECT: Rgb = [255, 158, 46];

/// Alpha of [`OBJECT`] in the pixels of an object, and of [`BACKGROUND`] in all others.
const TINTED: u8 = 118;
const DARKENED: u8 = 110;
/// Alpha of [`BACKGROUND`] in a clip that is held.
const HELD: u8 = 160;

/// Number of concepts shown.
pub(super) const CONCEPTS: usize = 3;

/// Caption and concepts decoded for the volume of a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Words {
    pub(super) caption: String,
    /// The most probable first, at most [`CONCEPTS`].
    pub(super) concepts: Vec<(String, f32)>,
}

/// The picture shown before a run: its name.
pub(super) fn title(layout: &Layout, run: &str) -> Canvas {
    let (width, height) = layout.size();
    let mut canvas = Canvas::new(width, height, BACKGROUND);
    let name = line(run, layout.title.columns(layout.inner_width()));
    let left = (width - layout.title.width(name.chars().count()).min(width)) / 2;
    let top = (height - layout.title.height()) / 2;
    layout.title.draw(&mut canvas, (left, top), &name, TEXT);
    let underline = (width / 2 - layout.panel / 8, top + layout.title.height() + layout.gap);
    canvas.fill(underline, (layout.panel / 4, layout.bar_height()), ACCENT);
    canvas
}

/// Draws the pictures of one clip.
pub(super) struct Scene<'a> {
    layout: Layout,
    canvas: Canvas,
    pixels: Pixels<'a>,
    is_blanked: bool,
}

impl<'a> Scene<'a> {
    /// Draws what stays the same while a clip is shown.
    pub(super) fn new(
        layout: Layout,
        clip: &ClipReport,
        pixels: Pixels<'a>,
        words: &Words,
    ) -> Self {
        let (width, height) = layout.size();
        let mut canvas = Canvas::new(width, height, BACKGROUND);
        let labels =
            if layout.has_mask { &["blurry", "objects", "clip"][..] } else { &["blurry", "clip"] };
        for (at, text) in labels.iter().enumerate() {
            let left = layout.panel_at(at).left;
            layout.label.draw(&mut canvas, (left, layout.labels_top()), text, FAINT);
        }
        let columns = layout.caption.columns(layout.inner_width());
        for (at, text) in wrap(&words.caption, columns, CAPTION_LINES).iter().enumerate() {
            let top = layout.caption_top() + at * layout.caption_pitch();
            layout.caption.draw(&mut canvas, (layout.margin, top), text, TEXT);
        }
        for (at, (name, probability)) in words.concepts.iter().take(CONCEPTS).enumerate() {
            concept(&mut canvas, &layout, at, name, *probability);
        }
        let made = match clip.steps {
            0 => clip.mode.to_string(),
            1 => format!("{}, 1 step", clip.mode),
            n => format!("{}, {n} steps", clip.mode),
        };
        let (run, index, time_s) = (&clip.run, clip.index, clip.stimulus_time_s);
        let status = format!("{run} · {index} · stimulus at {time_s:.1} s · {made}");
        let status = line(&status, layout.label.columns(layout.inner_width()));
        layout.label.draw(&mut canvas, (layout.margin, layout.status_top()), &status, FAINT);
        Self { layout, canvas, pixels, is_blanked: clip.blanked }
    }

    /// How many distinct pictures the clip gives.
    pub(super) fn n_frame(&self) -> usize {
        let Pixels { frames, blurry, .. } = &self.pixels;
        if self.is_blanked { 1 } else { frames.n().max(blurry.n()).max(1) }
    }

    /// The picture of frame `at` out of [`Self::n_frame`].
    pub(super) fn frame(&mut self, at: usize) -> &Canvas {
        if self.is_blanked {
            self.blank()
        } else {
            self.panels(at)
        }
        &self.canvas
    }

    /// The picture shown while the next clip is late.
    pub(super) fn held(mut self) -> Canvas {
        let layout = self.layout;
        for at in 0..layout.n_panel() {
            self.canvas.veil(layout.panel_at(at), BACKGROUND, HELD);
        }
        let note = "held, no newer clip";
        let right = layout.clip_panel().left + layout.panel;
        let left = right - layout.label.width(note.len()).min(right);
        layout.label.draw(&mut self.canvas, (left, layout.labels_top()), note, OBJECT);
        self.canvas
    }

    fn panels(&mut self, at: usize) {
        let n = self.n_frame();
        let (layout, canvas) = (self.layout, &mut self.canvas);
        let Pixels { frames, blurry, masks } = self.pixels;
        picture(canvas, layout.panel_at(0), blurry, at, n);
        picture(canvas, layout.clip_panel(), frames, at, n);
        if !layout.has_mask {
            return;
        }
        let objects = layout.panel_at(1);
        let Some(mask) = masks.beside(at, n) else {
            canvas.veil(objects, EMPTY, 255);
            return;
        };
        picture(canvas, objects, blurry, at, n);
        let (inside, outside) = ((OBJECT, TINTED), (BACKGROUND, DARKENED));
        canvas.tint(objects, mask, masks.edge, inside, outside);
    }

    fn blank(&mut self) {
        let (layout, canvas, note) = (self.layout, &mut self.canvas, "blanked");
        for at in 0..layout.n_panel() {
            canvas.veil(layout.panel_at(at), BLANKED, 255);
        }
        let Square { left, top, edge } = layout.clip_panel();
        let width = layout.caption.width(note.len());
        let middle = (left + (edge - width) / 2, top + (edge - layout.caption.height()) / 2);
        layout.caption.draw(canvas, middle, note, TEXT);
    }
}

/// Draws the name, probability and bar of a concept in column `at` of [`CONCEPTS`].
fn concept(canvas: &mut Canvas, layout: &Layout, at: usize, name: &str, probability: f32) {
    let Layout { margin, gap, label, .. } = *layout;
    let width = (layout.inner_width() - (CONCEPTS - 1) * margin) / CONCEPTS;
    let (left, top) = (margin + at * (width + margin), layout.concepts_top());
    let probability = if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) };
    let percent = format!("{:.0} %", 100.0 * probability);
    let percent_width = label.width(percent.len());
    let name = line(name, label.columns(width.saturating_sub(percent_width + gap)));
    label.draw(canvas, (left, top), &name, TEXT);
    label.draw(canvas, (left + width - percent_width, top), &percent, TEXT);
    let bar = (left, top + label.height() + layout.bar_height() / 2);
    canvas.fill(bar, (width, layout.bar_height()), EMPTY);
    let filled = (f64::from(probability) * width as f64).round() as usize;
    canvas.fill(bar, (filled, layout.bar_height()), ACCENT);
}

/// Draws the picture that belongs to frame `at` of `n`, or an empty panel if there is none.
fn picture(canvas: &mut Canvas, panel: Square, pictures: Pictures, at: usize, n: usize) {
    match pictures.beside(at, n) {
        Some(rgb) => canvas.picture(panel, rgb, pictures.edge),
        None => canvas.veil(panel, EMPTY, 255),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::frames::tests::clip;

    fn at(canvas: &Canvas, panel: Square, x: usize, y: usize) -> Rgb {
        let at = 3 * ((panel.top + y) * canvas.width + panel.left + x);
        canvas.rgb[at..at + 3].try_into().unwrap()
    }

    /// A red clip with green blurry frames and an object on the left.
    fn full() -> ClipReport {
        let mut clip = clip(42, 2, 64, |_| [200, 0, 0]);
        clip.pictures.blurry = [0, 200, 0].repeat(8 * 8).into();
        clip.pictures.blurry_edge = 8;
        clip.pictures.mask = [1, 0].repeat(2).into();
        clip.pictures.mask_edge = 2;
        clip
    }

    #[test]
    fn panels_show_what_was_decoded_where_objects_are_and_the_clip() {
        let clip = full();
        let layout = Layout::of(&clip);
        let mut scene = Scene::new(layout, &clip, Pixels::of(&clip).unwrap(), &Words::default());
        assert_eq!(scene.n_frame(), 2);
        let canvas = scene.frame(1);
        assert_eq!(at(canvas, layout.panel_at(0), 9, 9), [0, 200, 0]);
        let [red, _, _] = at(canvas, layout.panel_at(1), 9, 9);
        assert!(red > 100, "{red}");
        let [red, green, _] = at(canvas, layout.panel_at(1), 250, 9);
        assert!(red < 20 && green > 100, "{red} {green}");
        assert_eq!(at(canvas, layout.panel_at(2), 9, 9), [200, 0, 0]);
        let [red, _, _] = at(&scene.held(), layout.panel_at(2), 9, 9);
        assert!((50..120).contains(&red), "{red}");
    }

    #[test]
    fn a_model_without_objects_has_two_panels() {
        let mut clip = full();
        clip.pictures.mask = Default::default();
        let layout = Layout::of(&clip);
        assert_eq!(layout.n_panel(), 2);
        let mut scene = Scene::new(layout, &clip, Pixels::of(&clip).unwrap(), &Words::default());
        assert_eq!(at(scene.frame(0), layout.panel_at(1), 9, 9), [200, 0, 0]);
    }

    #[test]
    fn a_blanked_clip_is_grey_whatever_its_pixels() {
        let mut clip = full();
        clip.blanked = true;
        let layout = Layout::of(&clip);
        let mut scene = Scene::new(layout, &clip, Pixels::of(&clip).unwrap(), &Words::default());
        assert_eq!(scene.n_frame(), 1);
        let canvas = scene.frame(0);
        (0..3).for_each(|panel| assert_eq!(at(canvas, layout.panel_at(panel), 9, 9), BLANKED));
    }

    #[test]
    fn fields_that_differ_in_a_replay_are_not_shown() {
        let clip = full();
        let mut replayed = clip.clone();
        (replayed.received_ns, replayed.published_ns) = (u64::MAX, 5);
        (replayed.age_ns, replayed.took_ns, replayed.superseded) = (6, 7, 8);
        replayed.worker = Some("gpu-2".to_owned());
        let words = Words { caption: "a dog".to_owned(), concepts: vec![("pet".to_owned(), 0.5)] };
        let layout = Layout::of(&clip);
        let canvas =
            |clip| Scene::new(layout, clip, Pixels::of(clip).unwrap(), &words).frame(1).clone();
        assert_eq!(canvas(&clip), canvas(&replayed));
    }

    #[test]
    fn odd_words_and_sizes_are_still_drawn() {
        let mut clip = clip(u32::MAX, 0, 0, |_| [0; 3]);
        clip.run = "犬".repeat(500).into();
        clip.stimulus_time_s = f64::NAN;
        let concepts = vec![("x".repeat(300), f32::NAN), (String::new(), 7.0)];
        let words = Words { caption: "é 犬 \u{0} ".repeat(1000), concepts };
        let layout = Layout::of(&clip);
        let mut scene = Scene::new(layout, &clip, Pixels::of(&clip).unwrap(), &words);
        assert_eq!(scene.n_frame(), 1);
        assert_eq!(at(scene.frame(0), layout.panel_at(0), 9, 9), EMPTY);
        assert_eq!(title(&layout, &clip.run).width, layout.size().0);
    }
}
