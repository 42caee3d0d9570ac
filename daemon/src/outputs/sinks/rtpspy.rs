//! RTPSpy's text: `NF <time>,<volume>,<value>;` over TCP, for a program that listens.
//!
//! The time is the start of acquisition in seconds since the first volume, the volume counts from
//! 0. A volume without a value gets the neutral one.

use std::net::SocketAddr;

use super::{
    event::{Event, Value},
    peer::Peer,
    sink::{Delivered, Sink},
};

/// The sink.
pub(super) struct RtpSpy {
    peer: Peer,
}

impl RtpSpy {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { peer: Peer::new(address) }
    }
}

fn text(value: &Value) -> String {
    format!("NF {:.3},{},{:.6};", value.acquisition_time_s, value.index, value.or_neutral())
}

impl Sink for RtpSpy {
    fn name(&self) -> &'static str {
        "rtpspy"
    }

    fn prepare(&mut self, event: &Event) -> anyhow::Result<()> {
        if *event != Event::End {
            self.peer.connect()?;
        }
        Ok(())
    }

    fn deliver(&mut self, event: &Event) -> anyhow::Result<Delivered> {
        let Event::Value(value) = event else { return Ok(Delivered::Nothing) };
        self.peer.send(text(value).as_bytes())?;
        Ok(Delivered::Value)
    }
}
