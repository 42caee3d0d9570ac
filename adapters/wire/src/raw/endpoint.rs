//! Checks of the endpoint before a socket is bound, and errors of binding.

use std::os::unix::fs::FileTypeExt as _;

use tokio::net::UnixStream;

use crate::{error::SocketError, zmq::Error};

/// Replaces `localhost` by 127.0.0.1: the name can stand for two addresses, and only one would be
/// bound.
pub(super) fn resolved(endpoint: &str) -> String {
    endpoint.replacen("tcp://localhost:", "tcp://127.0.0.1:", 1)
}

/// Checks that an ipc path is free or holds the socket of a dead daemon. The ZeroMQ crate would
/// also replace a live daemon's socket or a user's file.
pub(super) async fn ipc_is_free(endpoint: &str) -> Result<(), SocketError> {
    let Some(path) = endpoint.strip_prefix("ipc://").filter(|path| !path.starts_with('@')) else {
        return Ok(());
    };
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::Bind {
            endpoint: endpoint.to_owned(),
            reason: "the file there is not a socket".to_owned(),
        }),
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            Err(SocketError::InUse { endpoint: endpoint.to_owned() })
        }
        Ok(_) => Ok(()),
    }
}

/// The error for a failed bind.
pub(super) fn bind_error(endpoint: &str, error: Error) -> SocketError {
    let endpoint = endpoint.to_owned();
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            SocketError::InUse { endpoint }
        }
        Error::InvalidEndpoint(reason) => SocketError::Endpoint { endpoint, reason },
        other => SocketError::Bind { endpoint, reason: other.to_string() },
    }
}
