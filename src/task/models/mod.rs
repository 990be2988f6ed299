//! Models of the record under loom: every interleaving of its parts, and what a weak memory lets them see.
//!
//! They run the record, its waker's table and the way a poll uses the two as they are. Only what stands around
//! them is a toy: the runtime, whose waker is a flag ([`Runtime`]), and the [`leaf`]s.
//!
//! Run them with `RUSTFLAGS="--cfg task_loom" cargo test --release --lib models`.
//!
//! # What fails where the protocol is weakened
//!
//! Each weakening of `record.rs` was tried by hand; the models named (the first of them) fail.
//!
//! | weakened | fails |
//! |---|---|
//! | `begin`: no fence; `id` `Relaxed`, or before the other facts | `reuse::forgets_then_registers` |
//! | `enter`: `seen` `Relaxed`; before the phase; phase not set | `verdict::a_task_that_is_woken_never_looks_forsaken` |
//! | `count_poll`: `polls` `Relaxed`; after the phase | `verdict::a_leaf_exchanges_its_waker_while_polled` |
//! | `leave`: phase `Relaxed` | `verdict::a_leaf_exchanges_its_waker_while_polled` |
//! | `moved`: only `Acquire`, only `Release` | `changed::a_oneshot_wakes_the_new_runtime` |
//! | `moved`: `seen` not stored | `changed::two_wakes_meet_a_change` |
//! | `moved`: `seen` `Relaxed` | `changed::a_task_that_moves_never_looks_forsaken` |
//! | `forward_to`: `moved` before the waker is there | `changed::two_wakes_meet_a_change` |
//! | `wake`: only `Acquire`, only `Release` | `changed::a_oneshot_wakes_the_new_runtime` |
//! | `release`: `Relaxed`, or no fence | `ends::a_waker_wakes_after_the_end` |
//! | `empty`: `pins` only loaded, only `Acquire`, only `Release` | `extra::a_reader_holds_it_while_the_record_is_released` |
//! | `pin`: the count only `Release`; the pointer `Relaxed` | `extra::a_reader_holds_it_while_the_record_is_released` |
//! | `look`: `phase` before `seen`; `wakes` before `holders` | `verdict::a_task_that_is_woken_never_looks_forsaken` |
//! | `look`: `polls` not read again | `verdict::a_leaf_exchanges_its_waker_while_polled` |
//! | `look`: `id` not read again | `reuse::forgets_then_registers` |
//! | `pin`: not given back with `Release`; `is_pinned` `Relaxed` | `extra::a_reader_holds_it_while_the_record_is_released` |
//! | `set_extra`: `Relaxed` | `extra::a_reader_finds_it_whole` |
//! | `pin`: `id` not read | `extra::a_reader_never_takes_the_next_tasks_for_it` |
//! | `look`: no fence at its end | `reuse::forgets_then_registers` |
//!
//! No model fails for `Relaxed` at the load of the phase in `look` (its fence orders that as well) and at that of
//! the pointer in `extra` (the bit in `wakes` does). Not tried one by one: the other loads of `look`.

#![expect(unsafe_code, reason = "the toy runtime's waker is a raw one")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(feature = "profile")]
mod asked;
mod changed;
mod ends;
mod extra;
mod leaf;
mod reuse;
mod verdict;

use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::task::{RawWaker, RawWakerVTable, Waker};

use loom::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "profile")]
use super::record::ASKED;
use super::record::{Birth, Kept, Look, MOVED, Record};
use super::waker;

/// Explores a model, with at most three preemptions where the environment does not say otherwise.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_bounded(3, model);
}

/// The same for a model that is too large for three.
fn check_bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let most = builder.preemption_bound.unwrap_or(preemptions);
    builder.preemption_bound = Some(most.min(preemptions));
    builder.max_branches = 100_000;
    builder.check(move || {
        GIVEN.set(0);
        model();
    });
}

thread_local! {
    /// How often a record was given back. Loom runs all threads of a model on one.
    static GIVEN: Cell<u32> = const { Cell::new(0) };
}

/// Stands in for the slab's.
pub(super) fn give(_: NonNull<Record>) {
    GIVEN.set(GIVEN.get() + 1);
}

/// A record, and what is around it. Two runtimes, since a future can move between them.
struct World<L = leaf::Locked> {
    record: Record,
    runtime: Runtime,
    other: Runtime,
    leaf: L,
}

