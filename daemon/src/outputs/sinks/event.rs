//! What sinks get: runs that start and end, volumes, and one value for each volume.

use std::sync::Arc;

use crate::{
    config::sinks::ValueChoice,
    product::{
        Product,
        reports::{MotionReport, RunReport, RunState, VolumeReport},
    },
};

/// Something that a sink may have to tell its peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A run starts.
    Start {
        /// Its name.
        run: Arc<str>,
    },
    /// A volume was processed. Comes before its value.
    Volume {
        /// Position in the run.
        index: u32,
        /// Motion to the reference volume, if volumes are realigned.
        motion: Option<MotionReport>,
    },
    /// The value of a volume.
    Value(Value),
    /// The run is over.
    End,
}

/// The value of one volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Newest volume that the value is based on.
    pub index: u32,
    /// Start of its acquisition, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// When it was handed to the outputs, monotonic clock.
    pub published_ns: u64,
    /// The value; absent while there is none, or while feedback is blanked.
    pub value: Option<f64>,
    /// Stands for an absent value where a protocol needs a number.
    pub neutral: f64,
}

impl Value {
    /// The value, or else the neutral one.
    #[must_use]
    pub fn or_neutral(&self) -> f64 {
        self.value.unwrap_or(self.neutral)
    }
}

/// Whether sinks take products of this kind.
#[must_use]
pub fn takes(product: &Product) -> bool {
    matches!(
        product,
        Product::Result(_) | Product::Feedback(_) | Product::Volume(_) | Product::Run(_)
    )
}

/// Makes events from products: the value that is configured, and the bounds of runs.
pub struct Selection {
    choice: ValueChoice,
    /// The open run. A run of which the start was missed starts with its first product.
    run: Option<Arc<str>>,
}

impl Selection {
    /// Selects a value; no run is open.
    #[must_use]
    pub fn new(choice: ValueChoice) -> Self {
        Self { choice, run: None }
    }

    /// The events of a product. Asked again, it gives the same; see [`Selection::done`].
    #[must_use]
    pub fn events(&self, product: &Product) -> Vec<Event> {
        let run = match product {
            Product::Run(report) => &report.run,
            Product::Volume(report) => &report.run,
            Product::Result(result) => &result.run,
            Product::Feedback(feedback) => &feedback.run,
            _ => return Vec::new(),
        };
        let is_open = self.run.as_ref() == Some(run);
        let ends = matches!(product, Product::Run(RunReport { state: RunState::Ended, .. }));
        let mut events = Vec::new();
        if !is_open && ends {
            return events;
        }
        if !is_open {
            if self.run.is_some() {
                events.push(Event::End);
            }
            events.push(Event::Start { run: Arc::clone(run) });
        }
        if let Product::Volume(VolumeReport { index, motion, .. }) = product {
            events.push(Event::Volume { index: index.0, motion: *motion });
        }
        events.extend(self.value(product).map(Event::Value));
        if ends {
            events.push(Event::End);
        }
        events
    }

    /// The events of this product are delivered, or lost.
    pub fn done(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Start { run } => self.run = Some(Arc::clone(run)),
                Event::End => self.run = None,
                Event::Volume { .. } | Event::Value(_) => {}
            }
        }
    }

    fn value(&self, product: &Product) -> Option<Value> {
        match (&self.choice, product) {
            (ValueChoice::Feedback, Product::Feedback(feedback)) => Some(Value {
                index: feedback.index.0,
                acquisition_time_s: feedback.acquisition_time_s,
                published_ns: feedback.published_ns,
                value: feedback.score.filter(|_| !feedback.blanked).filter(|v| v.is_finite()),
                neutral: 0.0,
            }),
            (ValueChoice::Concept(name), Product::Result(result)) => {
                let names = result.concepts.names.iter();
                let at = names.zip(&result.concepts.values).find(|(known, _)| *known == name);
                let neutral = result.concepts.neutral().values.first().copied();
                let value = at.map(|(_, &value)| f64::from(value)).filter(|_| !result.blanked);
                Some(Value {
                    index: result.index.0,
                    acquisition_time_s: result.acquisition_time_s,
                    published_ns: result.published_ns,
                    value: value.filter(|value| value.is_finite()),
                    neutral: f64::from(neutral.unwrap_or(0.0)),
                })
            }
            (ValueChoice::Dvars, Product::Volume(volume)) => Some(of_volume(volume, volume.dvars)),
            (ValueChoice::Fd, Product::Volume(volume)) => Some(of_volume(volume, volume.fd_mm)),
            _ => None,
        }
    }
}

fn of_volume(volume: &VolumeReport, value: Option<f64>) -> Value {
    Value {
        index: volume.index.0,
        acquisition_time_s: volume.acquisition_time_s,
        published_ns: volume.published_ns,
        value: value.filter(|value| value.is_finite()),
        neutral: 0.0,
    }
}

/// Whether `blank` hides this value. The quality of the signal is not decoded.
#[must_use]
pub fn is_decoded(choice: &ValueChoice) -> bool {
    matches!(choice, ValueChoice::Feedback | ValueChoice::Concept(_))
}
