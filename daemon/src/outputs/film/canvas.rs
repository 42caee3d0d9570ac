//! A picture to draw on. Drawing outside of it has no effect.
//!
//! All arithmetic is on integers, so that every machine makes the same film.

/// Red, green and blue.
pub(super) type Rgb = [u8; 3];

/// A square on a canvas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Square {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) edge: usize,
}

/// Pixels in rows from the top. Shape `[height, width, 3]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgb: Vec<u8>,
}

impl Canvas {
    /// A canvas of one colour.
    pub(super) fn new(width: usize, height: usize, colour: Rgb) -> Self {
        Self { width, height, rgb: colour.repeat(width * height) }
    }

    fn pixel(&mut self, x: usize, y: usize) -> Option<&mut [u8]> {
        let at = 3 * (y * self.width + x);
        if x < self.width { self.rgb.get_mut(at..at + 3) } else { None }
    }

    /// Mixes a colour into a pixel; an `alpha` of 255 replaces the pixel.
    pub(super) fn blend(&mut self, x: usize, y: usize, colour: Rgb, alpha: u8) {
        if let Some(pixel) = self.pixel(x, y) {
            pixel.iter_mut().zip(colour).for_each(|(p, c)| *p = mix(*p, c, alpha));
        }
    }

    /// Fills a rectangle.
    pub(super) fn fill(
        &mut self,
        (left, top): (usize, usize),
        (width, height): (usize, usize),
        colour: Rgb,
    ) {
        for y in top..top + height {
            (left..left + width).for_each(|x| self.blend(x, y, colour, 255));
        }
    }

    /// Draws a square picture of shape `[from, from, 3]`, scaled bilinearly.
    pub(super) fn picture(&mut self, to: Square, rgb: &[u8], from: usize) {
        let places: Vec<Between> = (0..to.edge).map(|at| Between::of(at, to.edge, from)).collect();
        let value =
            |x: usize, y: usize, channel: usize| u32::from(rgb[3 * (y * from + x) + channel]);
        for (row, y) in places.iter().enumerate() {
            for (column, x) in places.iter().enumerate() {
                let Some(pixel) = self.pixel(to.left + column, to.top + row) else { continue };
                for (channel, pixel) in pixel.iter_mut().enumerate() {
                    let above = x.mix(value(x.low, y.low, channel), value(x.high, y.low, channel));
                    let below =
                        x.mix(value(x.low, y.high, channel), value(x.high, y.high, channel));
                    *pixel = ((y.mix(above, below) + (1 << 15)) >> 16) as u8;
                }
            }
        }
    }

    /// Mixes one colour into a square where the mask is not 0, and another where it is 0. Shape of
    /// the mask `[from, from]`.
    pub(super) fn tint(
        &mut self,
        to: Square,
        mask: &[u8],
        from: usize,
        inside: (Rgb, u8),
        outside: (Rgb, u8),
    ) {
        for row in 0..to.edge {
            for column in 0..to.edge {
                let at = row * from / to.edge * from + column * from / to.edge;
                let (colour, alpha) = if mask[at] == 0 { outside } else { inside };
                self.blend(to.left + column, to.top + row, colour, alpha);
            }
        }
    }

    /// Mixes a colour into a whole square.
    pub(super) fn veil(&mut self, to: Square, colour: Rgb, alpha: u8) {
        self.tint(to, &[1], 1, (colour, alpha), (colour, alpha));
    }
}

/// Mixes one channel of two pixels.
fn mix(a: u8, b: u8, alpha: u8) -> u8 {
    let (a, b, alpha) = (u32::from(a), u32::from(b), u32::from(alpha));
    ((a * (255 - alpha) + b * alpha + 127) / 255) as u8
}

/// A position between two pixels of the source picture.
struct Between {
    low: usize,
    high: usize,
    /// Weight of the higher pixel, out of 256.
    part: u32,
}

impl Between {
    /// Maps the centre of pixel `at` of `to` onto `from` pixels.
    fn of(at: usize, to: usize, from: usize) -> Self {
        let place = ((2 * at + 1) * from * 128 / to).saturating_sub(128);
        let low = (place / 256).min(from - 1);
        Self { low, high: (low + 1).min(from - 1), part: (place % 256) as u32 }
    }

    /// The interpolated value, times 256.
    fn mix(&self, low: u32, high: u32) -> u32 {
        low * (256 - self.part) + high * self.part
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Square = Square { left: 0, top: 0, edge: 4 };

    fn reds(canvas: &Canvas) -> Vec<u8> {
        canvas.rgb.iter().step_by(3).copied().collect()
    }

    #[test]
    fn a_picture_is_scaled_smoothly_from_centre_to_centre() {
        let mut canvas = Canvas::new(4, 4, [0; 3]);
        let two = [[0; 3], [200; 3], [0; 3], [200; 3]].concat();
        canvas.picture(ALL, &two, 2);
        assert_eq!(reds(&canvas), [0, 50, 150, 200].repeat(4));
        // A source twice as large: each pixel is the mean of four.
        let four: Vec<u8> = (0..16).flat_map(|at| [10 * (at % 4); 3]).collect();
        let mut canvas = Canvas::new(2, 2, [0; 3]);
        canvas.picture(Square { edge: 2, ..ALL }, &four, 4);
        assert_eq!(reds(&canvas), [5, 25, 5, 25]);
    }

    #[test]
    fn a_mask_selects_the_tint_of_each_pixel() {
        let mut canvas = Canvas::new(4, 4, [100; 3]);
        canvas.tint(ALL, &[0, 1, 0, 0], 2, ([200; 3], 255), ([0; 3], 128));
        assert_eq!(reds(&canvas)[..8], [50, 50, 200, 200].repeat(2));
        assert_eq!(reds(&canvas)[8..], [50; 8]);
    }

    proptest! {
        /// A picture of one colour stays one, at any size, wherever it lies.
        #[test]
        fn one_colour_stays_one_at_any_size(
            from in 1_usize..20,
            edge in 0_usize..20,
            left in 0_usize..20,
            top in 0_usize..20,
            red in 0_u8..,
        ) {
            let mut canvas = Canvas::new(16, 9, [7; 3]);
            canvas.picture(Square { left, top, edge }, &[red; 3].repeat(from * from), from);
            for (at, &drawn) in reds(&canvas).iter().enumerate() {
                let is_in = (left..left + edge).contains(&(at % 16))
                    && (top..top + edge).contains(&(at / 16));
                prop_assert_eq!(drawn, if is_in { red } else { 7 });
            }
        }
    }
}
