//! The sockets, bound and connected, with their limits and security. Every socket is made through
//! these types, so none exists without limits.

pub use crate::{
    broadcast::{Publisher, Subscriber},
    conversation::{Dealer, Router},
    error::{PeerId, SocketError},
    limits::Limits,
    pair::Pair,
    trust::{ClientSecurity, ServerSecurity},
};
