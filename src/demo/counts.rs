//! What the service counts itself, beside what is known of its tasks.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests answered, whatever the answer.
    pub(super) served: Count,
    /// Requests of which the deadline passed; these are served too.
    pub(super) late: Count,
    /// Analytics and thumbnails that found no room.
    pub(super) rejected: Count,
    /// Lines that the pipeline has written, each counted once however often it failed.
    pub(super) ingested: Count,
    /// Requests that the load generator left out, since too many were under way.
    pub(super) skipped: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
