//! Rings: how facts leave a thread of the host without a lock.

#![expect(unsafe_code, reason = "one side writes what the other reads")]

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// A bounded queue between one thread that pushes and one that pops.
///
/// # Invariants
///
/// 1. Places from `tail` up to `head` hold a value; the others hold none. Both only ever grow.
/// 2. `head` is stored by the pushing side alone, after the value; `tail` by the popping side alone, after it
///    has taken the value out.
pub(crate) struct Ring<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    places: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: values go from one thread to another; each place is reached by one side at a time (invariant 1).
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    /// A ring for `capacity` values.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            places: (0..capacity)
                .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
                .collect(),
        }
    }

    /// Puts a value in; gives it back where the ring is full.
    ///
    /// # Safety
    ///
    /// No other call of `push` runs at the same time.
    pub(crate) unsafe fn push(&self, value: T) -> Result<(), T> {
        let head = self.head.load(Relaxed);
        if head.wrapping_sub(self.tail.load(Acquire)) >= self.places.len() {
            return Err(value);
        }
        let Some(place) = self.places.get(head % self.places.len()) else {
            return Err(value);
        };
        // SAFETY: holds no value, and the popping side does not come here before `head` is stored.
        unsafe { (*place.get()).write(value) };
        self.head.store(head.wrapping_add(1), Release);
        Ok(())
    }

    /// Takes the oldest value out.
    ///
    /// # Safety
    ///
    /// No other call of `pop` runs at the same time.
    pub(crate) unsafe fn pop(&self) -> Option<T> {
        let tail = self.tail.load(Relaxed);
        if tail == self.head.load(Acquire) {
            return None;
        }
        let place = self.places.get(tail % self.places.len())?;
        // SAFETY: nobody writes here before `tail` moves on.
        let value = unsafe { place.get().read() };
        // SAFETY: it held a value (invariant 1), which is taken out once, since `tail` moves on.
        let value = unsafe { value.assume_init() };
        self.tail.store(tail.wrapping_add(1), Release);
        Some(value)
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: nobody else is left.
        while unsafe { self.pop() }.is_some() {}
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.places.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_offered_is_kept_or_given_back_in_order() {
        const N: u64 = if cfg!(miri) { 200 } else { 100_000 };
        let ring = Arc::new(Ring::new(8));
        let pushing = Arc::clone(&ring);
        let pusher = std::thread::spawn(move || {
            // SAFETY: the only thread that pushes.
            (0..N)
                .filter(|&i| unsafe { pushing.push(Box::new(i)) }.is_err())
                .count()
        });
        let mut popped = Vec::new();
        // SAFETY: the only thread that pops.
        let mut pop = || unsafe { ring.pop() }.map(|value| popped.push(*value)).is_some();
        while !pusher.is_finished() {
            pop();
        }
        // `is_finished` orders nothing: only from here on all pushes are seen.
        let dropped = pusher.join().unwrap();
        while pop() {}
        assert_eq!(popped.len() + dropped, usize::try_from(N).unwrap());
        assert!(popped.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn values_left_are_dropped_with_it() {
        let value = Arc::new(());
        let ring = Ring::new(4);
        for _ in 0..3 {
            // SAFETY: one thread.
            unsafe { ring.push(Arc::clone(&value)) }.unwrap();
        }
        drop(ring);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
