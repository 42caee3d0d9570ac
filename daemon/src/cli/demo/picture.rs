//! Small pictures for a terminal: each character is two pixels, one above the other.

use crate::product::clips::ClipReport;

/// Width of a picture in characters, and its height in pixels (two per character).
const EDGE: usize = 24;
/// Gap between two pictures.
const GAP: &str = "  ";

/// Red, green and blue.
type Colour = [u8; 3];

/// The middle frame of a clip in three forms (blurry, objects, final), side by side, one line per
/// row of characters, in 24-bit colour. Empty when there are no pictures.
pub(super) fn lines(clip: &ClipReport) -> Vec<String> {
    let pictures = &clip.pictures;
    let (n_blurry, edge) = (pictures.n_blurry(), pictures.blurry_edge);
    if n_blurry == 0 || clip.n_frame == 0 || edge == 0 || clip.edge == 0 {
        return Vec::new();
    }
    let blurry = middle(&pictures.blurry, n_blurry);
    let made = middle(&pictures.frames, clip.n_frame);
    let mask = middle(&pictures.mask, n_blurry);
    let blurry_at = |x: usize, y: usize| colour(blurry, edge, x, y);
    let object_at = |x: usize, y: usize| {
        let colour = blurry_at(x, y);
        let at = |place: usize| place * pictures.mask_edge / EDGE;
        let is_object =
            mask.get(at(y) * pictures.mask_edge + at(x)).is_some_and(|&value| value != 0);
        if is_object { colour } else { colour.map(|value| value / 4) }
    };
    let made_at = |x: usize, y: usize| colour(made, clip.edge, x, y);
    let rows = (0..EDGE / 2).map(|row| {
        let panels: [&dyn Fn(usize, usize) -> Colour; 3] = [&blurry_at, &object_at, &made_at];
        let panels = panels.map(|at| {
            let pair = |x| characters(at(x, 2 * row), at(x, 2 * row + 1));
            (0..EDGE).map(pair).collect::<String>()
        });
        format!("  {}\x1b[0m", panels.join(&format!("\x1b[0m{GAP}")))
    });
    let label = |name: &str| format!("{name:<EDGE$}");
    let labels = ["blurry", "objects", "clip"].map(label).join(GAP);
    rows.chain([format!("  {labels}")]).collect()
}

/// The frame in the middle of equally long ones.
fn middle(frames: &[u8], n: usize) -> &[u8] {
    let len = frames.len() / n.max(1);
    frames.get(n / 2 * len..(n / 2 + 1) * len).unwrap_or_default()
}

/// The pixel of the frame at a place in the small picture.
fn colour(frame: &[u8], edge: usize, x: usize, y: usize) -> Colour {
    let under = |place: usize| place * edge / EDGE;
    let at = 3 * (under(y) * edge + under(x));
    frame.get(at..at + 3).map_or([0; 3], |pixel| [pixel[0], pixel[1], pixel[2]])
}

fn characters([r, g, b]: Colour, [below_r, below_g, below_b]: Colour) -> String {
    format!("\x1b[38;2;{r};{g};{b};48;2;{below_r};{below_g};{below_b}m▀")
}
