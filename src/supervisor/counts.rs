//! How often children were started again, for as long as the process lives.
//!
//! A counter must not go back when a supervisor is itself started again, so that these stand apart from it, under the
//! names that metrics show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How many children have a counter of their own: of later ones all restarts are counted as those of `other`.
pub const MAX_COUNTED: usize = 256;

/// The path of a supervisor and the name of a child.
type Names = (Arc<str>, Arc<str>);

/// The counter of a child of that name.
pub(super) fn counter(supervisor: &Arc<str>, child: &Arc<str>) -> Arc<AtomicU64> {
    let mut all = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let names = (Arc::clone(supervisor), Arc::clone(child));
    if let Some(counter) = all.get(&names) {
        return Arc::clone(counter);
    }
    let names = if all.len() < MAX_COUNTED {
        names
    } else {
        ("other".into(), "other".into())
    };
    Arc::clone(all.entry(names).or_default())
}

/// How often children were started again: supervisor, child and count.
#[cfg_attr(
    not(feature = "prometheus"),
    expect(dead_code, reason = "only metrics show these")
)]
pub(crate) fn restarts() -> Vec<(Names, u64)> {
    let all = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter()
        .map(|(names, count)| (names.clone(), count.load(Relaxed)))
        .collect()
}

static COUNTS: Mutex<BTreeMap<Names, Arc<AtomicU64>>> = Mutex::new(BTreeMap::new());
