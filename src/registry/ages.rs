//! How old the live tasks of a site are: what the leak rules compare with how long others of their kind lived.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock;

/// The age below which a task is young, by default: no rule looks at it.
pub const DEFAULT_YOUNG: Duration = Duration::from_secs(5 * 60);

/// The ages that are told apart, as multiples of the one below which a task is young.
pub const AGE_STEPS: [u32; STEPS] = [1, 2, 4, 8, 12, 24, 48, 96, 192];

const STEPS: usize = 9;

/// Tasks that are no longer young, by age: how many there are, and how many of them are *silent*, that is, were not
/// polled in the second half of their lives.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ages {
    silent: [u32; STEPS],
    others: [u32; STEPS],
}

impl Ages {
    /// Counts a task, unless it is young. It has had no poll for `idle`.
    pub fn add(&mut self, age: Duration, idle: Duration, young: Duration) {
        let steps = AGE_STEPS.map(|step| young.saturating_mul(step));
        if let Some(step) = steps.iter().rposition(|&step| age >= step) {
            self.add_at(step, idle >= age / 2);
        }
    }

    /// How many are at least as old as a step of [`AGE_STEPS`].
    #[must_use]
    pub fn older(&self, step: usize) -> u64 {
        let others = self.others.iter().skip(step).map(|&count| u64::from(count));
        others.sum::<u64>() + self.silent(step)
    }

    /// How many of those are silent.
    #[must_use]
    pub fn silent(&self, step: usize) -> u64 {
        self.silent.iter().skip(step).map(|&count| u64::from(count)).sum()
    }

    /// The same, in ticks.
    #[inline(never)]
    pub(super) fn add_ticks(&mut self, age: u64, idle: u64, steps: &Steps) {
        if let Some(step) = steps.of(age) {
            self.add_at(step, idle >= age / 2);
        }
    }

    fn add_at(&mut self, step: usize, silent: bool) {
        let counts = if silent {
            &mut self.silent
        } else {
            &mut self.others
        };
        if let Some(count) = counts.get_mut(step) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.silent, &other.silent),
            (&mut self.others, &other.others),
        ];
        for (to, from) in pairs {
            for (to, from) in to.iter_mut().zip(from) {
                *to = to.saturating_add(*from);
            }
        }
    }
}

/// The steps in ticks, for one sweep.
pub(super) struct Steps {
    young: Duration,
    ticks: [u64; STEPS],
}

impl Steps {
    pub(super) fn new(young: Duration) -> Self {
        let nanos = u64::try_from(young.as_nanos()).unwrap_or(u64::MAX);
        Self {
            young,
            ticks: AGE_STEPS.map(|step| clock::ticks_in(nanos.saturating_mul(step.into()))),
        }
    }

    pub(super) fn young(&self) -> Duration {
        self.young
    }

    /// Whether an age is not that of a young task.
    #[inline]
    pub(super) fn is_old(&self, age: u64) -> bool {
        age >= self.ticks[0]
    }

    /// The step of an age; `None` for one that is young.
    fn of(&self, age: u64) -> Option<usize> {
        self.ticks.iter().rposition(|&step| age >= step)
    }
}

/// The age below which a task is young, from the next sweep on.
pub(super) fn young() -> Duration {
    Duration::from_nanos(YOUNG.load(Relaxed))
}

/// Sets it; at least a millisecond.
pub(crate) fn set_young(young: Duration) {
    let nanos = u64::try_from(young.as_nanos()).unwrap_or(u64::MAX);
    YOUNG.store(nanos.max(1_000_000), Relaxed);
}

static YOUNG: AtomicU64 = AtomicU64::new(DEFAULT_YOUNG.as_secs() * 1_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_and_a_clock_of_ones_own_count_alike() {
        clock::ticks();
        let young = Duration::from_secs(60);
        let steps = Steps::new(young);
        for seconds in [0, 59, 61, 119, 121, 479, 481, 719, 721, 11_519, 11_521, 1_000_000] {
            let age = Duration::from_secs(seconds);
            let (mut ours, mut theirs) = (Ages::default(), Ages::default());
            ours.add(age, age / 4, young);
            let ticks = clock::ticks_in(seconds * 1_000_000_000);
            theirs.add_ticks(ticks, ticks / 4, &steps);
            assert_eq!(ours, theirs, "{seconds} s");
        }
    }

    #[test]
    fn who_was_polled_lately_is_not_silent() {
        let minute = Duration::from_secs(60);
        let mut ages = Ages::default();
        ages.add(minute * 10, minute * 10, minute);
        ages.add(minute * 10, minute * 5, minute);
        ages.add(minute * 10, minute * 4, minute);
        ages.add(minute / 2, minute / 2, minute);
        assert_eq!((ages.older(0), ages.silent(0)), (3, 2));
        assert_eq!((ages.older(3), ages.silent(3)), (3, 2));
        assert_eq!((ages.older(4), ages.silent(4)), (0, 0));
    }
}
