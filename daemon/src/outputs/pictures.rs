//! Clips as files for people to look at: a film, animations, single pictures.

use std::{path::PathBuf, sync::Arc, thread::JoinHandle};

use corticast_wire::text::explain;

use super::{film::Film, folder::free_name, png::PngFolder, webp::WebpFolder};
use crate::{
    config::OutputsConfig,
    failpoint,
    metrics::Metrics,
    product::Product,
    queue::drop_oldest::{Drain, Feeder, drop_oldest},
    supervise::Supervisor,
};

/// Clips and results that wait for a sink. A film needs a fraction of a TR per clip.
const QUEUE: usize = 16;

/// A film or folder that clips are written to.
pub trait Sink: Send {
    /// Name in metrics.
    fn name(&self) -> &'static str;

    /// Writes a product, if this sink takes its kind.
    ///
    /// # Errors
    ///
    /// Fails when this product cannot be written; the next may succeed.
    fn deliver(&mut self, product: &Product) -> anyhow::Result<()>;

    /// Completes the output after the last product.
    ///
    /// # Errors
    ///
    /// Fails when the output cannot be completed.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

impl Sink for Film {
    fn name(&self) -> &'static str {
        "film"
    }

    fn deliver(&mut self, product: &Product) -> anyhow::Result<()> {
        Ok(self.deliver(product)?)
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        let film = (*self).finish()?;
        if film.n_skipped > 0 {
            tracing::warn!("{} clips came too late for the film", film.n_skipped);
        }
        Ok(())
    }
}

impl Sink for WebpFolder {
    fn name(&self) -> &'static str {
        "webp"
    }

    fn deliver(&mut self, product: &Product) -> anyhow::Result<()> {
        Ok(WebpFolder::deliver(self, product)?)
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Sink for PngFolder {
    fn name(&self) -> &'static str {
        "png"
    }

    fn deliver(&mut self, product: &Product) -> anyhow::Result<()> {
        Ok(PngFolder::deliver(self, product)?)
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Creates the configured film and folders. A film must not exist; a folder must be new or empty.
///
/// # Errors
///
/// Fails when one exists already, or cannot be created.
pub fn create(config: &OutputsConfig) -> anyhow::Result<Vec<Box<dyn Sink>>> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if let Some(path) = &config.film {
        sinks.push(Box::new(Film::create(path)?));
    }
    if let Some(path) = &config.webp {
        sinks.push(Box::new(WebpFolder::create(path)?));
    }
    if let Some(path) = &config.png {
        sinks.push(Box::new(PngFolder::create(path)?));
    }
    Ok(sinks)
}

/// The same outputs under unused names. A session resumed after a restart must not wait for the
/// operator to move old files, and must not overwrite them.
#[must_use]
pub fn with_free_names(config: &OutputsConfig) -> OutputsConfig {
    let free = |path: &Option<PathBuf>| {
        let (path, free) = (path.as_deref()?, path.as_deref().map(free_name)?);
        if free != path {
            tracing::warn!(
                path = %path.display(), now = %free.display(),
                "the output exists; clips go to a new name"
            );
        }
        Some(free)
    };
    OutputsConfig {
        film: free(&config.film),
        webp: free(&config.webp),
        png: free(&config.png),
        // A report chooses its own name.
        report: config.report.clone(),
    }
}

/// Threads that write pictures, one for each sink.
pub struct PictureThreads(Vec<JoinHandle<()>>);

impl PictureThreads {
    /// Starts the threads. A sink that is too slow drops its oldest products. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// Fails when the operating system cannot start a thread.
    pub fn start(
        sinks: Vec<Box<dyn Sink>>,
        metrics: &Metrics,
        supervisor: &Supervisor,
    ) -> std::io::Result<(Arc<[Feeder<Product>]>, Self)> {
        let mut feeders = Vec::new();
        let mut threads = Vec::new();
        for sink in sinks {
            let name = sink.name();
            let (feeder, drain) = drop_oldest(QUEUE, metrics.output_dropped(name));
            feeders.push(feeder);
            let runtime = tokio::runtime::Handle::current();
            let thread = std::thread::Builder::new().name(name.to_owned());
            let guard = supervisor.guard(name);
            threads.push(thread.spawn(move || {
                let _guard = guard;
                runtime.block_on(write(sink, drain));
            })?);
        }
        Ok((feeders.into(), Self(threads)))
    }

    /// Waits until everything is written; drop the feeders first.
    pub fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("a thread that writes pictures panicked");
            }
        }
    }
}

async fn write(mut sink: Box<dyn Sink>, products: Drain<Product>) {
    let mut has_failed = false;
    while let Some(product) = products.next().await {
        failpoint::point(sink.name());
        match sink.deliver(&product) {
            Ok(()) => has_failed = false,
            // Report the first of several failures in a row.
            Err(error) if !has_failed => {
                tracing::error!(
                    "{}: {}; decoding and recording continue",
                    sink.name(),
                    explain(&*error)
                );
                has_failed = true;
            }
            Err(_) => {}
        }
    }
    let name = sink.name();
    if let Err(error) = sink.finish() {
        tracing::error!("{name}: {}", explain(&*error));
    }
}
