//! Gap fill: replaces volumes that never arrived.
//!
//! The stage detects a gap when the index of the next volume skips some. It counts indices and
//! never uses a clock, so a replay makes the same decisions. Three policies:
//!
//! - `restart`: nothing is filled in; windows that would span the gap are not made.
//! - `hold`: the last volume is repeated.
//! - `interpolate`: a straight line between the volumes before and after the gap.
//!
//! A filled-in volume stays marked ([`MadeFrom`]) up to the result and never enters the
//! statistics of the normalisation. A gap longer than `max_fill` is never filled: the filling
//! would be invented data.

use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::{
    stage::Stage,
    state::{Loader, Saver},
    time::TrIndex,
    volume::{Confounds, MadeFrom, MaskedVolume},
    welford::slice,
};

/// How a missing volume is replaced. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingVolumes {
    /// Not at all: the window restarts.
    #[default]
    Restart,
    /// By the volume before it.
    Hold,
    /// By a straight line between the volumes before and after.
    Interpolate,
}

/// A volume arrived after a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} arrived after {last} was already used")]
pub struct OutOfOrder {
    /// The last volume used.
    pub last: TrIndex,
    /// The volume that arrived late.
    pub got: TrIndex,
}

/// Fills gaps by the session's policy.
#[derive(Clone, Debug)]
pub struct GapFill {
    policy: MissingVolumes,
    max_fill: u32,
    /// The last volume; with `restart`, which needs no signal of it, without its signal.
    last: Option<MaskedVolume>,
}

impl GapFill {
    /// Fills gaps of at most `max_fill` volumes.
    #[must_use]
    pub fn new(policy: MissingVolumes, max_fill: u32) -> Self {
        Self { policy, max_fill, last: None }
    }

    /// Forgets the previous run.
    pub fn start_run(&mut self) {
        self.last = None;
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.u32(u32::from(self.last.is_some()));
        if let Some(last) = &self.last {
            to.volume(last.tr, last.acquisition_time_s, last.made_from, slice(&last.bold));
        }
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.last = None;
        if from.u32()? == 1 {
            let (tr, acquisition_time_s, made_from, bold) = from.volume()?;
            self.last = Some(masked(tr, acquisition_time_s, bold, made_from));
        }
        Some(())
    }
}

impl Stage for GapFill {
    const NAME: &'static str = "gap_fill";
    type Input<'a> = MaskedVolume;
    /// The filled-in volumes, oldest first, then the volume itself.
    type Output = Vec<MaskedVolume>;
    type Error = OutOfOrder;

    fn process(&mut self, volume: MaskedVolume) -> Result<Option<Vec<MaskedVolume>>, OutOfOrder> {
        let mut filled = Vec::new();
        if let Some(last) = &self.last {
            if volume.tr <= last.tr {
                return Err(OutOfOrder { last: last.tr, got: volume.tr });
            }
            let n_missing = volume.tr.0 - last.tr.0 - 1;
            if n_missing <= self.max_fill {
                filled.extend((1..=n_missing).filter_map(|k| {
                    let along = k as f32 / (n_missing + 1) as f32;
                    stand_in(self.policy, last, &volume, k, along)
                }));
            }
        }
        let bold = match self.policy {
            MissingVolumes::Restart => Array1::default(0),
            MissingVolumes::Hold | MissingVolumes::Interpolate => volume.bold.clone(),
        };
        let MaskedVolume { tr, acquisition_time_s, made_from, .. } = volume;
        self.last = Some(masked(tr, acquisition_time_s, bold, made_from));
        filled.push(volume);
        Ok(Some(filled))
    }
}

fn stand_in(
    policy: MissingVolumes,
    before: &MaskedVolume,
    after: &MaskedVolume,
    k: u32,
    along: f32,
) -> Option<MaskedVolume> {
    let span_s = after.acquisition_time_s - before.acquisition_time_s;
    let (bold, made_from) = match policy {
        MissingVolumes::Restart => return None,
        MissingVolumes::Hold => (before.bold.clone(), MadeFrom::Held),
        MissingVolumes::Interpolate => {
            (&before.bold * (1.0 - along) + &after.bold * along, MadeFrom::Interpolated)
        }
    };
    let time_s = before.acquisition_time_s + span_s * f64::from(along);
    Some(masked(TrIndex(before.tr.0 + k), time_s, bold, made_from))
}

/// A volume behind `denoise`, which uses the confounds.
fn masked(
    tr: TrIndex,
    acquisition_time_s: f64,
    bold: Array1<f32>,
    made_from: MadeFrom,
) -> MaskedVolume {
    MaskedVolume { tr, acquisition_time_s, bold, made_from, confounds: Confounds::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A one-voxel volume whose signal is its own index.
    fn volume(tr: u32) -> MaskedVolume {
        MaskedVolume {
            tr: TrIndex(tr),
            acquisition_time_s: f64::from(tr) * 2.0,
            bold: Array1::from_elem(1, tr as f32),
            made_from: MadeFrom::Measured,
            confounds: Confounds::default(),
        }
    }

    fn signals(policy: MissingVolumes, arrived: &[u32]) -> Vec<(u32, f32, MadeFrom)> {
        let mut fill = GapFill::new(policy, 2);
        arrived
            .iter()
            .flat_map(|&tr| fill.process(volume(tr)).unwrap().unwrap())
            .map(|v| (v.tr.0, v.bold[0], v.made_from))
            .collect()
    }

    #[test]
    fn each_policy_fills_a_gap_of_two_in_its_way() {
        use MadeFrom::{Held, Interpolated, Measured};
        let ends = [(1, 1.0, Measured), (4, 4.0, Measured)];
        assert_eq!(signals(MissingVolumes::Restart, &[1, 4]), ends);
        let held = [ends[0], (2, 1.0, Held), (3, 1.0, Held), ends[1]];
        assert_eq!(signals(MissingVolumes::Hold, &[1, 4]), held);
        let line = signals(MissingVolumes::Interpolate, &[1, 4]);
        assert_eq!(line[1].2, Interpolated);
        assert!((line[1].1 - 2.0).abs() < 1e-6 && (line[2].1 - 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_gap_longer_than_allowed_is_left_open() {
        assert_eq!(signals(MissingVolumes::Hold, &[1, 5]).len(), 2);
    }

    #[test]
    fn a_late_volume_is_refused_and_changes_nothing() {
        let mut fill = GapFill::new(MissingVolumes::Hold, 2);
        fill.process(volume(3)).unwrap();
        let error = fill.process(volume(2)).unwrap_err();
        assert_eq!(error, OutOfOrder { last: TrIndex(3), got: TrIndex(2) });
        assert_eq!(fill.process(volume(4)).unwrap().unwrap().len(), 1);
    }

    proptest! {
        /// Indices come out in rising order, and every measured volume comes out unchanged.
        #[test]
        fn order_and_measurements_are_kept(
            arrived in proptest::collection::btree_set(0_u32..60, 1..40),
            max_fill in 0_u32..5,
        ) {
            let mut fill = GapFill::new(MissingVolumes::Interpolate, max_fill);
            let mut out = Vec::new();
            for &tr in &arrived {
                out.extend(fill.process(volume(tr)).unwrap().unwrap());
            }
            prop_assert!(out.windows(2).all(|pair| pair[0].tr < pair[1].tr));
            let measured: Vec<u32> = out
                .iter()
                .filter(|v| v.made_from == MadeFrom::Measured)
                .map(|v| v.tr.0)
                .collect();
            prop_assert_eq!(measured, arrived.into_iter().collect::<Vec<_>>());
        }
    }
}
