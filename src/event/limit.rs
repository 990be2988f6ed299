//! How much is logged: a few lines of each sort at once, then one now and then, and how many were left out.
//!
//! Pure: it is told the time. In a crash loop the same four lines come as fast as the loop turns; rabbitmq-server had
//! 25 GB of them (its issue 1342).

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Lines of one sort that are logged at once.
pub(super) const BURST: u32 = 10;
/// How long it takes until there is room for one more; and how often it is said what was left out.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// Lines of all sorts that are logged at once: sorts can be many, where children's names are.
pub(super) const BURST_OF_ALL: u32 = 500;
/// How long it takes until there is room for one more of any sort.
pub(super) const EVERY_OF_ALL: Duration = Duration::from_millis(20);
/// Sorts that are told apart; those beyond share one.
pub(super) const MOST_SORTS: usize = 1_024;

/// Decides which lines are logged. All that are offered are either logged or left out, and what is left out is summed
/// up.
#[derive(Debug)]
pub(super) struct Limiter<S> {
    sorts: HashMap<S, Sort>,
    of_all: Bucket,
    /// Sorts of which something is left out that was not summed up yet.
    pending: usize,
    /// Before then, there is nothing to sum up.
    due: Duration,
    /// When sorts of which nothing came for long were last forgotten.
    forgot: Duration,
    pub(super) logged: u64,
    pub(super) suppressed: u64,
}

/// What was left out of one sort.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Summary<S> {
    pub(super) sort: S,
    pub(super) suppressed: u64,
    /// Since the first of them.
    pub(super) over: Duration,
}

#[derive(Debug)]
struct Sort {
    bucket: Bucket,
    suppressed: u64,
    since: Duration,
}

