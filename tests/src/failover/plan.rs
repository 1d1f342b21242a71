//! Which events happen at which intervals to which products, and how often each.

use std::time::Duration;

use super::{
    event::Event,
    interval::Interval,
    router::{BACKUP, MASTER, Product},
};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The intervals.
    pub intervals: Vec<Interval>,
    /// The products.
    pub products: Vec<Product>,
    /// The events.
    pub events: Vec<Event>,
    /// How often each happens, if not as often as it does in a full run.
    pub runs: Option<u32>,
}

impl Plan {
    /// All of it.
    pub fn full() -> Self {
        Self {
            intervals: Interval::ALL.into(),
            products: Product::ALL.into(),
            events: Event::ALL.into(),
            runs: None,
        }
    }

    /// Every event once, at an interval in the middle.
    pub fn brief() -> Self {
        Self {
            intervals: vec![Interval::MIDDLE],
            runs: Some(1),
            ..Self::full()
        }
    }

    /// How often each event happens at an interval.
    pub fn runs(&self, interval: Interval) -> u32 {
        let usual = if interval.time() < Duration::from_secs(1) {
            30
        } else {
            10
        };
        self.runs.unwrap_or(usual)
    }

    /// The events that a product has.
    pub(super) fn events(&self, product: Product) -> impl Iterator<Item = Event> {
        let all = self.events.iter().copied();
        all.filter(move |event| event.happens_to(product))
    }

    /// How long it takes, about.
    pub fn length(&self) -> Duration {
        /// What a run needs beside the protocol: a start, a moment to see what comes after.
        const AROUND: Duration = Duration::from_secs(1);
        const SET_UP: Duration = Duration::from_secs(4);
        let mut length = Duration::ZERO;
        for &interval in &self.intervals {
            let waits = interval.down(BACKUP) + interval.down(MASTER) + 3 * interval.time();
            for &product in &self.products {
                let events = self.events(product);
                let each = events.map(|event| waits + AROUND + event.calm() + event.unnoticed());
                length += SET_UP + each.sum::<Duration>() * self.runs(interval);
            }
        }
        length
    }
}
