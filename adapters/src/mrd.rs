//! MRD (ISMRMRD) streams: images that a reconstruction sends, as Siemens OpenRecon/FIRE and the
//! Gadgetron do.
//!
//! The sender sends a configuration, an XML header with the protocol of the scan, images, and
//! CLOSE. The scanner's reconstruction waits for images and CLOSE from us, so images go back
//! unchanged and CLOSE is always answered, also when the stream is refused. A thread of its own
//! sends them, because a sender may not read before it has sent everything.
//!
//! Raw data (acquisitions) are refused: reconstruction is the scanner's work. Waveforms and texts
//! are passed over. The protocol has no length for unknown messages, so one ends the connection.
//!
//! Sources: python-ismrmrd-server `connection.py` and its description of the stream; the offsets of
//! the image header were checked against the `ismrmrd` package.

mod answers;
mod header;
mod image;
mod volume;

use std::sync::Arc;

use corticast_images::error::AdapterError;

use self::{
    answers::Answers,
    header::Protocol as ScanProtocol,
    image::{IMAGE_HEADER_BYTES, ImageHeader},
    volume::{Stack, Taken},
};
use crate::network::{
    ListenOptions, NetworkAdapter, RunOptions,
    stream::{Stream, StreamError},
    tcp::{Message, Protocol, TcpSource},
};

const PORT: u16 = 9002;
/// Longest text: configuration, XML header, attributes of an image.
const MAX_TEXT_BYTES: u64 = 4 << 20;
/// Samples of a waveform that are passed over.
const MAX_WAVEFORM_BYTES: usize = 16 << 20;
/// Bytes of a configuration's file name.
const CONFIG_FILE_BYTES: usize = 1024;
/// Bytes of the header of a waveform.
const WAVEFORM_HEADER_BYTES: usize = 40;

const CONFIG_FILE: u16 = 1;
const CONFIG_TEXT: u16 = 2;
const METADATA: u16 = 3;
const CLOSE: u16 = 4;
const TEXT: u16 = 5;
const ACQUISITION: u16 = 1008;
const IMAGE: u16 = 1022;
const WAVEFORM: u16 = 1026;

/// Port, and which images are taken.
#[derive(Clone, Debug, clap::Args)]
pub struct MrdOptions {
    /// How runs are named, and when a run ends.
    #[command(flatten)]
    pub run: RunOptions,
    /// Where to listen, and for whom.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Port that receives the stream
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub port: u16,
    /// Take this echo (contrast), from 1
    #[arg(long, value_name = "NUMBER", default_value = "1",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub echo: u16,
    /// Send no images back to the scanner
    #[arg(long)]
    pub one_way: bool,
}

/// Listens for MRD streams.
///
/// # Errors
///
/// Fails when the port is in use or a label is invalid.
pub fn open(options: MrdOptions) -> Result<NetworkAdapter, AdapterError> {
    let MrdOptions { run, listen, port, echo, one_way } = options;
    let protocol = Mrd { echo, one_way, session: None, n_sessions: 0 };
    let source = TcpSource::bind(protocol, listen, port)
        .map_err(|source| AdapterError::Io { path: "the MRD port".into(), source })?;
    NetworkAdapter::new(Box::new(source), run)
}

/// Reads the XML header of a stream as the adapter does. Returns the repetition time in seconds
/// and the number of slices, where it says them.
///
/// # Errors
///
/// Fails when the text is not XML.
pub fn read_metadata(text: &str) -> Result<(Option<f64>, Option<u16>), String> {
    let protocol = ScanProtocol::parse(text)?;
    Ok((protocol.repetition_time_s, protocol.n_slices))
}

/// Reads the header of an image as the adapter does. Returns the bytes of pixels that follow.
///
/// # Errors
///
/// Fails when the adapter would refuse the image. The text says why.
pub fn read_image_header(bytes: &[u8]) -> Result<usize, String> {
    ImageHeader::parse(bytes)?.n_bytes()
}

/// What is known of one connection.
struct Session {
    answers: Answers,
    protocol: ScanProtocol,
    stack: Option<Stack>,
    series: String,
}

/// The protocol of one sender.
struct Mrd {
    echo: u16,
    one_way: bool,
    session: Option<Session>,
    n_sessions: u64,
}

/// Length and text: u32, then so many bytes with a NUL at the end.
fn text(stream: &mut Stream, what: &'static str) -> Result<Vec<u8>, StreamError> {
    let length = stream.take(4, what)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    if u64::from(length) > MAX_TEXT_BYTES {
        return Err(StreamError::Invalid(format!(
            "found {what} of {length} bytes, expected at most {MAX_TEXT_BYTES}"
        )));
    }
    stream.take(length as usize, what)
}

