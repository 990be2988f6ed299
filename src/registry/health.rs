//! What the recording itself holds, and what it had to leave out.

use super::history;
use crate::task::{exit, job, kind, slab};

/// Memory that records take, and everything that found no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Bytes of records, those included that are free and kept for later.
    pub record_bytes: u64,
    /// Tasks that got no record, since no memory was left: they are counted, and in no row.
    pub records_refused: u64,
    /// Uses of a name beyond the 1,024 kinds of a process: counted as `other`.
    pub kinds_refused: u64,
    /// Exits that were taken in: all that ended while an agent ran, less those dropped.
    pub exits_drained: u64,
    /// Exits that found no room before they were drained.
    pub exits_dropped: u64,
    /// Exits that made room for later ones.
    pub exits_evicted: u64,
}

/// The state of the recording.
#[must_use]
pub fn health() -> Health {
    let bytes = slab::resident_bytes();
    Health {
        record_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        records_refused: slab::refused(),
        kinds_refused: kind::refused(),
        exits_drained: history::drained(),
        exits_dropped: exit::dropped(),
        exits_evicted: history::evicted(),
    }
}

/// Tracked jobs on tokio's blocking pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlockingJobs {
    /// Waiting for a thread.
    pub queued: u64,
    /// Running.
    pub running: u64,
}

/// How many tracked jobs the blocking pool has.
#[must_use]
pub fn blocking_jobs() -> BlockingJobs {
    let (queued, running) = job::blocking();
    BlockingJobs { queued, running }
}
