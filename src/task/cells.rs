//! What is counted by kind: plain stores into memory that one thread owns, added up by readers.
//!
//! # Invariants
//!
//! 1. Cells of a thread are written by that thread alone, so that a count is a load and a store, not a locked
//!    instruction. Once the thread has ended they are added to the kind's common cells, which any thread may
//!    add to, and freed.
//! 2. A task is counted as spawned before it can be counted as finished, and `finished` is stored with
//!    `Release`: a reader that sums up `finished` first, with `Acquire`, and `spawned` after it never finds
//!    more finished than spawned.
//! 3. `last` of any [`Buckets`] is below [`BUCKETS`], the number of its counts and of the ranges of a [`Scale`].

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::Outcome;
use crate::clock;
use Ordering::{Acquire, Relaxed, Release};

/// Upper bounds of the buckets for polls and for scheduling delays, in nanoseconds; one more bucket is above.
pub(crate) const POLL_BOUNDS: [u64; BOUNDS] = [
    1_000,
    5_000,
    20_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
];

/// Upper bounds of the buckets for lifetimes, in nanoseconds; one more bucket is above.
pub(crate) const LIFETIME_BOUNDS: [u64; BOUNDS] = [
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
    300_000_000_000,
    3_600_000_000_000,
];

/// A poll longer than this is a slow one. It is one of [`POLL_BOUNDS`], so that slow polls need no counter.
pub(crate) const SLOW_POLL: u64 = 10_000_000;

pub(crate) const BOUNDS: usize = 11;
pub(crate) const BUCKETS: usize = BOUNDS + 1;
const OUTCOMES: usize = 4;

/// What one thread counts for one kind; or what no living thread does.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Cells {
    spawned: AtomicU64,
    finished: [AtomicU64; OUTCOMES],
    lifetime: Buckets,
    poll: Buckets,
    delay: Buckets,
}

/// Counts of durations. Their sum is in ticks, so that the hot path need not know how long one is.
#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BUCKETS],
    ticks: AtomicU64,
    /// The bucket of the last duration, in which the next one mostly is as well.
    last: AtomicUsize,
}

/// How counts are added: by the owner of the cells, or by anybody.
pub(crate) trait Add {
    fn add(cell: &AtomicU64, by: u64, order: Ordering);
}

/// The thread that owns the cells (invariant 1).
pub(crate) struct Owner;

impl Add for Owner {
    #[inline(always)]
    fn add(cell: &AtomicU64, by: u64, order: Ordering) {
        cell.store(cell.load(Relaxed).wrapping_add(by), order);
    }
}

/// Any thread: the common cells.
pub(crate) struct Anyone;

impl Add for Anyone {
    fn add(cell: &AtomicU64, by: u64, order: Ordering) {
        cell.fetch_add(by, order);
    }
}

impl Cells {
    #[inline(always)]
    pub(crate) fn spawn<A: Add>(&self) {
        A::add(&self.spawned, 1, Relaxed);
    }

    /// Counts an end; `lifetime` is in ticks, like all durations here.
    #[inline(always)]
    pub(crate) fn finish<A: Add>(&self, outcome: Outcome, lifetime: u64) {
        self.lifetime.add::<A>(&LIFETIME_SCALE, lifetime);
        A::add(&self.finished[outcome as usize], 1, Release);
    }

    /// Counts the end of a task of which nobody knows how long it lived.
    pub(crate) fn finish_unknown<A: Add>(&self, outcome: Outcome) {
        A::add(&self.finished[outcome as usize], 1, Release);
    }

    #[inline(always)]
    pub(crate) fn poll<A: Add>(&self, ticks: u64) {
        self.poll.add::<A>(&POLL_SCALE, ticks);
    }

    pub(crate) fn delay<A: Add>(&self, ticks: u64) {
        self.delay.add::<A>(&POLL_SCALE, ticks);
    }

    /// Adds what is here to the kind's common cells. No thread writes here any more.
    pub(crate) fn fold_into(&self, common: &Self) {
        // Spawns first: between the two a reader finds tasks that live a little longer, never a negative number.
        common.spawned.fetch_add(self.spawned.load(Relaxed), Relaxed);
        for (from, to) in self.finished.iter().zip(&common.finished) {
            to.fetch_add(from.load(Relaxed), Release);
        }
        for (from, to) in [
            (&self.lifetime, &common.lifetime),
            (&self.poll, &common.poll),
            (&self.delay, &common.delay),
        ] {
            for (from, to) in from.counts.iter().zip(&to.counts) {
                to.fetch_add(from.load(Relaxed), Relaxed);
            }
            to.ticks.fetch_add(from.ticks.load(Relaxed), Relaxed);
        }
    }
}

