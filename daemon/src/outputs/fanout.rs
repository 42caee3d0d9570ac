//! The fanout hands each product to every output that takes it.
//!
//! Each output has a bounded queue of its own, so no output delays another or the signal thread.

use std::sync::Arc;

use super::{
    blanking::{Blanking, shown},
    limiter::Limiter,
    sinks::event::takes,
};
use crate::{
    clock::monotonic_ns,
    product::{
        Product,
        reports::{RunState, StatusReport},
        results::ConditionsReport,
    },
    queue::{drop_oldest::Feeder, latest::Mailbox},
    recording::{
        products::{RecordedProducts, recorded_entry},
        recorder::Recorder,
    },
};

/// The outputs of a session. Cheap to clone; never waits.
#[derive(Clone)]
pub struct Fanout {
    /// The PUB socket, for small products.
    pub publish: Arc<Feeder<Product>>,
    /// The PUB socket, for conditions and clips.
    pub publish_large: Arc<Feeder<Product>>,
    /// The results file.
    pub results: Option<Arc<Feeder<Product>>>,
    /// A display in this process.
    pub watch: Option<Arc<Feeder<Product>>>,
    /// The recording.
    pub recorder: Option<Recorder>,
    /// Which products are recorded.
    pub records: RecordedProducts,
    /// Names of runs that have ended, for their reports.
    pub reports: Option<Arc<Feeder<Arc<str>>>>,
    /// Outputs that write clips to files.
    pub pictures: Arc<[Feeder<Product>]>,
    /// Outputs in the protocols of other programs.
    pub sinks: Arc<[Feeder<Product>]>,
    /// Conditions for the generator. Its clips come back through a fanout without this mailbox.
    pub clips: Option<Arc<Mailbox<ConditionsReport>>>,
    /// Whether subscribers and a display get neutral feedback.
    pub blanking: Blanking,
    /// Leaves out repeated warnings.
    pub limiter: Limiter,
}

impl Fanout {
    /// Hands a product to every output that takes it.
    pub fn deliver(&self, product: Product) {
        let product = match product {
            Product::Status(report) => match self.limiter.pass(report) {
                Some(report) => Product::Status(report),
                None => return,
            },
            other => other,
        };
        // Subscribers come first: the threads of other outputs may compete for a core.
        let is_large = matches!(product, Product::Conditions(_) | Product::Clip(_));
        let publish = if is_large { &self.publish_large } else { &self.publish };
        let marked = self.blanking.mark(product.clone());
        publish.push(marked.clone());
        if let (Some(clips), Product::Conditions(conditions)) = (&self.clips, &marked) {
            clips.put(conditions.clone());
        }
        if takes(&marked) {
            self.sinks.iter().for_each(|sink| sink.push(marked.clone()));
        }
        if let Some(watch) = &self.watch
            && !matches!(product, Product::Conditions(_))
        {
            watch.push(shown(marked));
        }
        if let Some(recorder) = &self.recorder
            && self.records.includes(&product)
        {
            let entry = recorded_entry(&product, monotonic_ns());
            if recorder.record(entry).is_err() {
                tracing::debug!(topic = product.topic(), "not recorded: the queue is full");
            }
        }
        if matches!(product, Product::Result(_) | Product::Clip(_)) {
            self.pictures.iter().for_each(|output| output.push(product.clone()));
        }
        if let (Some(reports), Product::Run(run)) = (&self.reports, &product)
            && run.state == RunState::Ended
        {
            reports.push(Arc::clone(&run.run));
        }
        if let Product::Status(status) = &product {
            match status.level {
                "alarm" => tracing::error!("{}", status.message),
                "warning" => tracing::warn!("{}", status.message),
                _ => tracing::info!("{}", status.message),
            }
        }
        if let (Some(results), Product::Result(_)) = (&self.results, &product) {
            results.push(product);
        }
    }

    /// Sends the operator a message of level `alarm`, `warning` or `info`.
    pub fn status(&self, level: &'static str, message: String) {
        let published_ns = monotonic_ns();
        self.deliver(Product::Status(StatusReport { level, message, published_ns }));
    }
}
