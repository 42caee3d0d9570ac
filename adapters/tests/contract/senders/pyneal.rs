//! The scanner side of pyneal: ZeroMQ's own bytes (ZMTP 3.0, no keys), so that a peer can break off
//! anywhere.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use corticast_adapter::{
    network::NetworkAdapter,
    pyneal::{self, PynealOptions},
};

use super::{Sender, free_port, run};
use crate::PATIENCE;

struct Pyneal {
    port: u16,
    stream: Option<TcpStream>,
}

pub(super) fn open() -> (NetworkAdapter, Box<dyn Sender>) {
    let port = free_port(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let adapter = pyneal::open(PynealOptions { run: run(), port }).unwrap();
    (adapter, Box::new(Pyneal { port, stream: None }))
}

fn frame(bytes: &[u8], more: bool) -> Vec<u8> {
    let mut frame = vec![u8::from(more) | 2];
    frame.extend((bytes.len() as u64).to_be_bytes());
    frame.extend(bytes);
    frame
}

fn header(index: u32, shape: [u32; 3]) -> Vec<u8> {
    format!(
        r#"{{"volIdx":{index},"dtype":"int16","shape":{shape:?},"TR":"1.0",
        "affine":"[[3,0,0,0],[0,3,0,0],[0,0,3,0],[0,0,0,1]]"}}"#
    )
    .into_bytes()
}

impl Pyneal {
    fn connect(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let mut greeting = [0; 64];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting)?;
        let ready = b"\x05READY\x0bSocket-Type\0\0\0\x04PAIR";
        stream.write_all(&[&[4, ready.len() as u8], ready.as_slice()].concat())?;
        stream.read_exact(&mut [0; 64])?;
        Ok(stream)
    }

    /// Sends frames and waits for the answer to them. A pair takes a second peer only once the
    /// first is gone, so a peer tries again, as libzmq does.
    fn ask(&mut self, frames: &[&[u8]]) {
        let started = Instant::now();
        loop {
            let stream = self.stream.take().map_or_else(|| self.connect(), Ok);
            match stream.and_then(|mut stream| exchange(&mut stream, frames).map(|()| stream)) {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return;
                }
                Err(error) => assert!(started.elapsed() < PATIENCE, "no answer: {error}"),
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

fn exchange(stream: &mut TcpStream, frames: &[&[u8]]) -> io::Result<()> {
    for (at, bytes) in frames.iter().enumerate() {
        stream.write_all(&frame(bytes, at + 1 < frames.len()))?;
    }
    // Commands (READY, PING) come in between.
    loop {
        let mut flags = [0];
        stream.read_exact(&mut flags)?;
        let length = if flags[0] & 2 == 0 {
            let mut length = [0];
            stream.read_exact(&mut length)?;
            u64::from(length[0])
        } else {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        };
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        if flags[0] & 4 == 0 {
            return Ok(());
        }
    }
}

impl Sender for Pyneal {
    fn volume(&mut self, _: u8, index: u32) {
        self.ask(&[&header(index, [2, 2, 2]), &[index as u8; 16]]);
    }

    fn other_shape(&mut self, _: u8, index: u32) {
        self.ask(&[&header(index, [2, 2, 3]), &[index as u8; 24]]);
    }

    fn cut(&mut self, _: u8, _: u32) {
        panic!("ZeroMQ passes on whole messages only");
    }

    fn garbage(&mut self) {
        self.ask(&[b"\x80\x04pickle", &[0xff; 10]]);
    }

    fn absurd(&mut self) {
        self.ask(&[&header(0, [1024, 1024, 1024]), &[0; 16]]);
    }

    fn gone(&mut self) {
        self.stream = None;
    }
}
