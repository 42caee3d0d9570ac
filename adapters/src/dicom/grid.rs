//! United Imaging: the slices of a volume in a grid, with a private list of their positions.

use super::{
    attributes::{Attributes, attribute, numbers},
    clock::{Moment, moment},
    elements::{Element, text},
    error::DicomError,
    geometry::{self, Plane},
    image::Content,
    mosaic::Tiling,
    tags::{ACQUISITION_DATETIME, IMAGE_POSITION, PIXEL_SPACING, UIH_N_SLICES},
};

/// Most tiles along one side of a grid.
const MAX_TILES: usize = 32;

/// The volume in a grid, from the plane of its picture and the list of its slices. Also gives the
/// time of its first slice.
///
/// # Errors
///
/// Fails when the list and the picture do not agree.
pub(super) fn volume(
    attributes: &Attributes<'_>,
    list: Element<'_>,
    orientation: [[f64; 3]; 2],
    [columns, rows]: [usize; 2],
) -> Result<(Content, Option<Moment>), DicomError> {
    let [y_mm, x_mm] = attributes.numbers(PIXEL_SPACING, "PixelSpacing")?;
    let mut planes = Vec::new();
    let mut times = Vec::new();
    let mut items = list.items();
    while let Some(mut item) = items.next()? {
        let (mut position, mut time) = (None, None);
        while let Some(element) = item.next()? {
            match element.tag {
                IMAGE_POSITION => position = Some(element.value),
                ACQUISITION_DATETIME => {
                    let stamp = text(element.value);
                    time = stamp.and_then(|text| moment(text.get(..8)?, text.get(8..)?));
                }
                _ => {}
            }
        }
        let position_mm = numbers(position, "ImagePositionPatient")?;
        planes.push(Plane { position_mm, orientation, pixel_mm: [x_mm, y_mm], slice_mm: None });
        times.extend(time);
    }
    let n_slice = planes.len();
    let stated = attributes.decimal(UIH_N_SLICES).unwrap_or(n_slice as f64);
    if n_slice < 2 || (stated - n_slice as f64).abs() > 0.5 {
        let reason = format!("lists {n_slice} slices, expected {stated} in the grid");
        return Err(attribute("the grid", reason));
    }
    let tiles = tiles([columns, rows], n_slice);
    let tiling = Tiling::grid([columns, rows], tiles, n_slice)?;
    let [nx, ny, _] = tiling.matrix;
    // Only checks that the slices are even: tiles stand in the order of the list.
    let (order, _) = geometry::stack(&planes, [nx, ny])?;
    let last = &planes[n_slice - 1];
    let step =
        |row: usize| (last.position_mm[row] - planes[0].position_mm[row]) / (n_slice - 1) as f64;
    let is_in_order = order.is_sorted() || order.iter().rev().is_sorted();
    if !is_in_order {
        return Err(attribute("the grid", "lists slices out of order".into()));
    }
    let space = geometry::space(tiling.matrix, &planes[0], std::array::from_fn(step))?;
    let first = times.iter().min().copied();
    let slice_times_s = match first {
        Some(first) if times.len() == n_slice => {
            { times.iter().map(|time| super::clock::elapsed_us(first.us, time.us) as f64 / 1e6) }
                .collect()
        }
        _ => Vec::new(),
    };
    Ok((Content::Tiles { tiling, space, slice_times_s }, first))
}

/// Tiles along a row and along a column: the fewest whose tiles are as nearly square as can be.
fn tiles([columns, rows]: [usize; 2], n_slice: usize) -> [usize; 2] {
    let candidates = (1..=MAX_TILES).flat_map(|k| (1..=MAX_TILES).map(move |k_rows| [k, k_rows]));
    let fitting = candidates.filter(|[k, k_rows]| {
        k * k_rows >= n_slice && columns.is_multiple_of(*k) && rows.is_multiple_of(*k_rows)
    });
    let unlike_a_square = |&[k, k_rows]: &[usize; 2]| {
        let (x, y) = (columns / k, rows / k_rows);
        (x.abs_diff(y), k * k_rows)
    };
    fitting.min_by_key(unlike_a_square).unwrap_or([1, 1])
}
