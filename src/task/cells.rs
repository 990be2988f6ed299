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
//! 3. No entry of a scale's table is above [`BOUNDS`], and its bound at that place is the greatest number there is:
//!    so that a bucket is at most [`BOUNDS`], the last place of an array of them.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::Outcome;
use crate::clock;
use Ordering::{Acquire, Relaxed, Release};

/// Upper bounds of the buckets for polls and for scheduling delays, in nanoseconds; one more bucket is above.
///
/// Each bound is at least twice the one before, see [`Scale`].
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
const BUCKETS: usize = BOUNDS + 1;
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
    #[inline(always)]
    fn add<A: Add>(&self, scale: &Scale, ticks: u64) {
        #[expect(unsafe_code, reason = "as in `bucket`")]
        // SAFETY: a bucket is at most BOUNDS (invariant 3).
        let count = unsafe { self.counts.get_unchecked(scale.bucket(ticks)) };
        A::add(count, 1, Relaxed);
        A::add(&self.ticks, ticks, Relaxed);
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

/// Bounds in ticks, with a table that finds the one for a duration: by its highest bit, and one comparison, since no
/// two bounds share a highest bit.
struct Scale {
    /// For each highest bit, the first bound that is not below all numbers that have it.
    first: [AtomicU8; 64],
    /// The bounds, and behind them what nothing is above.
    bounds: [AtomicU64; BUCKETS],
}

impl Scale {
    const fn unknown() -> Self {
        Self {
            first: [const { AtomicU8::new(0) }; 64],
            bounds: [const { AtomicU64::new(u64::MAX) }; BUCKETS],
        }
    }

    fn set(&self, bounds: &[u64; BOUNDS]) {
        // The last place stays as it is (invariant 3).
        for (to, nanos) in self.bounds.iter().zip(bounds) {
            to.store(clock::ticks_in(*nanos), Relaxed);
        }
        for (bit, first) in self.first.iter().enumerate() {
            let below = self
                .bounds
                .iter()
                .take_while(|bound| bound.load(Relaxed) < 1 << bit)
                .count();
            // A counter that ran backwards for once looks like centuries, and is put to the shortest.
            let below = if bit == 63 { 0 } else { below.min(BOUNDS) };
            first.store(u8::try_from(below).unwrap_or(0), Relaxed);
        }
    }

    /// The bucket of a duration.
    #[inline(always)]
    fn bucket(&self, ticks: u64) -> usize {
        let candidate = usize::from(self.first[(ticks | 1).ilog2() as usize].load(Relaxed));
        #[expect(unsafe_code, reason = "a check of the bounds is a third of it, once a poll")]
        // SAFETY: no entry of the table is above BOUNDS (invariant 3).
        let bound = unsafe { self.bounds.get_unchecked(candidate) };
        candidate + usize::from(ticks > bound.load(Relaxed))
    }
}

/// Takes over what a tick is. Called by each thread before it counts, and where the clock was corrected.
pub(crate) fn rescale() {
    POLL_SCALE.set(&POLL_BOUNDS);
    LIFETIME_SCALE.set(&LIFETIME_BOUNDS);
}

const fn are_apart(bounds: &[u64; BOUNDS]) -> bool {
    let mut at = 1;
    while at < BOUNDS {
        if bounds[at] < 2 * bounds[at - 1] {
            return false;
        }
        at += 1;
    }
    true
}

static POLL_SCALE: Scale = Scale::unknown();
static LIFETIME_SCALE: Scale = Scale::unknown();
const _: () = assert!(are_apart(&POLL_BOUNDS) && are_apart(&LIFETIME_BOUNDS));

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
        fn a_bucket_is_the_first_whose_bound_is_not_below(ticks: u64, shift in 1u32..64) {
            clock::ticks();
            rescale();
            for (bounds, scale) in [(&POLL_BOUNDS, &POLL_SCALE), (&LIFETIME_BOUNDS, &LIFETIME_SCALE)] {
                let ticks = ticks >> shift;
                prop_assert_eq!(scale.bucket(ticks), plain(bounds, ticks));
                for bound in bounds.map(clock::ticks_in) {
                    for ticks in [bound - 1, bound, bound + 1] {
                        prop_assert_eq!(scale.bucket(ticks), plain(bounds, ticks));
                    }
                }
            }
        }
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
