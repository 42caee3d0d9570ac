//! Sinks: outputs that speak the protocols of other programs, for set-ups that exist already.
//!
//! Each sink is one file, with a queue and a thread of its own. A peer that is gone, slow or hostile
//! costs the values sent to it and nothing else: no write waits for a peer, every read has a bound,
//! and the log has one warning for each change.
//!
//! After `blank` was confirmed no sink sends anything decoded. A protocol that can say "no value"
//! says so; the others get the neutral value ([`event::Value`]).

mod afni;
pub mod event;
mod lsl;
mod murfi;
mod opennft;
mod peer;
mod pyneal;
mod rtcloud;
mod rtpspy;
mod server;
mod sink;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, thread::JoinHandle};

use corticast_wire::text::explain;
use tokio::{runtime::Handle, task::JoinHandle as Task};

use self::{
    afni::Afni,
    event::Selection,
    lsl::Lsl,
    murfi::InfoServer,
    opennft::OpenNft,
    pyneal::Results,
    rtcloud::RtCloud,
    rtpspy::RtpSpy,
    server::{Keeper, Server},
    sink::{Delivered, Sink},
};
use super::blanking::Blanking;
use crate::{
    config::{SinksConfig, sinks::ValueChoice},
    failpoint,
    metrics::Metrics,
    product::Product,
    queue::drop_oldest::{Drain, Feeder, drop_oldest},
    supervise::Supervisor,
};

/// Products that wait for a sink.
const QUEUE: usize = 64;

/// The sinks of a session.
pub struct Started {
    /// One for each sink.
    pub feeders: Arc<[Feeder<Product>]>,
    /// Where the sinks that listen can be reached.
    pub endpoints: BTreeMap<&'static str, String>,
    /// The threads.
    pub threads: SinkThreads,
}

/// Threads that feed sinks, and tasks that answer clients.
#[derive(Default)]
pub struct SinkThreads {
    threads: Vec<JoinHandle<()>>,
    serving: Vec<Task<()>>,
}

impl SinkThreads {
    /// Waits until everything is delivered; drop the feeders first.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("the thread of a sink panicked");
            }
        }
        self.serving.iter().for_each(Task::abort);
    }
}

/// Starts the configured sinks. Needs a tokio runtime.
///
/// # Errors
///
/// Fails when an address cannot be bound, a folder cannot be created, or a thread cannot be
/// started.
pub async fn start(
    config: &SinksConfig,
    blanking: &Blanking,
    metrics: &Metrics,
    supervisor: &Supervisor,
) -> anyhow::Result<Started> {
    for key in config.exposed() {
        tracing::warn!("`{key}` in [sinks] is insecure: other machines can read and forge values");
    }
    let mut sinks: Vec<(Box<dyn Sink>, &ValueChoice)> = Vec::new();
    let mut endpoints = BTreeMap::new();
    let mut threads = SinkThreads::default();
    let mut listening = |name, address: SocketAddr| {
        endpoints.insert(name, address.to_string());
    };
    if let Some(sink) = &config.afni {
        sinks.push((Box::new(Afni::new(sink.connect)), &sink.value));
    }
    if let Some(sink) = &config.murfi {
        let (keeper, values) = Keeper::new("murfi");
        let answer = InfoServer::new(values, &sink.value);
        let server = Server::bind("murfi", sink.listen).await?;
        listening("murfi", server.address());
        threads.serving.push(server.serve(answer, blanking.clone(), supervisor));
        sinks.push((Box::new(keeper), &sink.value));
    }
    if let Some(sink) = &config.pyneal {
        let (keeper, values) = Keeper::new("pyneal");
        let answer = Results::new(values, &sink.value);
        let server = Server::bind("pyneal", sink.listen).await?;
        listening("pyneal", server.address());
        threads.serving.push(server.serve(answer, blanking.clone(), supervisor));
        sinks.push((Box::new(keeper), &sink.value));
    }
    if let Some(sink) = &config.opennft {
        sinks.push((Box::new(OpenNft::new(sink.send)?), &sink.value));
    }
    if let Some(sink) = &config.rtpspy {
        sinks.push((Box::new(RtpSpy::new(sink.connect)), &sink.value));
    }
    if let Some(sink) = &config.lsl {
        let (lsl, outlet) = Lsl::bind(sink).await?;
        listening("lsl", outlet.address());
        threads.serving.extend(outlet.serve(supervisor));
        sinks.push((Box::new(lsl), &sink.value));
    }
    if let Some(sink) = &config.rtcloud {
        sinks.push((Box::new(RtCloud::create(&sink.folder)?), &sink.value));
    }
    let mut feeders = Vec::new();
    for (sink, value) in sinks {
        let name = sink.name();
        let (feeder, drain) = drop_oldest(QUEUE, metrics.output_dropped(name));
        feeders.push(feeder);
        let (runtime, guard) = (Handle::current(), supervisor.guard(name));
        let (blanking, working) = (blanking.clone(), metrics.sink_working(name));
        let selection = Selection::new(value.clone());
        threads.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(
            move || {
                let _guard = guard;
                let has_worked = |works: bool| working.set(f64::from(u8::from(works)));
                feed(sink, &drain, selection, &blanking, &runtime, has_worked);
            },
        )?);
    }
    Ok(Started { feeders: feeders.into(), endpoints, threads })
}

/// Delivers until the feeder is dropped.
fn feed(
    mut sink: Box<dyn Sink>,
    products: &Drain<Product>,
    mut selection: Selection,
    blanking: &Blanking,
    runtime: &Handle,
    has_worked: impl Fn(bool),
) {
    let name = sink.name();
    let mut works = None;
    while let Some(product) = runtime.block_on(products.next()) {
        failpoint::point(name);
        let expected = selection.events(&product);
        if expected.is_empty() {
            continue;
        }
        // Preparing may take time, so `blank` does not wait for it.
        let prepared = expected.iter().try_for_each(|event| sink.prepare(event));
        let outcome = prepared.and_then(|()| {
            let sending = runtime.block_on(blanking.sending_to_sink());
            let shown = selection.events(&sending.shown(product));
            shown.iter().try_fold(Delivered::Nothing, |most, event| {
                sink.deliver(event).map(|delivered| most.max(delivered))
            })
        });
        selection.done(&expected);
        // What sends no value tells nothing: a volume must not hide that every value fails.
        if matches!(outcome, Ok(Delivered::Nothing)) {
            continue;
        }
        has_worked(outcome.is_ok());
        match &outcome {
            Ok(_) if works == Some(false) => tracing::info!("{name}: values arrive again"),
            // The first of several failures has the reason.
            Err(error) if works != Some(false) => tracing::warn!(
                "{name}: {}; its values are lost until this is mended, nothing else is affected",
                explain(&**error)
            ),
            _ => {}
        }
        works = Some(outcome.is_ok());
    }
}
