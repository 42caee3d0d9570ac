//! AFNI's real-time protocol: volumes that `Dimon`, `rtfeedme` or a scanner's own program send.
//!
//! The sender first connects to the control port and names its data port, then connects to the
//! data port: commands in text, which describe the scan, then raw images without framing. So a
//! lost byte cannot be noticed; TCP loses none. A run ends with an image that begins with a
//! marker, or with the connection.
//!
//! Sources: AFNI `README.realtime`, `plug_realtime.c`, `rtfeedme.c`, `realtime.c`; captures of what
//! Dimon and rtfeedme send.

mod commands;
mod control;
mod geometry;
mod images;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use corticast_bold::decode::Order;
use corticast_images::error::AdapterError;

use self::{
    commands::Commands,
    control::{Connected, ControlPort},
    images::Images,
};
use crate::network::{
    ListenOptions, NetworkAdapter, Picture, RunOptions, Scan,
    stream::{Stream, StreamError},
    tcp::{Message, Protocol, TcpSource},
};

/// Ports of AFNI; those of `afni -np N` are N+14 and N+15.
const DATA_PORT: u16 = 7960;
const CONTROL_PORT: u16 = 7961;
/// Longest block of commands.
const MAX_COMMANDS: usize = 32 * 1024;

/// Ports, and which images are taken.
#[derive(Clone, Debug, clap::Args)]
pub struct AfniOptions {
    /// How runs are named, and when a run ends.
    #[command(flatten)]
    pub run: RunOptions,
    /// Where to listen, and for whom.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Port on which the sender announces itself
    #[arg(long, value_name = "PORT", default_value_t = CONTROL_PORT)]
    pub control_port: u16,
    /// Port that receives the images
    #[arg(long, value_name = "PORT", default_value_t = DATA_PORT)]
    pub data_port: u16,
    /// Which channel (echo) is taken when the sender sends several, from 1
    #[arg(long, value_name = "NUMBER", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=32))]
    pub channel: u32,
    /// Accept volumes of one slice. Dimon announces one slice for enhanced DICOM files, wrongly
    #[arg(long)]
    pub one_slice: bool,
}

/// Listens for senders of AFNI's real-time protocol.
///
/// # Errors
///
/// Fails when a port is in use or a label is invalid.
pub fn open(options: AfniOptions) -> Result<NetworkAdapter, AdapterError> {
    let AfniOptions { run, listen, control_port, data_port, channel, one_slice } = options;
    let connected = Connected::default();
    let protocol = Afni {
        channel,
        one_slice,
        state: State::Commands,
        n_scans: 0,
        connected: connected.clone(),
    };
    let error = |source| AdapterError::Io { path: "AFNI's real-time ports".into(), source };
    let source = TcpSource::bind(protocol, listen.clone(), data_port).map_err(error)?;
    ControlPort::start(&listen, control_port, source.address().port(), connected).map_err(error)?;
    NetworkAdapter::new(Box::new(source), run)
}

/// Reads a block of commands, without its closing NUL, as the adapter does. Returns the matrix.
///
/// # Errors
///
/// Fails when the adapter would refuse the scan. The text says why.
pub fn read_commands(bytes: &[u8]) -> Result<[usize; 3], String> {
    let commands = Commands::parse(bytes)?;
    geometry::affine(&commands)?;
    Images::new(&commands, 1)?;
    Ok(commands.matrix)
}

/// What comes next on the connection.
enum State {
    Commands,
    Images { scan: Arc<Scan>, images: Box<Images>, next: u32 },
}

/// The protocol of one sender.
struct Afni {
    channel: u32,
    one_slice: bool,
    state: State,
    n_scans: u64,
    connected: Connected,
}

impl Afni {
    fn begin(&mut self, block: &[u8]) -> Result<(), StreamError> {
        let commands = Commands::parse(block).map_err(StreamError::Invalid)?;
        if commands.matrix[2] == 1 && !commands.acquisition.is_2d() && !self.one_slice {
            return Err(StreamError::Invalid(
                "found volumes of one slice (XYMATRIX nx ny 1). Dimon announces this for enhanced \
                 DICOM files (Siemens XA, Philips) and then sends all slices of each: read the \
                 folder with `corticast-adapter dicom`. If the scan has one slice, give --one-slice"
                    .to_owned(),
            ));
        }
        let affine = geometry::affine(&commands).map_err(StreamError::Invalid)?;
        let images = Images::new(&commands, self.channel).map_err(StreamError::Invalid)?;
        self.n_scans += 1;
        let scan = Scan {
            series: new_series("afni", self.n_scans),
            repetition_time_s: commands.repetition_time_s,
            matrix: commands.matrix,
            affine,
            n_volumes: commands.n_volumes,
            slice_times_s: commands.slice_times_s(),
            source: format!("afni: real-time, {}", commands.acquisition.name()),
        };
        self.state = State::Images { scan: scan.into(), images: Box::new(images), next: 0 };
        Ok(())
    }
}

impl Protocol for Afni {
    const NAME: &'static str = "afni";

    fn connected(&mut self, _: &Stream) -> Result<(), StreamError> {
        self.connected.now();
        self.state = State::Commands;
        Ok(())
    }

    fn read(&mut self, stream: &mut Stream) -> Result<Message, StreamError> {
        let State::Images { scan, images, next } = &mut self.state else {
            let block = stream.take_until(0, MAX_COMMANDS, "the commands")?;
            self.begin(&block)?;
            return Ok(Message::Nothing);
        };
        let image = stream.take(images.n_bytes(), "an image")?;
        if images::is_marker(&image) {
            if images.is_within_volume() {
                tracing::warn!("afni: the run ended within a volume, which is lost");
            }
            self.state = State::Commands;
            return Ok(Message::End);
        }
        let Some(voxels) = images.add(image) else { return Ok(Message::Nothing) };
        let index = *next;
        *next = next.saturating_add(1);
        let picture = Picture {
            index,
            acquisition_time_s: None,
            dtype: images.dtype(),
            order: Order::F,
            slope: None,
            intercept: None,
            voxels: Bytes::from(voxels),
        };
        Ok(Message::Volume(Arc::clone(scan), picture))
    }
}

/// A name for an acquisition to which its protocol gives none. No two are equal, also over a
/// restart of the adapter.
pub(crate) fn new_series(protocol: &str, number: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{protocol} {} {} {number}", std::process::id(), now.as_nanos())
}

#[cfg(test)]
mod tests;
