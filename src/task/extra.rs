//! What only some tasks have: a name, attributes, a limit on their life, a scope; and a runtime's waker that changed.
//!
//! A bare record is full, so these stand in a box of their own, which costs nothing where there is none.
//! (A second slab would save an allocation and could not give its memory back: its locks are not zeros.)

#![expect(unsafe_code, reason = "freed by whoever finds that no reader holds it")]

use super::membership::Membership;
use super::record::Record;
use super::sync::{Mutex, lock};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Facts beyond the record's two cache lines.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) facts: Facts,
    /// The scope that the task runs in. Set before the task is spawned, and then never changed.
    scope: OnceLock<Arc<dyn Membership>>,
    /// The runtime's waker, where it is no longer the one that the record keeps. In an `Arc`, since its clone
    /// and its drop are foreign code, which must not run under the lock: it could wake this very task.
    moved: Mutex<Option<Arc<Waker>>>,
}

/// What the spawner said of a task; does not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) name: Option<Box<str>>,
    pub(crate) attributes: Vec<(Box<str>, Box<str>)>,
    pub(crate) max_lifetime: Option<Duration>,
}

impl Facts {
    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.attributes.is_empty() && self.max_lifetime.is_none()
    }
}

impl Extra {
    pub(crate) fn new(facts: Facts) -> Self {
        Self {
            facts,
            scope: OnceLock::new(),
            moved: Mutex::new(None),
        }
    }

    /// Puts the task into a scope, unless it is in one.
    pub(crate) fn enter(&self, scope: Arc<dyn Membership>) {
        let _ = self.scope.set(scope);
    }

    /// The task's place in its scope, if it is in one.
    pub(crate) fn scope(&self) -> Option<&Arc<dyn Membership>> {
        self.scope.get()
    }

    /// Whether the waker that counts is this one.
    pub(crate) fn wakes_same(&self, waker: &Waker) -> bool {
        // `will_wake` compares two words and calls nothing.
        lock(&self.moved)
            .as_ref()
            .is_some_and(|moved| moved.will_wake(waker))
    }

    /// Replaces the waker that counts; the former one is the caller's to drop.
    #[must_use]
    pub(crate) fn replace_waker(&self, waker: Waker) -> Option<Arc<Waker>> {
        let waker = Arc::new(waker);
        lock(&self.moved).replace(waker)
    }

    /// The waker that counts.
    pub(crate) fn waker(&self) -> Option<Arc<Waker>> {
        lock(&self.moved).clone()
    }
}

/// Frees an `Extra` that is out of its record; later, where a reader may still hold it.
///
/// # Safety
///
/// It came from a box, and was taken out of the record by the caller.
pub(crate) unsafe fn discard(record: &'static Record, extra: NonNull<Extra>, pinned: bool) {
    let unlinked = Unlinked { record, extra };
    if pinned {
        let mut all = UNLINKED.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(unlinked);
    } else {
        unlinked.free(); // its waker outside of any lock
    }
}

/// Frees what was unlinked under a reader that is gone now. Called by readers.
pub(crate) fn sweep_unlinked() {
    let free: Vec<Unlinked> = {
        let mut unlinked = UNLINKED.lock().unwrap_or_else(PoisonError::into_inner);
        unlinked
            .extract_if(.., |unlinked| !unlinked.record.is_pinned())
            .collect()
    };
    free.into_iter().for_each(Unlinked::free);
}

/// An `Extra` that a reader may still hold: as many as tasks end while one reads their names. No box yet, which
/// would say that nobody else holds it.
struct Unlinked {
    record: &'static Record,
    extra: NonNull<Extra>,
}

impl Unlinked {
    /// Frees it, which no reader holds.
    fn free(self) {
        // SAFETY: it came from a box, and was taken out of the record by one caller of `discard`; no reader holds
        // it, and no further one finds it.
        drop(unsafe { Box::from_raw(self.extra.as_ptr()) });
    }
}

// SAFETY: what it points to is Send, and its own.
unsafe impl Send for Unlinked {}

static UNLINKED: StdMutex<Vec<Unlinked>> = StdMutex::new(Vec::new());
