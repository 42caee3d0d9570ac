//! Latency of results, and the time of each stage.

use std::collections::BTreeMap;

use super::facts::MAX_ROWS;

/// Time that one stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct StageTime {
    pub(super) n: u64,
    pub(super) sum_ns: u64,
    pub(super) max_ns: u64,
    /// Position among the stages of the newest result.
    pub(super) place: usize,
}

/// Times of a run's results.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    /// From receiving a volume to publishing its result, nanoseconds, in the order of the results;
    /// sorted once the run is over.
    pub(super) received_to_published_ns: Vec<u64>,
    pub(super) stages: BTreeMap<String, StageTime>,
}

impl Latency {
    /// Adds the stamps of a result. A stage's time is its stamp minus the stamp before it.
    pub(super) fn add(
        &mut self,
        received_ns: u64,
        published_ns: u64,
        stages_ns: &BTreeMap<String, u64>,
    ) {
        if published_ns < received_ns || published_ns == 0 {
            return;
        }
        if self.received_to_published_ns.len() < MAX_ROWS {
            self.received_to_published_ns.push(published_ns - received_ns);
        }
        let mut stamps: Vec<(&String, u64)> = stages_ns.iter().map(|(k, &v)| (k, v)).collect();
        stamps.sort_by_key(|&(_, at)| at);
        let mut before = received_ns;
        for (place, (stage, at)) in stamps.into_iter().enumerate() {
            let took = at.saturating_sub(before);
            before = at.max(before);
            if self.stages.len() >= 64 && !self.stages.contains_key(stage) {
                continue;
            }
            let time = self.stages.entry(stage.clone()).or_default();
            time.n += 1;
            time.sum_ns = time.sum_ns.saturating_add(took);
            time.max_ns = time.max_ns.max(took);
            time.place = place;
        }
    }

    /// Sorts the latencies.
    pub(super) fn finish(&mut self) {
        self.received_to_published_ns.sort_unstable();
    }

    /// The latency that this share of the results does not exceed (nearest rank), milliseconds.
    pub(super) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let sorted = &self.received_to_published_ns;
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).map(|&ns| ns as f64 / 1e6)
    }

    /// The stages in their order.
    pub(super) fn in_order(&self) -> Vec<(&str, StageTime)> {
        let mut stages: Vec<_> = self.stages.iter().map(|(k, &v)| (k.as_str(), v)).collect();
        stages.sort_by_key(|(_, time)| time.place);
        stages
    }

    /// A histogram with `n_bin` bins of equal width on a logarithmic scale: the edges in
    /// milliseconds, one more than bins, and the counts. `None` without results.
    pub(super) fn histogram(&self, n_bin: usize) -> Option<(Vec<f64>, Vec<u32>)> {
        let ms = |ns: u64| (ns as f64 / 1e6).max(1e-3);
        let low = ms(*self.received_to_published_ns.first()?) * 0.999;
        let high = (ms(*self.received_to_published_ns.last()?) * 1.001).max(low * 1.5);
        let step = (high / low).ln() / n_bin as f64;
        let edges = (0..=n_bin).map(|bin| low * (step * bin as f64).exp()).collect();
        let mut counts = vec![0; n_bin];
        for &ns in &self.received_to_published_ns {
            let bin = ((ms(ns) / low).ln() / step) as usize;
            counts[bin.min(n_bin - 1)] += 1;
        }
        Some((edges, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_takes_the_time_since_the_stamp_before_it() {
        let mut latency = Latency::default();
        let stamps =
            |stages: [(&str, u64); 3]| stages.map(|(name, at)| (name.to_owned(), at)).into();
        latency.add(100, 180, &stamps([("ingest", 110), ("decoder", 180), ("brain", 150)]));
        latency.add(200, 260, &stamps([("ingest", 230), ("decoder", 260), ("brain", 240)]));
        let stages: Vec<_> = latency.in_order();
        let expected = [("ingest", 40, 30), ("brain", 50, 40), ("decoder", 50, 30)];
        for ((name, time), (expected, sum_ns, max_ns)) in stages.into_iter().zip(expected) {
            assert_eq!((name, time.sum_ns, time.max_ns), (expected, sum_ns, max_ns));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_nearest_rank() {
        let mut latency = Latency::default();
        (1..=100).rev().for_each(|ms| latency.add(1, 1 + ms * 1_000_000, &BTreeMap::new()));
        latency.finish();
        let quantile = |share| latency.quantile_ms(share).unwrap().round() as u32;
        assert_eq!([quantile(0.5), quantile(0.99), quantile(1.0), quantile(0.0)], [50, 99, 100, 1]);
        let (edges, counts) = latency.histogram(30).unwrap();
        assert_eq!((edges.len(), counts.iter().sum::<u32>()), (31, 100));
        assert_eq!(Latency::default().quantile_ms(0.5), None);
    }
}
