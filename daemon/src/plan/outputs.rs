//! Whether what a session gives out can leave it: the values of sinks, folders, files and ports.
//!
//! Checked before the participant is in the scanner, by `corticast check` and by `run` alike. A
//! replay feeds no sinks, so none of this concerns it.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use corticast_models::{decoder::Decoder, manifest::Role};

use super::{Plan, error::PlanError, feedback::classes};
use crate::config::{Config, sinks::ValueChoice};

impl Plan {
    /// Checks the outputs. See the module docs.
    ///
    /// # Errors
    ///
    /// Fails on the first output that could not work.
    pub fn check_outputs(&self) -> Result<(), PlanError> {
        let config = &self.config;
        if config.outputs.report.is_some() && config.recording.file.is_none() {
            return Err(PlanError::ReportWithoutRecording);
        }
        let has_motion = self.signal.stages.settings.realign.is_some();
        for (sink, value) in config.sinks.values() {
            has_value(sink, value, config, self.decoder.as_ref(), has_motion)?;
        }
        can_write(config)?;
        no_port_twice(config)
    }
}

/// Checks that a session of this plan has the value that a sink sends.
fn has_value(
    sink: &str,
    value: &ValueChoice,
    config: &Config,
    decoder: Option<&Decoder>,
    has_motion: bool,
) -> Result<(), PlanError> {
    let wrong = |reason: String| {
        let value = String::from(value.clone());
        Err(PlanError::Output(format!("`value` of [sinks.{sink}] is \"{value}\", {reason}")))
    };
    match value {
        ValueChoice::Feedback if config.feedback.is_none() => wrong(
            "but there is no [feedback], so there is no score; add that section, or choose \
             \"concept:NAME\", \"dvars\" or \"fd\""
                .to_owned(),
        ),
        ValueChoice::Fd if !has_motion => {
            wrong("but volumes are not realigned, so there is no FD; add [realign]".to_owned())
        }
        ValueChoice::Concept(name) => {
            let Some(decoder) = decoder else {
                return wrong("but there is no model; set `dir` in [model]".to_owned());
            };
            let networks = decoder.networks();
            let gives = |(role, _): &(Role, _)| matches!(role, Role::Decoder | Role::Concepts);
            if !networks.iter().any(gives) {
                return wrong(
                    "but the model reads out no concepts; add \"concepts\" to `heads` in [decoder]"
                        .to_owned(),
                );
            }
            let known = classes(decoder.manifest());
            if known.contains(name) {
                return Ok(());
            }
            wrong(format!("which the model does not decode, expected one of {known:?}"))
        }
        _ => Ok(()),
    }
}

