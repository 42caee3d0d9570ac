//! A TCP server of short questions: one request, one answer, then the server closes.
//!
//! A client has a second to ask, at most [`MAX_REQUEST`] bytes, and a tenth of a second to take the
//! answer. When too many clients are connected, further ones are closed at once.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    super::blanking::Blanking,
    event::Event,
    sink::{Delivered, Sink},
};
use crate::supervise::Supervisor;

/// Bytes of a request.
const MAX_REQUEST: usize = 4096;
/// Clients at the same time.
const MAX_CLIENTS: usize = 64;
/// How long a client may take to ask.
const ASK: Duration = Duration::from_secs(1);
/// How long a client may take to read its answer. `blank` may wait as long.
const ANSWER: Duration = Duration::from_millis(100);
/// Pause when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// Values that are kept; older ones are forgotten.
const MAX_VALUES: usize = 65_536;

/// Values of the newest run by the index of their volume; a volume without a value has its place,
/// so that the newest value is never older than the newest volume. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Values(Arc<Mutex<BTreeMap<u32, Option<f64>>>>);

impl Values {
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn set(&self, index: u32, value: Option<f64>) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.insert(index, value);
        if values.len() > MAX_VALUES {
            values.pop_first();
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&index).copied()?
    }

    /// The value of the newest volume with its index; `None` when that volume has none.
    pub(super) fn last(&self) -> Option<(u32, f64)> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.last_key_value().and_then(|(index, value)| Some((*index, (*value)?)))
    }
}

/// The sink of a server: keeps the values that its clients ask for.
pub(super) struct Keeper {
    name: &'static str,
    values: Values,
}

impl Keeper {
    /// A sink of this name, and the values that it keeps.
    pub(super) fn new(name: &'static str) -> (Self, Values) {
        let values = Values::default();
        (Self { name, values: values.clone() }, values)
    }
}

impl Sink for Keeper {
    fn name(&self) -> &'static str {
        self.name
    }

    fn deliver(&mut self, event: &Event) -> anyhow::Result<Delivered> {
        match event {
            Event::Start { .. } => self.values.clear(),
            Event::Value(value) => {
                self.values.set(value.index, value.value);
                return Ok(Delivered::Value);
            }
            Event::Volume { .. } | Event::End => {}
        }
        Ok(Delivered::Nothing)
    }
}

/// How a protocol reads requests and answers them.
pub(super) trait Answer: Clone + Send + 'static {
    /// Whether these bytes are a whole request.
    fn is_whole(request: &[u8]) -> bool;

    /// The answer. `None` closes the connection without one.
    fn answer(&self, request: &[u8], is_blanked: bool) -> Option<String>;
}

/// A bound server.
pub(super) struct Server {
    name: &'static str,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    pub(super) async fn bind(name: &'static str, address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("[sinks.{name}] cannot listen on {address}; the port may be in use")
        })?;
        let address = listener.local_addr()?;
        Ok(Self { name, listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer, until the task is aborted.
    pub(super) fn serve(
        self,
        answer: impl Answer + Sync,
        blanking: Blanking,
        supervisor: &Supervisor,
    ) -> JoinHandle<()> {
        supervisor.spawn(self.name, async move {
            let places = Arc::new(Semaphore::new(MAX_CLIENTS));
            loop {
                let client = match self.listener.accept().await {
                    Ok((client, _)) => client,
                    Err(error) => {
                        tracing::debug!(%error, name = self.name, "cannot accept a client");
                        sleep(NO_ROOM).await;
                        continue;
                    }
                };
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (answer, blanking) = (answer.clone(), blanking.clone());
                tokio::spawn(async move {
                    talk(client, &answer, &blanking).await;
                    drop(place);
                });
            }
        })
    }
}

async fn talk<A: Answer>(mut client: TcpStream, answer: &A, blanking: &Blanking) {
    let Ok(Some(request)) = timeout(ASK, read_request::<A>(&mut client)).await else { return };
    // `blank` is confirmed only when this answer is on its way.
    let sending = blanking.sending_to_sink().await;
    if let Some(answer) = answer.answer(&request, sending.is_blanked()) {
        // The client may be gone; nobody else waits for this.
        timeout(ANSWER, client.write_all(answer.as_bytes())).await.ok();
    }
}

async fn read_request<A: Answer>(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut part = [0; 512];
    while !A::is_whole(&request) {
        let n = client.read(&mut part).await.ok().filter(|&n| n > 0)?;
        request.extend_from_slice(&part[..n]);
        if request.len() > MAX_REQUEST {
            return None;
        }
    }
    Some(request)
}
