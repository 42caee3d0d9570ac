//! What goes back to the sender: its images, unchanged, and CLOSE.
//!
//! A thread sends them. A sender that reads nothing does not stop the receiving: when too much
//! waits, no further images go back.

use std::{
    io::{self, Write as _},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::{CLOSE, TEXT};

/// Messages and bytes that wait to be sent.
const MAX_WAITING: usize = 16_384;
const MAX_WAITING_BYTES: usize = 256 << 20;

/// Sends answers in the background. Dropping it ends the connection once all is sent.
pub(super) struct Answers {
    messages: Sender<Vec<u8>>,
    waiting_bytes: Arc<AtomicUsize>,
    one_way: bool,
    has_warned: bool,
}

impl Answers {
    pub(super) fn start(socket: TcpStream, one_way: bool) -> io::Result<Self> {
        let (messages, queue) = bounded(MAX_WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&waiting_bytes);
        thread::Builder::new()
            .name("mrd-answers".into())
            .spawn(move || send(socket, &queue, &waiting))?;
        Ok(Self { messages, waiting_bytes, one_way, has_warned: false })
    }

    /// Sends an image back.
    pub(super) fn image(&mut self, message: Vec<u8>) {
        if self.one_way {
            return;
        }
        let waiting = self.waiting_bytes.load(Ordering::Relaxed) + message.len();
        if waiting > MAX_WAITING_BYTES || self.has_warned {
            if !std::mem::replace(&mut self.has_warned, true) {
                tracing::warn!(
                    "the sender does not take its images back: none goes back from here on; \
                     --one-way sends none"
                );
            }
            return;
        }
        self.put(message);
    }

    /// Answers CLOSE.
    pub(super) fn close(&self) {
        self.put(CLOSE.to_le_bytes().to_vec());
    }

    /// Says why the stream is refused, and CLOSE, so that the scanner does not wait.
    pub(super) fn refuse(&self, reason: &str) {
        let text = format!("corticast: {reason}\0");
        let mut message = TEXT.to_le_bytes().to_vec();
        message.extend((text.len() as u32).to_le_bytes());
        message.extend(text.as_bytes());
        message.extend(CLOSE.to_le_bytes());
        self.put(message);
    }

    fn put(&self, message: Vec<u8>) {
        let n_bytes = message.len();
        self.waiting_bytes.fetch_add(n_bytes, Ordering::Relaxed);
        if self.messages.try_send(message).is_err() {
            self.waiting_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
            tracing::debug!("mrd: an answer found no room");
        }
    }
}

/// Sends until there is nothing more to send, or the sender is gone.
fn send(mut socket: TcpStream, queue: &Receiver<Vec<u8>>, waiting_bytes: &AtomicUsize) {
    for message in queue {
        waiting_bytes.fetch_sub(message.len(), Ordering::Relaxed);
        if let Err(error) = socket.write_all(&message) {
            tracing::debug!(%error, "mrd: an answer was not taken");
            break;
        }
    }
    socket.shutdown(Shutdown::Write).ok();
}
