//! How long a failed child waits before it is started again: a pure decision, with the random number as an argument.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How long a child waits before it is started again: longer from one failure to the next, and never two children
/// equally long.
///
/// The *n*-th restart in a row waits for a random time between zero and `first * 2^(n-1)`, at most `max`: full jitter,
/// so that a thousand children that failed together do not come back together. A child that ran for
/// [`reset_after`](Self::reset_after) begins anew. Each child has its own.
///
/// It is not what limits restarts: that is the budget of the supervisor, which counts every failure however long the
/// child waits.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use lifespan::supervisor::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
/// assert_eq!(Backoff::default(), Backoff::new(Backoff::DEFAULT_FIRST, Backoff::DEFAULT_MAX));
/// # let _ = backoff;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    reset_after: Duration,
}

impl Backoff {
    /// The bound of the first wait, unless it is given.
    pub const DEFAULT_FIRST: Duration = Duration::from_millis(100);
    /// The bound of all waits, unless it is given.
    pub const DEFAULT_MAX: Duration = Duration::from_secs(30);
    /// How long a child must run to count as healthy, unless it is given.
    pub const DEFAULT_RESET_AFTER: Duration = Duration::from_secs(60);

    /// The first restart waits for `first` at most, and none for longer than `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            reset_after: Self::DEFAULT_RESET_AFTER,
        }
    }

    /// A child that ran so long has recovered: its next failure is its first. By default, a minute.
    #[must_use]
    pub fn reset_after(mut self, healthy: Duration) -> Self {
        self.reset_after = healthy;
        self
    }

    /// The bound of the wait before the restart of that number, from 1.
    fn bound(&self, restart: u32) -> Duration {
        let doubled = 1u32.checked_shl(restart.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Self::DEFAULT_FIRST, Self::DEFAULT_MAX)
    }
}

/// How often one child has failed in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    failures: u32,
}

impl Row {
    /// It failed after it ran for so long; says how long it waits. All values of `random` are equally likely.
    pub(super) fn fail(&mut self, backoff: Option<&Backoff>, ran: Duration, random: u64) -> Duration {
        let Some(backoff) = backoff else {
            return Duration::ZERO;
        };
        if ran >= backoff.reset_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        part(backoff.bound(self.failures), random)
    }
}

/// The part of a time that a random number makes of it.
fn part(of: Duration, random: u64) -> Duration {
    let nanos = of.as_nanos().saturating_mul(u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A random number: std seeds its hashers from the system, and each with other keys.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_double_up_to_the_most() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let bounds: Vec<u128> = (1..8).map(|n| backoff.bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1_000, 1_000, 1_000]);
        assert_eq!(backoff.bound(u32::MAX), Duration::from_secs(1));
        let endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(endless.bound(40), Duration::MAX);
    }

    #[test]
    fn waits_spread_over_all_that_is_allowed() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let waits: Vec<Duration> = (0..1_000)
            .map(|_| Row::default().fail(Some(&backoff), Duration::ZERO, random()))
            .collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        // Each of these fails once in 10^22 runs.
        assert!(*least < Duration::from_millis(50), "{least:?}");
        assert!(*most > Duration::from_millis(950), "{most:?}");
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bound_and_a_healthy_run_resets_it(
            first in 1u64..10_000,
            max in 1u64..100_000,
            runs in prop::collection::vec((any::<bool>(), any::<u64>()), 1..40),
        ) {
            let (first, max) = (Duration::from_millis(first), Duration::from_millis(max));
            let backoff = Backoff::new(first, max).reset_after(Duration::from_secs(10));
            let (mut row, mut bound) = (Row::default(), Duration::ZERO);
            for (healthy, random) in runs {
                let ran = Duration::from_secs(if healthy { 10 } else { 9 });
                let wait = row.fail(Some(&backoff), ran, random);
                bound = if healthy || bound.is_zero() { first.min(max) } else { (bound * 2).min(max) };
                prop_assert!(wait <= bound);
                prop_assert_eq!(wait, part(bound, random));
            }
        }

        #[test]
        fn none_waits_not(random in any::<u64>()) {
            prop_assert_eq!(Row::default().fail(None, Duration::ZERO, random), Duration::ZERO);
        }
    }
}
