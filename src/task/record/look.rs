//! What a reader sees of a record, without a lock. The invariants are those of [`record`](super).

#![expect(unsafe_code, reason = "what a record points to outlives the look")]

use std::panic::Location;

use super::wake::count;
use super::{POLLS, RUNNING, Record, WAITING, WAKE, high};
use crate::task::Outcome;
use crate::task::exit::{Detail, Exit};
use crate::task::extra::Extra;
use crate::task::sync::{Ordering, fence};
use Ordering::{Acquire, Relaxed, Release};

/// One look at a record that belongs to a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) id: u64,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) runtime: u8,
    pub(crate) phase: u8,
    /// A waiting task with a wake that no poll has answered yet.
    pub(crate) scheduled: bool,
    /// It waits, was polled, nothing woke it since, and no waker of it is left.
    pub(crate) forsaken: bool,
    pub(crate) wakers: u32,
    pub(crate) clones: u32,
    /// The spawn counts as one.
    pub(crate) wakes: u64,
    pub(crate) polls: u64,
    /// Polls that were made to ask it where it waits, and are not in `polls`.
    pub(crate) probes: u16,
    pub(crate) by: u64,
    pub(crate) self_wakes: u32,
    pub(crate) busy: u64,
    pub(crate) last: u64,
    pub(crate) born: u64,
    pub(crate) parent: u64,
    pub(crate) size: u32,
    pub(crate) site: Option<&'static Location<'static>>,
}

impl Record {
    /// Reads one task's facts; `None` where the record is free or changed its task meanwhile.
    ///
    /// The *order* of the loads is the proof of `forsaken`. Who wakes counts the wake before it gives its
    /// waker back, so who sees no waker sees the wake; who sees that a poll has answered the wake sees that
    /// the task runs; a poll that ended meanwhile shows in `polls`; and `id` tells another task's facts.
    ///
    /// In line, so that the sweep does not put together what it does not read.
    #[inline]
    pub(crate) fn look(&self) -> Option<Look> {
        let id = self.id.load(Acquire);
        if id == 0 {
            return None;
        }
        let polls = self.polls.load(Acquire);
        let holders = self.holders.load(Acquire);
        let wakes = self.wakes.load(Acquire);
        let seen = self.seen.load(Acquire);
        let phase = self.phase.load(Acquire);
        let site = self.site.load(Relaxed);
        let look = Look {
            id,
            kind: self.kind.load(Relaxed),
            flags: self.flags.load(Relaxed),
            runtime: self.runtime.load(Relaxed),
            phase,
            scheduled: phase == WAITING && wakes / WAKE != seen / WAKE,
            forsaken: phase == WAITING
                && polls & POLLS > 0
                && count(holders) == 1
                && wakes / WAKE == seen / WAKE,
            wakers: count(holders).saturating_sub(1),
            clones: high(holders),
            wakes: wakes / WAKE,
            polls: polls & POLLS,
            probes: (polls >> 48) as u16,
            by: self.by.load(Relaxed),
            self_wakes: self.self_wakes.load(Relaxed),
            busy: self.busy.load(Relaxed),
            last: self.last.load(Relaxed),
            born: self.born.load(Relaxed),
            parent: self.parent.load(Relaxed),
            size: self.size.load(Relaxed),
            // SAFETY: only ever a `&'static Location` or null (invariant 1).
            site: unsafe { site.cast_const().as_ref() },
        };
        // The loads above are not moved behind those below.
        fence(Acquire);
        // A poll that ended meanwhile spoils only the verdict; another task spoils all.
        let polled = self.polls.load(Relaxed) != polls;
        let same = self.id.load(Relaxed) == id;
        let look = Look {
            forsaken: look.forsaken && !polled,
            ..look
        };
        (same && matches!(phase, WAITING | RUNNING)).then_some(look)
    }

    /// Lets `read` see the `Extra` of the task `id`, if this still is its record and it has one.
    pub(crate) fn pin<R>(&self, id: u64, read: impl FnOnce(&Extra) -> R) -> Option<R> {
        struct Pinned<'a>(&'a Record);
        impl Drop for Pinned<'_> {
            fn drop(&mut self) {
                self.0.pins.fetch_sub(1, Release);
            }
        }
        if self.extra.load(Relaxed).is_null() {
            return None;
        }
        if self.pins.load(Relaxed) > MOST_PINS {
            return None; // thousands of readers at once: this one does without
        }
        self.pins.fetch_add(1, Acquire); // see `take_extra`
        let pinned = Pinned(self);
        let extra = self.extra.load(Acquire);
        // SAFETY: whoever takes it out after this load sees the pin, and does not free it (invariant 7).
        let result = unsafe { extra.cast_const().as_ref() }
            // Relaxed: whoever sees the next task's `Extra` sees its id, which was stored before it.
            .filter(|_| self.id.load(Relaxed) == id)
            .map(read);
        drop(pinned);
        result
    }

    /// Whether a reader may hold an `Extra` of this record.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.load(Acquire) != 0
    }
}

impl Record {
    /// What is told of the task once it has ended.
    pub(crate) fn exit(&self, outcome: Outcome, ended: u64, detail: Option<Box<Detail>>) -> Exit {
        let site = self.site.load(Relaxed);
        Exit {
            id: self.id(),
            parent: self.parent.load(Relaxed),
            born: self.born(),
            ended,
            busy: self.busy.load(Relaxed),
            polls: self.polls(),
            wakes: self.wakes.load(Relaxed) / WAKE,
            // SAFETY: only ever a `&'static Location` or null.
            site: unsafe { site.cast_const().as_ref() },
            detail,
            self_wakes: self.self_wakes.load(Relaxed),
            size: self.size.load(Relaxed),
            kind: self.kind(),
            flags: self.flags(),
            outcome,
            runtime: self.runtime.load(Relaxed),
        }
    }
}

const MOST_PINS: u16 = u16::MAX / 2;
