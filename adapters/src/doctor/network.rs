//! The doctor on a port: it listens as the adapter of the sender's protocol would.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use corticast_wire::text::count;
use crossbeam::channel::Receiver;
use serde_json::json;

use super::{
    DoctorOptions, Examined, Heard, Speaks,
    guess::{First, wait},
    received::{Received, Reception, receive},
};
use crate::{
    adapter::ScannerAdapter,
    afni::{self, AfniOptions},
    mrd::{self, MrdOptions},
    murfi::{self, MurfiOptions},
    network::ListenOptions,
    page::{Advice, listed, note, wrong},
    pyneal::{self, PynealOptions},
    store::{self, Spool, StoreOptions},
};

/// The flags of an adapter by themselves.
#[derive(Parser)]
struct Flags<T: clap::Args> {
    #[command(flatten)]
    options: T,
}

/// Options of an adapter, from its flags.
fn options<T: clap::Args>(flags: &[String]) -> anyhow::Result<T> {
    let flags = std::iter::once("doctor").chain(flags.iter().map(String::as_str));
    Ok(Flags::<T>::try_parse_from(flags)?.options)
}

/// Listens for a while and tells what came.
pub(super) fn examine(
    doctor: &DoctorOptions,
    port: u16,
    watch_s: u64,
    heard: &Heard,
    stop: &Receiver<()>,
) -> anyhow::Result<Examined> {
    let until = Instant::now() + Duration::from_secs(watch_s);
    let mut first_advice = Vec::new();
    let speaks = match doctor.adapter.or_else(|| Speaks::on_port(port)) {
        Some(speaks) => speaks,
        None => {
            let listen = ListenOptions {
                listen: doctor.listen,
                allow: doctor.allow.clone(),
                ..ListenOptions::default()
            };
            match wait(&listen, port, until, stop)? {
                First::Known(speaks) => {
                    let text = "The first sender was told by its first bytes, and lost its \
                                connection for that. If it does not connect again, start it again; \
                                --adapter spares this.";
                    first_advice.push(note(format!("the sender speaks {speaks}"), text));
                    tracing::info!("the sender speaks {speaks}: listening as that adapter");
                    speaks
                }
                First::Unknown(bytes) => return Ok(unknown(doctor, port, &bytes)),
                First::Nobody => return Ok(nobody(doctor, port, watch_s, heard, None)),
            }
        }
    };
    // Removed when this function returns.
    let spool = match speaks {
        Speaks::Store => Some(Spool::new(&std::env::temp_dir())?),
        _ => None,
    };
    let adapter = open(doctor, speaks, port, spool.as_ref())
        .with_context(|| format!("cannot listen as {speaks}"))?;
    let reception = receive(adapter, Some(until), stop)?;
    if reception.runs.is_empty() && !heard.is_connected() && heard.warnings().is_empty() {
        return Ok(nobody(doctor, port, reception.took.as_secs(), heard, Some(speaks)));
    }
    Ok(page(doctor, speaks, port, &reception, first_advice, heard))
}

fn open(
    doctor: &DoctorOptions,
    speaks: Speaks,
    port: u16,
    spool: Option<&Spool>,
) -> anyhow::Result<Box<dyn ScannerAdapter>> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
    if speaks != Speaks::Pyneal {
        flag("--listen", doctor.listen.to_string());
        doctor.allow.iter().for_each(|ip| flag("--allow", ip.to_string()));
    }
    Ok(match speaks {
        Speaks::Afni => {
            let (data, control) = afni_ports(port);
            flag("--data-port", data.to_string());
            flag("--control-port", control.to_string());
            Box::new(afni::open(options::<AfniOptions>(&flags)?)?)
        }
        Speaks::Mrd => {
            flag("--port", port.to_string());
            Box::new(mrd::open(options::<MrdOptions>(&flags)?)?)
        }
        Speaks::Murfi => {
            flag("--port", port.to_string());
            Box::new(murfi::open(options::<MurfiOptions>(&flags)?)?)
        }
        Speaks::Pyneal => {
            flag("--port", port.to_string());
            Box::new(pyneal::open(options::<PynealOptions>(&flags)?)?)
        }
        Speaks::Store => {
            flag("--port", port.to_string());
            anyhow::ensure!(
                !doctor.from.is_empty(),
                "give the scanner's application title (AE title) with --from"
            );
            doctor.from.iter().for_each(|from| flag("--from", from.clone()));
            let spool = spool.context("the spool folder is made before the adapter")?;
            flags.insert(0, spool.path().display().to_string());
            Box::new(store::open(options::<StoreOptions>(&flags)?, spool)?)
        }
    })
}

/// Ports for data and for control. Either may be given.
fn afni_ports(port: u16) -> (u16, u16) {
    match port {
        0 => (0, 0),
        7961 => (7960, 7961),
        data => (data, data.saturating_add(1)),
    }
}

