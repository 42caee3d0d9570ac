//! AFNI's real-time protocol.

use corticast_adapter::{
    afni::{self, AfniOptions},
    network::NetworkAdapter,
};

use super::{Connection, Sender, free_port, listen, run};

struct Afni(Connection);

pub(super) fn open() -> (NetworkAdapter, Box<dyn Sender>) {
    let listen = listen();
    let at = (listen.listen, free_port(listen.listen));
    let options = AfniOptions {
        run: run(),
        listen,
        control_port: 0,
        data_port: at.1,
        channel: 1,
        one_slice: false,
    };
    (afni::open(options).unwrap(), Box::new(Afni(Connection::new(at))))
}

fn commands(matrix: &str) -> Vec<u8> {
    format!("ACQUISITION_TYPE 3D+t\nXYFOV 6 6 6\nXYMATRIX {matrix}\nXYZAXES R-L A-P I-S\n\0")
        .into_bytes()
}

impl Sender for Afni {
    fn volume(&mut self, scan: u8, index: u32) {
        self.0.for_scan(scan, &commands("2 2 2"));
        self.0.send(&[index as u8; 16]);
    }

    fn other_shape(&mut self, _: u8, _: u32) {
        panic!("the protocol says the shape once a run");
    }

    fn cut(&mut self, scan: u8, index: u32) {
        self.0.for_scan(scan, &commands("2 2 2"));
        self.0.send(&[index as u8; 7]);
        self.0.close();
    }

    fn garbage(&mut self) {
        self.0.send(&[0xff; 40_000]);
        self.0.close();
    }

    fn absurd(&mut self) {
        self.0.send(&commands("1024 1024 1024"));
        self.0.close();
    }

    fn gone(&mut self) {
        self.0.close();
    }
}
