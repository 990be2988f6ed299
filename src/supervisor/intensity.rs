//! How often children may fail before their supervisor gives up: a pure decision, with `now` as an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How many restarts a supervisor allows within its period, unless it is told otherwise.
pub const DEFAULT_INTENSITY: u32 = 5;

/// The period in which a supervisor counts restarts, unless it is told otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(60);

/// The most restarts that a supervisor can be told to allow; more count as so many. It remembers each.
pub const MAX_INTENSITY: u32 = 1 << 16;

/// The most that one start or stop of a child extends the period by.
pub const MAX_EXTENSION: Duration = Duration::from_secs(60 * 60);

/// The restarts that a supervisor still allows: of all its children together, failed starts included.
///
/// Time that it spends on starting and stopping children does not count as time in which nothing failed. Else a child
/// whose start takes longer than the period, and then fails, would be started for ever.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    allowed: u32,
    period: Duration,
    /// When they failed, by a clock that stands still while children are started and stopped. At most `allowed`.
    failures: VecDeque<Instant>,
    /// How long it has stood still.
    worked: Duration,
}

/// What a failure does to a budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spent {
    /// The child may be started again; it is so many restarts within the period, this one included.
    Within(u32),
    /// It was one too many.
    Exhausted,
}

impl Budget {
    pub(super) fn new(allowed: u32, period: Duration) -> Self {
        Self {
            allowed: allowed.min(MAX_INTENSITY),
            period,
            failures: VecDeque::new(),
            worked: Duration::ZERO,
        }
    }

    pub(super) fn allowed(&self) -> u32 {
        self.allowed
    }

    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// Starting or stopping a child took so long.
    pub(super) fn work(&mut self, took: Duration) {
        self.worked = self.worked.saturating_add(took.min(MAX_EXTENSION));
    }

    /// A child failed and is to be started again.
    pub(super) fn fail(&mut self, now: Instant) -> Spent {
        let now = self.standing(now);
        while let Some(oldest) = self.failures.front()
            && self.is_over(*oldest, now)
        {
            self.failures.pop_front();
        }
        let count = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if count >= self.allowed {
            return Spent::Exhausted;
        }
        self.failures.push_back(now);
        Spent::Within(count.saturating_add(1))
    }

    /// How many restarts are left.
    pub(super) fn left(&self, now: Instant) -> u32 {
        let now = self.standing(now);
        let spent = (self.failures.iter())
            .filter(|failure| !self.is_over(**failure, now))
            .count();
        self.allowed
            .saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }

    fn standing(&self, now: Instant) -> Instant {
        // More work than time has passed: a clock that was not started yet.
        now.checked_sub(self.worked).unwrap_or(now)
    }

    fn is_over(&self, failure: Instant, now: Instant) -> bool {
        now.saturating_duration_since(failure) >= self.period
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Far from the beginning of the clock, which `standing` could not go before.
    fn start() -> Instant {
        Instant::now() + Duration::from_secs(1 << 30)
    }

    #[test]
    fn none_allowed_is_none() {
        let mut budget = Budget::new(0, ms(1_000));
        assert_eq!(budget.left(start()), 0);
        assert_eq!(budget.fail(start()), Spent::Exhausted);
    }

    #[test]
    fn a_start_longer_than_the_period_is_no_pause() {
        let (start, mut budget) = (start(), Budget::new(3, ms(1_000)));
        let mut now = start;
        for restart in 1..=3 {
            now += ms(5_000);
            budget.work(ms(5_000));
            assert_eq!(budget.fail(now), Spent::Within(restart));
        }
        now += ms(5_000);
        budget.work(ms(5_000));
        assert_eq!(budget.fail(now), Spent::Exhausted);
        // The negative control: as long, and not at work.
        let mut budget = Budget::new(3, ms(1_000));
        for restart in 0..10 {
            assert_eq!(budget.fail(start + ms(5_000) * restart), Spent::Within(1));
        }
    }

    #[test]
    fn one_start_extends_the_period_by_an_hour_at_most() {
        let (start, mut budget) = (start(), Budget::new(1, ms(1_000)));
        assert_eq!(budget.fail(start), Spent::Within(1));
        let day = Duration::from_secs(86_400);
        budget.work(day);
        assert_eq!(budget.fail(start + day), Spent::Within(1));
    }

    #[test]
    fn a_clock_that_jumps_is_no_storm() {
        // Of failures in the budget before a suspend none is added by it, and they only age.
        let (start, mut budget) = (start(), Budget::new(3, ms(1_000)));
        assert_eq!(budget.fail(start), Spent::Within(1));
        assert_eq!(budget.fail(start + ms(1)), Spent::Within(2));
        assert_eq!(budget.left(start + ms(60_000)), 3);
        assert_eq!(budget.fail(start + ms(60_000)), Spent::Within(1));
    }

    proptest! {
        /// Against the plain definition: one is allowed unless `allowed` were within the period before it.
        #[test]
        fn it_is_a_sliding_window(
            allowed in 0u32..6,
            period in 1u64..500,
            steps in prop::collection::vec((0u64..200, 0u64..200), 0..64),
        ) {
            let start = start();
            let mut budget = Budget::new(allowed, ms(period));
            let (mut now, mut idle) = (start, 0u64);
            let mut kept: Vec<u64> = Vec::new();
            for (waits, works) in steps {
                idle += waits;
                now += ms(waits + works);
                budget.work(ms(works));
                let recent = kept.iter().filter(|at| idle - **at < period).count();
                prop_assert_eq!(budget.left(now) as usize, (allowed as usize).saturating_sub(recent));
                let spent = budget.fail(now);
                if recent < allowed as usize {
                    prop_assert_eq!(spent, Spent::Within(u32::try_from(recent).unwrap() + 1));
                    kept.push(idle);
                } else {
                    prop_assert_eq!(spent, Spent::Exhausted);
                }
                prop_assert!(budget.failures.len() <= allowed as usize);
            }
        }
    }
}