impl Buckets {
    /// Counts a duration. That it is in the bucket of the last one is *guessed*, and checked by a branch: where to
    /// count is then known before the duration is. A bucket that is computed makes the store wait for the clock, and
    /// the next locked instruction for the store, which took 9 ns a poll.
    #[inline(always)]
    fn add<A: Add>(&self, scale: &Scale, ticks: u64) {
        let last = self.last.load(Relaxed);
        #[expect(unsafe_code, reason = "checks of bounds are a third of it, once a poll")]
        // SAFETY: `last` is below BUCKETS (invariant 3).
        let range = unsafe { scale.0.get_unchecked(last) };
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: as above.
        let count = unsafe { self.counts.get_unchecked(last) };
        if range.has(ticks) {
            A::add(count, 1, Relaxed);
        } else {
            self.add_elsewhere::<A>(scale, ticks);
        }
        A::add(&self.ticks, ticks, Relaxed);
    }

    #[inline(never)]
    fn add_elsewhere<A: Add>(&self, scale: &Scale, ticks: u64) {
        let bucket = scale.bucket(ticks);
        self.last.store(bucket, Relaxed);
        A::add(&self.counts[bucket], 1, Relaxed);
    }

    fn add_to(&self, sum: &mut Histogram) {
        for (from, to) in self.counts.iter().zip(&mut sum.counts) {
            *to = to.wrapping_add(from.load(Relaxed));
        }
        sum.ticks = sum.ticks.wrapping_add(self.ticks.load(Relaxed));
    }
}

/// What is known of one kind, added up.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    pub(crate) spawned: u64,
    pub(crate) finished: [u64; OUTCOMES],
    pub(crate) lifetime: Histogram,
    pub(crate) poll: Histogram,
    pub(crate) delay: Histogram,
}

impl Totals {
    pub(crate) fn new() -> Self {
        Self {
            spawned: 0,
            finished: [0; OUTCOMES],
            lifetime: Histogram::new(&LIFETIME_BOUNDS),
            poll: Histogram::new(&POLL_BOUNDS),
            delay: Histogram::new(&POLL_BOUNDS),
        }
    }

    /// The first of two passes, over all cells: what must be read before any `spawned` is.
    pub(crate) fn add_finished(&mut self, cells: &Cells) {
        for (from, to) in cells.finished.iter().zip(&mut self.finished) {
            *to = to.wrapping_add(from.load(Acquire));
        }
        cells.lifetime.add_to(&mut self.lifetime);
    }

    /// The second pass.
    pub(crate) fn add_spawned(&mut self, cells: &Cells) {
        self.spawned = self.spawned.wrapping_add(cells.spawned.load(Relaxed));
        cells.poll.add_to(&mut self.poll);
        cells.delay.add_to(&mut self.delay);
    }
}

/// Counts of durations by upper bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Histogram {
    bounds: &'static [u64; BOUNDS],
    counts: [u64; BUCKETS],
    ticks: u64,
}

impl Histogram {
    fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Self {
            bounds,
            counts: [0; BUCKETS],
            ticks: 0,
        }
    }

    /// The upper bounds in seconds, each with the number of durations at most that long. Durations above
    /// the last bound are in [`count`](Self::count) only.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut sum = 0u64;
        self.bounds.iter().zip(&self.counts).map(move |(bound, count)| {
            sum = sum.wrapping_add(*count);
            (seconds(*bound), sum)
        })
    }

    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Their sum, in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        seconds(clock::nanos(self.ticks))
    }

    /// How many are longer than one of the bounds, in nanoseconds.
    pub(crate) fn above(&self, bound: u64) -> u64 {
        let longer = self
            .bounds
            .iter()
            .position(|&known| known >= bound)
            .map_or(BOUNDS, |at| at + 1);
        self.counts
            .iter()
            .skip(longer)
            .fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Counts a duration, for who counts tasks in other ways than the registry.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|&bound| bound < nanos);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.wrapping_add(1);
        }
        self.ticks = self.ticks.wrapping_add(clock::ticks_in(nanos));
    }

    /// Counts by bucket; one bucket is above the last bound.
    pub(crate) fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// Adds another one with the same bounds.
    pub fn merge(&mut self, other: &Self) {
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to = to.wrapping_add(*from);
        }
        self.ticks = self.ticks.wrapping_add(other.ticks);
    }
}

fn seconds(nanos: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 104 days, and then to the microsecond"
    )]
    let nanos = nanos as f64;
    nanos / 1e9
}

/// The durations of each bucket, in ticks.
struct Scale([Range; BUCKETS]);

/// Durations from one on, and so many above it.
struct Range {
    from: AtomicU64,
    more: AtomicU64,
}

