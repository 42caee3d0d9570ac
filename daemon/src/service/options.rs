//! What a service is given besides its plan.

use std::path::PathBuf;

use tokio::sync::oneshot;

use super::endpoints::Endpoints;
use crate::{product::Product, queue::drop_oldest::Feeder};

/// Options of a service.
#[derive(Default)]
pub struct ServiceOptions {
    /// Written once all sockets are bound, for scripts that let the system choose the ports.
    pub endpoints_file: Option<PathBuf>,
    /// Gets the endpoints once all sockets are bound.
    pub ready: Option<oneshot::Sender<Endpoints>>,
    /// Stops the service like a signal does.
    pub stop: Option<oneshot::Receiver<()>>,
    /// Gets every product but conditions, and drops its oldest when it is slow.
    pub watch: Option<Feeder<Product>>,
}
