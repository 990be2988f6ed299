//! Runtimes whose other tasks are counted too.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;

use super::sweep;
use crate::task::runtime;

/// Watches a runtime: tasks that are alive in it and not tracked are counted from now on, see [`untracked`].
///
/// The agent watches the runtime that it is started in. A process can watch [`MAX_WATCHED`]; further ones are not
/// watched, and a runtime that was is for the life of the process, shut down or not.
pub fn watch(handle: &Handle) {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = watched.iter().any(|known| known.id() == handle.id());
    if watched.len() < MAX_WATCHED && !known {
        watched.push(handle.clone());
    }
}

/// The runtimes that are watched.
#[must_use]
pub fn watched() -> Vec<Handle> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Tasks that are alive in the watched runtimes and not tracked; `None` before the first sweep, or where no runtime
/// is watched.
///
/// An estimate: it compares what the runtimes say now with what the last sweep saw, and two tracked futures in one
/// untracked task (branches of a `join!`) count as two.
#[must_use]
pub fn untracked() -> Option<u64> {
    let watched = watched();
    let sweep = sweep::last()?;
    if watched.is_empty() {
        return None;
    }
    let mut tracked = sweep.roots_in(0);
    let mut alive = 0u64;
    for handle in &watched {
        alive = alive.saturating_add(u64::try_from(handle.metrics().num_alive_tasks()).unwrap_or(u64::MAX));
        match runtime::number(handle) {
            0 => {}
            number => tracked = tracked.saturating_add(sweep.roots_in(number)),
        }
    }
    Some(alive.saturating_sub(tracked))
}

/// How many runtimes can be watched.
pub const MAX_WATCHED: usize = 64;

static WATCHED: Mutex<Vec<Handle>> = Mutex::new(Vec::new());
