//! What a waker does with its record. The invariants are those of [`record`](super).

#![expect(unsafe_code, reason = "empties the cell of the kept waker")]

use std::ptr::{NonNull, null_mut};

use super::{Kept, MOVED, Record, STAMPED, WAKE, low};
use crate::task::extra::Extra;
use crate::task::sync::{Ordering, fence};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// An `Extra` that is out of its record, to be dropped by whoever took it out.
#[must_use]
pub(crate) struct Remains {
    pub(crate) extra: NonNull<Extra>,
    /// A reader may hold it.
    pub(crate) pinned: bool,
}

impl Record {
    /// Counts one more holder.
    #[inline]
    pub(crate) fn clone_waker(&self) {
        // Relaxed: whoever clones holds one, as for an `Arc`.
        let before = self.holders.fetch_add((1 << 32) | 1, Relaxed);
        if low(before) >= STUCK {
            self.pass_mark(before);
        }
    }

    /// Counts a wake by `by` (the task being polled on this thread, or 0); says whether the runtime's waker has changed:
    /// then the one in the `Extra` is to be woken, else the kept one.
    #[inline(always)]
    pub(crate) fn wake(&self, by: u64) -> bool {
        // Before it is forwarded and before the waker is given back: a reader that finds no waker must
        // find the wake. AcqRel for `moved`.
        let before = self.wakes.fetch_add(WAKE, AcqRel);
        self.by.store(by, Relaxed);
        before & MOVED != 0
    }

    /// Whether the wake that is about to be counted is one of a sample, one in 64, whose time is to be known.
    #[inline(always)]
    pub(crate) fn is_sampled(&self) -> bool {
        self.wakes.load(Relaxed) & (63 * WAKE) == 63 * WAKE
    }

    /// Says that the time of the wake that is about to be counted was remembered. Before it is counted: a poll that
    /// answers it must not leave the stamp to a later one.
    pub(crate) fn stamp(&self) {
        self.wakes.fetch_or(STAMPED, Relaxed);
    }

    /// Counts a wake by the task itself, during its own poll.
    #[inline]
    pub(crate) fn count_self_wake(&self) {
        // The poller's own thread: invariant 6.
        self.self_wakes
            .store(self.self_wakes.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Lets go; says whether that was the last holder. Then the record is nobody's, and the caller empties it and gives
    /// it back.
    #[inline(always)]
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let before = self.holders.fetch_sub(1, Release);
        if low(before) == 1 {
            // All that other holders did with the record happened before it is emptied.
            fence(Acquire);
            return true;
        }
        if low(before) > STUCK {
            self.pass_mark(before);
        }
        false
    }

    /// Takes out what the record keeps, so that it can be another task's. For whoever let go last.
    #[inline(always)]
    pub(crate) fn empty(&self) -> (Kept, Option<Remains>) {
        // SAFETY: no holder is left, so nobody else looks at the kept waker (invariants 2, 3).
        let kept = self
            .kept
            .with_mut(|kept| unsafe { std::mem::replace(&mut *kept, Kept::NONE) });
        self.id.store(0, Relaxed);
        let remains = if self.extra.load(Relaxed).is_null() {
            None
        } else {
            self.take_extra()
        };
        (kept, remains)
    }

    #[cold]
    fn take_extra(&self) -> Option<Remains> {
        let extra = NonNull::new(self.extra.swap(null_mut(), Relaxed))?;
        // Read-modify-writes of one word on both sides, here and in `pin`, have an order: either the reader
        // is found here, or it sees what was done before this, and so no pointer. (A load would need `SeqCst`
        // all over, which loom does not know.)
        let pinned = self.pins.fetch_add(0, AcqRel) != 0;
        Some(Remains { extra, pinned })
    }

    /// A holder came or went above the mark, or while somebody asks.
    #[cold]
    fn pass_mark(&self, before: u64) {
        if count(before) >= STUCK {
            // Every step across the mark comes here, so that the count stays near it.
            self.holders
                .store(u64::from(STUCK) + (u64::from(STUCK) >> 1), Relaxed);
        }
    }

    /// How many holders there are.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> u32 {
        count(self.holders.load(Acquire))
    }

    /// As if that many clones had been forgotten.
    #[cfg(test)]
    pub(crate) fn forget_clones(&self, clones: u32) {
        self.holders.fetch_add(u64::from(clones), Relaxed);
    }
}

/// How many holders there are, whether or not somebody asks.
#[inline]
pub(super) const fn count(holders: u64) -> u32 {
    low(holders) & !HELD
}

/// Somebody asks, and holds the record.
pub(super) const HELD: u32 = 1 << 31;
/// From here on the count of holders is stuck.
const STUCK: u32 = 1 << 30;
