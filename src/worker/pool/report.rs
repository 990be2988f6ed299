//! What a pool's close found.

use std::fmt;

use super::counts::PoolRow;
use crate::scope::Report;
use crate::task::kind::KindId;

/// What [`WorkerPool::close`](super::WorkerPool::close) has to say of the jobs that were in the pool when it began.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "it says whether jobs were lost"]
pub struct PoolReport {
    /// The pool's name.
    pub pool: KindId,
    /// Jobs that returned during the close.
    pub done: u64,
    /// Jobs that panicked during the close.
    pub panicked: u64,
    /// Jobs that ran when the grace was over, and were aborted.
    pub aborted: u64,
    /// Jobs that had not begun when the grace was over, and were dropped.
    pub dropped: u64,
    /// Jobs that are still there: they block their thread, and ignore the abort.
    pub left: u64,
    /// What the close of the pool's scope says: how long it took, and each job that was late.
    pub scope: Report,
}

impl PoolReport {
    /// Whether every job that had been accepted ran to its end in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.panicked == 0
            && self.aborted == 0
            && self.dropped == 0
            && self.left == 0
            && self.scope.is_clean()
    }

    pub(super) fn between(before: &PoolRow, after: &PoolRow, scope: Report) -> Self {
        Self {
            pool: before.pool,
            done: after.done.saturating_sub(before.done),
            panicked: after.panicked.saturating_sub(before.panicked),
            aborted: after.aborted.saturating_sub(before.aborted),
            dropped: after.dropped.saturating_sub(before.dropped),
            left: after.queued.saturating_add(after.running),
            scope,
        }
    }
}

impl fmt::Display for PoolReport {
    /// One line, and one more for each job that was late.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pool {}: {} done, {} panicked, {} aborted, {} dropped, {} left; {}",
            self.pool, self.done, self.panicked, self.aborted, self.dropped, self.left, self.scope
        )
    }
}
