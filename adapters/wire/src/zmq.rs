//! Everything we use of the ZeroMQ crate. No other file names the crate: it is young, and this is
//! the place to replace it.

pub(crate) use omq_tokio::{
    CurveKeypair, CurvePublicKey, CurveSecretKey, CurveServerOptions, DisconnectReason, Error,
    Message, MonitorEvent, MonitorRecvError, MonitorStream, OnMute, Options, Socket, SocketType,
    TrySendError,
};
