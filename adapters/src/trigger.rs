//! The scanner's triggers: a key of a keyboard, a byte of a serial port, a marker of an LSL stream.
//!
//! A thread waits for edges and stamps each by this machine's monotonic clock. It leaves out bounces
//! and hands the rest to the task that sends the volumes, which finds the volume that each belongs
//! to (`publish/triggers`). The queue between them is bounded: a device that floods loses edges,
//! never a volume.
//!
//! A device that is not there when the adapter starts is an error, because a wrong name has to be
//! found before the participant lies in the scanner. A device that goes away later is reported and
//! opened again as soon as it is back; the run goes on without triggers.

mod device;
mod edges;
mod input;
mod keyboard;
pub mod lsl;
mod serial;
mod source;

use std::{io, time::Duration};

pub use self::{
    edges::{Edges, Heard, Listening},
    keyboard::restore_terminal,
    source::TriggerSource,
};

/// Where triggers come from, and how they are read.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Triggers")]
pub struct TriggerOptions {
    /// Where triggers come from.
    #[arg(
        long,
        global = true,
        value_name = "SOURCE",
        help = "Take the scanner's triggers: keyboard[:KEY], input:DEVICE[:KEY], \
                serial:DEVICE[:BYTE] or lsl:NAME[=VALUE]; sent as marks, and compared with the \
                clock of the volumes"
    )]
    pub trigger: Option<TriggerSource>,
    /// Baud rate of a serial port that triggers come from
    #[arg(long, global = true, value_name = "BAUD", default_value = "115200",
        value_parser = clap::value_parser!(u32).range(50..=4_000_000))]
    pub trigger_baud: u32,
    /// An edge that follows another one within this time is a bounce, and no trigger
    #[arg(long, global = true, value_name = "MS", default_value = "10",
        value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub trigger_bounce_ms: u64,
    /// Triggers before the one of volume 0: those of dummy scans that are not exported
    #[arg(long, global = true, value_name = "NUMBER", default_value = "0",
        value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub trigger_dummies: u32,
}

/// Starts to listen, from a thread of its own.
///
/// # Errors
///
/// Fails when the device cannot be opened. An LSL stream that is not there yet is waited for.
pub fn listen(source: &TriggerSource, options: &TriggerOptions) -> io::Result<Listening> {
    let bounce = Duration::from_millis(options.trigger_bounce_ms);
    let (edges, listening) = edges::channel(bounce);
    let run: Box<dyn FnOnce(Edges) + Send> = match source {
        TriggerSource::Keyboard(keys) => keyboard::open(keys.clone())?,
        TriggerSource::Input { device, keys } => input::open(device.clone(), keys.clone())?,
        TriggerSource::Serial { device, byte } => {
            serial::open(device.clone(), *byte, options.trigger_baud)?
        }
        TriggerSource::Lsl { name, value } => lsl::open(name.clone(), value.clone())?,
    };
    std::thread::Builder::new().name("trigger".to_owned()).spawn(move || run(edges))?;
    tracing::info!("listening for triggers from {source}");
    Ok(listening)
}
