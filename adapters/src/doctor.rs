//! `doctor`: one page that tells a site whether its export works: what arrives, how late, how
//! regularly, what is wrong, and what to do.
//!
//! A folder is read as the adapters of DICOM and PAR/REC would read it; on a port the doctor listens
//! as the adapter of the sender's protocol would. Texts of headers and names of files and folders
//! are not shown, so the page can be sent to somebody else.

mod below;
pub(crate) mod folder;
mod guess;
mod heard;
mod network;
mod received;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use crossbeam::channel::Receiver;
use serde_json::Value;

pub use self::{guess::Speaks, heard::Heard};

/// How long the doctor listens on a port.
const LISTEN_S: u64 = 60;

/// What to examine, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorOptions {
    /// Folder into which the scanner exports, or port to which it sends
    #[arg(value_name = "FOLDER|PORT")]
    pub target: String,
    /// Watch for this long, to see how images arrive [default: 60 on a port; 0 in a folder]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub watch_s: Option<u64>,
    /// What the sender speaks [default: by the port, else by its first bytes]
    #[arg(long, value_enum, value_name = "ADAPTER")]
    pub adapter: Option<Speaks>,
    /// Address of this machine to listen at. Any other than the loopback needs --allow
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// Address of a machine that may connect; repeat it for several
    #[arg(long, value_name = "IP")]
    pub allow: Vec<IpAddr>,
    /// Application title (AE title) of a scanner that sends by DICOM; repeat it for several
    #[arg(long, value_name = "AE")]
    pub from: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was found.
pub struct Examined {
    /// Whether something can become a run.
    pub is_usable: bool,
    /// The page.
    pub text: String,
    /// The same for programs.
    pub json: Value,
}

/// Examines a folder or a port. `stop` ends listening early; `heard` is what was logged meanwhile.
///
/// # Errors
///
/// Fails when the folder cannot be read, or the port is in use.
pub fn examine(
    options: &DoctorOptions,
    heard: &Heard,
    stop: &Receiver<()>,
) -> anyhow::Result<Examined> {
    let folder = PathBuf::from(&options.target);
    match options.target.parse::<u16>() {
        Ok(port) if !folder.exists() => {
            network::examine(options, port, options.watch_s.unwrap_or(LISTEN_S), heard, stop)
        }
        _ => folder::examine(&folder, options.watch_s.unwrap_or(0), heard),
    }
}
