//! Which protocol a sender speaks: by the port, or by its first bytes.

use std::{
    fmt,
    io::{self, Read as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crossbeam::channel::Receiver;

use crate::network::{
    ListenOptions,
    listen::{bind, is_allowed},
};

/// How often the doctor looks for a sender.
const LOOK: Duration = Duration::from_millis(20);
/// How long a sender may take for its first bytes.
const FIRST: Duration = Duration::from_secs(3);
/// Bytes that are enough to tell.
const ENOUGH: usize = 12;

/// A protocol, by the name of its adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Speaks {
    /// AFNI's real-time protocol
    Afni,
    /// MRD (ISMRMRD) streams
    Mrd,
    /// MURFI's vsend
    Murfi,
    /// The scanner side of pyneal
    Pyneal,
    /// The DICOM network (C-STORE)
    Store,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Afni => "afni",
            Self::Mrd => "mrd",
            Self::Murfi => "murfi",
            Self::Pyneal => "pyneal",
            Self::Store => "store",
        })
    }
}

impl Speaks {
    /// The protocol whose usual port this is.
    pub(super) fn on_port(port: u16) -> Option<Self> {
        match port {
            7960 | 7961 => Some(Self::Afni),
            9002 => Some(Self::Mrd),
            15_000 => Some(Self::Murfi),
            5555 => Some(Self::Pyneal),
            104 | 11_112 => Some(Self::Store),
            _ => None,
        }
    }

    /// The protocol of these first bytes.
    fn by(first: &[u8]) -> Option<Self> {
        let is_word = |bytes: &[u8]| {
            bytes.len() >= 3 && bytes.iter().all(|b| b.is_ascii_uppercase() || b" _+".contains(b))
        };
        match first {
            // The greeting of ZMTP.
            [0xFF, _, _, _, _, _, _, _, _, 0x7F, ..] => Some(Self::Pyneal),
            // A request for an association: its type, a zero, and a length below 64 KiB, big-endian.
            [1, 0, 0, 0, ..] => Some(Self::Store),
            // Messages 1 to 3 of MRD open a stream.
            [1..=3, 0, ..] => Some(Self::Mrd),
            [b'E', b'R', b'T', b'I', ..] | [b'S', b'I', b'M', b'U', ..] => Some(Self::Murfi),
            // Two lengths before the header of 616 bytes.
            [0x68, 0x02, 0, 0, ..] => Some(Self::Murfi),
            [b't', b'c', b'p', b':', ..] | [b's', b'h', b'm', b':', ..] => Some(Self::Afni),
            _ if is_word(first) => Some(Self::Afni),
            _ => None,
        }
    }
}

/// What came of waiting for a first sender.
pub(super) enum First {
    /// It speaks this.
    Known(Speaks),
    /// It sent these bytes, which are of no protocol that is known.
    Unknown(Vec<u8>),
    /// Nobody came.
    Nobody,
}

/// Waits for a first sender and looks at its first bytes. Its connection ends with that.
///
/// # Errors
///
/// Fails when the port is in use.
pub(super) fn wait(
    options: &ListenOptions,
    port: u16,
    until: Instant,
    stop: &Receiver<()>,
) -> io::Result<First> {
    let listener = bind(options, port)?;
    listener.set_nonblocking(true)?;
    tracing::info!(address = %listener.local_addr()?, "listening for any sender");
    while Instant::now() < until && stop.try_recv().is_err() {
        match listener.accept() {
            Ok((stream, peer)) if is_allowed(peer.ip(), &options.allow) => {
                let first = first_bytes(stream);
                return Ok(Speaks::by(&first).map_or(First::Unknown(first), First::Known));
            }
            Ok((_, peer)) => tracing::warn!(
                peer = %peer.ip(),
                "connection refused: the address is not among --allow"
            ),
            Err(_) => std::thread::park_timeout(LOOK),
        }
    }
    Ok(First::Nobody)
}

fn first_bytes(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let until = Instant::now() + FIRST;
    let is_set = stream.set_nonblocking(false).and(stream.set_read_timeout(Some(FIRST)));
    while is_set.is_ok() && bytes.len() < ENOUGH && Instant::now() < until {
        let mut chunk = [0; ENOUGH];
        match stream.read(&mut chunk[..ENOUGH - bytes.len()]) {
            Ok(n @ 1..) => bytes.extend_from_slice(&chunk[..n]),
            _ => break,
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_by_their_first_bytes() {
        for (first, speaks) in [
            (&b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00"[..], Some(Speaks::Pyneal)),
            (b"\x01\0\0\0\x01\x0a\0\x01\0\0CO", Some(Speaks::Store)),
            (b"\x01\0default.xml", Some(Speaks::Mrd)),
            (b"\x02\0\x10\0\0\0<xml", Some(Speaks::Mrd)),
            (b"ERTI\0\0\0\0\x04\0\0\0", Some(Speaks::Murfi)),
            (b"\x68\x02\0\0\0\x10\0\0ERTI", Some(Speaks::Murfi)),
            (b"tcp:10.0.0.1", Some(Speaks::Afni)),
            (b"ACQUISITION_", Some(Speaks::Afni)),
            (b"GET / HTTP/1", None),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\x07", None),
            (b"", None),
        ] {
            assert_eq!(Speaks::by(first), speaks, "{first:?}");
        }
        assert_eq!((Speaks::on_port(7961), Speaks::on_port(80)), (Some(Speaks::Afni), None));
    }
}
