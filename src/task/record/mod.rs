//! One task's facts, in two cache lines; and the protocol by which the record is its task's waker.
//!
//! A task is polled with a waker that points to its own record and forwards to the runtime's (see
//! [`waker`](super::waker)). So the record knows at every moment how often its task was woken, whether it
//! is idle or scheduled, and how many ways to wake it are left. Nothing here calls foreign code: what must
//! be called or dropped is handed to the caller.
//!
//! # Invariants
//!
//! 1. A record's memory stays mapped and stays a record for the life of the process. All bytes zero is a
//!    valid free record (`id` is 0): the slab gives pages back to the system, which then read as zeros.
//! 2. The low half of `holders` counts the task itself, while it lives, and every live clone of its waker.
//!    Whoever takes it to zero gives the record back, once. From 2^30 on it is stuck and the record is
//!    never given back, so that 2^32 forgotten clones cannot free a record in use. Its highest bit is no count: it says
//!    that one who asks the task where it waits holds the record as well, and then who clears the bit of a zero gives
//!    the record back.
//! 3. `kept` is written only by whoever polls, and only while no clone of our waker was ever made; after
//!    the first clone it does not change until `holders` is zero. So a waker may read it without a lock.
//! 4. The lowest bit of `wakes` says that the runtime's waker has changed and is in the `Extra`. It is one word
//!    with the count of wakes, so that a wake either sees the change or is seen by the poll that made it. The
//!    next bit says that one of the wakes that the next poll answers was stamped with its time, and the third that the
//!    next poll is to say where the task waits.
//! 5. `id` is the last of the facts to be stored when a record is taken, with `Release`, behind a
//!    `fence(Release)` before the first: a reader that finds the same `id` before and after has read one
//!    task's facts.
//! 6. `phase`, `seen`, `polls`, `busy`, `last`, `flags`, `self_wakes` and `runtime` have one writer at a
//!    time: whoever holds the task's future exclusively. Only `holders`, `wakes` and `pins` are counted by
//!    many, and `by` is overwritten by many.
//! 7. `extra` is replaced only by whoever holds the future, and taken by whoever gives the record back.
//!    A reader counts itself in `pins` before it loads the pointer; who takes the `Extra` out looks at
//!    `pins` after that, and leaves it to be freed later where a reader may hold it.
//!
//! The orderings that are needed, and why, are beside each operation; `models` fail when one is weakened.

#![expect(
    unsafe_code,
    reason = "a kept waker is two words, and what a record points to outlives it"
)]

#[cfg(feature = "profile")]
mod ask;
mod kept;
mod look;
mod wake;

use super::extra::{Extra, Facts};
use super::sync::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU64, FactPtr, FactU8, FactU16, FactU32, FactU64, Ordering,
    UnsafeCell, fence,
};
use std::panic::Location;
#[cfg(all(test, task_loom))]
use std::ptr::null_mut;
use std::sync::Arc;
use std::task::Waker;

use Ordering::{AcqRel, Acquire, Relaxed, Release};

pub(crate) use kept::Kept;
pub(crate) use look::Look;
pub(crate) use wake::Remains;

/// The runtime's waker has changed; see [`Record::moved`].
pub(crate) const MOVED: u64 = 1;
/// A wake was stamped; see [`Record::stamp`].
pub(crate) const STAMPED: u64 = 2;
/// The next poll is to say where the task waits; see `ask`.
pub(crate) const ASKED: u64 = 4;
/// One of the bits: the poll is not a plain one.
pub(crate) const NOT_PLAIN: u64 = WAKE - 1;
const WAKE: u64 = 8;

/// What `polls` counts in its upper bits: polls that nothing but a question asked for.
const PROBE: u64 = 1 << 48;
/// And in its lower ones: all others.
const POLLS: u64 = PROBE - 1;

/// How many wakes a poll answers.
#[cfg(feature = "profile")]
pub(crate) fn answered(wakes: u64) -> u64 {
    wakes / WAKE
}

