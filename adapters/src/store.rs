//! The DICOM network: a storage provider (C-STORE SCP) to which a scanner sends its images.
//!
//! What arrives is written whole into a private folder, which the folder adapter (`dicom`) watches,
//! so that an image is read in one way however it came. The folder is removed at the end, files
//! that were read before that; a folder that a killed adapter left is removed by the next one.
//! Best is a folder in memory, such as `/dev/shm`.
//!
//! A sender that is refused, and an image that did not come whole, are counted with what the folder
//! adapter refuses.
//!
//! Only senders whose application title (AE title) is allowed get an association. A verification
//! (C-ECHO) is answered, which the console's "ping" uses.
//!
//! Sources: DICOM PS3.7 (messages), PS3.8 (associations), PS3.10 (files).

mod association;
mod command;
mod spool;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use corticast_bold::run::RunHeader;
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};

use self::association::Provider;
pub use self::spool::Spool;
use crate::{
    adapter::{ScannerAdapter, Stopper},
    dicom::{DicomAdapter, DicomOptions},
    network::{
        ListenOptions,
        listen::{bind, is_allowed},
    },
};

const PORT: u16 = 11_112;
/// Associations at the same time: a scanner may verify while it sends.
const MAX_ASSOCIATIONS: usize = 4;

/// Who may send, and how the images are read. Its folder holds the images until they are read.
#[derive(Clone, Debug, clap::Args)]
pub struct StoreOptions {
    /// As for a folder; files lie in a private folder within FOLDER until they are read.
    #[command(flatten)]
    pub dicom: DicomOptions,
    /// Where to listen, and for whom.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Port of the DICOM network
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub port: u16,
    /// Our application title (AE title), as it is entered at the console
    #[arg(long, value_name = "AE", default_value = "CORTICAST")]
    pub ae_title: String,
    /// Application title of a scanner that may send; repeat it for several
    #[arg(long, value_name = "AE", required = true)]
    pub from: Vec<String>,
}

/// Listens for scanners that send to us.
///
/// # Errors
///
/// Fails when the port is in use, the folder cannot be used, or a label is invalid.
pub fn open(options: StoreOptions, spool: &Spool) -> Result<StoreAdapter, AdapterError> {
    let StoreOptions { dicom, listen, port, ae_title, from } = options;
    let error = |source| AdapterError::Io { path: "the DICOM port".into(), source };
    let listener = bind(&listen, port).map_err(error)?;
    tracing::info!(address = %listener.local_addr().map_err(error)?, "listening for store");
    let dicom = DicomAdapter::open(DicomOptions { folder: spool.path().to_owned(), ..dicom })?;
    let provider = Arc::new(Provider::new(&ae_title, &from, spool, listen.stall_s, dicom.losses()));
    let allowed = listen.allow;
    thread::Builder::new()
        .name("store-door".into())
        .spawn(move || {
            let n_open = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().map(|peer| peer.ip());
                if !peer.is_ok_and(|peer| is_allowed(peer, &allowed)) {
                    tracing::warn!("store: connection refused: the address is not among --allow");
                    continue;
                }
                if n_open.fetch_add(1, Ordering::AcqRel) >= MAX_ASSOCIATIONS {
                    n_open.fetch_sub(1, Ordering::AcqRel);
                    tracing::warn!("store: connection refused: {MAX_ASSOCIATIONS} are open");
                    continue;
                }
                let (provider, taken) = (Arc::clone(&provider), Arc::clone(&n_open));
                let talk = move || {
                    provider.talk(stream);
                    taken.fetch_sub(1, Ordering::AcqRel);
                };
                if thread::Builder::new().name("store".into()).spawn(talk).is_err() {
                    n_open.fetch_sub(1, Ordering::AcqRel);
                }
            }
        })
        .map_err(error)?;
    Ok(StoreAdapter { dicom })
}

/// Reads a command of the DICOM network as the adapter does. Returns its kind.
///
/// # Errors
///
/// Fails when the adapter would refuse the command. The text says why.
pub fn read_command(bytes: &[u8]) -> Result<u16, String> {
    command::Command::parse(bytes).map(|command| command.field)
}

/// The folder adapter, on what arrives over the network.
pub struct StoreAdapter {
    dicom: DicomAdapter,
}

impl ScannerAdapter for StoreAdapter {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.dicom.start_run()
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        self.dicom.next_volume()
    }

    fn stopper(&self) -> Option<Stopper> {
        self.dicom.stopper()
    }

    fn refused(&self) -> Option<Arc<std::sync::atomic::AtomicU64>> {
        self.dicom.refused()
    }
}
