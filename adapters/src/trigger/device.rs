//! A device that is read from a thread, and opened again when it was gone.

use std::{fs::File, io, io::Read as _, time::Duration};

use super::Edges;

/// Pause before a device that is gone is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// What the bytes of a device mean.
pub(super) trait Decode: Send {
    /// Number of edges in these bytes.
    fn edges(&mut self, bytes: &[u8]) -> usize;

    /// The device was opened again: forgets what was left of an earlier read.
    fn restart(&mut self) {}
}

/// Reads a device until nobody listens any more. `open` opens it again; `name` is for the log.
pub(super) fn read(
    mut device: File,
    name: &str,
    open: impl Fn() -> io::Result<File>,
    decode: &mut dyn Decode,
    edges: &mut Edges,
) {
    let mut chunk = [0; CHUNK];
    loop {
        let reason = loop {
            match device.read(&mut chunk) {
                Ok(0) => break "it has ended".to_owned(),
                Ok(n) => {
                    // The bytes of one read came at one time.
                    let at = std::time::Instant::now();
                    for _ in 0..decode.edges(&chunk[..n]) {
                        if !edges.push(at) {
                            return;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error.to_string(),
            }
        };
        tracing::error!(
            "the trigger device {name} is gone ({reason}): volumes go on without triggers; it is \
             opened again when it is back"
        );
        device = loop {
            std::thread::park_timeout(AGAIN);
            if edges.is_closed() {
                return;
            }
            if let Ok(device) = open() {
                break device;
            }
        };
        decode.restart();
        tracing::info!("the trigger device {name} is back");
    }
}

/// The error of a device that cannot be opened, with what to do.
pub(super) fn unusable(name: &str, error: &io::Error, what_to_do: &str) -> io::Error {
    let what_to_do = match error.kind() {
        io::ErrorKind::PermissionDenied => what_to_do,
        io::ErrorKind::NotFound => "look at its name and its cable",
        _ => "expected a device that triggers can be read from",
    };
    let text = format!("the trigger device {name} cannot be opened: {error}; {what_to_do}");
    io::Error::new(error.kind(), text)
}
