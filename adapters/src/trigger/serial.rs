//! Triggers as bytes of a serial port: a trigger box, or a USB adapter that shows itself as one.
//!
//! The port is set to raw bytes, 8N1 without flow control, and modem lines are ignored.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    termios::{
        ControlModes, OptionalActions, QueueSelector, isatty, tcflush, tcgetattr, tcsetattr,
    },
};

use super::{
    Edges,
    device::{Decode, read, unusable},
};

/// Counts the bytes of triggers.
struct Bytes(Option<u8>);

impl Decode for Bytes {
    fn edges(&mut self, bytes: &[u8]) -> usize {
        bytes.iter().filter(|&&byte| self.0.is_none_or(|trigger| byte == trigger)).count()
    }
}

/// What reads the port `device`; `byte` is a trigger, or any byte is.
pub(super) fn open(
    device: PathBuf,
    byte: Option<u8>,
    baud: u32,
) -> io::Result<Box<dyn FnOnce(Edges) + Send>> {
    let name = device.display().to_string();
    let port = port(&device, baud).map_err(|error| {
        unusable(&name, &error, "add the user to the group that owns it, often `dialout`")
    })?;
    Ok(Box::new(move |mut edges| {
        read(port, &name, || self::port(&device, baud), &mut Bytes(byte), &mut edges);
    }))
}

/// Opens a port and sets it up.
fn port(device: &Path, baud: u32) -> io::Result<File> {
    // Without a carrier, opening would wait for one.
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let port = OpenOptions::new().read(true).write(true).custom_flags(flags).open(device)?;
    if !isatty(&port) {
        return Err(io::Error::other("it is no serial port"));
    }
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes -= ControlModes::CRTSCTS | ControlModes::PARENB | ControlModes::CSTOPB;
    settings.set_speed(baud)?;
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    // What was sent before is no trigger of now.
    tcflush(&port, QueueSelector::IFlush)?;
    fcntl_setfl(&port, fcntl_getfl(&port)? - OFlags::NONBLOCK)?;
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_counts_alone_or_any_does() {
        assert_eq!(Bytes(Some(b'5')).edges(b"5x55\n"), 3);
        assert_eq!(Bytes(None).edges(b"5x"), 2);
    }

    #[test]
    fn what_is_no_port_is_refused_with_what_to_do() {
        let error = |device: &str| match open(device.into(), None, 9600) {
            Ok(_) => panic!("{device} is no port"),
            Err(error) => error.to_string(),
        };
        let missing = error("/dev/no-such-port");
        assert!(missing.contains("/dev/no-such-port") && missing.contains("cable"), "{missing}");
        assert!(error("/dev/null").contains("no serial port"));
    }
}
