//! MURFI's vsend: a connection for each volume.

use corticast_adapter::{
    murfi::{self, MurfiOptions},
    network::NetworkAdapter,
};

use super::{Connection, Sender, free_port, listen, run};

struct Murfi(Connection);

pub(super) fn open() -> (NetworkAdapter, Box<dyn Sender>) {
    let listen = listen();
    let at = (listen.listen, free_port(listen.listen));
    let options = MurfiOptions { run: run(), listen, port: at.1, moco: false, lps: false };
    (murfi::open(options).unwrap(), Box::new(Murfi(Connection::new(at))))
}

fn message(scan: u8, index: u32, nz: i32) -> Vec<u8> {
    let mut header = [0_u8; 616];
    let mut put = |at: usize, value: &[u8]| header[at..at + value.len()].copy_from_slice(value);
    put(0, b"ERTI\0");
    put(8, &[4]);
    put(12, &[b'1', b'.', b'0' + scan]);
    put(428, &[1]);
    for (at, value) in [(464, 2), (468, 2), (472, nz), (540, 1000), (548, index as i32 + 1)] {
        put(at, &value.to_le_bytes());
    }
    [432, 440, 448].iter().for_each(|at| put(*at, &3.0_f64.to_le_bytes()));
    let voxels = (index as u16).to_le_bytes().repeat(4 * nz.clamp(1, 9) as usize);
    [header.as_slice(), &voxels].concat()
}

impl Sender for Murfi {
    fn volume(&mut self, scan: u8, index: u32) {
        self.0.send(&message(scan, index, 2));
        self.0.close();
    }

    fn other_shape(&mut self, scan: u8, index: u32) {
        self.0.send(&message(scan, index, 3));
        self.0.close();
    }

    fn cut(&mut self, scan: u8, index: u32) {
        self.0.send(&message(scan, index, 2)[..620]);
        self.0.close();
    }

    fn garbage(&mut self) {
        self.0.send(&[0xff; 700]);
        self.0.close();
    }

    fn absurd(&mut self) {
        self.0.send(&message(1, 0, i32::MAX));
        self.0.close();
    }

    fn gone(&mut self) {
        self.0.close();
    }
}