/// Checks that every file and folder of the outputs can be written. What does not exist is created
/// when the session starts, so a folder above has to be there.
fn can_write(config: &Config) -> Result<(), PlanError> {
    let (outputs, recording) = (&config.outputs, &config.recording);
    let sham = config.feedback.as_ref().and_then(|feedback| feedback.sham.as_ref());
    let rtcloud = config.sinks.rtcloud.as_ref().map(|sink| &sink.folder);
    for (key, folder) in [
        ("`report` in [outputs]", outputs.report.as_ref()),
        ("`webp` in [outputs]", outputs.webp.as_ref()),
        ("`png` in [outputs]", outputs.png.as_ref()),
        ("`folder` in [sinks.rtcloud]", rtcloud),
    ] {
        let Some(folder) = folder else { continue };
        is_writable(folder).map_err(|reason| {
            PlanError::Output(format!("{key} is {}: {reason}", folder.display()))
        })?;
    }
    for (key, file) in [
        ("`film` in [outputs]", outputs.film.as_ref()),
        ("`file` in [recording]", recording.file.as_ref()),
        ("`results` in [recording]", recording.results.as_ref()),
        ("`assignment` in [feedback.sham]", sham.map(|sham| &sham.assignment)),
    ] {
        let Some(file) = file else { continue };
        let checked = match file.is_dir() {
            true => Err("it is a folder, expected a file".to_owned()),
            false => is_writable(folder_of(file)),
        };
        checked.map_err(|reason| {
            PlanError::Output(format!("{key} is {}: {reason}", file.display()))
        })?;
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether files can be made in a folder, or in the nearest folder above that exists. Makes one
/// without a lasting name, since permissions alone do not tell about disks that are read-only.
fn is_writable(folder: &Path) -> Result<(), String> {
    let there = folder.ancestors().find(|above| above.as_os_str().is_empty() || above.exists());
    let there = there.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(format!("{} is a file, expected a folder", there.display()));
    }
    tempfile::Builder::new()
        .prefix(".corticast-check")
        .tempfile_in(there)
        .map(drop)
        .map_err(|error| format!("cannot write in the folder {}: {error}", there.display()))
}

/// Checks that no two servers of the session share a port.
fn no_port_twice(config: &Config) -> Result<(), PlanError> {
    let wire = &config.wire;
    let tcp = |key, endpoint: &str| {
        let address = endpoint.strip_prefix("tcp://")?.parse().ok()?;
        Some((key, address))
    };
    let sinks = &config.sinks;
    let servers: Vec<(&str, SocketAddr)> = [
        tcp("`adapter` in [wire]", &wire.adapter),
        tcp("`publish` in [wire]", &wire.publish),
        tcp("`query` in [wire]", &wire.query),
        tcp("`control` in [wire]", &wire.control),
        Some(("`http` in [wire]", wire.http)),
        config.generator.workers.as_ref().and_then(|at| tcp("`workers` in [generator]", at)),
        sinks.murfi.as_ref().map(|sink| ("`listen` in [sinks.murfi]", sink.listen)),
        sinks.pyneal.as_ref().map(|sink| ("`listen` in [sinks.pyneal]", sink.listen)),
    ]
    .into_iter()
    .flatten()
    .filter(|(_, address)| address.port() != 0)
    .collect();
    for (k, (key, address)) in servers.iter().enumerate() {
        if let Some((other, _)) = servers[..k].iter().find(|(_, other)| overlap(*other, *address)) {
            return Err(PlanError::Output(format!(
                "{key} is {address}, which {other} has too; expected a port of its own"
            )));
        }
    }
    Ok(())
}

/// Whether two servers cannot have these addresses at the same time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_wide = |ip: IpAddr| ip.is_unspecified();
    one.port() == other.port()
        && (one.ip() == other.ip() || is_wide(one.ip()) || is_wide(other.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_text(text, Path::new("site.toml"), Path::new("/nowhere"), &[]).unwrap()
    }

    /// What a sink's value is refused with, in a session without a model.
    fn refusal(value: &str, has_motion: bool) -> String {
        let value = ValueChoice::try_from(value.to_owned()).unwrap();
        let outcome = has_value("rtpspy", &value, &Config::default(), None, has_motion);
        outcome.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_value_that_the_session_does_not_have_is_refused() {
        let found = refusal("feedback", true);
        assert!(found.contains("[sinks.rtpspy] is \"feedback\", but there is no [feedback]"));
        assert!(refusal("fd", false).contains("add [realign]"));
        assert!(refusal("concept:face", true).contains("set `dir` in [model]"));
        assert_eq!(refusal("fd", true) + &refusal("dvars", false), "");
    }

    #[test]
    fn a_folder_that_takes_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for key in ["[outputs]\nreport", "[sinks.rtcloud]\nfolder", "[recording]\nfile"] {
            let within = |place: &Path| config(&format!("{key} = '{}'\n", place.display()));
            let refused = can_write(&within(&file.join("a/b"))).unwrap_err().to_string();
            assert!(refused.contains("is a file, expected a folder"), "{refused}");
            // Nobody can make files there, not even root.
            let refused = can_write(&within(Path::new("/proc/a/b"))).unwrap_err().to_string();
            assert!(refused.contains("cannot write in the folder /proc"), "{refused}");
            can_write(&within(&folder.path().join("new/a"))).unwrap();
        }
        let itself = format!("[recording]\nresults = '{}'\n", folder.path().display());
        let refused = can_write(&config(&itself)).unwrap_err().to_string();
        assert!(
            refused.contains("`results` in [recording]") && refused.contains("expected a file")
        );
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "a check leaves nothing");
    }

    #[test]
    fn two_servers_on_one_port_are_refused() {
        let sinks = |murfi: &str, pyneal: &str| {
            let at = |listen| format!("{{ listen = \"{listen}\", insecure = true }}");
            let text = format!("[sinks]\nmurfi = {}\npyneal = {}\n", at(murfi), at(pyneal));
            no_port_twice(&config(&text)).map_err(|error| error.to_string())
        };
        let refused = sinks("127.0.0.1:15001", "127.0.0.1:15001").unwrap_err();
        let expected = "`listen` in [sinks.pyneal] is 127.0.0.1:15001, which `listen` in \
                        [sinks.murfi] has too";
        assert!(refused.contains(expected), "{refused}");
        assert!(sinks("0.0.0.0:15001", "127.0.0.1:15001").is_err());
        let refused = sinks("127.0.0.1:5561", "127.0.0.1:15001").unwrap_err();
        assert!(refused.contains("`publish` in [wire]"), "{refused}");
        assert!(sinks("127.0.0.1:0", "127.0.0.1:0").is_ok(), "the system chooses");
        assert!(sinks("127.0.0.1:15001", "127.0.0.2:15001").is_ok());
    }
}
