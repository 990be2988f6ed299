//! What futures register their wakers with, in the three shapes that differ in what they order.

#![expect(
    unsafe_code,
    reason = "the leaves that are modelled guard a cell by a word of state"
)]

use std::task::Waker;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// A leaf that is done at some time.
pub(super) trait Leaf: Default + Send + Sync + 'static {
    /// Whether it is done; where it is not, it keeps a clone of the waker.
    fn poll(&self, waker: &Waker) -> bool;

    /// It is done: wakes what it has.
    fn set(&self);

    /// Drops a waker that it still has. Nobody sets it any more.
    fn clear(&self);
}

/// A lock around all, as in tokio's `Notify`, its channels and its timers.
#[derive(Default)]
pub(super) struct Locked(Mutex<(bool, Option<Waker>)>);

impl Locked {
    /// It is done; the waker is the caller's, to wake or to drop.
    pub(super) fn take(&self) -> Option<Waker> {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        state.1.take()
    }
}

impl Leaf for Locked {
    fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.0.lock().unwrap();
        if !state.0 && !state.1.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.1 = Some(waker.clone());
        }
        state.0
    }

    fn set(&self) {
        if let Some(waker) = self.take() {
            waker.wake();
        }
    }

    fn clear(&self) {
        drop(self.take());
    }
}

/// The `AtomicWaker` of the futures crate.
#[derive(Default)]
pub(super) struct AtomicWaker {
    state: AtomicU32,
    waker: UnsafeCell<Option<Waker>>,
    done: AtomicBool,
}

// SAFETY: the cell is guarded by `state`.
unsafe impl Sync for AtomicWaker {}
// SAFETY: as above.
unsafe impl Send for AtomicWaker {}

const REGISTERING: u32 = 1;
const WAKING: u32 = 2;

impl AtomicWaker {
    fn register(&self, waker: &Waker) {
        let found = self.state.compare_exchange(0, REGISTERING, Acquire, Acquire);
        match found.unwrap_or_else(|other| other) {
            0 => {
                // SAFETY: whoever sets REGISTERING alone has the cell.
                let former = self.waker.with_mut(|kept| unsafe {
                    match &*kept {
                        Some(known) if known.will_wake(waker) => None,
                        _ => (*kept).replace(waker.clone()),
                    }
                });
                drop(former);
                let registered = self.state.compare_exchange(REGISTERING, 0, AcqRel, Acquire);
                if registered.is_err() {
                    // SAFETY: as above; who wakes has left it to us.
                    let waker = self.waker.with_mut(|kept| unsafe { (*kept).take() });
                    self.state.swap(0, AcqRel);
                    waker.unwrap().wake();
                }
            }
            WAKING => waker.wake_by_ref(),
            _ => {}
        }
    }
}

impl Leaf for AtomicWaker {
    fn poll(&self, waker: &Waker) -> bool {
        if self.done.load(Relaxed) {
            return true;
        }
        self.register(waker);
        self.done.load(Relaxed)
    }

    fn set(&self) {
        self.done.store(true, Relaxed);
        if self.state.fetch_or(WAKING, AcqRel) == 0 {
            // SAFETY: whoever sets WAKING alone has the cell.
            let waker = self.waker.with_mut(|kept| unsafe { (*kept).take() });
            self.state.fetch_and(!WAKING, Release);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn clear(&self) {
        // SAFETY: nobody else is left.
        drop(self.waker.with_mut(|kept| unsafe { (*kept).take() }));
    }
}

/// tokio's `oneshot`, and its `JoinHandle`: a poll that finds its own waker only loads the state.
#[derive(Default)]
pub(super) struct Oneshot {
    state: AtomicU32,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the cell is guarded by `state`.
unsafe impl Sync for Oneshot {}
// SAFETY: as above.
unsafe impl Send for Oneshot {}

const SET: u32 = 1;
const COMPLETE: u32 = 2;

impl Leaf for Oneshot {
    fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.state.load(Acquire);
        if state & COMPLETE != 0 {
            return true;
        }
        // SAFETY: while SET, the cell is only read.
        let known = state & SET != 0
            && self
                .waker
                .with(|kept| unsafe { (*kept).as_ref().unwrap().will_wake(waker) });
        if known {
            return false;
        }
        if state & SET != 0 {
            state = self.state.fetch_and(!SET, AcqRel) & !SET;
            if state & COMPLETE != 0 {
                self.state.fetch_or(SET, AcqRel);
                return true;
            }
        }
        // SAFETY: while not SET, only the receiver has the cell.
        self.waker.with_mut(|kept| unsafe { *kept = Some(waker.clone()) });
        self.state.fetch_or(SET, AcqRel) & COMPLETE != 0
    }

    fn set(&self) {
        if self.state.fetch_or(COMPLETE, AcqRel) & SET != 0 {
            // SAFETY: while SET, the cell is only read.
            self.waker
                .with(|kept| unsafe { (*kept).as_ref().unwrap().wake_by_ref() });
        }
    }

    fn clear(&self) {
        // SAFETY: nobody else is left.
        self.waker.with_mut(|kept| unsafe { *kept = None });
    }
}
