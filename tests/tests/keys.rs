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
    let mut arguments = flags(&site, &["key", "adapter_allow", "allow", "control_allow"]);
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
    let arguments = flags(&site, &["key", "adapter_allow", "allow", "control_allow"]);
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
    let mut arguments = flags(&site, &["key", "adapter_allow", "allow"]);
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
    let mut control = flags(&site, &["key", "adapter_allow", "allow"]);
    control.extend(["--set".to_owned(), "wire.control=tcp://0.0.0.0:0".to_owned()]);
    drop(run(&control).expect(78, &["tcp://0.0.0.0:0"]));
    drop(run(&flags(&site, &["key"])).expect(78, &["allow"]));
    fs::remove_file(site.path("allow/friend.pub")).unwrap();
    drop(run(&flags(&site, &["key", "allow"])).expect(78, &["allow"]));
}

#[test]
fn a_key_of_one_role_opens_the_sockets_of_no_other() {
    let site = site_with_keys();
    site.use_model("neurons-tiny");
    let roles = ["adapter_allow", "allow", "worker_allow", "control_allow"];
    let mut arguments = flags(&site, &["key"]);
    for role in roles {
        KeyPair::generate().write_files(&site.path(role)).unwrap();
        let folder = site.path(&format!("list-{role}"));
        fs::create_dir(&folder).unwrap();
        fs::copy(site.path(&format!("{role}.pub")), folder.join("its.pub")).unwrap();
        arguments.extend(["--set".to_owned(), format!("wire.{role}={}", folder.display())]);
    }
    let everywhere = "tcp://0.0.0.0:0";
    let workers = format!("generator.workers={everywhere}");
    arguments.extend(["--set", "generator.mode=still", "--set", &workers].map(str::to_owned));
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let daemon = Daemon::start(&site, &arguments);
    let sockets = [
        ("adapter", "adapter_allow"),
        ("query", "allow"),
        ("publish", "allow"),
        ("workers", "worker_allow"),
        ("control", "control_allow"),
    ];
    for (socket, opener) in sockets {
        let endpoint = daemon.endpoint(socket).replace("0.0.0.0", "127.0.0.1");
        for role in roles {
            let connected = match socket {
                "publish" => {
                    Watch::connect(&endpoint, &security(&site, role)).wait_connected(PATIENCE)
                }
                _ => Talk::connect(&endpoint, &security(&site, role)).wait_connected(PATIENCE),
            };
            match connected {
                Ok(()) => assert_eq!(role, opener, "{socket}"),
                Err(error) => {
                    assert!(matches!(error, SocketError::KeyRefused { .. }), "{error}");
                    assert_ne!(role, opener, "{socket}");
                }
            }
        }
    }
    assert_eq!(daemon.stop().code, Some(0));

    // Without the list of its role, a socket can be bound on this machine only.
    let config = site.config();
    arguments.splice(0..0, ["run", "--config", config.to_str().unwrap()]);
    for (socket, opener) in sockets {
        let list =
            arguments.iter().position(|a| a.starts_with(&format!("wire.{opener}="))).unwrap();
        let mut without = arguments.clone();
        without.drain(list - 1..=list);
        let set = format!("wire.{socket}={everywhere}");
        if socket != "workers" {
            without.extend(["--set", &set]);
        }
        let ended = corticast(&site, without);
        assert!(ended.log.contains("0.0.0.0") && ended.code != Some(0), "{socket}: {}", ended.log);
        assert!(socket == "workers" || ended.log.contains(opener), "{socket}: {}", ended.log);
    }
}
