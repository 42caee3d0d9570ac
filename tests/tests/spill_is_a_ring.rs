//! The disk space for waiting volumes is bounded by what waits, not by what has passed through it.

use std::collections::BTreeSet;

use corticast_tests::{PlayedDaemon, Site, adapter};
use corticast_wire::message::FromAdapter;

const VOLUMES: u32 = 1000;

#[test]
fn an_outage_that_never_quite_ends_passes_more_than_the_limit_without_loss() {
    // 4 KiB a volume, 4 MiB in all; the disk space is for less than 400 volumes.
    let site = Site::with_matrix(VOLUMES, "nearest", [16, 16, 8]);
    let mut daemon = PlayedDaemon::listen();
    let mut flags = site.scan_flags();
    flags.extend("--speed 100 --window 4 --spill-max-gb 0.0015".split(' ').map(str::to_owned));
    let sending = adapter(&site, &daemon.endpoint(), &flags);

    // The daemon is always 40 volumes behind, so volumes wait on disk all the time.
    let (mut waiting, mut acked) = (BTreeSet::new(), 0);
    let mut run = String::new();
    loop {
        match daemon.next_message() {
            FromAdapter::Run { header, .. } => {
                run = header.run_id();
                daemon.accept(&run, 0);
            }
            FromAdapter::Volume(volume) => {
                let index = volume.header.index.0;
                if index >= acked {
                    waiting.insert(index);
                }
                let is_last = waiting.contains(&(VOLUMES - 1));
                while waiting.len() > 40 || (is_last && waiting.contains(&acked)) {
                    assert!(waiting.remove(&acked), "volume {acked} was not sent in order");
                    daemon.ack(&run, Some(acked));
                    acked += 1;
                }
            }
            FromAdapter::End(_) => {
                daemon.ack(&run, None);
                break;
            }
            FromAdapter::Mark(_) | FromAdapter::Ping => {}
        }
    }
    assert_eq!(acked, VOLUMES);
    drop(sending.finish().expect(0, &["done"]));
}
