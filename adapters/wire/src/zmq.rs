//! The ZeroMQ crate, named in this file alone. It is young: what we use of it is listed here, and
//! another one would be put in its place here.

pub(crate) use omq_tokio::{
    CurveKeypair, CurvePublicKey, CurveSecretKey, CurveServerOptions, DisconnectReason, Error,
    Message, MonitorEvent, MonitorRecvError, MonitorStream, OnMute, Options, Socket, SocketType,
    TrySendError,
};
