//! Where the record takes its atomics from: std's, or loom's in models of it.
//!
//! The switch is named `task_loom`, since `--cfg loom` reaches tokio too, which then drops its `net`.

#[cfg(not(all(test, task_loom)))]
mod imp {
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU64, Ordering, fence};

    /// std's cell, with loom's way of access.
    #[derive(Debug, Default)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(all(test, task_loom))]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU64, Ordering, fence};
}

pub(crate) use imp::*;

/// Atomics for facts that only have to be whole: std's in models too, since every load that may see one of
/// several stores multiplies what loom has to explore. (One such fact is left to loom, for all.)
pub(crate) use std::sync::atomic::{
    AtomicPtr as FactPtr, AtomicU8 as FactU8, AtomicU16 as FactU16, AtomicU32 as FactU32,
    AtomicU64 as FactU64,
};

/// Locks, whether or not a thread panicked while it held the lock.
///
/// What these locks guard is whole at every point where code that can panic runs, and a host must not
/// panic because an observer did.
#[cfg(not(all(test, task_loom)))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Locks; see the other one.
#[cfg(all(test, task_loom))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    mutex.lock().expect("not poisoned")
}
