//! How a task that has ended is told: its facts, copied once, to a ring of its thread.
//!
//! A task that lives for 10 us is in no snapshot. Nothing is copied while nobody reads (see [`want`]).

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::extra::Facts;
use super::{Outcome, local};
use crate::ring::Ring;

/// Exits that a thread keeps until they are drained.
pub(crate) const RING: usize = 256;
/// Those of tasks that panicked, and of threads that are gone.
const APART: usize = 1_024;

/// The facts of one task that has ended. Times are in ticks.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) born: u64,
    pub(crate) ended: u64,
    pub(crate) busy: u64,
    pub(crate) polls: u64,
    pub(crate) wakes: u64,
    pub(crate) site: Option<&'static Location<'static>>,
    pub(crate) detail: Option<Box<Detail>>,
    pub(crate) self_wakes: u32,
    pub(crate) size: u32,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) outcome: Outcome,
    pub(crate) runtime: u8,
}

/// What only some tasks leave behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detail {
    pub(crate) facts: Facts,
    /// The path of its scope, and no more: an exit must not keep a scope alive.
    pub(crate) scope: Option<Arc<str>>,
    /// The path of its supervisor.
    pub(crate) supervisor: Option<Arc<str>>,
    pub(crate) panic: Option<Panic>,
}

/// What a task died of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Panic {
    pub(crate) message: String,
    /// Known where the agent's panic hook saw it.
    pub(crate) location: Option<String>,
    /// The frames, where that hook was asked for them.
    pub(crate) backtrace: Option<String>,
}

/// Says whether exits are to be kept from now on.
pub(crate) fn want(wanted: bool) {
    if wanted {
        HEEDED.fetch_or(READ, Relaxed);
    } else {
        HEEDED.fetch_and(!READ, Relaxed);
    }
}

pub(crate) fn wanted() -> bool {
    HEEDED.load(Relaxed) & READ != 0
}

/// Says that there are scopes from now on, which wait for the ends of their tasks.
pub(crate) fn heed_scopes() {
    if HEEDED.load(Relaxed) & SCOPES == 0 {
        HEEDED.fetch_or(SCOPES, Relaxed);
    }
}

/// Whether anybody heeds the end of a task. One load for both, so that a task pays for scopes only where there are
/// any.
#[inline]
pub(crate) fn heeded() -> bool {
    HEEDED.load(Relaxed) != 0
}

/// How many exits found no place since the process started.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

pub(crate) fn count_dropped(exits: u64) {
    DROPPED.fetch_add(exits, Relaxed);
}

/// Keeps the exit of a task that panicked, or ended on a thread being torn down.
pub(crate) fn keep_apart(exit: Exit) {
    let mut apart = apart();
    if apart.len() < APART {
        apart.push_back(exit);
    } else {
        count_dropped(1);
    }
}

/// Takes over what a thread leaves that has ended.
pub(crate) fn adopt(ring: &Ring<Exit>) {
    #[expect(unsafe_code, reason = "the ring's one popping side")]
    // SAFETY: the ring is in no thread's state any more.
    while let Some(exit) = unsafe { ring.pop() } {
        keep_apart(exit);
    }
}

/// Hands over all that was kept, and forgets it.
pub(crate) fn drain(mut each: impl FnMut(Exit)) {
    let kept = std::mem::take(&mut *apart());
    kept.into_iter().for_each(&mut each);
    local::drain_exits(each);
}

fn apart() -> std::sync::MutexGuard<'static, VecDeque<Exit>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Exits are kept for a reader.
const READ: u8 = 1;
/// There is a scope.
const SCOPES: u8 = 2;

static HEEDED: AtomicU8 = AtomicU8::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static KEPT: Mutex<VecDeque<Exit>> = Mutex::new(VecDeque::new());
