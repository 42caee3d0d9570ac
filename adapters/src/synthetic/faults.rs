//! Faults between the scanner and the adapter: volumes that are lost, late or duplicated.

use std::collections::HashSet;

use super::rng::Rng;

/// Faults at chosen volumes, and by chance.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Faults")]
pub struct Faults {
    /// Volumes that never arrive, e.g. 3,7
    #[arg(long, value_name = "INDEX", value_delimiter = ',')]
    pub drop: Vec<u32>,
    /// Volumes that arrive late: 5:2 delays index 5 until two later volumes have arrived
    #[arg(long, value_name = "INDEX:COUNT", value_delimiter = ',', value_parser = late)]
    pub late: Vec<(u32, u32)>,
    /// Volumes that arrive twice
    #[arg(long, value_name = "INDEX", value_delimiter = ',')]
    pub duplicate: Vec<u32>,
    /// Probability that a volume never arrives
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub drop_probability: f64,
    /// Probability that a volume arrives after the next one
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub late_probability: f64,
    /// Probability that a volume arrives twice
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub duplicate_probability: f64,
}

fn late(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once(':')
        .and_then(|(index, by)| Some((index.parse().ok()?, by.parse().ok().filter(|&by| by > 0)?)));
    parsed.ok_or_else(|| "expected INDEX:COUNT, e.g. 5:2".to_owned())
}

fn probability(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    value.ok_or_else(|| "expected a probability, 0 to 1".to_owned())
}

impl Faults {
    /// The indices of a run of `n` volumes, in order of delivery.
    #[must_use]
    pub fn schedule(&self, n: u32, rng: &mut Rng) -> Vec<u32> {
        let drop: HashSet<u32> = self.drop.iter().copied().collect();
        let duplicate: HashSet<u32> = self.duplicate.iter().copied().collect();
        let late: std::collections::HashMap<u32, u32> = self.late.iter().copied().collect();
        let mut order = Vec::with_capacity(n as usize);
        // Index, number of deliveries, and number of later volumes delivered before it.
        let mut waiting: Vec<(u32, u32, u32)> = Vec::new();
        for index in 0..n {
            // Drawn for every volume, so that one fault does not change later draws.
            let [dropped, delayed, doubled] = [rng.uniform(), rng.uniform(), rng.uniform()];
            if drop.contains(&index) || dropped < self.drop_probability {
                continue;
            }
            let twice = duplicate.contains(&index) || doubled < self.duplicate_probability;
            let times = 1 + u32::from(twice);
            let by = late.get(&index).copied();
            if let Some(by) = by.or((delayed < self.late_probability).then_some(1)) {
                waiting.push((index, times, by));
                continue;
            }
            order.extend((0..times).map(|_| index));
            for (_, _, by) in &mut waiting {
                *by -= 1;
            }
            waiting.retain(|&(index, times, by)| {
                order.extend((0..times).filter(|_| by == 0).map(|_| index));
                by > 0
            });
        }
        for (index, times, _) in waiting {
            order.extend((0..times).map(|_| index));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_volumes_are_dropped_late_and_doubled() {
        let faults = Faults {
            drop: vec![3],
            late: vec![(1, 2), (7, 5)],
            duplicate: vec![5],
            ..Faults::default()
        };
        let order = faults.schedule(8, &mut Rng::new(0, 0));
        assert_eq!(order, [0, 2, 4, 1, 5, 5, 6, 7]);
    }

    #[test]
    fn chance_drops_about_as_many_as_it_should() {
        let faults = Faults { drop_probability: 0.1, ..Faults::default() };
        let n = faults.schedule(10_000, &mut Rng::new(1, 0)).len();
        assert!((8_800..9_200).contains(&n), "{n}");
    }
}
