//! The sockets of the daemon, bound before anything is received.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use corticast_wire::socket::{Limits, Publisher, Router};
use tokio::net::TcpListener;

use super::{endpoints::Endpoints, runtime_folder};
use crate::config::Config;

/// Sockets and their endpoints.
pub(super) struct Sockets {
    pub(super) adapters: Arc<Router>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) query: Router,
    pub(super) control: Router,
    /// The socket for workers, if workers make the clips.
    pub(super) workers: Option<Router>,
    pub(super) http: TcpListener,
    pub(super) endpoints: Endpoints,
}

impl Sockets {
    /// Binds all sockets; the one for workers only if clips are made.
    ///
    /// # Errors
    ///
    /// Fails when an endpoint is in use or a key cannot be read.
    pub(super) async fn bind(config: &Config, makes_clips: bool) -> anyhow::Result<Self> {
        let wire = &config.wire;
        let security = wire.security()?;
        if let Some(folder) = &wire.runtime_dir {
            runtime_folder::prepare(folder)?;
        }
        let limits = Limits {
            max_message_bytes: (wire.max_message_mib as usize) << 20,
            ..Limits::default()
        };
        let for_commands = Limits::for_commands();
        let adapters = Router::bind(&wire.adapter, &security.adapter, &limits).await?;
        let publisher =
            Publisher::bind(&wire.publish, &security.subscriber, &Limits::default()).await?;
        let query = Router::bind(&wire.query, &security.subscriber, &for_commands).await?;
        let control = Router::bind(&wire.control, &security.control, &for_commands).await?;
        let workers = match &config.generator.workers {
            Some(endpoint) if makes_clips => {
                Some(Router::bind(endpoint, &security.worker, &limits).await?)
            }
            _ => None,
        };
        let http = TcpListener::bind(wire.http).await.with_context(|| {
            format!("cannot serve metrics on {}; the port may be in use", wire.http)
        })?;
        let endpoints = Endpoints {
            adapter: adapters.endpoint().to_owned(),
            publish: publisher.endpoint().to_owned(),
            query: query.endpoint().to_owned(),
            control: control.endpoint().to_owned(),
            http: format!("http://{}", http.local_addr()?),
            workers: workers.as_ref().map(|workers| workers.endpoint().to_owned()),
            sinks: BTreeMap::new(),
        };
        let (adapters, publisher) = (Arc::new(adapters), Arc::new(publisher));
        Ok(Self { adapters, publisher, query, control, workers, http, endpoints })
    }
}
