//! How many lost wakeups were found, by kind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::task::MAX_KINDS;
use crate::task::kind::KindId;

static FOUND: [AtomicU64; MAX_KINDS + 1] = [const { AtomicU64::new(0) }; MAX_KINDS + 1];

/// How many tasks of a kind waited for what had come.
pub(super) fn count(kind: KindId) -> u64 {
    let found = FOUND.get(usize::from(kind.index()));
    found.map_or(0, |found| found.load(Relaxed))
}

/// Counts one more.
#[cfg(feature = "profile")]
pub(crate) fn add(kind: KindId) {
    if let Some(found) = FOUND.get(usize::from(kind.index())) {
        found.fetch_add(1, Relaxed);
    }
}
