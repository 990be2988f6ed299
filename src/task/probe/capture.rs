//! The waker whose clones say where they were made.
//!
//! # Invariants
//!
//! 1. [`CAPTURING`] is null or points to a [`Capturing`] in a frame of this thread that is live, above which the polls
//!    run that it is for.
//! 2. A waker of [`VTABLE`] is borrowed for the length of a poll, and never owned: what its clone gives is of the
//!    ordinary table.
//! 3. A tape's words are initialised, all of them and always.

#![expect(unsafe_code, reason = "a raw waker; and the copy of a stack")]

use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{NonNull, null};
use std::sync::{Mutex, PoisonError};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::super::record::Record;
use super::super::waker;
use crate::stack::copy::{self, Registers};

/// The waker of a task that is asked; see [`waker::borrowed`].
pub(super) fn borrowed(record: NonNull<Record>) -> ManuallyDrop<Waker> {
    // SAFETY: as for the ordinary table, whose functions these are but for `clone`, which takes the same pointer.
    ManuallyDrop::new(unsafe { Waker::new(record.as_ptr().cast_const().cast(), &VTABLE) })
}

static VTABLE: RawWakerVTable =
    RawWakerVTable::new(clone, waker::wake, waker::wake_by_ref, waker::drop_waker);

unsafe fn clone(data: *const ()) -> RawWaker {
    let capturing = CAPTURING.get();
    // SAFETY: invariant 1.
    if let Some(capturing) = unsafe { capturing.as_ref() }
        // Another thread's, to which a poll has lent the waker, has its frames elsewhere.
        && std::ptr::eq(capturing.record, data.cast())
    {
        capturing.capture(&Registers::here());
    }
    // SAFETY: the contract of a raw waker's table.
    unsafe { waker::clone(data) }
}

thread_local! {
    static CAPTURING: Cell<*const Capturing> = const { Cell::new(null()) };
}

/// A poll whose clones are captured, for as long as this lives.
pub(super) struct Capturing {
    record: *const Record,
    tape: *const Mutex<Tape>,
    place: usize,
    top: u64,
    outer: *const Self,
}

impl Capturing {
    /// Runs `poll` with clones captured.
    pub(super) fn during<R>(
        record: &Record,
        tape: &Mutex<Tape>,
        place: usize,
        top: u64,
        poll: impl FnOnce() -> R,
    ) -> R {
        let this = Self {
            record,
            tape,
            place,
            top,
            outer: CAPTURING.get(),
        };
        CAPTURING.set(&raw const this);
        let _restored = Restored(this.outer);
        poll()
    }

    fn capture(&self, registers: &Registers) {
        // SAFETY: borrowed by the caller of `during`, whose frame is live (invariant 1).
        let tape = unsafe { &*self.tape };
        let mut tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the frames between this one and the poll's are live (invariant 1), and `top` is the poll's.
        unsafe { tape.copy(self.place, registers, self.top) };
    }
}

/// Sets [`CAPTURING`] to what it was, also where a poll panics.
struct Restored(*const Capturing);

impl Drop for Restored {
    fn drop(&mut self) {
        CAPTURING.set(self.0);
    }
}

/// Where the stacks of a batch are copied to: as much as it has room for.
pub(crate) struct Tape {
    words: Box<[u64]>,
    used: usize,
    /// As many as there is room for from the start.
    captures: Vec<Capture>,
}

/// One stack on the tape, or one for which it had no room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capture {
    /// Whose: the place of the answer.
    pub(crate) place: usize,
    pub(crate) registers: Registers,
    /// Whether outer frames are missing.
    pub(crate) cut: bool,
    start: usize,
    words: usize,
}

impl Tape {
    /// Of 4 MiB, which are taken from the system as they are used.
    pub(crate) fn new() -> Self {
        Self {
            words: vec![0; WORDS].into(),
            used: 0,
            captures: Vec::with_capacity(CAPTURES),
        }
    }

    /// Keeps nothing.
    pub(super) fn without_room() -> Self {
        Self {
            words: Box::default(),
            used: 0,
            captures: Vec::new(),
        }
    }

    /// Copies a stack, if there is room.
    ///
    /// # Safety
    ///
    /// The stack from `registers.sp` up to `top` is this thread's, and live.
    unsafe fn copy(&mut self, place: usize, registers: &Registers, top: u64) {
        if self.captures.len() == self.captures.capacity() {
            return; // nothing is allocated here
        }
        let free = self.words.get_mut(self.used..).unwrap_or_default();
        let most = free.len().min(MOST_WORDS);
        // SAFETY: initialised words, and `copy` puts none there that are not (invariant 3).
        let free =
            unsafe { std::slice::from_raw_parts_mut(free.as_mut_ptr().cast::<MaybeUninit<u64>>(), most) };
        // SAFETY: the caller's promise.
        let copied = unsafe { copy::copy(registers, top, free) };
        self.captures.push(Capture {
            place,
            registers: *registers,
            cut: copied.cut,
            start: self.used,
            words: copied.words,
        });
        self.used += copied.words;
    }

    /// What was captured, in the order in which it was.
    pub(crate) fn stacks(&self) -> impl Iterator<Item = (&Capture, &[u64])> {
        self.captures.iter().map(|capture| {
            let words = self.words.get(capture.start..capture.start + capture.words);
            (capture, words.unwrap_or_default())
        })
    }

    /// Overwrites all that was copied, for another batch.
    pub(crate) fn wipe(&mut self) {
        self.words[..self.used].fill(0);
        self.used = 0;
        self.captures.clear();
    }
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not what is on it.
        f.debug_struct("Tape")
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.wipe();
    }
}

const WORDS: usize = (4 << 20) / size_of::<u64>();
const CAPTURES: usize = 4_096;
/// Of one stack.
const MOST_WORDS: usize = (64 << 10) / size_of::<u64>();
