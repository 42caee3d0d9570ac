//! Scales pictures.
//!
//! Bilinear with antialias, as in torchvision's `Resize` and Pillow: each value is a mean of the
//! values around its place with triangular weights. When a picture shrinks, the triangle is wider
//! by the same factor. Places outside the picture have no weight.

/// Scales square pictures, shape `[n, edge, edge]` with an edge of at least 1, to another
/// edge. Shape `[n, to, to]`.
pub(super) fn resize(pictures: &[f32], edge: usize, to: usize) -> Vec<f32> {
    if edge == to {
        return pictures.to_vec();
    }
    let weights = weights(edge, to);
    let mut resized = Vec::with_capacity(pictures.len() / (edge * edge) * to * to);
    let mut wide = vec![0.0; edge * to];
    for picture in pictures.chunks_exact(edge * edge) {
        // Along rows first, then along columns.
        for (row, wide) in picture.chunks_exact(edge).zip(wide.chunks_exact_mut(to)) {
            for (value, (first, weights)) in wide.iter_mut().zip(&weights) {
                *value = weights.iter().zip(&row[*first..]).map(|(w, x)| w * x).sum();
            }
        }
        for (first, weights) in &weights {
            resized.extend((0..to).map(|column| {
                let under = wide[first * to + column..].iter().step_by(to);
                weights.iter().zip(under).map(|(w, x)| w * x).sum::<f32>()
            }));
        }
    }
    resized
}

/// For each place in the new row: the first place in the old row that has a weight, and the weights
/// from there on.
fn weights(edge: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = edge as f64 / to as f64;
    let reach = scale.max(1.0);
    (0..to)
        .map(|at| {
            let centre = (at as f64 + 0.5) * scale;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(edge);
            let weight = |old: usize| (1.0 - ((old as f64 + 0.5 - centre) / reach).abs()).max(0.0);
            let total: f64 = (first..end).map(weight).sum();
            (first, (first..end).map(|old| (weight(old) / total) as f32).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    /// Centres of the new places lie at 0.25, 0.75, 1.25 and 1.75 of the old ones.
    #[test]
    fn a_larger_picture_lies_between_the_old_values() {
        let row = [0.0, 4.0, 0.0, 4.0];
        let larger = resize(&row, 2, 4);
        assert_close(&larger[..4], &[0.0, 1.0, 3.0, 4.0]);
        assert_close(&larger[12..], &[0.0, 1.0, 3.0, 4.0]);
    }

    /// From 4 to 2: the triangle reaches 2 to both sides of 1, so the places at 0.5, 1.5 and 2.5
    /// weigh 3 : 3 : 1.
    #[test]
    fn a_smaller_picture_is_a_weighted_mean() {
        let row = [7.0, 14.0, 0.0, 0.0];
        let rows = [row, row, row, row].concat();
        assert_close(&resize(&rows, 4, 2), &[9.0, 2.0, 9.0, 2.0]);
    }

    proptest! {
        /// A picture of one colour keeps it at every size.
        #[test]
        fn a_plain_picture_stays_plain(edge in 1_usize..20, to in 1_usize..20, n in 0_usize..3) {
            let resized = resize(&vec![0.25; n * edge * edge], edge, to);
            prop_assert_eq!(resized.len(), n * to * to);
            prop_assert!(resized.iter().all(|value| (value - 0.25).abs() < 1e-6));
        }
    }
}
