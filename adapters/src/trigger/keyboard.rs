//! Triggers as keys of the terminal in which the adapter runs.
//!
//! The terminal is set to give each key at once and not to show it; Ctrl-C still works. It gets its
//! settings back when the adapter ends. A standard input that is no terminal is read byte by byte,
//! so another program can be the keyboard.

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
};

use rustix::{
    process::getpgrp,
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp,
        tcsetattr,
    },
};

use super::{Edges, device::Decode};

/// The settings of the terminal before ours.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal its settings back. Does nothing if they were not changed.
pub fn restore_terminal() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // The program ends: nobody is left to tell of an error.
        tcsetattr(io::stdin(), OptionalActions::Now, &before).ok();
    }
}

/// Counts keys.
struct Keys(String);

impl Decode for Keys {
    fn edges(&mut self, bytes: &[u8]) -> usize {
        bytes.iter().filter(|&&byte| self.0.bytes().any(|key| key == byte)).count()
    }
}

/// What reads the keyboard; any of `keys` is a trigger.
pub(super) fn open(keys: String) -> io::Result<Box<dyn FnOnce(Edges) + Send>> {
    let stdin = io::stdin();
    if isatty(&stdin) {
        if tcgetpgrp(&stdin).is_ok_and(|owner| owner != getpgrp()) {
            return Err(io::Error::other(
                "the adapter runs in the background, where it gets no keys: start it without `&`, \
                 or use --trigger input:DEVICE",
            ));
        }
        let before = tcgetattr(&stdin)?;
        let mut ours = before.clone();
        ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        ours.special_codes[SpecialCodeIndex::VMIN] = 1;
        ours.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Flush, &ours)?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    }
    // Not through `Stdin`, whose buffer would hold keys back.
    let mut input = File::from(stdin.as_fd().try_clone_to_owned()?);
    let mut keys = Keys(keys);
    Ok(Box::new(move |mut edges| {
        let mut chunk = [0; 4096];
        loop {
            match io::Read::read(&mut input, &mut chunk) {
                Ok(n @ 1..) => {
                    let at = std::time::Instant::now();
                    for _ in 0..keys.edges(&chunk[..n]) {
                        if !edges.push(at) {
                            return;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    tracing::error!(
                        "the standard input has ended: no trigger will come from the keyboard"
                    );
                    return;
                }
            }
        }
    }))
}
