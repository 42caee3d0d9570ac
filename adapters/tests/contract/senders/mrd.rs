//! MRD streams, with each volume in one image.

use corticast_adapter::{
    mrd::{self, MrdOptions},
    network::NetworkAdapter,
};

use super::{Connection, Sender, free_port, listen, run};

struct Mrd(Connection);

pub(super) fn open() -> (NetworkAdapter, Box<dyn Sender>) {
    let listen = listen();
    let at = (listen.listen, free_port(listen.listen));
    let options = MrdOptions { run: run(), listen, port: at.1, echo: 1, one_way: true };
    (mrd::open(options).unwrap(), Box::new(Mrd(Connection::new(at))))
}

fn config() -> Vec<u8> {
    [&[1, 0][..], &[0; 1024]].concat()
}

/// An image of 2 x 2 x `nz` pixels of 16 bits.
fn image(nz: u16, index: u32) -> Vec<u8> {
    let index = index as u16;
    let mut header = [0_u8; 198];
    let mut put = |at: usize, value: &[u8]| header[at..at + value.len()].copy_from_slice(value);
    for (at, value) in [(0, 1), (2, 1), (16, 2), (18, 2), (20, nz), (34, 1), (124, 1)] {
        put(at, &value.to_le_bytes());
    }
    put(104, &index.to_le_bytes());
    put(126, &(index + 1).to_le_bytes());
    [22, 26, 30].iter().for_each(|at| put(*at, &6.0_f32.to_le_bytes()));
    [48, 64, 80].iter().for_each(|at| put(*at, &1.0_f32.to_le_bytes()));
    let pixels = index.to_le_bytes().repeat(4 * usize::from(nz));
    [&1022_u16.to_le_bytes()[..], &header, &[0; 8], &pixels].concat()
}

impl Sender for Mrd {
    fn volume(&mut self, scan: u8, index: u32) {
        self.0.for_scan(scan, &config());
        self.0.send(&image(2, index));
    }

    fn other_shape(&mut self, scan: u8, index: u32) {
        self.0.for_scan(scan, &config());
        self.0.send(&image(3, index));
    }

    fn cut(&mut self, scan: u8, index: u32) {
        self.0.for_scan(scan, &config());
        self.0.send(&image(2, index)[..210]);
        self.0.close();
    }

    fn garbage(&mut self) {
        self.0.send(&[0xff; 300]);
        self.0.close();
    }

    fn absurd(&mut self) {
        self.0.send(&[3, 0, 0xff, 0xff, 0xff, 0xff]);
        self.0.close();
    }

    fn gone(&mut self) {
        self.0.close();
    }
}
