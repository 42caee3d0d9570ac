//! A folder of PAR/REC pairs.

use std::{fs, time::Duration};

use corticast_adapter::{
    network::NetworkAdapter,
    parrec::{self, ParRecOptions, Scaling},
};
use tempfile::TempDir;

use super::{Sender, run};

struct ParRec {
    folder: TempDir,
}

pub(super) fn open() -> (NetworkAdapter, Box<dyn Sender>) {
    let folder = tempfile::tempdir().unwrap();
    let options = ParRecOptions {
        folder: folder.path().to_owned(),
        run: run(),
        image_type: None,
        echo: 1,
        scaling: Scaling::Display,
        deadline_s: Duration::from_millis(200),
        poll_ms: 10,
        once: false,
    };
    (parrec::open(options).unwrap(), Box::new(ParRec { folder }))
}

impl ParRec {
    /// A pair of 2 x 2 pixels and `nz` slices; both files appear whole.
    fn write(&self, scan: u8, index: u32, size: u32, nz: u32, rec_bytes: usize) {
        let mut par = String::from("# export tool     V4.2\n");
        for slice in 1..=nz {
            par += &format!(
                "{slice} 1 1 1 0 2 {} 16 100 {size} 2 0 {} 1 0 0 0 0 0 0 {slice} 0 3 0 0 1 0 2 3 \
                 3 30 {index} 0\n",
                slice - 1,
                index + 1
            );
        }
        par += "# END OF DATA DESCRIPTION FILE\n";
        self.put(&format!("S{scan}-{index:04}.rec"), &vec![index as u8; rec_bytes]);
        self.put(&format!("S{scan}-{index:04}.par"), par.as_bytes());
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let hidden = self.folder.path().join(format!(".{name}.tmp"));
        fs::write(&hidden, bytes).unwrap();
        fs::rename(hidden, self.folder.path().join(name)).unwrap();
    }
}

impl Sender for ParRec {
    fn volume(&mut self, scan: u8, index: u32) {
        self.write(scan, index, 2, 2, 16);
    }

    fn other_shape(&mut self, scan: u8, index: u32) {
        self.write(scan, index, 2, 3, 24);
    }

    fn cut(&mut self, scan: u8, index: u32) {
        self.write(scan, index, 2, 2, 9);
    }

    fn garbage(&mut self) {
        self.put("A-0000.par", b"\xff\xfe no PAR\nEND OF DATA DESCRIPTION FILE\n");
    }

    fn absurd(&mut self) {
        self.write(0, 0, 4_000_000_000, 2, 16);
    }

    fn gone(&mut self) {}
}
