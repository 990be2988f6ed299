//! The waker that points to a task's record; the vtable is all of it.
//!
//! It is the same waker at every poll of a task, so that `will_wake` holds and leaves do not register anew.
//! A clone costs one increment of the record's own count, as it would cost one of tokio's.

#![expect(unsafe_code, reason = "a raw waker is a pointer and a table of functions")]

use super::extra;
use super::local;
#[cfg(all(test, task_loom))]
use super::models::give;
use super::record::{Record, Remains};
#[cfg(not(all(test, task_loom)))]
use super::slab::give;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::task::{RawWaker, RawWakerVTable, Waker};

/// The task's waker, for the length of a poll: it is borrowed from the task's own hold on the record, and so
/// is not counted and must not be dropped.
#[inline]
pub(crate) fn borrowed(record: NonNull<Record>) -> ManuallyDrop<Waker> {
    // SAFETY: the functions of the table accept a pointer to a record that is held, as the caller does.
    ManuallyDrop::new(unsafe { Waker::new(record.as_ptr().cast_const().cast(), &VTABLE) })
}

/// Lets go of a record: for its task, which has ended, or for a waker.
#[inline(always)]
pub(crate) fn release(record: NonNull<Record>) {
    // SAFETY: the caller holds it (invariant 1 of `record`).
    if unsafe { record.as_ref() }.release() {
        give_back(record);
    }
}

/// Apart from `release`, most of whose callers are wakers and not the last.
#[inline(never)]
pub(super) fn give_back(record: NonNull<Record>) {
    // SAFETY: records stay records.
    let (kept, remains) = unsafe { record.as_ref() }.empty();
    give(record);
    // Foreign code last, when nothing of ours is borrowed or locked: it may spawn, wake or panic.
    if let Some(remains) = remains {
        discard(record, &remains);
    }
    // SAFETY: taken out of the record for good: put together and dropped once.
    drop(unsafe { kept.into_waker() });
}

#[cold]
fn discard(record: NonNull<Record>, remains: &Remains) {
    // SAFETY: records stay records.
    let record = unsafe { record.as_ref() };
    // SAFETY: it came from a box, and was taken out of the record just now, by one caller only.
    unsafe { extra::discard(record, remains.extra, remains.pinned) };
}

/// Whether this is a waker of tokio's tasks, which ends them explicitly. An executor that ends a task with its
/// last waker would leak one whose record keeps that waker, and some poll without being woken: we do not
/// stand in for theirs.
#[inline]
pub(crate) fn is_tokio(waker: &Waker) -> bool {
    std::ptr::eq(TOKIO.load(Relaxed), waker.vtable())
}

/// Whether the table of tokio's wakers is known yet.
pub(crate) fn knows_tokio() -> bool {
    !TOKIO.load(Relaxed).is_null()
}

/// Takes it from a waker that is known to be of a tokio task.
pub(crate) fn learn_tokio(waker: &Waker) {
    TOKIO.store(std::ptr::from_ref(waker.vtable()).cast_mut(), Relaxed);
}

static TOKIO: AtomicPtr<RawWakerVTable> = AtomicPtr::new(std::ptr::null_mut());

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// # Safety
///
/// `data` is of a waker of [`VTABLE`], whose holder holds the record.
#[inline]
unsafe fn record<'a>(data: *const ()) -> &'a Record {
    // SAFETY: a record stays one (invariant 1 of `record`).
    unsafe { &*data.cast::<Record>() }
}

pub(super) unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the contract of a raw waker's table.
    unsafe { record(data) }.clone_waker();
    RawWaker::new(data, &VTABLE)
}

pub(super) unsafe fn wake(data: *const ()) {
    // The runtime's wake is foreign code: should it panic, the waker is given back all the same.
    struct GiveBack(*const ());
    impl Drop for GiveBack {
        fn drop(&mut self) {
            // SAFETY: `wake` owns the waker.
            unsafe { drop_waker(self.0) };
        }
    }
    let _owned = GiveBack(data);
    // SAFETY: the contract of a raw waker's table.
    unsafe { wake_by_ref(data) };
}

pub(super) unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the contract of a raw waker's table.
    let woken = unsafe { record(data) };
    let by = local::current_record();
    let by_id = if by.is_null() {
        0
    } else {
        if std::ptr::eq(by, woken) {
            woken.count_self_wake();
        }
        // SAFETY: whoever is polled on this thread holds its record.
        unsafe { &*by }.id()
    };
    if woken.is_sampled() {
        stamp(woken);
    }
    if woken.wake(by_id) {
        return wake_moved(woken);
    }
    // SAFETY: a waker of ours exists, and so a kept one, which outlives this call; it is not dropped.
    let runtime = ManuallyDrop::new(unsafe { woken.kept().assume_waker() });
    runtime.wake_by_ref();
}

#[cold]
fn stamp(record: &Record) {
    local::stamp_wake(record);
    record.stamp();
}

/// Asks a task where it waits, and wakes its runtime to have it polled. It was polled before, and the caller holds the
/// record.
#[cfg(feature = "profile")]
pub(super) fn ask(record: &Record) {
    if record.ask() {
        return wake_moved(record);
    }
    // SAFETY: the caller holds the record, of which the first poll has kept the waker (invariant 3 of `record`); it
    // is not dropped.
    let runtime = unsafe { record.kept().into_waker() }.map(ManuallyDrop::new);
    if let Some(runtime) = runtime {
        runtime.wake_by_ref();
    }
}

#[cold]
fn wake_moved(record: &Record) {
    if let Some(waker) = record.extra().and_then(extra::Extra::waker) {
        waker.wake_by_ref();
    }
}

pub(super) unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the pointer of a record is not null.
    release(unsafe { NonNull::new_unchecked(data.cast::<Record>().cast_mut()) });
}
