//! The sockets: bound and connected, with their limits and their trust. The only place where a
//! socket is made, so that none is made without its limits.

pub use crate::{
    broadcast::{Publisher, Subscriber},
    conversation::{Dealer, Router},
    error::{PeerId, SocketError},
    limits::Limits,
    trust::{ClientSecurity, ServerSecurity},
};