pub(crate) const WAITING: u8 = 1;
pub(crate) const RUNNING: u8 = 2;
pub(crate) const ENDED: u8 = 3;

/// What is known of a task beside its counters; bits of [`Record::flags`].
pub(crate) mod flag {
    /// The runtime's waker passes through: by request, or there is none (a thread, a blocking job).
    pub(crate) const PASS: u16 = 1;
    /// The future is the root of its task: nobody polls it unasked.
    pub(crate) const ROOT: u16 = 1 << 1;
    /// Spawned by one of our routes, so that the first waker it sees is tokio's.
    pub(crate) const SPAWNED: u16 = 1 << 2;
    /// Was polled with a waker that we do not stand in for: what the record knows of wakers is not all.
    pub(crate) const FOREIGN: u16 = 1 << 3;
    /// No other tracked task was being polled around its first poll.
    pub(crate) const OUTERMOST: u16 = 1 << 4;
    /// Is meant to live as long as the service.
    pub(crate) const LONG_LIVED: u16 = 1 << 5;
    /// Must not be polled for the sake of a dump.
    pub(crate) const NO_PROBE: u16 = 1 << 6;
    /// A job on tokio's blocking pool.
    pub(crate) const BLOCKING: u16 = 1 << 7;
    /// An OS thread.
    pub(crate) const THREAD: u16 = 1 << 8;
    /// Spawned on a `LocalSet`, whose tasks its runtime does not count.
    pub(crate) const LOCAL: u16 = 1 << 9;
    /// The `Extra` says which scope it runs in.
    pub(crate) const SCOPED: u16 = 1 << 10;
}

/// One task's facts. The first line is written by polls and wakes, most of the second once.
#[repr(C, align(64))]
pub(crate) struct Record {
    /// Low half: the task while it lives, and live clones of its waker. High half: clones ever made.
    holders: AtomicU64,
    /// [`WAKE`] times the number of wakes, the spawn counted as one; and the bits [`NOT_PLAIN`].
    wakes: AtomicU64,
    /// `wakes` at the start of the last poll: scheduled where the two differ.
    seen: AtomicU64,
    /// See [`PROBE`].
    polls: AtomicU64,
    /// The task that woke it last; 0 where that was none.
    by: FactU64,
    /// Ticks spent in polls that have ended.
    busy: FactU64,
    /// Ticks when the running poll began, or the last one ended.
    last: FactU64,
    self_wakes: FactU32,
    /// Readers that may hold what `extra` points to.
    pins: AtomicU16,
    phase: AtomicU8,
    runtime: FactU8,

    kept: UnsafeCell<Kept>,
    born: FactU64,
    id: AtomicU64,
    site: FactPtr<Location<'static>>,
    parent: AtomicU64,
    extra: AtomicPtr<Extra>,
    /// Bytes of the future.
    size: FactU32,
    kind: FactU16,
    flags: FactU16,
}

// SAFETY: every field but `kept` is an atomic; `kept` is a waker, which is Send and Sync, and accesses to
// it are ordered by invariant 3.
unsafe impl Sync for Record {}
// SAFETY: as above.
unsafe impl Send for Record {}

/// What a new task is to be, see [`Record::begin`].
#[derive(Clone, Copy)]
pub(crate) struct Birth {
    pub(crate) id: u64,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) size: u32,
    pub(crate) parent: u64,
    pub(crate) now: u64,
    pub(crate) site: &'static Location<'static>,
}

// ===== what the holder of the future does =====

