//! Writes encoded pictures into a fragmented MP4 file.
//!
//! Each clip is a complete fragment, written at once. Memory therefore does not grow with the
//! film, and a film that was cut off can be played up to its last whole fragment. Such a film
//! only lacks its length, which is written into the header at the end.
//!
//! ```text
//! ftyp | moov  size, codec, length | moof  times and sizes | mdat  pictures | moof | mdat | …
//! ```

use std::io::{self, Seek, SeekFrom, Write};

use mp4_atom::{
    Avc1, Avcc, Codec, Colr, Dinf, Dref, Encode, FourCC, Ftyp, Hdlr, Mdat, Mdhd, Mdia, Mehd, Mfhd,
    Minf, Moof, Moov, Mvex, Mvhd, Stbl, Stco, Stsd, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun,
    TrunEntry, TrunSamples, Url, Visual, Vmhd,
};

use super::encode::{Parameters, Sample};
use crate::outputs::frames::FrameRate;

const TRACK: u32 = 1;
/// Flags of a sample: a key sample depends on no other sample.
const IS_KEY: u32 = 0x0200_0000;
const IS_NO_KEY: u32 = 0x0101_0000;
/// Least ticks per second, because players round times to ticks.
const MIN_TICKS: u32 = 1000;
/// Same colour space as [`super::encode::COLOUR`]: primaries, transfer, matrix.
const COLOUR: (u16, u16, u16) = (1, 1, 6);

/// A file that grows by fragments.
pub(super) struct Mux<F> {
    file: F,
    header_at: u64,
    facts: Facts,
    n_fragment: u32,
    /// Ticks written so far.
    ticks: u64,
}

/// Contents of the header, except the length.
struct Facts {
    avcc: Avcc,
    width: u16,
    height: u16,
    ticks_per_s: u32,
    ticks_per_frame: u32,
}

impl<F: Write + Seek> Mux<F> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error, or when the parameters are not valid H.264.
    pub(super) fn start(
        mut file: F,
        parameters: &Parameters,
        (width, height): (usize, usize),
        rate: FrameRate,
    ) -> io::Result<Self> {
        let side = |pixels: usize| u16::try_from(pixels).map_err(io::Error::other);
        let avcc =
            Avcc::new(&parameters.sequence, &parameters.picture).map_err(io::Error::other)?;
        let times = MIN_TICKS.div_ceil(rate.n);
        let facts = Facts {
            avcc,
            width: side(width)?,
            height: side(height)?,
            ticks_per_s: rate.n * times,
            ticks_per_frame: rate.d * times,
        };
        let ftyp = Ftyp {
            major_brand: FourCC::new(b"iso5"),
            minor_version: 512,
            compatible_brands: [b"iso5", b"iso6", b"avc1", b"mp41"].map(FourCC::new).to_vec(),
        };
        let ftyp = encoded(&ftyp)?;
        file.write_all(&ftyp)?;
        file.write_all(&encoded(&facts.header(0))?)?;
        Ok(Self { file, header_at: ftyp.len() as u64, facts, n_fragment: 0, ticks: 0 })
    }

    /// Writes samples, each with the number of frames for which it is shown.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub(super) fn fragment(&mut self, samples: &[(Sample, u64)]) -> io::Result<()> {
        let Facts { ticks_per_frame, .. } = self.facts;
        let ticks =
            |n_frame: u64| u32::try_from(n_frame * u64::from(ticks_per_frame)).unwrap_or(u32::MAX);
        let entry = |(sample, n_frame): &(Sample, u64)| TrunEntry {
            duration: Some(ticks(*n_frame)),
            size: Some(sample.bytes.len() as u32),
            flags: Some(if sample.is_key { IS_KEY } else { IS_NO_KEY }),
            cts: None,
        };
        let entries: Vec<TrunEntry> = samples.iter().map(entry).collect();
        let moof = |data_offset: usize| {
            let samples = TrunSamples::Explicit(entries.clone());
            let trun = Trun { data_offset: Some(data_offset as i32), samples };
            let tfhd = Tfhd { track_id: TRACK, default_base_is_moof: true, ..Tfhd::default() };
            let tfdt = Some(Tfdt { base_media_decode_time: self.ticks });
            let traf = Traf { tfhd, tfdt, trun: vec![trun], ..Traf::default() };
            let mfhd = Mfhd { sequence_number: self.n_fragment + 1 };
            encoded(&Moof { mfhd, traf: vec![traf] })
        };
        // The pictures start after the 8-byte header of the box that follows.
        let mut bytes = moof(moof(0)?.len() + 8)?;
        let data = samples.iter().flat_map(|(sample, _)| &sample.bytes).copied().collect();
        bytes.extend(encoded(&Mdat { data })?);
        self.file.write_all(&bytes)?;
        self.file.flush()?;
        self.n_fragment += 1;
        self.ticks += samples.iter().map(|(_, n_frame)| u64::from(ticks(*n_frame))).sum::<u64>();
        Ok(())
    }

    /// Writes the length into the header.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the film can still be played.
    pub(super) fn finish(mut self) -> io::Result<F> {
        self.file.seek(SeekFrom::Start(self.header_at))?;
        self.file.write_all(&encoded(&self.facts.header(self.ticks))?)?;
        self.file.flush()?;
        Ok(self.file)
    }
}

