//! Text of a film: broken into lines, and drawn with a font built into the program.
//!
//! The font is monospaced and has Latin letters only; other characters are shown as `?`.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::canvas::{Canvas, Rgb};

/// Marks text that was cut.
const CUT: char = '…';

/// A size and weight of the font.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    weight: FontWeight,
    size: RasterHeight,
}

impl Font {
    pub(super) const fn regular(size: RasterHeight) -> Self {
        Self { weight: FontWeight::Regular, size }
    }

    pub(super) const fn bold(size: RasterHeight) -> Self {
        Self { weight: FontWeight::Bold, size }
    }

    /// Pixels from one line to the next.
    pub(super) const fn height(self) -> usize {
        self.size.val()
    }

    /// Width of `n` characters, pixels.
    pub(super) fn width(self, n: usize) -> usize {
        n * get_raster_width(self.weight, self.size)
    }

    /// How many characters fit into `width` pixels; at least one.
    pub(super) fn columns(self, width: usize) -> usize {
        (width / self.width(1)).max(1)
    }

    /// Draws one line whose upper left corner is at `x`, `y`.
    pub(super) fn draw(self, canvas: &mut Canvas, (x, y): (usize, usize), text: &str, ink: Rgb) {
        for (at, character) in text.chars().enumerate() {
            let x = x + self.width(at);
            if character == CUT {
                // The font has no ellipsis: draw three full stops close together.
                let third = self.width(1) as isize / 3;
                (-1..=1)
                    .for_each(|dot| self.glyph(canvas, (x as isize + dot * third, y), '.', ink));
            } else {
                self.glyph(canvas, (x as isize, y), character, ink);
            }
        }
    }

    fn glyph(self, canvas: &mut Canvas, (x, y): (isize, usize), character: char, ink: Rgb) {
        let raster = |character| get_raster(character, self.weight, self.size);
        let Some(glyph) = raster(character).or_else(|| raster('?')) else { return };
        for (row, coverage) in glyph.rows().enumerate() {
            for (column, &alpha) in coverage.iter().enumerate() {
                if let Some(x) = x.checked_add_unsigned(column).and_then(|x| x.try_into().ok()) {
                    canvas.blend(x, y + row, ink, alpha);
                }
            }
        }
    }
}

/// A text on one line of at most `columns` characters; a cut is marked.
pub(super) fn line(text: &str, columns: usize) -> String {
    wrap(text, columns, 1).pop().unwrap_or_default()
}

/// A text on at most `max_lines` lines of at most `columns` characters, broken between words and
/// within words that are longer than a line. Text that does not fit is cut, and the cut is marked.
pub(super) fn wrap(text: &str, columns: usize, max_lines: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut used = columns;
    let pieces = text.split_whitespace().flat_map(|word| {
        let characters: Vec<char> = word.chars().collect();
        let pieces = characters.chunks(columns).map(|piece| piece.iter().collect::<String>());
        pieces.collect::<Vec<_>>()
    });
    for piece in pieces {
        let n = piece.chars().count();
        let is_full = lines.len() == max_lines;
        match lines.last_mut() {
            Some(last) if used + 1 + n <= columns => {
                last.push(' ');
                last.push_str(&piece);
                used += 1 + n;
            }
            Some(last) if is_full => {
                let kept = last.chars().take(columns - 1).collect::<String>();
                *last = format!("{}{CUT}", kept.trim_end());
                return lines;
            }
            None if is_full => return lines,
            _ => {
                lines.push(piece);
                used = n;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_broken_between_words_and_marked_where_it_is_cut() {
        let text = "a red dog runs over  green grass";
        assert_eq!(wrap(text, 14, 3), ["a red dog runs", "over green", "grass"]);
        assert_eq!(wrap(text, 14, 2), ["a red dog runs", "over green…"]);
        assert_eq!(wrap("abcdefgh", 3, 2), ["abc", "de…"]);
        assert_eq!(line("sub-01 run-1", 8), "sub-01…");
        assert_eq!(wrap(" \n", 8, 2), [""; 0]);
    }

    #[test]
    fn a_character_missing_from_the_font_becomes_a_question_mark() {
        let drawn = |text| {
            let mut canvas = Canvas::new(60, 20, [0; 3]);
            Font::regular(RasterHeight::Size20).draw(&mut canvas, (2, 0), text, [255; 3]);
            canvas
        };
        assert_eq!(drawn("a 犬"), drawn("a ?"));
        assert_ne!(drawn("é…"), drawn("??"));
    }

    proptest! {
        /// Lines never exceed the given width and number; they hold the whole text, or its
        /// beginning if it was cut.
        #[test]
        fn lines_fit_and_hold_the_text(
            text in "[a-zé犬 \n]{0,60}",
            columns in 1_usize..20,
            max_lines in 0_usize..5,
        ) {
            let lines = wrap(&text, columns, max_lines);
            prop_assert!(lines.len() <= max_lines);
            prop_assert!(lines.iter().all(|line| (1..=columns).contains(&line.chars().count())));
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            let shown = letters(&lines.concat());
            match shown.strip_suffix(CUT) {
                Some(kept) => prop_assert!(letters(&text).starts_with(kept)),
                None if max_lines > 0 => prop_assert_eq!(shown, letters(&text)),
                None => prop_assert!(lines.is_empty()),
            }
        }
    }
}
