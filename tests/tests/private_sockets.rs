//! With `runtime_dir` the daemon's sockets are files in a folder that no other user can enter.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use corticast_tests::{Daemon, Process, Site, corticast, not_run};

/// `--set` flags for a runtime folder. The site's own endpoints are replaced by the defaults.
fn flags(folder: &str) -> Vec<String> {
    let sockets = [("adapter", 5560), ("publish", 5561), ("query", 5562), ("control", 5563)];
    let endpoints = sockets.map(|(name, port)| format!("wire.{name}=tcp://127.0.0.1:{port}"));
    let values = endpoints.into_iter().chain([format!("wire.runtime_dir={folder}")]);
    values.flat_map(|value| ["--set".to_owned(), value]).collect()
}

#[test]
fn adapter_operator_and_pyzmq_reach_the_daemon_through_its_folder() {
    let site = Site::new(20);
    let folder = site.path("run/corticast");
    let flags = flags(folder.to_str().unwrap());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let daemon = Daemon::start(&site, &flags);
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    for socket in ["adapter", "publish", "query", "control"] {
        let endpoint = format!("ipc://{}", folder.join(socket).display());
        assert_eq!(daemon.endpoint(socket), endpoint);
    }
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    let control = daemon.endpoint("control").to_owned();
    let status = corticast(&site, ["ctl", "--endpoint", &control, "status"]);
    drop(status.expect(0, &[]));

    let Some(python) = std::env::var_os("CORTICAST_PYTHON") else {
        not_run("pyzmq on ipc://", "CORTICAST_PYTHON is not set");
        return;
    };
    let mut client = Command::new(python);
    let script = "import sys, zmq\nsocket = zmq.Context().socket(zmq.DEALER)\n\
                  socket.connect(sys.argv[1])\nsocket.send_multipart([b'version', b'json'])\n\
                  print(socket.recv_multipart()[1].decode())";
    client.args(["-c", script, daemon.endpoint("query")]);
    let answer = Process::start(&site, client).finish().expect(0, &[]).output;
    assert!(answer.contains("\"protocol\":1"), "{answer}");
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_folder_that_others_can_enter_is_refused() {
    let site = Site::new(20);
    let folder = site.path("open");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let mut arguments = vec!["run".to_owned(), "--config".to_owned()];
    arguments.push(site.config().display().to_string());
    arguments.extend(flags(folder.to_str().unwrap()));
    drop(corticast(&site, arguments).expect(1, &["mode 755", "chmod 700"]));
}
