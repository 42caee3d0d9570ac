//! The scanner side of pyneal: volumes as numpy arrays over a ZeroMQ PAIR socket.
//!
//! A sender says hello with any text, which is echoed. Each volume is a JSON header and raw voxels;
//! the sender waits for an answer to each, so a volume that is refused gets one too. A volume 0
//! after others begins a new run.
//!
//! ZeroMQ without keys does not know who is there, so only programs of this machine can connect; a
//! scanner's computer reaches the port through `ssh -L`.
//!
//! Sources: pyneal `scanReceiver.py`, `pyneal_scanner/utils`.

mod header;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast_bold::decode::Order;
use corticast_images::error::AdapterError;
use corticast_wire::socket::{Limits, Pair, ServerSecurity, SocketError};
use tokio::runtime::Runtime;

use self::header::Header;
use crate::{
    afni::new_series,
    network::{Arrival, NetworkAdapter, Picture, RunOptions, Scan, Source, scan::MAX_VOLUME_BYTES},
};

const PORT: u16 = 5555;
/// Longest JSON header.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest hello.
const MAX_HELLO_BYTES: usize = 1024;
/// Volumes in `float64` are twice as long as what is passed on.
const MAX_MESSAGE_BYTES: usize = 2 * MAX_VOLUME_BYTES + MAX_HEADER_BYTES;

/// The port, and how runs are named.
#[derive(Clone, Debug, clap::Args)]
pub struct PynealOptions {
    /// How runs are named, and when a run ends.
    #[command(flatten)]
    pub run: RunOptions,
    /// Port of the loopback that receives the volumes
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub port: u16,
}

/// Listens for a sender of pyneal's protocol.
///
/// # Errors
///
/// Fails when the port is in use or a label is invalid.
pub fn open(options: PynealOptions) -> Result<NetworkAdapter, AdapterError> {
    let failed = |source| AdapterError::Io { path: "pyneal's port".into(), source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("pyneal")
        .enable_all()
        .build()
        .map_err(failed)?;
    let limits = Limits { max_message_bytes: MAX_MESSAGE_BYTES, ..Limits::default() };
    let endpoint = format!("tcp://127.0.0.1:{}", options.port);
    let bound = runtime.block_on(Pair::bind(&endpoint, &ServerSecurity::LoopbackOnly, &limits));
    let pair = bound.map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    tracing::info!(address = pair.endpoint(), "listening for pyneal");
    let source = Pyneal { runtime: Some(runtime), pair, current: None, n_scans: 0 };
    NetworkAdapter::new(Box::new(source), options.run)
}

/// Reads the JSON header of a volume as the adapter does. Returns the matrix and the bytes of
/// voxels that follow.
///
/// # Errors
///
/// Fails when the adapter would refuse the volume. The text says why.
pub fn read_header(bytes: &[u8]) -> Result<([usize; 3], usize), String> {
    let header = Header::parse(bytes)?;
    Ok((header.matrix, header.n_bytes()))
}

/// A bound socket and the scan that its sender sends.
struct Pyneal {
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
    pair: Pair,
    current: Option<(Arc<Scan>, u32)>,
    n_scans: u64,
}

impl Pyneal {
    /// Waits for a message. `None` when none came in time.
    fn recv(&self, until: Option<Instant>) -> Option<Result<Vec<Bytes>, SocketError>> {
        let runtime = self.runtime.as_ref()?;
        runtime.block_on(async {
            match until {
                None => Some(self.pair.recv().await),
                Some(until) => tokio::time::timeout_at(until.into(), self.pair.recv()).await.ok(),
            }
        })
    }

    fn answer(&self, text: String) {
        let Some(runtime) = self.runtime.as_ref() else { return };
        if let Err(error) = runtime.block_on(self.pair.send(vec![text.into()])) {
            tracing::warn!(%error, "pyneal: the sender did not take an answer");
        }
    }

    /// A volume of two frames.
    fn volume(&mut self, header: &[u8], voxels: &Bytes) -> Result<(Arc<Scan>, Picture), String> {
        let header = Header::parse(header)?;
        if voxels.len() != header.n_bytes() {
            return Err(format!(
                "found {} bytes of voxels, expected {} for its shape and dtype",
                voxels.len(),
                header.n_bytes()
            ));
        }
        let begins = match &self.current {
            None => true,
            Some((_, last)) => header.index == 0 && *last > 0,
        };
        if begins {
            self.n_scans += 1;
        }
        let series = match &self.current {
            Some((scan, _)) if !begins => scan.series.clone(),
            _ => new_series("pyneal", self.n_scans),
        };
        let scan = Arc::new(Scan {
            series,
            repetition_time_s: header.repetition_time_s,
            matrix: header.matrix,
            affine: header.affine,
            n_volumes: None,
            slice_times_s: Vec::new(),
            source: "pyneal: PAIR".to_owned(),
        });
        // The place of a run's first volume holds; each further one is compared with it.
        self.current = Some((Arc::clone(&scan), header.index));
        let (dtype, voxels) = header.voxels(voxels);
        let picture = Picture {
            index: header.index,
            acquisition_time_s: None,
            dtype,
            order: Order::C,
            slope: None,
            intercept: None,
            voxels,
        };
        Ok((scan, picture))
    }
}

impl Source for Pyneal {
    fn next(&mut self, until: Option<Instant>) -> Arrival {
        loop {
            let frames = match self.recv(until) {
                None => return Arrival::Quiet,
                Some(Ok(frames)) => frames,
                Some(Err(error)) => {
                    tracing::error!(%error, "pyneal: the socket failed");
                    return Arrival::Over;
                }
            };
            match &*frames {
                [hello] if hello.len() <= MAX_HELLO_BYTES => {
                    tracing::info!("pyneal: a sender says hello");
                    self.answer(String::from_utf8_lossy(hello).into_owned());
                }
                [header, voxels] => match self.volume(header, voxels) {
                    Ok((scan, picture)) => {
                        self.answer(format!("received volIdx {}", picture.index));
                        return Arrival::Volume(scan, picture);
                    }
                    Err(reason) => {
                        tracing::warn!(reason, "pyneal: volume refused");
                        self.answer("refused; the log of the receiver says why".to_owned());
                        return Arrival::Refused;
                    }
                },
                other => {
                    tracing::warn!(
                        frames = other.len(),
                        "pyneal: message refused, expected a short hello or header and voxels"
                    );
                    self.answer("refused: expected a header and voxels".to_owned());
                    return Arrival::Refused;
                }
            }
        }
    }
}

impl Drop for Pyneal {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
    }
}
