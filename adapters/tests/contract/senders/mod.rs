//! Senders of each protocol: good volumes of 2 x 2 x 2 voxels, and every kind of bad ones.

mod afni;
mod dicom;
mod mrd;
mod murfi;
mod parrec;
mod pyneal;

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use corticast_adapter::{
    adapter::ScannerAdapter,
    network::{ListenOptions, NetworkAdapter, RunOptions},
};

/// A scanner. `scan` numbers its scans from 1.
pub(crate) trait Sender {
    /// Sends a whole volume.
    fn volume(&mut self, scan: u8, index: u32);
    /// Sends a volume of another shape.
    fn other_shape(&mut self, scan: u8, index: u32);
    /// Sends a part of a volume and is gone.
    fn cut(&mut self, scan: u8, index: u32);
    /// Sends what is no message, and waits until it is refused.
    fn garbage(&mut self);
    /// Announces more bytes than any machine has, and waits until it is refused.
    fn absurd(&mut self);
    /// Ends the connection.
    fn gone(&mut self);
}

/// An adapter of this name that listens, and a sender for it.
pub(crate) fn open(adapter: &str) -> (Box<dyn ScannerAdapter>, Box<dyn Sender>) {
    let boxed = |(adapter, sender): (NetworkAdapter, Box<dyn Sender>)| {
        (Box::new(adapter) as Box<dyn ScannerAdapter>, sender)
    };
    match adapter {
        "afni" => boxed(afni::open()),
        "mrd" => boxed(mrd::open()),
        "murfi" => boxed(murfi::open()),
        "pyneal" => boxed(pyneal::open()),
        "parrec" => boxed(parrec::open()),
        "dicom" => dicom::open(),
        "store" => dicom::open_network(),
        other => panic!("no adapter {other}"),
    }
}

/// Runs end by what the sender does, not by time.
fn run() -> RunOptions {
    RunOptions { tr: Some(1.0), end_after_s: Duration::from_secs(3600), ..RunOptions::default() }
}

/// A loopback address of this test alone, so that a port that is free there stays free.
fn listen() -> ListenOptions {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let listen = IpAddr::V4(Ipv4Addr::new(127, number, high, low.max(1)));
    ListenOptions { listen, ..ListenOptions::default() }
}

/// A port that is free at this address.
fn free_port(address: IpAddr) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

/// A connection that is made when it is needed.
struct Connection {
    to: (IpAddr, u16),
    stream: Option<TcpStream>,
    /// The scan that is being sent.
    scan: u8,
}

impl Connection {
    fn new(to: (IpAddr, u16)) -> Self {
        Self { to, stream: None, scan: 0 }
    }

    /// The connection for a scan. Another scan gets another connection; `start` begins it.
    fn for_scan(&mut self, scan: u8, start: &[u8]) {
        if self.stream.is_none() || self.scan != scan {
            self.close();
            self.send(start);
            self.scan = scan;
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let to = self.to;
        let stream = self.stream.get_or_insert_with(|| TcpStream::connect(to).unwrap());
        // The adapter may have refused the sender already.
        stream.write_all(bytes).ok();
    }

    /// Ends the connection and waits until the adapter has noticed.
    fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.shutdown(Shutdown::Write).ok();
            stream.read_to_end(&mut Vec::new()).ok();
        }
    }
}
