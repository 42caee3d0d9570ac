//! SIGTERM, SIGINT and SIGHUP end the adapter alike: it says what it waits for, and not for ever.

use corticast_tests::{PlayedDaemon, Process, Site, adapter, wait_for};
use corticast_wire::message::FromAdapter;
use rustix::process::Signal;

/// An adapter in the middle of a run of many hours, whose first `n_acked` volumes the daemon
/// acknowledged.
fn in_a_run(site: &Site, daemon: &mut PlayedDaemon, n_acked: u32) -> (Process, String) {
    let flags = "synthetic --matrix 4x4x4 --volumes 100000 --speed 20";
    let flags: Vec<&str> = flags.split(' ').collect();
    let sending = adapter(site, &daemon.endpoint(), &flags);
    let mut run = String::new();
    loop {
        match daemon.next_message() {
            FromAdapter::Run { header, .. } => {
                run = header.run_id();
                daemon.accept(&run, 0);
            }
            FromAdapter::Volume(volume) if volume.header.index.0 < n_acked => {
                daemon.ack(&run, Some(volume.header.index.0));
            }
            FromAdapter::Volume(_) => return (sending, run),
            _ => {}
        }
    }
}

#[test]
fn the_three_signals_end_the_run_alike() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let site = Site::new(1);
        let mut daemon = PlayedDaemon::listen();
        let (sending, run) = in_a_run(&site, &mut daemon, 3);
        sending.signal(signal);
        // The volume that was not acknowledged above.
        wait_for("the adapter stops", || sending.log().contains("stopping: waiting").then_some(()));
        daemon.ack(&run, Some(3));
        loop {
            match daemon.next_message() {
                FromAdapter::End(_) => break daemon.ack(&run, None),
                FromAdapter::Volume(volume) => daemon.ack(&run, Some(volume.header.index.0)),
                _ => {}
            }
        }
        drop(sending.finish().expect(0, &["stopping", "run is over", "done"]));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::new(1);
    let mut daemon = PlayedDaemon::listen();
    let (sending, _) = in_a_run(&site, &mut daemon, 3);
    sending.signal(Signal::HUP);
    wait_for("the adapter stops", || sending.log().contains("stopping: waiting").then_some(()));
    sending.signal(Signal::TERM);
    drop(sending.finish().expect(1, &["SIGTERM again: ending at once"]));
}

#[test]
fn a_daemon_that_went_away_is_not_waited_for_long() {
    let site = Site::new(1);
    let mut daemon = PlayedDaemon::listen();
    let (sending, _) = in_a_run(&site, &mut daemon, 3);
    drop(daemon);
    sending.signal(Signal::TERM);
    let words =
        ["waiting for the daemon to acknowledge", "s more", "given up", "never acknowledged"];
    drop(sending.finish().expect(3, &words));
}