impl Record {
    /// Makes a free record that of a new task, which holds it.
    #[inline(always)]
    pub(crate) fn begin(&self, birth: &Birth) {
        // `id` is 0 since the record was emptied: a reader that sees any store below sees that too, and so
        // that the record is no longer its former task's.
        fence(Release);
        self.holders.store(1, Relaxed);
        self.wakes.store(WAKE, Relaxed); // spawned: scheduled
        self.seen.store(0, Relaxed);
        self.polls.store(0, Relaxed);
        self.by.store(birth.parent, Relaxed);
        self.busy.store(0, Relaxed);
        self.last.store(birth.now, Relaxed);
        self.self_wakes.store(0, Relaxed);
        self.runtime.store(0, Relaxed);
        self.born.store(birth.now, Relaxed);
        self.site
            .store(std::ptr::from_ref(birth.site).cast_mut(), Relaxed);
        self.parent.store(birth.parent, Relaxed);
        self.size.store(birth.size, Relaxed);
        self.kind.store(birth.kind, Relaxed);
        self.flags.store(birth.flags, Relaxed);
        self.phase.store(WAITING, Relaxed);
        self.id.store(birth.id, Release);
    }

    /// Begins a poll; returns `wakes`, which it answers. Where a bit of [`NOT_PLAIN`] is in it, there is more to do.
    #[inline(always)]
    pub(crate) fn enter(&self, now: u64) -> u64 {
        // In this order, for `look`: who sees that the wakes are answered sees that the task runs.
        self.phase.store(RUNNING, Relaxed);
        let wakes = self.wakes.load(Relaxed);
        self.seen.store(wakes, Release);
        self.last.store(now, Relaxed);
        wakes
    }

    /// Takes note of a stamp. Holder of the future only, at the start of a poll.
    pub(crate) fn unstamp(&self) {
        self.wakes.fetch_and(!STAMPED, Relaxed);
    }

    /// Ends a poll after which the task waits.
    #[inline]
    pub(crate) fn leave(&self, start: u64, now: u64) {
        self.count_poll(start, now);
        self.phase.store(WAITING, Release);
    }

    /// Counts a poll. `polls` goes before the phase and with `Release`: who sees the count of wakers as this
    /// poll left it must not take the poll before for the last one.
    #[inline]
    fn count_poll(&self, start: u64, now: u64) {
        self.polls.store(self.polls.load(Relaxed) + 1, Release);
        // Wrapping: should a counter run backwards once, the sum is right all the same.
        let spent = now.wrapping_sub(start);
        self.busy
            .store(self.busy.load(Relaxed).wrapping_add(spent), Relaxed);
        self.last.store(now, Relaxed);
    }

    /// Counts the poll in which the task ended; that it has ended is said by [`end`](Self::end).
    #[inline(always)]
    pub(crate) fn leave_for_good(&self, start: u64, now: u64) {
        self.count_poll(start, now);
    }

    /// The task has ended: its destructors have run. The caller still holds the record.
    pub(crate) fn end(&self) {
        self.phase.store(ENDED, Relaxed);
    }

    /// Runs without being polled: a thread, a blocking job.
    pub(crate) fn run(&self, now: u64) {
        let _ = self.enter(now);
    }

    /// The runtime's waker, as it was when the first poll began.
    #[inline]
    pub(crate) fn kept(&self) -> Kept {
        // SAFETY: invariant 3; the caller holds the future or a clone of our waker.
        self.kept.with(|kept| unsafe { *kept })
    }

    /// Keeps the runtime's waker for all clones of ours.
    ///
    /// # Safety
    ///
    /// The caller holds the future, and none is kept yet.
    pub(crate) unsafe fn keep(&self, waker: Kept) {
        // SAFETY: no clone of our waker exists before one is kept (invariant 3), so nobody reads.
        self.kept.with_mut(|kept| unsafe { *kept = waker });
    }

