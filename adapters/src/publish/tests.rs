//! Tests the pump against a small daemon over real sockets: order, a killed daemon, a stop, and a
//! refusal.

use std::{collections::VecDeque, time::Duration};

use corticast_bold::run::RunHeader;
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};
use corticast_wire::{
    message::{
        Ack, DaemonPing, Durability, Encoding, FromAdapter, PROTOCOL, Ready, RefusalCode, Refused,
        ToAdapter,
    },
    socket::{Limits, Router, ServerSecurity},
};

use super::{fixture, pace::Pace, *};
use crate::session_state::SessionState;

/// A run of volumes with these indices, and one event.
struct Scanner {
    header: Option<RunHeader>,
    indices: VecDeque<u32>,
}

impl Scanner {
    fn of(n: u32) -> Box<Self> {
        let header = fixture::run([2, 2, 2], 1.0, Some(n));
        Box::new(Self { header: Some(header), indices: (0..n).collect() })
    }
}

impl ScannerAdapter for Scanner {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        Ok(self.header.take())
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        Ok(self.indices.pop_front().map(|index| fixture::volume(index, 8)))
    }
}

/// A daemon that acknowledges volumes and disappears without notice after `n_volumes`. Returns
/// the acknowledged indices, in order.
async fn daemon(router: Router, instance: &str, n_volumes: usize) -> Vec<u32> {
    let mut acked = Vec::new();
    let mut known = false;
    let run = || "sub-01".to_owned();
    loop {
        let (peer, frames) = router.recv().await.unwrap();
        let answer = match FromAdapter::parse(&frames).unwrap().0 {
            FromAdapter::Run { .. } => {
                known = true;
                ToAdapter::Ready(Ready {
                    protocol: PROTOCOL,
                    run: run(),
                    durability: Durability::None,
                    next_index: 0,
                    instance: instance.to_owned(),
                })
            }
            FromAdapter::Volume(volume) if !known => ToAdapter::Refused(Refused {
                run: Some(run()),
                index: Some(volume.header.index.0),
                code: RefusalCode::UnknownRun,
                reason: "no run is open".into(),
            }),
            FromAdapter::Volume(volume) => {
                if acked.len() == n_volumes {
                    return acked;
                }
                acked.push(volume.header.index.0);
                ToAdapter::Ack(Ack { run: run(), index: Some(volume.header.index.0) })
            }
            FromAdapter::Mark(_) => continue,
            FromAdapter::End(_) => ToAdapter::Ack(Ack { run: run(), index: None }),
            FromAdapter::Ping => ToAdapter::Ping(DaemonPing { instance: instance.to_owned() }),
        };
        let over = matches!(&answer, ToAdapter::Ack(Ack { index: None, .. }));
        router.send(&peer, answer.to_frames(Encoding::MessagePack)).await.unwrap();
        if over {
            // Let the answer leave before the socket closes.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return acked;
        }
    }
}

async fn listen(endpoint: &str) -> Router {
    let limits = Limits::default();
    // A port that was just closed may stay in use for a moment.
    for _ in 0..50 {
        if let Ok(router) = Router::bind(endpoint, &ServerSecurity::LoopbackOnly, &limits).await {
            return router;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{endpoint} stays in use");
}

fn options(router: &Router, pace: Pace) -> PublishOptions {
    let endpoint = router.endpoint().to_owned();
    let state = SessionState::lost_at_exit().unwrap();
    PublishOptions { endpoint, pace, window: 4, ..PublishOptions::new(state) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_acknowledged_in_order() {
    let router = listen("tcp://127.0.0.1:0").await;
    let options = options(&router, Pace::AsAcknowledged);
    let daemon = tokio::spawn(daemon(router, "a", usize::MAX));
    let (_stop, stopped) = watch::channel(false);
    let report = publish(Scanner::of(300), options, None, stopped).await.unwrap();
    assert_eq!((report.n_runs, report.n_acked, report.n_lost), (1, 300, 0));
    assert!(report.is_complete());
    assert_eq!(daemon.await.unwrap(), Vec::from_iter(0..300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_loses_nothing_that_it_did_not_acknowledge() {
    // An address that no other process uses: nobody takes the port while no daemon listens.
    let [_, a, b, c] = ((std::process::id() << 2) | 2).to_be_bytes();
    let router = listen(&format!("tcp://127.{a}.{b}.{c}:0")).await;
    let endpoint = router.endpoint().to_owned();
    let options = options(&router, Pace::Clock(100.0));
    let daemons = tokio::spawn(async move {
        let before = daemon(router, "a", 20).await;
        let after = daemon(listen(&endpoint).await, "b", usize::MAX).await;
        (before, after)
    });
    let (_stop, stopped) = watch::channel(false);
    let report = publish(Scanner::of(100), options, None, stopped).await.unwrap();
    let (before, after) = daemons.await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(before, Vec::from_iter(0..20));
    assert!(after.is_sorted() && after.first() <= Some(&20), "{after:?}");
    assert!((20..100).all(|index| after.contains(&index)), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_the_run_after_what_was_sent() {
    let router = listen("tcp://127.0.0.1:0").await;
    let options = options(&router, Pace::Clock(20.0));
    let daemon = tokio::spawn(daemon(router, "a", usize::MAX));
    // The operator stops the adapter once some volumes are acknowledged.
    let progress = options.progress.clone();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        while progress.position() < 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.send_replace(true);
    });
    let report = publish(Scanner::of(100_000), options, None, stopped).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    // At this pace the run would last more than an hour.
    assert!((5..100_000).contains(&report.n_acked), "{report:?}");
    assert_eq!(daemon.await.unwrap().len() as u64, report.n_acked);
}

/// Two runs in sequence; the daemon refuses the first.
struct TwoRuns(VecDeque<Box<Scanner>>, Option<Box<Scanner>>);

impl ScannerAdapter for TwoRuns {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.1 = self.0.pop_front();
        self.1.as_mut().map_or(Ok(None), |run| run.start_run())
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        self.1.as_mut().map_or(Ok(None), |run| run.next_volume())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_a_scanner_offers_in_vain_is_passed_over() {
    let router = listen("tcp://127.0.0.1:0").await;
    let options = options(&router, Pace::Scanner);
    let daemon = tokio::spawn(async move {
        let (peer, frames) = loop {
            let (peer, frames) = router.recv().await.unwrap();
            if frames[0].as_ref() == b"run" {
                break (peer, frames);
            }
        };
        assert!(FromAdapter::parse(&frames).is_ok());
        let refused = ToAdapter::Refused(Refused {
            run: Some("sub-01".to_owned()),
            index: None,
            code: RefusalCode::RunRefused,
            reason: "another matrix".to_owned(),
        });
        router.send(&peer, refused.to_frames(Encoding::MessagePack)).await.unwrap();
        daemon(router, "a", usize::MAX).await
    });
    let (_stop, stopped) = watch::channel(false);
    let runs = TwoRuns(VecDeque::from([Scanner::of(5), Scanner::of(7)]), None);
    let report = publish(Box::new(runs), options, None, stopped).await.unwrap();
    assert_eq!((report.n_runs, report.n_refused, report.n_acked), (2, 1, 7));
    assert!(!report.is_complete());
    // Volumes that waited on disk may be acknowledged twice.
    let acked = std::collections::BTreeSet::from_iter(daemon.await.unwrap());
    assert_eq!(acked, (0..7).collect());
}