impl Range {
    #[inline(always)]
    fn has(&self, ticks: u64) -> bool {
        ticks.wrapping_sub(self.from.load(Relaxed)) <= self.more.load(Relaxed)
    }

    fn set(&self, from: u64, to: u64) {
        self.from.store(from, Relaxed);
        self.more.store(to.saturating_sub(from), Relaxed);
    }
}

impl Scale {
    /// Before a tick is known to be anything, all durations are in the first bucket.
    const fn unknown() -> Self {
        Self(
            [const {
                Range {
                    from: AtomicU64::new(0),
                    more: AtomicU64::new(u64::MAX),
                }
            }; BUCKETS],
        )
    }

    fn set(&self, bounds: &[u64; BOUNDS]) {
        let mut from = 0;
        let bounds = bounds.map(clock::ticks_in).into_iter().chain([LONGEST]);
        for (range, to) in self.0.iter().zip(bounds) {
            range.set(from, to);
            from = to.saturating_add(1);
        }
    }

    /// The bucket of a duration. A counter that ran backwards for once looks like centuries, and is put to the
    /// shortest.
    fn bucket(&self, ticks: u64) -> usize {
        self.0.iter().position(|range| range.has(ticks)).unwrap_or(0)
    }
}

/// The longest duration that is one.
const LONGEST: u64 = u64::MAX / 2;

/// Takes over what a tick is. Called by each thread before it counts, and where the clock was corrected.
pub(crate) fn rescale() {
    POLL_SCALE.set(&POLL_BOUNDS);
    LIFETIME_SCALE.set(&LIFETIME_BOUNDS);
}

static POLL_SCALE: Scale = Scale::unknown();
static LIFETIME_SCALE: Scale = Scale::unknown();
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(bounds: &[u64; BOUNDS], ticks: u64) -> usize {
        bounds
            .iter()
            .position(|&bound| ticks <= clock::ticks_in(bound))
            .unwrap_or(BOUNDS)
    }

    proptest! {
        #[test]
        fn each_duration_is_counted_where_a_plain_search_puts_it(
            durations in proptest::collection::vec((any::<u64>(), 1u32..64), 1..50),
        ) {
            clock::ticks();
            rescale();
            for (bounds, scale) in [(&POLL_BOUNDS, &POLL_SCALE), (&LIFETIME_BOUNDS, &LIFETIME_SCALE)] {
                let edges = bounds.map(clock::ticks_in).into_iter().flat_map(|edge| [edge - 1, edge, edge + 1]);
                let durations = durations.iter().map(|(ticks, shift)| ticks >> shift).chain(edges);
                let (buckets, mut expected) = (Buckets::default(), [0; BUCKETS]);
                for ticks in durations {
                    buckets.add::<Owner>(scale, ticks);
                    expected[plain(bounds, ticks)] += 1;
                }
                prop_assert_eq!(buckets.counts.map(AtomicU64::into_inner), expected);
            }
        }
    }

    #[test]
    fn a_counter_that_ran_backwards_is_a_short_duration() {
        clock::ticks();
        rescale();
        let buckets = Buckets::default();
        for ticks in [u64::MAX, 5u64.wrapping_sub(7), LONGEST + 1] {
            buckets.add::<Owner>(&POLL_SCALE, ticks);
        }
        assert_eq!(buckets.counts[0].load(Relaxed), 3);
    }

    #[test]
    fn slow_polls_are_those_above_the_bound() {
        let cells = Cells::default();
        clock::ticks();
        rescale();
        let second = clock::ticks_in(1_000_000_000);
        for ticks in [0, second / 200, second / 50, second * 60] {
            cells.poll::<Owner>(ticks);
        }
        let mut totals = Totals::new();
        totals.add_spawned(&cells);
        assert_eq!(totals.poll.above(SLOW_POLL), 2);
        assert_eq!(totals.poll.count(), 4);
    }

    #[test]
    fn folding_loses_nothing() {
        let (own, common) = (Cells::default(), Cells::default());
        own.spawn::<Owner>();
        own.finish::<Owner>(Outcome::Panicked, 5_000_000);
        own.poll::<Owner>(3);
        own.delay::<Owner>(4);
        common.spawn::<Anyone>();
        own.fold_into(&common);
        let mut totals = Totals::new();
        totals.add_finished(&common);
        totals.add_spawned(&common);
        assert_eq!(totals.spawned, 2);
        assert_eq!(totals.finished, [0, 0, 1, 0]);
        let counts = [&totals.lifetime, &totals.poll, &totals.delay].map(Histogram::count);
        assert_eq!(counts, [1, 1, 1]);
    }
}
