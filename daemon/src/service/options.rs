//! The options of a service besides its plan.

use std::path::PathBuf;

use tokio::sync::oneshot;

use super::endpoints::Endpoints;
use crate::{product::Product, queue::drop_oldest::Feeder};

/// Options of a service.
#[derive(Default)]
pub struct ServiceOptions {
    /// File for the endpoints, written once all sockets are bound. For scripts that let the system
    /// choose the ports.
    pub endpoints_file: Option<PathBuf>,
    /// Gets the endpoints once all sockets are bound.
    pub ready: Option<oneshot::Sender<Endpoints>>,
    /// Stops the service like a signal does.
    pub stop: Option<oneshot::Receiver<()>>,
    /// Gets every product except conditions. A slow reader loses the oldest products.
    pub watch: Option<Feeder<Product>>,
}
