//! One association: who may have one, and its messages.

use std::{
    io,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dicom_ul::{
    ServerAssociation,
    association::server::{AccessControl, ServerAssociationOptions},
    pdu::{
        AssociationRJServiceUserReason, PDataValue, PDataValueType, Pdu,
        PresentationContextResultReason, UserIdentity,
    },
};

use super::{
    Spool,
    command::{C_ECHO_RQ, C_STORE_RQ, Command, OUT_OF_RESOURCES, SUCCESS, UNRECOGNIZED, file_meta},
    spool::{Incoming, Shared},
};

/// A sender that is silent for this long within its association is dropped.
const IDLE: Duration = Duration::from_secs(300);
/// Largest image; the reader takes no larger one.
const MAX_IMAGE_BYTES: u64 = 256 << 20;
/// Longest command.
const MAX_COMMAND_BYTES: usize = 16 * 1024;
/// Longest piece of a message that we ask for.
const MAX_PDU_BYTES: u32 = 128 * 1024;
/// What is taken: implicit and explicit little-endian, big-endian, RLE, JPEG lossless, JPEG-LS.
const TRANSFER_SYNTAXES: [&str; 8] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
];

/// Admits senders by their application titles.
#[derive(Clone, Debug)]
struct Titles {
    from: Vec<String>,
}

impl AccessControl for Titles {
    fn check_access(
        &self,
        ours: &str,
        calling: &str,
        called: &str,
        _: Option<&UserIdentity>,
    ) -> Result<(), AssociationRJServiceUserReason> {
        let shown = |title: &str| title.trim().chars().take(16).collect::<String>();
        if called.trim() != ours.trim() {
            tracing::warn!(
                "store: association refused: the sender calls {:?}, this is {ours:?}: change the \
                 console or --ae-title",
                shown(called)
            );
            return Err(AssociationRJServiceUserReason::CalledAETitleNotRecognized);
        }
        if !self.from.iter().any(|title| title.trim() == calling.trim()) {
            tracing::warn!("store: association refused: {:?} is not among --from", shown(calling));
            return Err(AssociationRJServiceUserReason::CallingAETitleNotRecognized);
        }
        Ok(())
    }
}

/// Serves associations.
#[derive(Debug)]
pub(super) struct Provider {
    ae_title: String,
    titles: Titles,
    spool: Shared,
    hello: Duration,
    /// Counts senders that were refused, and images that did not come whole.
    refused: Arc<AtomicU64>,
}

impl Provider {
    pub(super) fn new(
        ae_title: &str,
        from: &[String],
        spool: &Spool,
        hello: Duration,
        refused: Arc<AtomicU64>,
    ) -> Self {
        Self {
            ae_title: ae_title.to_owned(),
            titles: Titles { from: from.to_vec() },
            spool: spool.shared(),
            hello: hello.max(Duration::from_millis(100)),
            refused,
        }
    }

