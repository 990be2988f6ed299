//! When a number spikes: the moment at which evidence is worth keeping. Pure: `now` is an argument.

use std::collections::VecDeque;
use std::time::Duration;

/// When a number is called a spike.
///
/// Either it passes `limit`, or it is at least `min` and by `percent` above its average over the last ten samples. Then
/// not again for `cooldown`. In the manner of `holmes` for Go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Trigger {
    pub(super) min: u64,
    pub(super) percent: u64,
    pub(super) limit: u64,
    pub(super) cooldown: Duration,
}

/// What of a trigger was met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spike {
    /// It passed the limit.
    Limit,
    /// It is far above its average.
    Jump { average: u64 },
}

/// One number, sample after sample.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    trigger: Trigger,
    samples: VecDeque<u64>,
    last: Option<Duration>,
}

/// Fewer say nothing of what is usual.
const SAMPLES: usize = 10;

impl Gauge {
    pub(super) fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            samples: VecDeque::with_capacity(SAMPLES),
            last: None,
        }
    }

    /// Takes a sample.
    pub(super) fn look(&mut self, number: u64, now: Duration) -> Option<Spike> {
        let spike = self.spike(number);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(number);
        let cools = |last| now.saturating_sub(last) < self.trigger.cooldown;
        if self.last.is_some_and(cools) {
            return None;
        }
        if spike.is_some() {
            self.last = Some(now);
        }
        spike
    }

    fn spike(&self, number: u64) -> Option<Spike> {
        if self.samples.len() < SAMPLES {
            return None;
        }
        let Trigger {
            min, percent, limit, ..
        } = self.trigger;
        // It is news once.
        if number > limit && self.samples.back().is_some_and(|&before| before <= limit) {
            return Some(Spike::Limit);
        }
        let sum = self
            .samples
            .iter()
            .fold(0u64, |sum, sample| sum.saturating_add(*sample));
        let average = sum / SAMPLES as u64;
        let usual = average.saturating_mul(percent.saturating_add(100)) / 100;
        (number >= min && number > usual).then_some(Spike::Jump { average })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGER: Trigger = Trigger {
        min: 100,
        percent: 50,
        limit: 1_000,
        cooldown: Duration::from_secs(60),
    };

    /// The spikes in a row of numbers, a second apart, with the place of each.
    fn spikes(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, Spike)> {
        let mut gauge = Gauge::new(TRIGGER);
        let look = |(second, number)| {
            let spike = gauge.look(number, Duration::from_secs(second));
            spike.map(|spike| (second, spike))
        };
        (0..).zip(numbers).filter_map(look).collect()
    }

    #[test]
    fn a_jump_is_one_from_what_was_usual() {
        let from = |usual: u64, to: u64| spikes([vec![usual; 20], vec![to; 5]].concat());
        assert_eq!(from(100, 151), [(20, Spike::Jump { average: 100 })]);
        assert_eq!(from(100, 150), []);
        assert_eq!(from(10, 99), []);
        assert_eq!(from(10, 100), [(20, Spike::Jump { average: 10 })]);
        // Before there are samples enough nothing is usual.
        assert_eq!(spikes([0, 0, 0, 500, 0]), []);
    }

    #[test]
    fn the_limit_is_passed_once() {
        let slowly = (0..200).map(|second| 800 + second * 2);
        assert_eq!(spikes(slowly), [(101, Spike::Limit)]);
    }

    #[test]
    fn it_cools_down() {
        let sawtooth = (0..200).map(|second| if second % 20 == 19 { 600 } else { 100 });
        let places: Vec<u64> = spikes(sawtooth).into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, [19, 79, 139, 199]);
    }
}
