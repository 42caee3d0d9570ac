//! Pictures of a report: PNG inside the page.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use png::EncodingError;

use super::{
    carpet::{Carpet, WHITE_Z},
    voxels::VoxelMaps,
};

/// Most slices that are shown; of more, every second, third and so on.
const MAX_SLICES: usize = 48;

/// Most pixels along the picture of all slices.
const MAX_WIDTH: usize = 1200;

/// Grey levels of the carpet: more are noise, and noise makes the file large.
const LEVELS: f64 = 31.0;

/// A picture as a `data:` URL.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) url: String,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The slices of a map side by side.
#[derive(Clone, Debug)]
pub(super) struct Mosaic {
    pub(super) picture: Picture,
    /// Every how many slices and voxels one is shown.
    pub(super) slice_step: usize,
    pub(super) voxel_step: usize,
}

/// tSNR, slice by slice from the first at the top left. In each slice x runs to the right and y
/// upwards. Black is 0, white is `tsnr_high`.
pub(super) fn mosaic(maps: &VoxelMaps, matrix: [usize; 3]) -> Result<Mosaic, EncodingError> {
    let [nx, ny, nz] = matrix;
    let slice_step = nz.div_ceil(MAX_SLICES);
    let slices: Vec<usize> = (0..nz).step_by(slice_step).collect();
    // About three slices wide for two high, as the page is.
    let n_column = ((slices.len() * ny * 3).div_ceil(nx * 2) as f64).sqrt().ceil() as usize;
    let n_column = n_column.clamp(1, slices.len());
    let n_row = slices.len().div_ceil(n_column);
    let voxel_step = (nx * n_column).div_ceil(MAX_WIDTH);
    let (tile_x, tile_y) = (nx.div_ceil(voxel_step), ny.div_ceil(voxel_step));
    let (width, height) = (tile_x * n_column, tile_y * n_row);
    let mut grey = vec![0_u8; width * height];
    for (at, z) in slices.iter().enumerate() {
        let (left, top) = (at % n_column * tile_x, at / n_column * tile_y);
        for y in 0..tile_y {
            for x in 0..tile_x {
                let voxel = (z * ny + y * voxel_step) * nx + x * voxel_step;
                let share = f64::from(maps.tsnr[voxel]) / maps.tsnr_high;
                let pixel = (top + tile_y - 1 - y) * width + left + x;
                grey[pixel] = (share.clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        }
    }
    let url = data_url(&grey, width, height, png::ColorType::Grayscale)?;
    Ok(Mosaic { picture: Picture { url, width, height }, slice_step, voxel_step })
}

/// The carpet. A column without a volume is transparent. `None` without rows.
pub(super) fn carpet(carpet: &Carpet) -> Result<Option<Picture>, EncodingError> {
    let (height, width) = (carpet.rows.len(), carpet.rows.first().map_or(0, Vec::len));
    if width == 0 {
        return Ok(None);
    }
    let pixels: Vec<u8> = carpet.rows.iter().flatten().flat_map(|z| pixel(*z)).collect();
    let url = data_url(&pixels, width, height, png::ColorType::GrayscaleAlpha)?;
    Ok(Some(Picture { url, width, height }))
}

/// Grey and opacity of a z-score.
fn pixel(z: Option<f32>) -> [u8; 2] {
    let Some(z) = z else { return [255, 0] };
    let share = ((f64::from(z) / WHITE_Z + 1.0) / 2.0).clamp(0.0, 1.0);
    [((share * LEVELS).round() / LEVELS * 255.0).round() as u8, 255]
}

fn data_url(
    pixels: &[u8],
    width: usize,
    height: usize,
    color: png::ColorType,
) -> Result<String, EncodingError> {
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side(width), side(height));
    encoder.set_color(color);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(url: &str) -> Vec<u8> {
        let bytes = STANDARD.decode(url.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels
    }

    #[test]
    fn slices_lie_side_by_side_with_y_upwards() {
        // 2 x 2 x 2 voxels: slice 0 holds 0, 1, 2, 3 and slice 1 holds 4, 5, 6, 7.
        let tsnr = (0_u8..8).map(f32::from).collect();
        let maps = VoxelMaps { n_volume: 9, tsnr, n_brain: 8, tsnr_median: None, tsnr_high: 255.0 };
        let mosaic = mosaic(&maps, [2, 2, 2]).unwrap();
        assert_eq!((mosaic.picture.width, mosaic.picture.height), (4, 2));
        assert_eq!(decode(&mosaic.picture.url), [2, 3, 6, 7, 0, 1, 4, 5]);
        assert_eq!((mosaic.slice_step, mosaic.voxel_step), (1, 1));
    }

    #[test]
    fn a_large_volume_is_shown_in_part() {
        let (matrix, n) = ([512, 512, 100], 512 * 512 * 100);
        let maps = VoxelMaps {
            n_volume: 9,
            tsnr: vec![1.0; n],
            n_brain: n,
            tsnr_median: None,
            tsnr_high: 1.0,
        };
        let mosaic = mosaic(&maps, matrix).unwrap();
        assert!(mosaic.picture.width <= 1300 && mosaic.picture.height <= 1300, "{mosaic:?}");
        assert!(mosaic.slice_step == 3 && mosaic.voxel_step > 1);
    }

    #[test]
    fn grey_is_the_z_score_and_a_gap_is_transparent() {
        let found = [Some(-9.0), Some(-2.0), Some(2.0), None].map(pixel);
        assert_eq!(found, [[0, 255], [0, 255], [255, 255], [255, 0]]);
        let middle = pixel(Some(0.0))[0];
        assert!((123..=132).contains(&middle), "{middle}");
    }
}
