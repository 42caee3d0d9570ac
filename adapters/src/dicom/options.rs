//! Options of the DICOM folder.

use std::{path::PathBuf, time::Duration};

use corticast_bold::time::RepetitionTime;

use super::select::Wanted;
use crate::{
    network::options::{repetition_time, seconds},
    run_names::RunNames,
    session_state::SessionState,
};

/// Which folder, which images, how runs are named, and how long to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct DicomOptions {
    /// Folder into which the scanner exports
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// How runs are named.
    #[command(flatten)]
    pub names: RunNames,
    /// Read only files whose name matches, with * and ?
    #[arg(long, default_value = "*")]
    pub pattern: String,
    /// Take only the series of this number
    #[arg(long, value_name = "NUMBER", help_heading = "Which images")]
    pub series: Option<u32>,
    /// Take only series whose protocol or series name contains this text, whatever the case
    #[arg(long, value_name = "TEXT", help_heading = "Which images")]
    pub protocol: Option<String>,
    /// Take this echo [default: the first echo of each series]
    #[arg(long, value_name = "NUMBER", help_heading = "Which images",
        value_parser = clap::value_parser!(u32).range(1..=64))]
    pub echo: Option<u32>,
    /// Take the scanner's motion-corrected copy, not the original
    #[arg(long, help_heading = "Which images")]
    pub moco: bool,
    /// Take images whose ImageType has this value, such as P for phase [default: magnitude]
    #[arg(long, value_name = "VALUE", help_heading = "Which images")]
    pub image_type: Option<String>,
    /// A series becomes a run with this many volumes [default: 1; 2 if it looks like an anatomy]
    #[arg(long, value_name = "NUMBER", help_heading = "Which images",
        value_parser = clap::value_parser!(u32).range(1..=64))]
    pub min_volumes: Option<u32>,
    /// Repetition time in seconds [default: from the header, if it can be believed]
    #[arg(long, value_name = "SECONDS", value_parser = repetition_time,
        allow_negative_numbers = true)]
    pub tr: Option<RepetitionTime>,
    /// Number of volumes after which a run ends [default: not known]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub volumes: Option<u32>,
    /// After this long without a volume, a run is taken to be over. It goes on if its series does
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub end_after_s: Duration,
    /// An incomplete file is skipped after this long
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub deadline_s: Duration,
    /// Interval of polling the folder, in addition to notifications: network shares send none
    #[arg(long, value_name = "MILLISECONDS", default_value = "200",
        value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub poll_ms: u64,
    /// Send the scanner's time of day with each volume. With the day it identifies the scan
    #[arg(long)]
    pub send_wall_time: bool,
    /// Send the images that exist now, in order of acquisition, and end
    #[arg(skip)]
    pub once: bool,
    /// Numbers the series, so that a restarted adapter gives them the same names
    #[arg(skip)]
    pub state: Option<SessionState>,
}

impl DicomOptions {
    /// Which images are asked for.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            series: self.series,
            protocol: self.protocol.clone(),
            echo: self.echo,
            moco: self.moco,
            image_type: self.image_type.clone(),
        }
    }
}
