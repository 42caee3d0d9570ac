//! AFNI's `realtime_receiver.py`: six motion values and one score for each volume.
//!
//! The receiver listens (port 53214); we are AFNI. Hello of version 1 (`AB CD EF AC`, then the
//! number of extra values, 1); per volume seven float32, little-endian; `DE AD DE AD` ends the run.
//! Source: `plug_realtime.c` and `lib_realtime.py` of AFNI.
//!
//! The receiver counts volumes, so every volume is sent: one without a value gets the neutral one
//! as soon as the next volume comes. Motion is sent as AFNI labels it: displacement to superior,
//! left and posterior (mm), then roll, pitch and yaw (degrees) about these axes by the right-hand
//! rule; zeros without realignment. AFNI rotates about the centre of the volume and we about the
//! origin of the world, so displacements differ when the head turns.

use std::net::SocketAddr;

use super::{
    event::Event,
    peer::Peer,
    sink::{Delivered, Sink},
};
use crate::product::reports::MotionReport;

const HELLO: [u8; 4] = [0xab, 0xcd, 0xef, 0xab + 1];
const N_EXTRA: i32 = 1;
const BYE: [u8; 4] = [0xde, 0xad, 0xde, 0xad];

/// The sink.
pub(super) struct Afni {
    peer: Peer,
    is_new: bool,
    /// The volume whose value has not come yet.
    waiting: Option<[f32; 6]>,
    neutral: f64,
}

impl Afni {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { peer: Peer::new(address), is_new: false, waiting: None, neutral: 0.0 }
    }

    fn send(&mut self, motion: [f32; 6], value: f64) -> anyhow::Result<()> {
        let mut bytes = Vec::with_capacity(28);
        for number in motion.into_iter().chain([value as f32]) {
            bytes.extend(number.to_le_bytes());
        }
        Ok(self.peer.send(&bytes)?)
    }
}

/// Our motion in AFNI's order, axes and units.
fn to_afni(motion: &MotionReport) -> [f32; 6] {
    [
        motion.trans_z,
        -motion.trans_x,
        -motion.trans_y,
        motion.rot_z.to_degrees(),
        -motion.rot_x.to_degrees(),
        -motion.rot_y.to_degrees(),
    ]
    .map(|value| value as f32)
}

impl Sink for Afni {
    fn name(&self) -> &'static str {
        "afni"
    }

    fn prepare(&mut self, event: &Event) -> anyhow::Result<()> {
        if *event != Event::End {
            self.is_new |= self.peer.connect()?;
        }
        Ok(())
    }

    fn deliver(&mut self, event: &Event) -> anyhow::Result<Delivered> {
        let mut delivered = Delivered::Nothing;
        if self.is_new {
            self.is_new = false;
            self.peer.send(&[HELLO, N_EXTRA.to_le_bytes()].concat())?;
        }
        match event {
            Event::Start { .. } => self.waiting = None,
            Event::Volume { motion, .. } => {
                let motion = motion.as_ref().map_or([0.0; 6], to_afni);
                if let Some(before) = self.waiting.replace(motion) {
                    self.send(before, self.neutral)?;
                    delivered = Delivered::Value;
                }
            }
            Event::Value(value) => {
                self.neutral = value.neutral;
                let motion = self.waiting.take().unwrap_or([0.0; 6]);
                self.send(motion, value.or_neutral())?;
                delivered = Delivered::Value;
            }
            Event::End => {
                if let Some(before) = self.waiting.take() {
                    self.send(before, self.neutral)?;
                    delivered = Delivered::Value;
                }
                self.peer.send(&BYE)?;
                self.peer.close();
            }
        }
        Ok(delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn motion_is_sent_to_superior_left_posterior_in_degrees() {
        let motion = MotionReport {
            trans_x: 1.0,
            trans_y: 2.0,
            trans_z: 3.0,
            rot_x: 0.1_f64.to_radians(),
            rot_y: 0.2_f64.to_radians(),
            rot_z: 0.3_f64.to_radians(),
            outcome: None,
        };
        let tenths = to_afni(&motion).map(|value| (value * 10.0).round() as i32);
        assert_eq!(tenths, [30, -10, -20, 3, -1, -2]);
    }
}