    /// Serves one connection to its end.
    pub(super) fn talk(&self, stream: TcpStream) {
        let mut options = ServerAssociationOptions::new()
            .ae_access_control(self.titles.clone())
            .ae_title(self.ae_title.as_str())
            .max_pdu_length(MAX_PDU_BYTES)
            .promiscuous(true)
            .read_timeout(self.hello)
            .write_timeout(self.hello);
        for syntax in TRANSFER_SYNTAXES {
            options = options.with_transfer_syntax(syntax);
        }
        let association = match options.establish(stream) {
            Ok(association) => association,
            Err(error) => {
                // Its text can hold what the sender sent; its kind cannot.
                tracing::debug!("store: no association: {}", kind(&error));
                tracing::warn!("store: a connection became no association");
                self.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        tracing::info!("store: a scanner is connected");
        let mut talk = Talk {
            association,
            spool: &self.spool,
            refused: &self.refused,
            command: Vec::new(),
            current: None,
        };
        let served = talk.serve();
        if talk.current.is_some() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("store: an image lacks its end: it is not kept");
        }
        match served {
            Ok(n_images) => tracing::info!(n_images, "store: the scanner is done"),
            Err(reason) => {
                tracing::warn!(reason, "store: association ended");
                talk.association.abort().ok();
            }
        }
    }
}

/// The name of an error's variant.
fn kind(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// A request that waits for its data.
struct Storing {
    request: Command,
    context: u8,
    /// Or why it is not kept.
    file: io::Result<Incoming>,
}

struct Talk<'a> {
    association: ServerAssociation<TcpStream>,
    spool: &'a Shared,
    refused: &'a AtomicU64,
    /// Pieces of a command so far.
    command: Vec<u8>,
    current: Option<Storing>,
}

impl Talk<'_> {
    /// Returns the number of images that were kept.
    fn serve(&mut self) -> Result<u64, &'static str> {
        let idle = self.association.inner_stream().set_read_timeout(Some(IDLE));
        idle.map_err(|_| "the socket failed")?;
        let mut n_images = 0;
        loop {
            let started = Instant::now();
            let pdu = self.association.receive().map_err(|_| match started.elapsed() >= IDLE {
                true => "the sender was silent for 5 minutes",
                false => "the connection ended or broke the protocol",
            })?;
            match pdu {
                Pdu::PData { data } => {
                    for value in data {
                        n_images += u64::from(self.piece(&value)?);
                    }
                }
                Pdu::ReleaseRQ => {
                    self.association.send(&Pdu::ReleaseRP).ok();
                    return Ok(n_images);
                }
                Pdu::AbortRQ { .. } => return Err("the sender aborted"),
                _ => return Err("found a message out of turn"),
            }
        }
    }

    /// A piece of a command or of an image. Returns whether it completed an image.
    fn piece(&mut self, value: &PDataValue) -> Result<bool, &'static str> {
        match value.value_type {
            PDataValueType::Command => {
                if self.command.len() + value.data.len() > MAX_COMMAND_BYTES {
                    return Err("found a command of more than 16 KiB");
                }
                self.command.extend_from_slice(&value.data);
                if value.is_last {
                    self.request(value.presentation_context_id)?;
                }
                Ok(false)
            }
            PDataValueType::Data => {
                let storing = self.current.as_mut().ok_or("found data without a request")?;
                if let Ok(file) = &mut storing.file
                    && let Err(error) = file.add(&value.data, MAX_IMAGE_BYTES)
                {
                    storing.file = Err(error);
                }
                if value.is_last { self.finish() } else { Ok(false) }
            }
        }
    }

    fn request(&mut self, context: u8) -> Result<(), &'static str> {
        let bytes = std::mem::take(&mut self.command);
        let request = Command::parse(&bytes).map_err(|reason| {
            tracing::debug!(reason, "store: command refused");
            "found a command that breaks the standard"
        })?;
        match request.field {
            C_ECHO_RQ => self.answer(context, &request, SUCCESS),
            C_STORE_RQ => {
                let accepted = self.association.presentation_contexts().iter().find(|found| {
                    let is_accepted = found.reason == PresentationContextResultReason::Acceptance;
                    found.id == context && is_accepted
                });
                let syntax = accepted.ok_or("found an image in no accepted context")?;
                let start = file_meta(&request, &syntax.transfer_syntax);
                let file = self.spool.begin(&start);
                self.current = Some(Storing { request, context, file });
                Ok(())
            }
            _ => self.answer(context, &request, UNRECOGNIZED),
        }
    }

    /// The image is whole: it is given to the reader, and the sender gets its answer.
    fn finish(&mut self) -> Result<bool, &'static str> {
        let Some(Storing { request, context, file }) = self.current.take() else {
            return Err("found data without a request");
        };
        let kept = file.and_then(Incoming::finish);
        if let Err(error) = &kept {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "store: image not kept");
        }
        let status = if kept.is_ok() { SUCCESS } else { OUT_OF_RESOURCES };
        self.answer(context, &request, status)?;
        Ok(kept.is_ok())
    }

    fn answer(&mut self, context: u8, request: &Command, status: u16) -> Result<(), &'static str> {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data: request.answer(status),
        };
        let sent = self.association.send(&Pdu::PData { data: vec![value] });
        sent.map_err(|_| "the sender took no answer")
    }
}
