//! A daemon that answers heartbeats and acknowledges nothing is behind, not silent: the adapter
//! says so, does not give the run up, and does not send everything again.

use corticast_tests::{PlayedDaemon, Site, adapter};
use corticast_wire::message::FromAdapter;

const VOLUMES: u32 = 30;

#[test]
fn a_daemon_that_is_behind_is_neither_flooded_nor_given_up() {
    let site = Site::new(VOLUMES);
    let mut daemon = PlayedDaemon::listen();
    let mut flags = site.scan_flags();
    // A silent daemon would be given up one second after the run.
    flags.extend("--speed 1000 --patience-s 1".split(' ').map(str::to_owned));
    let sending = adapter(&site, &daemon.endpoint(), &flags);
    let mut n_sent = [0; VOLUMES as usize];
    let mut run = String::new();
    let said = format!("the daemon is behind: {VOLUMES} volumes are unacknowledged");
    while !sending.log().contains(&said) {
        match daemon.next_within(corticast_tests::PATIENCE) {
            Some(FromAdapter::Run { header, .. }) => {
                run = header.run_id();
                daemon.accept(&run, 0);
            }
            Some(FromAdapter::Volume(volume)) => n_sent[volume.header.index.0 as usize] += 1,
            Some(FromAdapter::Ping) => daemon.ping(),
            _ => {}
        }
    }
    let n_repeats: u32 = n_sent.iter().map(|n| n - 1).sum();
    assert!(n_repeats <= 2, "{n_sent:?}");
    for index in 0..VOLUMES {
        daemon.ack(&run, Some(index));
    }
    loop {
        match daemon.next_message() {
            FromAdapter::End(_) => break daemon.ack(&run, None),
            FromAdapter::Volume(volume) => daemon.ack(&run, Some(volume.header.index.0)),
            _ => {}
        }
    }
    let ended = sending.finish().expect(0, &["done"]);
    assert!(!ended.log.contains("no daemon answers"), "{}", ended.log);
}
