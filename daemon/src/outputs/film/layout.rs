//! Positions and sizes of the parts of a film picture; see [`super::compose`].
//!
//! All sizes follow from the edge of a panel, which follows from the first clip.

use noto_sans_mono_bitmap::RasterHeight;

use super::{canvas::Square, text::Font};
use crate::product::clips::ClipReport;

/// Clips with smaller edges are enlarged to at least this edge, in pixels.
const SMALLEST_PANEL: usize = 256;
/// Clips with larger edges are shrunk to this edge, in pixels.
const LARGEST_PANEL: usize = 512;
/// Panels of at least this edge get larger text.
const LARGE_PANEL: usize = 384;
/// Lines reserved for a caption.
pub(super) const CAPTION_LINES: usize = 2;

/// Positions and sizes, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Edge of a panel.
    pub(super) panel: usize,
    /// Whether there is a panel for objects.
    pub(super) has_mask: bool,
    /// Space around a picture and between panels.
    pub(super) margin: usize,
    /// Space between related parts, such as a panel and its label.
    pub(super) gap: usize,
    pub(super) label: Font,
    pub(super) caption: Font,
    pub(super) title: Font,
}

impl Layout {
    /// The layout that suits a clip.
    pub(super) fn of(clip: &ClipReport) -> Self {
        let panel = match clip.edge.min(LARGEST_PANEL) {
            0 => SMALLEST_PANEL,
            edge => (edge * SMALLEST_PANEL.div_ceil(edge)).next_multiple_of(2),
        };
        // A blanked clip has no pictures, so whether the model decodes masks is unknown.
        let is_unknown = clip.pictures.blurry.is_empty();
        let has_mask = is_unknown || !clip.pictures.mask.is_empty();
        let is_large = panel >= LARGE_PANEL;
        let sizes = if is_large {
            [RasterHeight::Size24, RasterHeight::Size32, RasterHeight::Size32]
        } else {
            [RasterHeight::Size16, RasterHeight::Size20, RasterHeight::Size32]
        };
        let unit = if is_large { 12 } else { 8 };
        Self {
            panel,
            has_mask,
            margin: 3 * unit,
            gap: unit,
            label: Font::regular(sizes[0]),
            caption: Font::regular(sizes[1]),
            title: Font::bold(sizes[2]),
        }
    }

    /// Width and height of a picture, both even.
    pub(super) fn size(&self) -> (usize, usize) {
        (
            2 * self.margin + self.inner_width(),
            self.status_top() + self.label.height() + self.margin,
        )
    }

    /// Number of panels: blurry frame, objects (if decoded), clip.
    pub(super) fn n_panel(&self) -> usize {
        if self.has_mask { 3 } else { 2 }
    }

    /// Pixels between the margins.
    pub(super) fn inner_width(&self) -> usize {
        self.n_panel() * self.panel + (self.n_panel() - 1) * self.margin
    }

    /// Panel `at`, counted from the left.
    pub(super) fn panel_at(&self, at: usize) -> Square {
        let left = self.margin + at * (self.panel + self.margin);
        Square { left, top: self.margin, edge: self.panel }
    }

    /// The last panel, which shows the clip.
    pub(super) fn clip_panel(&self) -> Square {
        self.panel_at(self.n_panel() - 1)
    }

    /// Upper edge of the panels' labels.
    pub(super) fn labels_top(&self) -> usize {
        self.margin + self.panel + self.gap / 2
    }

    /// Upper edge of the caption.
    pub(super) fn caption_top(&self) -> usize {
        self.labels_top() + self.label.height() + 2 * self.gap
    }

    /// Distance between two lines of the caption.
    pub(super) fn caption_pitch(&self) -> usize {
        self.caption.height() + self.gap / 2
    }

    /// Upper edge of the concepts' names.
    pub(super) fn concepts_top(&self) -> usize {
        self.caption_top() + CAPTION_LINES * self.caption_pitch() + self.gap
    }

    /// Height of a probability bar.
    pub(super) fn bar_height(&self) -> usize {
        self.gap / 2
    }

    /// Upper edge of the last line.
    pub(super) fn status_top(&self) -> usize {
        self.concepts_top() + self.label.height() + self.bar_height() + 2 * self.gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::frames::tests::clip;

    #[test]
    fn sizes_follow_from_the_first_clip_and_are_even() {
        let size = |edge| Layout::of(&clip(0, 1, edge, |_| [0; 3])).panel;
        assert_eq!([0, 1, 64, 100, 255, 256].map(size), [256, 256, 256, 300, 510, 256]);
        assert_eq!([400, 511, 512, 2048].map(size), [400, 512, 512, 512]);
        for edge in [0, 7, 64, 333, 512] {
            let (width, height) = Layout::of(&clip(0, 1, edge, |_| [0; 3])).size();
            assert_eq!((width % 2, height % 2), (0, 0), "{edge}");
        }
    }
}