impl<L: leaf::Leaf> World<L> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            record: Record::new(),
            runtime: Runtime::new(),
            other: Runtime::new(),
            leaf: L::default(),
        })
    }

    /// Makes the record that of a task.
    fn begin(&self, id: u64) {
        self.record.begin(&Birth {
            id,
            kind: 0,
            flags: 0,
            size: 0,
            parent: id,
            now: 0,
            site: Location::caller(),
        });
    }

    /// What `Tracked` does around a poll.
    fn poll(&self, runtime: &Waker, future: impl FnOnce(&Waker) -> bool) -> bool {
        let wakes = self.record.enter(0);
        #[cfg(feature = "profile")]
        if wakes & ASKED != 0 {
            self.record.unask();
        }
        if wakes & MOVED != 0 || self.record.kept() != Kept::words(runtime) {
            drop(self.record.forward_to(runtime));
        }
        let ready = future(&waker::borrowed(NonNull::from(&self.record)));
        if ready {
            self.record.leave_for_good(0, 0);
        } else {
            #[cfg(feature = "profile")]
            if wakes & ASKED != 0 {
                self.record.leave_probed(0);
                return ready;
            }
            self.record.leave(0, 0);
        }
        ready
    }

    /// What `Tracked` does when its future is gone.
    fn end(&self) {
        self.record.end();
        waker::release(NonNull::from(&self.record));
    }

    /// Every look must tell one task's facts.
    fn look(&self) -> Option<Look> {
        let look = self.record.look();
        if let Some(look) = &look {
            // `parent` stands for all facts, see `FactU64`.
            assert_eq!(look.parent, look.id, "two tasks mixed: {look:?}");
        }
        look
    }

    fn reader(self: &Arc<Self>) -> loom::thread::JoinHandle<Option<Look>> {
        let world = Arc::clone(self);
        loom::thread::spawn(move || world.look())
    }

    /// All tasks have ended and all wakers are gone: each record was given back once, and nothing is left.
    fn assert_quiet(&self, tasks: u32) {
        assert_eq!(GIVEN.get(), tasks, "records given back");
        assert!(self.look().is_none());
        assert_eq!(
            (self.runtime.clones(), self.other.clones()),
            (0, 0),
            "the runtime's wakers left"
        );
    }
}

fn forsaken(look: Option<&Look>) -> bool {
    look.is_some_and(|look| look.forsaken)
}

/// A runtime with one task: a flag that says to poll it, and a count of its wakers.
struct Runtime {
    woken: AtomicBool,
    clones: AtomicI64,
}

impl Runtime {
    fn new() -> Self {
        Self {
            woken: AtomicBool::new(false),
            clones: AtomicI64::new(0),
        }
    }

    /// A waker of the task; the runtime must outlive it.
    fn waker(&self) -> Waker {
        self.clones.fetch_add(1, SeqCst);
        // SAFETY: the table takes a pointer to a runtime.
        unsafe { Waker::new(std::ptr::from_ref(self).cast(), &TABLE) }
    }

    /// Whether the task was woken since the last time.
    fn take(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }

    fn clones(&self) -> i64 {
        self.clones.load(SeqCst)
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

unsafe fn runtime<'a>(data: *const ()) -> &'a Runtime {
    // SAFETY: made by `Runtime::waker`.
    let runtime = unsafe { &*data.cast::<Runtime>() };
    assert!(runtime.clones() > 0, "a waker that was dropped is used");
    runtime
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: of a waker.
    unsafe { runtime(data) }.clones.fetch_add(1, SeqCst);
    RawWaker::new(data, &TABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: of a waker, whose last use this is.
    let waker = unsafe { Waker::new(data, &TABLE) };
    waker.wake_by_ref();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: of a waker.
    unsafe { runtime(data) }.woken.swap(true, Ordering::AcqRel);
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: of a waker.
    unsafe { runtime(data) }.clones.fetch_sub(1, SeqCst);
}

/// A waker that a task keeps for itself, where a poll registers it and the model drops it later.
#[derive(Default)]
struct Held(Cell<Option<Waker>>);

impl Held {
    fn keep(&self, waker: &Waker) {
        self.0.set(Some(waker.clone()));
    }

    fn take(&self) -> Option<Waker> {
        self.0.take()
    }
}