/// The command that starts the adapter.
fn command(doctor: &DoctorOptions, speaks: Speaks, port: u16) -> String {
    let mut command = format!("corticast-adapter {speaks}");
    match speaks {
        Speaks::Afni => {
            let (data, control) = afni_ports(port);
            if (data, control) != (7960, 7961) {
                command += &format!(" --data-port {data} --control-port {control}");
            }
        }
        Speaks::Store => command += " /dev/shm",
        _ => {}
    }
    if Speaks::on_port(port) != Some(speaks) && speaks != Speaks::Afni {
        command += &format!(" --port {port}");
    }
    if !doctor.listen.is_loopback() {
        command += &format!(" --listen {}", doctor.listen);
        doctor.allow.iter().for_each(|ip| command += &format!(" --allow {ip}"));
    }
    doctor.from.iter().for_each(|from| command += &format!(" --from {from}"));
    command
}

fn page(
    doctor: &DoctorOptions,
    speaks: Speaks,
    port: u16,
    reception: &Reception,
    mut advice: Vec<Advice>,
    heard: &Heard,
) -> Examined {
    let now_s = reception.took.as_secs_f64();
    for (number, run) in (1..).zip(&reception.runs) {
        advice.extend(run.advice(number, now_s));
    }
    for (text, n) in heard.warnings() {
        let times = if n > 1 { format!(", {n} times") } else { String::new() };
        advice.push(wrong(format!("{text}{times}"), ""));
    }
    if let Some(error) = &reception.failed {
        advice.push(wrong(format!("the adapter ended: {error}"), ""));
    }
    let is_usable = reception.runs.iter().any(|run| !run.volumes.is_empty());
    if !is_usable {
        advice.push(wrong(
            "a sender connected, and no volume came",
            "Start a scan, or a test of the sender. What was refused is said above.",
        ));
    }
    let n_wrong = advice.iter().filter(|advice| advice.is_wrong).count();
    let verdict = match (is_usable, n_wrong) {
        (true, 0) => "This sender works.".to_owned(),
        (true, 1) => "This sender works, but one thing is wrong.".to_owned(),
        (true, n) => format!("This sender works, but {n} things are wrong."),
        (false, _) => "This sender gives no run.".to_owned(),
    };
    let n_volume: usize = reception.runs.iter().map(|run| run.volumes.len()).sum();
    let n_refused = match reception.n_refused {
        0 => String::new(),
        n => format!(", {n} refused"),
    };
    let mut text = format!(
        "{verdict}\n{now_s:.0} s as {speaks} on {}: {}, {}{n_refused}\n",
        SocketAddr::new(doctor.listen, port),
        count(reception.runs.len() as u64, "run"),
        count(n_volume as u64, "volume"),
    );
    for (number, run) in (1..).zip(&reception.runs) {
        text += "\n";
        text += &run.text(number, true);
        text += &format!("  becomes a run: {}\n", command(doctor, speaks, port));
    }
    text += &listed(&advice);
    let json = json!({
        "works": is_usable,
        "adapter": speaks.to_string(),
        "listened_s": now_s,
        "refused": reception.n_refused,
        "runs": reception.runs.iter().map(|run: &Received| run.json(true)).collect::<Vec<_>>(),
        "advice": advice.iter().map(Advice::json).collect::<Vec<_>>(),
    });
    Examined { is_usable, text, json }
}

/// The page when nobody came.
fn nobody(
    doctor: &DoctorOptions,
    port: u16,
    took_s: u64,
    heard: &Heard,
    speaks: Option<Speaks>,
) -> Examined {
    let address = SocketAddr::new(doctor.listen, port);
    let mut advice: Vec<Advice> =
        heard.warnings().into_iter().map(|(text, _)| wrong(text, "")).collect();
    let to_do = if doctor.listen.is_loopback() {
        "Only programs of this machine can reach the doctor: for a scanner's computer give --listen \
         (the address of this machine's network card) and --allow (the scanner's address). If it is \
         to be this machine, look at host and port of the sender, and start a scan."
    } else {
        "Enter this address and port at the sender, let firewalls on the way pass it, and start a \
         scan while the doctor listens (--watch-s)."
    };
    advice.push(wrong(format!("nobody connected to {address} within {took_s} s"), to_do));
    let text = format!("Nobody connected.\n{}", listed(&advice));
    let json = json!({
        "works": false,
        "adapter": speaks.map(|speaks| speaks.to_string()),
        "listened_s": took_s,
        "runs": [],
        "advice": advice.iter().map(Advice::json).collect::<Vec<_>>(),
    });
    Examined { is_usable: false, text, json }
}

/// The page when the first bytes are of no protocol.
fn unknown(doctor: &DoctorOptions, port: u16, bytes: &[u8]) -> Examined {
    let shown: String = bytes.escape_ascii().to_string();
    let address = SocketAddr::new(doctor.listen, port);
    let found = match bytes {
        [] => format!("a sender connected to {address} and said nothing"),
        [b'G' | b'P' | b'H', b'E' | b'O', ..] => {
            format!("a web browser or another client of HTTP connected to {address}")
        }
        [0x16, 3, ..] => format!("a client of TLS connected to {address}"),
        _ => format!("the first bytes of the sender are \"{shown}\", which no adapter knows"),
    };
    let advice = [wrong(
        found,
        "If it is a scanner's program that waits for an answer first, name its protocol with \
         --adapter afni, mrd, murfi, pyneal or store.",
    )];
    let text = format!("This sender gives no run.\n{}", listed(&advice));
    let json = json!({
        "works": false, "adapter": null, "runs": [],
        "advice": advice.iter().map(Advice::json).collect::<Vec<_>>(),
    });
    Examined { is_usable: false, text, json }
}
