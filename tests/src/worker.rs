//! Workers that make clips: real ones, and one in the test that answers only when the test says so.

use std::{process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use corticast_wire::{
    socket::{ClientSecurity, Dealer, Limits, Router, ServerSecurity},
    work::{FromWorker, Hello, Job, MadeHeader, MadePictures, ToWorker},
};
use tokio::{runtime::Runtime, time::timeout};

use crate::{Daemon, PATIENCE, Process, Site, binary};

/// `--set` flags of a daemon whose clips are made by workers.
pub const WORKERS: [&str; 4] =
    ["--set", "generator.mode=still", "--set", "generator.workers=tcp://127.0.0.1:0"];

/// Starts a real worker, with the site's configuration.
#[must_use]
pub fn worker(site: &Site, endpoint: &str, name: &str) -> Process {
    let mut command = Command::new(binary("corticast"));
    command.args(["generate", "--config"]).arg(site.config());
    command.args(["--connect", endpoint, "--name", name]);
    command.args(WORKERS);
    Process::start(site, command)
}

/// A worker in this process that sends heartbeats and finishes a job only when the test says so. A
/// real worker that is stopped during a clip is disconnected after a few seconds, so a test with
/// one would be a race.
#[derive(Debug)]
pub struct HeldWorker {
    runtime: Runtime,
    dealer: Arc<Dealer>,
}

impl HeldWorker {
    /// Starts a real worker, catches its greeting, and sends this greeting to the daemon.
    #[must_use]
    pub fn connect(site: &Site, daemon: &Daemon, name: &str) -> Self {
        Self::greeting(site, daemon, name, |_| {})
    }

    /// As [`HeldWorker::connect`], with a greeting that `change` has changed.
    #[must_use]
    pub fn greeting(
        site: &Site,
        daemon: &Daemon,
        name: &str,
        change: impl FnOnce(&mut Hello),
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let limits = Limits::default();
        let hello = runtime.block_on(async {
            let any_port = "tcp://127.0.0.1:0";
            let router = Router::bind(any_port, &ServerSecurity::LoopbackOnly, &limits).await;
            let router = router.expect("a free port");
            let real = worker(site, router.endpoint(), name);
            let heard = timeout(PATIENCE, router.recv()).await.expect("a greeting in time");
            let (_, hello) = heard.expect("a greeting");
            real.kill();
            let FromWorker::Hello(mut hello) = FromWorker::parse(&hello).expect("a greeting")
            else {
                panic!("expected a greeting");
            };
            change(&mut hello);
            FromWorker::Hello(hello).to_frames()
        });
        let dealer = Dealer::connect(daemon.endpoint("workers"), &ClientSecurity::None, &limits);
        let dealer = Arc::new(runtime.block_on(dealer).expect("an endpoint"));
        runtime.block_on(dealer.send(hello)).expect("the daemon listens");
        let alive = Arc::clone(&dealer);
        runtime.spawn(async move {
            while alive.send(FromWorker::Ping.to_frames()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let held = Self { runtime, dealer };
        assert_eq!(held.told(), ToWorker::Welcome);
        held
    }

    /// The daemon's next message that is not a heartbeat.
    #[must_use]
    pub fn told(&self) -> ToWorker {
        loop {
            let received =
                self.runtime.block_on(async { timeout(PATIENCE, self.dealer.recv()).await });
            let frames = received.expect("a message in time").expect("a message");
            match ToWorker::parse(&frames).expect("a message that can be read") {
                ToWorker::Ping => {}
                other => return other,
            }
        }
    }

    /// The next job.
    #[must_use]
    pub fn job(&self) -> Job {
        match self.told() {
            ToWorker::Job(job, _) => job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    /// Finishes a job: two red frames of 4 x 4 pixels and a caption.
    pub fn finish(&self, job: &Job, caption: &str) {
        let header = MadeHeader {
            id: job.id,
            mode: "still".to_owned(),
            steps: 0,
            seed: 0,
            caption: Some(caption.to_owned()),
            caption_cut: false,
            took_ns: 1,
            n_frame: 2,
            edge: 4,
            n_blurry: 2,
            blurry_edge: 4,
            mask_edge: 0,
        };
        let red: Vec<u8> = [255, 0, 0].repeat(2 * 4 * 4);
        let red = Bytes::from(red);
        let pictures = MadePictures { frames: red.clone(), blurry: red, mask: Bytes::new() };
        let made = FromWorker::Made(header, pictures).to_frames();
        self.runtime.block_on(self.dealer.send(made)).expect("the daemon listens");
    }
}