/// A bucket of tokens.
#[derive(Debug)]
struct Bucket {
    left: u32,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, now: Duration, most: u32, every: Duration) {
        let gone = now.saturating_sub(self.at);
        let steps = gone.as_nanos() / every.as_nanos().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(steps).min(most);
        self.at = if self.left == most {
            self.at.max(now)
        } else {
            self.at.saturating_add(every.saturating_mul(steps))
        };
    }

    fn take(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl<S: Clone + Eq + Hash> Limiter<S> {
    pub(super) fn new() -> Self {
        Self {
            sorts: HashMap::new(),
            of_all: Bucket {
                left: BURST_OF_ALL,
                at: Duration::ZERO,
            },
            pending: 0,
            due: Duration::ZERO,
            forgot: Duration::ZERO,
            logged: 0,
            suppressed: 0,
        }
    }

    /// Whether a line is to be logged. `sort` is that of the line, `shared` the one that it counts as where there are
    /// too many; `wanted` is false for one that is not to be logged in any case.
    pub(super) fn offer(&mut self, sort: S, shared: S, wanted: bool, now: Duration) -> bool {
        let sort = if self.has_room_for(&sort, now) {
            sort
        } else {
            shared
        };
        self.of_all.refill(now, BURST_OF_ALL, EVERY_OF_ALL);
        let sort = self.sorts.entry(sort).or_insert(Sort {
            bucket: Bucket { left: BURST, at: now },
            suppressed: 0,
            since: now,
        });
        sort.bucket.refill(now, BURST, EVERY);
        if wanted && sort.bucket.take() && self.of_all.take() {
            self.logged = self.logged.saturating_add(1);
            return true;
        }
        self.suppressed = self.suppressed.saturating_add(1);
        if sort.suppressed == 0 {
            sort.since = now;
            if self.pending == 0 {
                self.due = now.saturating_add(EVERY);
            }
            self.pending = self.pending.saturating_add(1);
        }
        sort.suppressed = sort.suppressed.saturating_add(1);
        false
    }

    /// What was left out that is to be said now: of each sort, once in a while; or `all` of it.
    pub(super) fn summaries(&mut self, now: Duration, all: bool) -> Vec<Summary<S>> {
        if self.pending == 0 || (now < self.due && !all) {
            return Vec::new();
        }
        let mut summaries = Vec::new();
        let mut next = Duration::MAX;
        for (key, sort) in self.sorts.iter_mut().filter(|(_, sort)| sort.suppressed > 0) {
            let due = sort.since.saturating_add(EVERY);
            if now < due && !all {
                next = next.min(due);
                continue;
            }
            summaries.push(Summary {
                sort: key.clone(),
                suppressed: std::mem::take(&mut sort.suppressed),
                over: now.saturating_sub(sort.since),
            });
        }
        self.pending = self.pending.saturating_sub(summaries.len());
        self.due = next;
        summaries
    }

    fn has_room_for(&mut self, sort: &S, now: Duration) -> bool {
        if self.sorts.len() < MOST_SORTS || self.sorts.contains_key(sort) {
            return true;
        }
        // A walk over all of them, so not for every line.
        if now.saturating_sub(self.forgot) >= EVERY {
            self.forgot = now;
            self.sorts.retain(|_, sort| {
                sort.bucket.refill(now, BURST, EVERY);
                sort.suppressed > 0 || sort.bucket.left < BURST
            });
        }
        self.sorts.len() < MOST_SORTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHARED: u32 = u32::MAX;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_crash_loop_is_a_few_lines_and_their_sum() {
        let mut limiter = Limiter::new();
        let (mut logged, mut said) = (0u64, 0u64);
        // An hour of it, ten times a second.
        for turn in 0..36_000u64 {
            let now = Duration::from_millis(turn * 100);
            logged += u64::from(limiter.offer("restart", "", true, now));
            for summary in limiter.summaries(now, false) {
                assert!(summary.over >= EVERY && summary.over < EVERY + seconds(1));
                said += summary.suppressed;
            }
        }
        assert!((100..=u64::from(BURST) + 120).contains(&logged), "{logged}");
        let rest = limiter.summaries(seconds(3_600), true);
        assert_eq!(logged + said + rest[0].suppressed, 36_000);
        assert_eq!(limiter.summaries(seconds(7_200), true), []);
    }

    #[test]
    fn one_sort_does_not_silence_another() {
        let mut limiter = Limiter::new();
        for _ in 0..1_000 {
            limiter.offer(1, SHARED, true, seconds(1));
        }
        assert!(limiter.offer(2, SHARED, true, seconds(1)));
    }

    #[test]
    fn sorts_without_end_are_bounded_in_number_and_in_lines() {
        let mut limiter = Limiter::new();
        for sort in 0..100_000 {
            limiter.offer(sort, SHARED, true, seconds(1));
        }
        assert!(limiter.sorts.len() <= MOST_SORTS + 1);
        assert_eq!(limiter.logged, u64::from(BURST_OF_ALL));
        // Once they are said and quiet for long, there is room again.
        assert_eq!(limiter.summaries(seconds(1), true).len(), MOST_SORTS + 1 - 500);
        assert!(limiter.offer(SHARED - 1, SHARED, true, seconds(1_000)));
        assert!(limiter.sorts.len() < 3);
    }

    #[test]
    fn what_is_not_wanted_is_summed_up_too() {
        let mut limiter = Limiter::new();
        assert!(!limiter.offer(1, SHARED, false, seconds(0)));
        assert_eq!(limiter.summaries(seconds(29), false), []);
        let summary = Summary {
            sort: 1,
            suppressed: 1,
            over: seconds(30),
        };
        assert_eq!(limiter.summaries(seconds(30), false), [summary]);
    }

    proptest! {
        #[test]
        fn all_that_is_offered_is_logged_or_left_out(
            steps in prop::collection::vec((0u32..2_000, 0u64..20_000, any::<bool>(), any::<bool>()), 1..400),
            backwards in 0u64..60,
        ) {
            let mut limiter = Limiter::new();
            let (mut now, mut logged, mut said) = (seconds(backwards), 0u64, 0u64);
            for (at, (sort, millis, wanted, sums)) in steps.iter().enumerate() {
                now += Duration::from_millis(*millis);
                // A clock that is read on another core may be a little behind.
                let read = if at % 7 == 0 { now.saturating_sub(seconds(backwards)) } else { now };
                logged += u64::from(limiter.offer(sort % 40, SHARED, *wanted, read));
                if *sums {
                    said += limiter.summaries(read, false).iter().map(|summary| summary.suppressed).sum::<u64>();
                }
                let pending: u64 = limiter.sorts.values().map(|sort| sort.suppressed).sum();
                let held = limiter.sorts.values().filter(|sort| sort.suppressed > 0).count();
                prop_assert_eq!(limiter.logged, logged);
                prop_assert_eq!(at as u64 + 1, limiter.logged + limiter.suppressed);
                prop_assert_eq!(limiter.suppressed, said + pending);
                prop_assert_eq!(limiter.pending, held);
            }
            said += limiter.summaries(now, true).iter().map(|summary| summary.suppressed).sum::<u64>();
            prop_assert_eq!(limiter.suppressed, said);
        }
    }
}