fn waveform(stream: &mut Stream) -> Result<(), StreamError> {
    let header = stream.take(WAVEFORM_HEADER_BYTES, "a waveform")?;
    let samples = usize::from(u16::from_le_bytes([header[28], header[29]]));
    let channels = usize::from(u16::from_le_bytes([header[30], header[31]]));
    let n_bytes = 4 * samples * channels;
    if n_bytes > MAX_WAVEFORM_BYTES {
        return Err(StreamError::Invalid(format!(
            "found a waveform of {n_bytes} bytes, expected at most {MAX_WAVEFORM_BYTES}"
        )));
    }
    stream.take(n_bytes, "a waveform").map(drop)
}

impl Session {
    fn image(&mut self, stream: &mut Stream, echo: u16) -> Result<Message, StreamError> {
        let header = stream.take(IMAGE_HEADER_BYTES, "the header of an image")?;
        let image = ImageHeader::parse(&header).map_err(StreamError::Invalid)?;
        let n_bytes = image.n_bytes().map_err(StreamError::Invalid)?;
        let length = stream.take(8, "the length of attributes")?;
        let n_attributes = u64::from_le_bytes(std::array::from_fn(|at| length[at]));
        if n_attributes > MAX_TEXT_BYTES {
            return Err(StreamError::Invalid(format!(
                "found attributes of {n_attributes} bytes, expected at most {MAX_TEXT_BYTES}"
            )));
        }
        let attributes = stream.take(n_attributes as usize, "attributes")?;
        let pixels = stream.take(n_bytes, "the pixels of an image")?;
        let id = IMAGE.to_le_bytes();
        self.answers.image([&id, &*header, &length, &attributes, &pixels].concat());
        let stack = self.stack.get_or_insert_with(|| {
            Stack::new(echo, self.protocol.n_slices, self.protocol.n_volumes)
        });
        let tr = self.protocol.repetition_time_s;
        match stack.add(&image, pixels, &self.series, tr).map_err(StreamError::Invalid)? {
            Taken::Volume(scan, picture) => Ok(Message::Volume(scan, picture)),
            Taken::Nothing => Ok(Message::Nothing),
        }
    }

    /// The last volume, if its slices were counted by the end of the stream only.
    fn last(&mut self) -> Option<Message> {
        let (tr, series) = (self.protocol.repetition_time_s, &self.series);
        let (scan, picture) = self.stack.as_mut()?.finish(series, tr)?;
        Some(Message::Volume(Arc::clone(&scan), picture))
    }
}

impl Protocol for Mrd {
    const NAME: &'static str = "mrd";
    /// A text and CLOSE, so that the scanner's reconstruction goes on.
    const REFUSAL: &'static [u8] =
        b"\x05\0\x2c\0\0\0corticast: another stream is being received\0\x04\0";

    fn connected(&mut self, stream: &Stream) -> Result<(), StreamError> {
        self.n_sessions += 1;
        let socket = stream.socket().map_err(StreamError::Io)?;
        let answers = Answers::start(socket, self.one_way).map_err(StreamError::Io)?;
        self.session = Some(Session {
            answers,
            protocol: ScanProtocol::default(),
            stack: None,
            series: crate::afni::new_series("mrd", self.n_sessions),
        });
        Ok(())
    }

    fn read(&mut self, stream: &mut Stream) -> Result<Message, StreamError> {
        let echo = self.echo - 1;
        let Some(session) = &mut self.session else { return Ok(Message::Goodbye) };
        let id = stream.take(2, "the id of a message")?;
        match u16::from_le_bytes([id[0], id[1]]) {
            CONFIG_FILE => stream.take(CONFIG_FILE_BYTES, "a configuration").map(drop)?,
            CONFIG_TEXT => text(stream, "a configuration").map(drop)?,
            METADATA => {
                let text = text(stream, "the XML header")?;
                let text = String::from_utf8_lossy(&text);
                session.protocol = ScanProtocol::parse(text.trim_end_matches('\0'))
                    .map_err(StreamError::Invalid)?;
            }
            TEXT => text(stream, "a text").map(drop)?,
            IMAGE => return session.image(stream, echo),
            WAVEFORM => waveform(stream)?,
            CLOSE => {
                session.answers.close();
                let last = session.last();
                // Ends the connection once all is sent back.
                self.session = None;
                return Ok(last.unwrap_or(Message::Goodbye));
            }
            ACQUISITION => {
                return Err(StreamError::Invalid(
                    "found raw data (acquisitions), expected images: choose a configuration that \
                     sends images"
                        .to_owned(),
                ));
            }
            id => {
                return Err(StreamError::Invalid(format!(
                    "found message {id}, expected one of 1 to 5, 1022 and 1026. ismrmrd 1.15 calls \
                     64-bit arrays int32, whose length is another: send float32 or 16 bits"
                )));
            }
        }
        Ok(Message::Nothing)
    }

    fn failed(&mut self, error: &StreamError) {
        if let Some(session) = self.session.take() {
            session.answers.refuse(&error.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
