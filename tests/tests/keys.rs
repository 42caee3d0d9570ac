//! Connections from other machines need keys, and only keys on the list are accepted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, time::Duration};

use corticast_tests::{Daemon, PATIENCE, Site, Talk, Watch, adapter, corticast, results, wait_for};
use corticast_wire::{
    keys::KeyPair,
    socket::{ClientSecurity, SocketError},
};

/// A site with keys for the daemon, for a friend on its list, and for a stranger.
fn site_with_keys() -> Site {
    let site = Site::new(20);
    for name in ["daemon", "friend", "stranger"] {
        let made = corticast(&site, ["keygen", site.path(name).to_str().unwrap()]);
        assert_eq!(made.code, Some(0), "{}", made.log);
    }
    fs::create_dir(site.path("allow")).unwrap();
    fs::copy(site.path("friend.pub"), site.path("allow/friend.pub")).unwrap();
    site
}

fn flags(site: &Site, keys: &[&str]) -> Vec<String> {
    let value = |key: &str| match key {
        "key" => site.path("daemon.key"),
        _ => site.path("allow"),
    };
    let set = |key: &&str| ["--set".to_owned(), format!("wire.{key}={}", value(key).display())];
    keys.iter().flat_map(set).collect()
}

fn security(site: &Site, who: &str) -> ClientSecurity {
    let own = site.path(&format!("{who}.key"));
    ClientSecurity::from_files(&own, &site.path("daemon.pub")).unwrap()
}

#[test]
fn a_key_on_the_list_may_send_watch_and_command() {
    let site = site_with_keys();
    let jsonl = site.path("results.jsonl");
    let mut arguments = flags(&site, &["key", "allow", "control_allow"]);
    arguments.extend(["--results".to_owned(), jsonl.display().to_string()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let daemon = Daemon::start(&site, &arguments);

    let friend = security(&site, "friend");
    let talk = Talk::connect(daemon.endpoint("adapter"), &friend);
    let watch = Watch::hearing_all(daemon.endpoint("publish"), &friend, &talk);
    let (key, server) = (site.path("friend.key"), site.path("daemon.pub"));
    let mut scan = site.scan_flags();
    scan.extend(["--key".to_owned(), key.display().to_string()]);
    scan.extend(["--server-key".to_owned(), server.display().to_string()]);
    scan.extend(["--speed".to_owned(), "0".to_owned()]);
    let scan = adapter(&site, daemon.endpoint("adapter"), &scan).finish();
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    let ended =
        watch.until("end of the run", |topic, header| topic == "run" && header["state"] == "ended");
    assert_eq!(ended["n_received"], 20);
    let control = Talk::connect(daemon.endpoint("control"), &friend);
    assert_eq!(control.command("status")["ok"], true);
    assert_eq!(control.command("abort")["ok"], true);
    assert_eq!(daemon.process.finish().code, Some(0));
    assert!(!results(&jsonl).is_empty());
}

#[test]
fn a_key_that_is_not_on_the_list_cannot_connect() {
    let site = site_with_keys();
    let arguments = flags(&site, &["key", "allow", "control_allow"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let daemon = Daemon::start(&site, &arguments);
    // The daemon tells a peer that its key is not on the list.
    let stranger = security(&site, "stranger");
    let is_refused = |connected| matches!(connected, Err(SocketError::KeyRefused { .. }));
    for socket in ["adapter", "query", "control"] {
        let talk = Talk::connect(daemon.endpoint(socket), &stranger);
        assert!(is_refused(talk.wait_connected(PATIENCE)), "{socket}");
    }
    let watch = Watch::connect(daemon.endpoint("publish"), &stranger);
    assert!(is_refused(watch.wait_connected(PATIENCE)));
    // A peer without a key gets no answer, however long it waits.
    let a_while = Duration::from_secs(2);
    for socket in ["adapter", "query", "control"] {
        let talk = Talk::connect(daemon.endpoint(socket), &ClientSecurity::None);
        assert!(talk.wait_connected(a_while).is_err(), "{socket}");
    }
    let watch = Watch::connect(daemon.endpoint("publish"), &ClientSecurity::None);
    assert!(watch.wait_connected(a_while).is_err());
    let friend = Talk::connect(daemon.endpoint("query"), &security(&site, "friend"));
    friend.wait_connected(PATIENCE).unwrap();
    wait_for("a word in the log", || {
        daemon.process.log().contains("connection refused").then_some(())
    });
}

#[test]
fn a_key_that_may_watch_may_not_command() {
    let site = site_with_keys();
    KeyPair::generate().write_files(&site.path("operator")).unwrap();
    fs::create_dir(site.path("operators")).unwrap();
    fs::copy(site.path("operator.pub"), site.path("operators/operator.pub")).unwrap();
    let mut arguments = flags(&site, &["key", "allow"]);
    let operators = site.path("operators");
    arguments.extend(["--set".to_owned(), format!("wire.control_allow={}", operators.display())]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let daemon = Daemon::start(&site, &arguments);
    let friend = Talk::connect(daemon.endpoint("control"), &security(&site, "friend"));
    let refused = friend.wait_connected(PATIENCE);
    assert!(matches!(refused, Err(SocketError::KeyRefused { .. })), "{refused:?}");
    let operator = Talk::connect(daemon.endpoint("control"), &security(&site, "operator"));
    assert_eq!(operator.command("status")["ok"], true);
}

#[test]
fn nothing_leaves_the_machine_without_keys_and_a_list() {
    let site = site_with_keys();
    let config = site.config();
    let run = |more: &[String]| {
        let arguments = ["run", "--config", config.to_str().unwrap()].map(str::to_owned);
        corticast(&site, arguments.into_iter().chain(more.iter().cloned()))
    };
    for socket in ["adapter", "publish", "query", "control"] {
        let everywhere = ["--set".to_owned(), format!("wire.{socket}=tcp://0.0.0.0:0")];
        drop(run(&everywhere).expect(78, &["tcp://0.0.0.0:0", "keygen"]));
    }
    let everywhere = ["--set".to_owned(), "wire.http=0.0.0.0:0".to_owned()];
    drop(run(&everywhere).expect(78, &["0.0.0.0:0"]));
    // The keys for the other sockets are no keys for the control socket.
    let mut control = flags(&site, &["key", "allow"]);
    control.extend(["--set".to_owned(), "wire.control=tcp://0.0.0.0:0".to_owned()]);
    drop(run(&control).expect(78, &["tcp://0.0.0.0:0"]));
    drop(run(&flags(&site, &["key"])).expect(78, &["allow"]));
    fs::remove_file(site.path("allow/friend.pub")).unwrap();
    drop(run(&flags(&site, &["key", "allow"])).expect(78, &["allow"]));
}