    /// Makes the runtime's waker the one that wakes are forwarded to. The former one, if it is let go of, is the
    /// caller's to drop: it is foreign code.
    ///
    /// Holder of the future only, before the future is polled.
    #[must_use]
    pub(crate) fn forward_to(&self, runtime: &Waker) -> Option<Arc<Waker>> {
        if self.kept().is_none() {
            let waker = Kept::from_waker(runtime.clone());
            // SAFETY: the caller holds the future, and none is kept.
            unsafe { self.keep(waker) };
            return None;
        }
        if self.extra().is_none() {
            self.set_extra(Box::new(Extra::new(Facts::default())));
        }
        let extra = self.extra().filter(|extra| !extra.wakes_same(runtime))?;
        let former = extra.replace_waker(runtime.clone());
        self.moved();
        former
    }

    /// Says that the runtime's waker in the `Extra` counts from now on. It must be there already.
    ///
    /// Some leaves (tokio's oneshot, its `JoinHandle`) only load their state where they find their waker
    /// unchanged, so nothing of theirs orders this before a wake. The read-modify-write of `wakes` does: a
    /// wake before it is answered by the poll that is about to begin, one after it sees the bit.
    pub(crate) fn moved(&self) {
        let wakes = self.wakes.fetch_or(MOVED, AcqRel) | MOVED;
        self.seen.store(wakes, Release);
    }

    /// Adds to what is known of the task. Holder of the future only.
    pub(crate) fn add_flags(&self, flags: u16) {
        self.flags.store(self.flags.load(Relaxed) | flags, Relaxed);
    }

    pub(crate) fn set_runtime(&self, runtime: u8) {
        self.runtime.store(runtime, Relaxed);
    }

    /// The `Extra`, if the task has one. Whoever holds the record may use it (invariant 7).
    pub(crate) fn extra(&self) -> Option<&Extra> {
        let extra = self.extra.load(Acquire);
        // SAFETY: it is freed only when the record has no holder any more, and the caller is one.
        unsafe { extra.as_ref() }
    }

    /// Gives the task an `Extra`. Holder of the future only, and only where there is none.
    pub(crate) fn set_extra(&self, extra: Box<Extra>) {
        self.extra.store(Box::into_raw(extra), Release);
    }
}

// ===== what is known of it to a holder =====

impl Record {
    /// The task's id. Holders only: anybody else may read the next task's.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    #[inline]
    pub(crate) fn kind(&self) -> u16 {
        self.kind.load(Relaxed)
    }

    #[inline]
    pub(crate) fn born(&self) -> u64 {
        self.born.load(Relaxed)
    }

    #[inline]
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Relaxed) & POLLS
    }

    /// Where the task was spawned. Holders only.
    pub(crate) fn site(&self) -> Option<&'static Location<'static>> {
        // SAFETY: only ever a `&'static Location` or null (invariant 1).
        unsafe { self.site.load(Relaxed).cast_const().as_ref() }
    }

    pub(crate) fn has_runtime(&self) -> bool {
        self.runtime.load(Relaxed) != 0
    }

    #[inline]
    pub(crate) fn flags(&self) -> u16 {
        self.flags.load(Relaxed)
    }
}

#[cfg(all(test, task_loom))]
impl Record {
    pub(crate) fn new() -> Self {
        Self {
            holders: AtomicU64::new(0),
            wakes: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            by: FactU64::new(0),
            busy: FactU64::new(0),
            last: FactU64::new(0),
            self_wakes: FactU32::new(0),
            pins: AtomicU16::new(0),
            phase: AtomicU8::new(0),
            runtime: FactU8::new(0),
            kept: UnsafeCell::new(Kept::NONE),
            born: FactU64::new(0),
            id: AtomicU64::new(0),
            site: FactPtr::new(null_mut()),
            parent: AtomicU64::new(0),
            extra: AtomicPtr::new(null_mut()),
            size: FactU32::new(0),
            kind: FactU16::new(0),
            flags: FactU16::new(0),
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
const fn low(word: u64) -> u32 {
    word as u32
}

#[inline]
const fn high(word: u64) -> u32 {
    low(word >> 32)
}

#[cfg(not(all(test, task_loom)))]
const _: () = assert!(size_of::<Record>() == 128, "two cache lines");
