//! What one who asks a task where it waits does with its record. The invariants are those of [`record`](super).

use super::wake::{HELD, count};
use super::{ASKED, MOVED, PROBE, Record, WAITING, answered, flag, low};
use crate::task::sync::{Ordering, fence};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

impl Record {
    /// Holds the record, so that it stays that of the task it is of now; `false` where it is of none, or somebody holds
    /// it so already. Not one of the holders that are counted: how many wakers are alive is seen as before.
    ///
    /// It is of the task `id` if that is what [`id`](Self::id) says afterwards. Who has seen a task's id before cannot
    /// take the next one for it: `Acquire` makes the next one's beginning seen.
    #[must_use]
    pub(crate) fn hold(&self) -> bool {
        let free =
            |holders| (count(holders) != 0 && low(holders) & HELD == 0).then_some(holders | u64::from(HELD));
        self.holders.fetch_update(Acquire, Relaxed, free).is_ok()
    }

    /// Lets go of what [`hold`](Self::hold) held; says whether the record is nobody's now, as [`release`](Self::release)
    /// does.
    #[must_use]
    pub(crate) fn unhold(&self) -> bool {
        let before = self.holders.fetch_and(!u64::from(HELD), Release);
        if low(before) != HELD {
            return false;
        }
        // All that other holders did with the record happened before it is emptied.
        fence(Acquire);
        true
    }

    /// Whether the kept waker is there, and stays: for one who holds the record. Where the first poll kept one, it is
    /// seen together with the count of that poll.
    pub(crate) fn was_polled(&self) -> bool {
        self.polls.load(Acquire) != 0
    }

    /// Whether the task was never polled with a waker that passes through. Holder of the future only, in a poll for which
    /// that was decided.
    pub(crate) fn stands_in(&self) -> bool {
        self.flags() & (flag::PASS | flag::FOREIGN) == 0
    }

    /// Asks the next poll where the task waits; the caller wakes the runtime's waker then. Returns what
    /// [`wake`](Self::wake) does. It is no wake of the host's, and not counted as one.
    pub(crate) fn ask(&self) -> bool {
        // Before it is forwarded, which orders it before the poll. AcqRel for `moved`.
        self.wakes.fetch_or(ASKED, AcqRel) & MOVED != 0
    }

    /// How often the task was woken by now. Holders only.
    pub(crate) fn wakes(&self) -> u64 {
        answered(self.wakes.load(Acquire))
    }

    /// Takes the question back, or takes note of it at the start of a poll.
    pub(crate) fn unask(&self) {
        self.wakes.fetch_and(!ASKED, Relaxed);
    }

    /// Ends a poll that nothing but a question asked for. The task waits as it did, since `last`: neither its polls nor
    /// its idle time tell of it. But the word that a look reads twice changes, as after any poll.
    pub(crate) fn leave_probed(&self, last: u64) {
        let polls = self.polls.load(Relaxed).wrapping_add(PROBE);
        // In this order, as in `count_poll` and `leave`.
        self.polls.store(polls, Release);
        self.last.store(last, Relaxed);
        self.phase.store(WAITING, Release);
    }
}
