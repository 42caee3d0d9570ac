//! The adapter's thread. An adapter blocks until its scanner delivers; a short queue carries the
//! volumes to the task that owns the socket.
//!
//! The thread ends with the adapter, or at the first item after the pump has ended.

use corticast_bold::run::RunHeader;
use corticast_images::{acquired::AcquiredVolume, error::AdapterError, events::Event};
use tokio::sync::mpsc;

use crate::adapter::ScannerAdapter;

/// Volumes read ahead of the pump.
const READ_AHEAD: usize = 2;

/// One thing that the adapter delivered.
#[derive(Debug)]
pub(super) enum Item {
    Run(Box<RunHeader>, Vec<Event>),
    Volume(AcquiredVolume),
    RunOver,
    Failed(AdapterError),
}

/// Starts the thread of an adapter.
///
/// # Errors
///
/// Fails when the system cannot start a thread.
pub(super) fn start(adapter: Box<dyn ScannerAdapter>) -> std::io::Result<mpsc::Receiver<Item>> {
    let (sender, items) = mpsc::channel(READ_AHEAD);
    std::thread::Builder::new().name("scanner".to_owned()).spawn(move || read(adapter, &sender))?;
    Ok(items)
}

/// Reads the adapter to its end, or until the pump has ended.
fn read(mut adapter: Box<dyn ScannerAdapter>, sender: &mpsc::Sender<Item>) {
    let mut in_run = false;
    loop {
        let item = if in_run {
            adapter.next_volume().map(|volume| Some(volume.map_or(Item::RunOver, Item::Volume)))
        } else {
            let start = adapter.start_run();
            start.map(|run| run.map(|header| Item::Run(header.into(), adapter.events().to_vec())))
        };
        let item = match item {
            Ok(Some(item)) => item,
            Ok(None) => return,
            Err(error) => Item::Failed(error),
        };
        in_run = !matches!(item, Item::RunOver);
        let failed = matches!(item, Item::Failed(_));
        if sender.blocking_send(item).is_err() || failed {
            return;
        }
    }
}
