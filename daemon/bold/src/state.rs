//! The state of the stages as bytes, exact to the bit, for the checkpoints of a recording.
//!
//! All numbers are little-endian. A list is its length (u64) and its values. There is no version
//! in here: the daemon that writes a checkpoint says which version it is.

use ndarray::Array1;

use crate::{time::TrIndex, volume::MadeFrom};

/// Collects the state of the stages.
#[derive(Debug, Default)]
pub struct Saver(Vec<u8>);

/// Gives the state of the stages back, in the order in which it was saved. Each method returns
/// `None` when the bytes end too early.
#[derive(Debug)]
pub struct Loader<'a>(&'a [u8]);

impl Saver {
    /// With room for this many bytes, so that they need not be copied while they grow.
    #[must_use]
    pub fn with_capacity(n_byte: usize) -> Self {
        Self(Vec::with_capacity(n_byte))
    }

    /// The bytes so far.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Adds a number.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Adds a number.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Adds a number, with its exact bits.
    pub fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Adds numbers, with their exact bits.
    pub fn f32s(&mut self, values: &[f32]) {
        self.u64(values.len() as u64);
        self.0.reserve(4 * values.len());
        values.iter().for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
    }

    /// Adds numbers, with their exact bits.
    pub fn f64s(&mut self, values: &[f64]) {
        self.u64(values.len() as u64);
        self.0.reserve(8 * values.len());
        values.iter().for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
    }

    /// Adds an index that may be absent.
    pub fn index(&mut self, index: Option<TrIndex>) {
        self.u32(index.map_or(u32::MAX, |index| index.0));
    }

    pub(crate) fn volume(
        &mut self,
        tr: TrIndex,
        acquisition_time_s: f64,
        made_from: MadeFrom,
        bold: &[f32],
    ) {
        self.u32(tr.0);
        self.f64(acquisition_time_s);
        self.u32(made_from as u32);
        self.f32s(bold);
    }
}

impl<'a> Loader<'a> {
    /// Reads these bytes from the first on.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(n)?;
        self.0 = left;
        Some(taken)
    }

    /// The next number.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// The next number.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// The next number.
    pub fn f64(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.u64()?))
    }

    /// The next bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.u64()?).ok()?;
        self.take(n)
    }

    /// The next numbers.
    pub fn f32s(&mut self) -> Option<Vec<f32>> {
        let n = usize::try_from(self.u64()?).ok()?.checked_mul(4)?;
        let (values, _) = self.take(n)?.as_chunks::<4>();
        Some(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// The next numbers.
    pub fn f64s(&mut self) -> Option<Vec<f64>> {
        let n = usize::try_from(self.u64()?).ok()?.checked_mul(8)?;
        let (values, _) = self.take(n)?.as_chunks::<8>();
        Some(values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    }

    /// The next index, which may be absent.
    #[allow(clippy::option_option, reason = "the outer one says that the bytes ended")]
    pub fn index(&mut self) -> Option<Option<TrIndex>> {
        Some(Some(self.u32()?).filter(|index| *index != u32::MAX).map(TrIndex))
    }

    pub(crate) fn volume(&mut self) -> Option<(TrIndex, f64, MadeFrom, Array1<f32>)> {
        let (tr, time_s) = (TrIndex(self.u32()?), self.f64()?);
        let made_from = match self.u32()? {
            0 => MadeFrom::Measured,
            1 => MadeFrom::Interpolated,
            2 => MadeFrom::Held,
            _ => return None,
        };
        Some((tr, time_s, made_from, self.f32s()?.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is saved comes back with the same bits, and bytes that end early give `None`.
        #[test]
        fn state_survives(a: u32, b: u64, c: f64, d: Vec<f32>, e: Vec<f64>, f: Vec<u8>, cut: u8) {
            let mut saver = Saver::default();
            saver.u32(a);
            saver.u64(b);
            saver.f64(c);
            saver.f32s(&d);
            saver.f64s(&e);
            saver.bytes(&f);
            saver.index(None);
            let bytes = saver.finish();
            let read = |bytes: &[u8]| -> Option<_> {
                let mut loader = Loader::new(bytes);
                let read = (
                    (loader.u32()?, loader.u64()?, loader.f64()?.to_bits()),
                    loader.f32s()?.into_iter().map(f32::to_bits).collect::<Vec<_>>(),
                    loader.f64s()?.into_iter().map(f64::to_bits).collect::<Vec<_>>(),
                    (loader.bytes()?.to_vec(), loader.index()?),
                );
                loader.is_empty().then_some(read)
            };
            let expected = (
                (a, b, c.to_bits()),
                d.into_iter().map(f32::to_bits).collect(),
                e.into_iter().map(f64::to_bits).collect(),
                (f, None),
            );
            prop_assert_eq!(read(&bytes), Some(expected));
            prop_assert_eq!(read(&bytes[..bytes.len().saturating_sub(1 + usize::from(cut))]), None);
        }
    }
}