impl Facts {
    /// The header: its size does not depend on the length, and its creation times are 0.
    fn header(&self, ticks: u64) -> Moov {
        let (width, height) = (self.width, self.height);
        let visual = Visual {
            data_reference_index: 1,
            width,
            height,
            horizresolution: 72.into(),
            vertresolution: 72.into(),
            frame_count: 1,
            compressor: "".into(),
            depth: 24,
        };
        let (colour_primaries, transfer_characteristics, matrix_coefficients) = COLOUR;
        let colr = Some(Colr::Nclx {
            colour_primaries,
            transfer_characteristics,
            matrix_coefficients,
            full_range_flag: false,
        });
        let avc1 = Avc1 { visual, avcc: self.avcc.clone(), colr, ..Avc1::default() };
        let stsd = Stsd { codecs: vec![Codec::Avc1(avc1)] };
        // The samples are in the fragments; the tables stay empty.
        let stbl = Stbl { stsd, stco: Some(Stco::default()), ..Stbl::default() };
        let url = Url::default().into();
        let dinf = Dinf { dref: Dref { entries: vec![url] } };
        let minf = Minf { vmhd: Some(Vmhd::default()), dinf, stbl, ..Minf::default() };
        let hdlr = Hdlr { handler: FourCC::new(b"vide"), name: "clips".to_owned() };
        let (timescale, language) = (self.ticks_per_s, "und".to_owned());
        let mdhd = Mdhd { timescale, duration: ticks, language, ..Mdhd::default() };
        let tkhd = Tkhd {
            track_id: TRACK,
            duration: ticks,
            enabled: true,
            in_movie: true,
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        };
        let trak = Trak { tkhd, mdia: Mdia { mdhd, hdlr, minf }, ..Trak::default() };
        let trex = Trex {
            track_id: TRACK,
            default_sample_description_index: 1,
            default_sample_duration: self.ticks_per_frame,
            ..Trex::default()
        };
        let mvhd = Mvhd {
            timescale,
            duration: ticks,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK + 1,
            ..Mvhd::default()
        };
        let mehd = Some(Mehd { fragment_duration: ticks });
        let mvex = Some(Mvex { mehd, trex: vec![trex] });
        Moov { mvhd, mvex, trak: vec![trak], ..Moov::default() }
    }
}

fn encoded(atom: &impl Encode) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    atom.encode(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use re_mp4::Mp4;

    use super::*;

    fn sample(bytes: &[u8], is_key: bool) -> Sample {
        Sample { bytes: bytes.to_vec(), is_key }
    }

    fn mux(rate: f64) -> Mux<Cursor<Vec<u8>>> {
        let parameters = Parameters { sequence: vec![0x67, 66, 192, 30], picture: vec![0x68] };
        let file = Cursor::new(Vec::new());
        Mux::start(file, &parameters, (864, 448), FrameRate::of(rate)).unwrap()
    }

    #[test]
    fn another_implementation_finds_every_sample_and_its_time() {
        // 32 / 3 frames per second: a frame lasts 93.75 ms.
        let mut mux = mux(16.0 / 1.5);
        mux.fragment(&[(sample(b"first", true), 16)]).unwrap();
        mux.fragment(&[(sample(b"key", true), 1), (sample(b"", false), 2)]).unwrap();
        let file = mux.finish().unwrap().into_inner();
        let mp4 = Mp4::read_bytes(&file).unwrap();
        let track = &mp4.tracks()[&TRACK];
        assert_eq!((track.width, track.height), (864, 448));
        let us = |ticks: u64| ticks * 1_000_000 / track.timescale;
        let found: Vec<_> = track
            .samples
            .iter()
            .map(|s| (&file[s.byte_range()], s.is_sync, us(s.duration)))
            .collect();
        assert_eq!(
            found,
            [(&b"first"[..], true, 1_500_000), (b"key", true, 93_750), (b"", false, 187_500)]
        );
        assert_eq!(us(track.samples[2].decode_timestamp as u64), 1_593_750);
    }

    #[test]
    fn the_header_has_the_same_size_for_any_length_of_the_film() {
        let facts = mux(8.0).facts;
        let len = |ticks| encoded(&facts.header(ticks)).unwrap().len();
        assert_eq!(len(0), len(u64::MAX));
    }
}
