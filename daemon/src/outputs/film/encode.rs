//! Encodes the pictures of a film as H.264, which every player supports.
//!
//! Constrained baseline at a constant quality, on one thread: the encoded bytes depend only on
//! the pictures.

use openh264::{
    Error, OpenH264API,
    encoder::{
        Complexity, Encoder, EncoderConfig, FrameRate, FrameType, MatrixCoefficients, Profile,
        RateControlMode, VuiConfig,
    },
    formats::{RgbSliceU8, YUVBuffer},
};

use super::canvas::Canvas;

/// Types of units of the bit stream.
const UNIT_TYPE: u8 = 0x1f;
const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;

/// Colour space of the film, written into the stream for players. It matches the conversion from
/// RGB below: primaries of BT.709 and the matrix of BT.601.
pub(super) const COLOUR: VuiConfig =
    VuiConfig::bt709().matrix_coefficients(MatrixCoefficients::Smpte170M);

/// One picture, encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// NAL units without parameter sets, each preceded by its length in 4 bytes.
    pub(super) bytes: Vec<u8>,
    /// Whether a player can show it without the pictures before it.
    pub(super) is_key: bool,
}

/// Parameter sets that a decoder needs before the first picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parameters {
    pub(super) sequence: Vec<u8>,
    pub(super) picture: Vec<u8>,
}

/// An encoder for pictures of one size.
pub(super) struct H264 {
    encoder: Encoder,
    pub(super) parameters: Parameters,
}

impl H264 {
    /// An encoder for pictures of an even width and height. The rate is only a hint for players.
    ///
    /// # Errors
    ///
    /// Fails when the encoder does, for example because the pictures are too large.
    pub(super) fn new((width, height): (usize, usize), hz: f64) -> Result<Self, Error> {
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .complexity(Complexity::Medium)
            .rate_control_mode(RateControlMode::Off)
            .skip_frames(false)
            .adaptive_quantization(false)
            .background_detection(false)
            // The caller places key pictures, at the start of each clip.
            .scene_change_detect(false)
            .max_frame_rate(FrameRate::from_hz(hz as f32))
            .num_threads(1)
            .vui(COLOUR);
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config)?;
        let mut h264 = Self { encoder, parameters: Parameters::default() };
        // The encoder gives its parameters with the first picture, which is thrown away.
        h264.encode(&Canvas::new(width, height, [0; 3]), true)?;
        Ok(h264)
    }

    /// Encodes a picture; a player can show a key picture without the ones before it.
    ///
    /// # Errors
    ///
    /// Fails when the encoder does.
    pub(super) fn encode(&mut self, canvas: &Canvas, is_key: bool) -> Result<Sample, Error> {
        let pixels = RgbSliceU8::new(&canvas.rgb, (canvas.width, canvas.height));
        if is_key {
            self.encoder.force_intra_frame();
        }
        let stream = self.encoder.encode(&YUVBuffer::from_rgb8_source(pixels))?;
        let mut sample =
            Sample { is_key: stream.frame_type() == FrameType::IDR, ..Sample::default() };
        for layer in (0..stream.num_layers()).filter_map(|at| stream.layer(at)) {
            for unit in (0..layer.nal_count()).filter_map(|at| layer.nal_unit(at)) {
                let unit = without_start_code(unit);
                match unit.first().map(|byte| byte & UNIT_TYPE) {
                    Some(SEQUENCE_PARAMETERS) => self.parameters.sequence = unit.to_vec(),
                    Some(PICTURE_PARAMETERS) => self.parameters.picture = unit.to_vec(),
                    _ => {
                        sample.bytes.extend((unit.len() as u32).to_be_bytes());
                        sample.bytes.extend(unit);
                    }
                }
            }
        }
        Ok(sample)
    }
}

/// Strips the start code (zeros and a one) from a unit.
fn without_start_code(unit: &[u8]) -> &[u8] {
    let zeros = unit.iter().take_while(|&&byte| byte == 0).count();
    &unit[(zeros + 1).min(unit.len())..]
}

#[cfg(test)]
pub(super) mod tests {
    use openh264::{decoder::Decoder, formats::YUVSource};

    use super::*;

    /// Decodes samples; each picture in RGB.
    pub(in crate::outputs::film) fn decode(
        parameters: &Parameters,
        samples: &[Sample],
    ) -> Vec<Canvas> {
        let start = [0, 0, 0, 1];
        let head = [&start, &parameters.sequence[..], &start, &parameters.picture[..]].concat();
        let mut decoder = Decoder::new().unwrap();
        let mut stream = head;
        let mut canvases = Vec::new();
        for sample in samples {
            let mut rest = &sample.bytes[..];
            while let Some((len, after)) = rest.split_first_chunk() {
                let (unit, after) = after.split_at(u32::from_be_bytes(*len) as usize);
                stream.extend(start);
                stream.extend(unit);
                rest = after;
            }
            let picture = decoder.decode(&std::mem::take(&mut stream)).unwrap().unwrap();
            let (width, height) = picture.dimensions();
            let mut canvas = Canvas::new(width, height, [0; 3]);
            picture.write_rgb8(&mut canvas.rgb);
            canvases.push(canvas);
        }
        canvases
    }

    #[test]
    fn a_decoder_shows_nearly_the_same_pictures() {
        let mut encoder = H264::new((34, 18), 8.0).unwrap();
        let colours = [[200, 30, 60], [10, 120, 220], [17, 19, 24]];
        // Both sizes are even but not multiples of 16.
        let canvas = |colour| Canvas::new(34, 18, colour);
        let samples: Vec<Sample> = colours
            .iter()
            .enumerate()
            .map(|(at, &colour)| encoder.encode(&canvas(colour), at != 1).unwrap())
            .collect();
        assert_eq!(samples.iter().map(|s| s.is_key).collect::<Vec<_>>(), [true, false, true]);
        let decoded = decode(&encoder.parameters, &samples);
        assert_eq!(decoded.len(), 3);
        for (decoded, colour) in decoded.iter().zip(colours) {
            assert_eq!((decoded.width, decoded.height), (34, 18));
            // Compare the middle: the encoder pads to multiples of 16, which shows at the edge.
            let at = 3 * (9 * 34 + 17);
            let middle = &decoded.rgb[at..at + 3];
            let is_near = middle.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 4);
            assert!(is_near, "{middle:?}, expected {colour:?}");
        }
    }

    #[test]
    fn a_start_code_of_any_length_is_stripped() {
        assert_eq!(without_start_code(&[0, 0, 0, 1, 0x67, 0]), [0x67, 0]);
        assert_eq!(without_start_code(&[0, 0, 1, 0x68]), [0x68]);
        assert_eq!(without_start_code(&[0, 0]), [0; 0]);
    }
}
