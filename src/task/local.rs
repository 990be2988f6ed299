//! What a thread keeps: the task it polls, its counts, records at hand, and the exits it has seen.
//!
//! # Invariants
//!
//! 1. [`Local`] has no destructor, so that it can be read at any time, also while the thread's other locals are
//!    destroyed. Its `state` is null before the first tracked task and after the thread's end was noticed.
//! 2. A [`State`] is used through `Local` by its own thread only. Other threads see it in [`THREADS`], under
//!    that lock, and read its counts and drain its exits. It is freed after it was taken out there.
//! 3. No foreign code runs while a magazine is borrowed.
//! 4. `current` is null or points to a record that the thread's caller holds.

#![expect(
    unsafe_code,
    reason = "pointers to what this thread owns, without a check for each access"
)]

use super::cells::{Add, Anyone, Cells, Owner, Totals};
use super::exit::{self, Exit};
use super::kind::{self, KindId};
use super::membership::Membership;
use super::record::Record;
use super::slab::{self, Magazine};
use crate::ring::Ring;

use std::cell::{Cell, UnsafeCell};
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use Ordering::{Acquire, Relaxed, Release};

/// The part that is always there. Read by the poll path, by wakes, and by signal handlers.
pub(crate) struct Local {
    current: Cell<*const Record>,
    state: Cell<*const State>,
    /// The kind that was counted last, and its cells in the state.
    kind: Cell<u16>,
    cells: Cell<*const Cells>,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            current: Cell::new(null()),
            state: Cell::new(null()),
            kind: Cell::new(NO_KIND),
            cells: Cell::new(null()),
        }
    };
    /// Its destructor notices the thread's end. Registered with the state.
    static GUARD: Guard = const { Guard };
}

/// The record of the task being polled on this thread; null where there is none.
#[inline]
pub(crate) fn current_record() -> *const Record {
    LOCAL.with(|local| local.current.get())
}

/// Makes `record` the one being polled; returns the one before, to be set again afterwards.
#[inline]
pub(crate) fn set_current(record: *const Record) -> *const Record {
    LOCAL.with(|local| local.current.replace(record))
}

/// The id of the task being polled on this thread, or 0.
#[inline]
pub(crate) fn current_id() -> u64 {
    let current = current_record();
    if current.is_null() {
        0
    } else {
        // SAFETY: invariant 4.
        unsafe { &*current }.id()
    }
}

/// The place of the task being polled on this thread in its scope. A task outside of scopes is told by one look at
/// its record.
#[inline]
pub(crate) fn scope() -> Option<Arc<dyn Membership>> {
    let current = current_record();
    if current.is_null() {
        return None;
    }
    // SAFETY: invariant 4.
    let extra = unsafe { &*current }.extra()?;
    extra.scope().cloned()
}

/// What only this thread writes.
pub(crate) struct State {
    magazine: UnsafeCell<Magazine>,
    /// The next id, and the end of the block that this thread has.
    ids: Cell<(u64, u64)>,
    cells: [AtomicPtr<Shelf>; SHELVES],
    /// Kinds of names by address, since a `&'static str` never changes.
    names: [Cell<(*const u8, usize, KindId)>; NAMES],
    runtime: Cell<Option<u8>>,
    exits: AtomicPtr<Ring<Exit>>,
}

/// The cells of neighbouring kinds. Kinds that a thread never counts take a pointer each, or none.
struct Shelf([AtomicPtr<Cells>; SHELF]);

/// No kind has this index.
const NO_KIND: u16 = u16::MAX;
const SHELF: usize = 32;
const SHELVES: usize = kind::MAX_KINDS / SHELF + 1;
const NAMES: usize = 16;
const IDS: u64 = 1_024;

/// Threads that have a state.
static THREADS: Mutex<Vec<Shared>> = Mutex::new(Vec::new());
/// What threads that are gone have counted, and those that count while they are torn down.
static COMMON: [AtomicPtr<Cells>; kind::MAX_KINDS + 1] =
    [const { AtomicPtr::new(null_mut()) }; kind::MAX_KINDS + 1];
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

struct Shared(*const State);
// SAFETY: what other threads do with it is in invariant 2.
unsafe impl Send for Shared {}

fn threads() -> std::sync::MutexGuard<'static, Vec<Shared>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This thread's state, made at its first use; `None` while the thread is being torn down.
#[inline]
fn state<R>(f: impl FnOnce(&State) -> R) -> Option<R> {
    let mut state = LOCAL.with(|local| local.state.get());
    if state.is_null() {
        state = make_state();
    }
    // SAFETY: invariant 2: this thread's own, and freed only by its end.
    unsafe { state.as_ref() }.map(f)
}

#[cold]
fn make_state() -> *const State {
    // Fails after the guard is gone: then nobody would give a new state back.
    if GUARD.try_with(|_| ()).is_err() {
        return null();
    }
    let _ = crate::clock::ticks();
    super::cells::rescale();
    let state: *const State = Box::into_raw(Box::new(State {
        magazine: UnsafeCell::new(Magazine::new()),
        ids: Cell::new((0, 0)),
        cells: [const { AtomicPtr::new(null_mut()) }; SHELVES],
        names: [const { Cell::new((null(), 0, KindId::OTHER)) }; NAMES],
        runtime: Cell::new(None),
        exits: AtomicPtr::new(null_mut()),
    }));
    threads().push(Shared(state));
    LOCAL.with(|local| local.state.set(state));
    state
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        let state = LOCAL.with(|local| {
            local.kind.set(NO_KIND);
            local.cells.set(null());
            local.state.replace(null())
        });
        if state.is_null() {
            return;
        }
        let mut threads = threads();
        threads.retain(|shared| !std::ptr::eq(shared.0, state));
        // SAFETY: made by `make_state`; `LOCAL` and `THREADS` no longer have it, and readers that had it
        // have let the lock go.
        let mut state = unsafe { Box::from_raw(state.cast_mut()) };
        // Under the lock, so that a reader finds the counts either here or there.
        for (shelf, cells) in state.cells.iter().enumerate() {
            let shelf_cells = NonNullOwned::take(cells);
            let Some(shelf_cells) = shelf_cells else { continue };
            for (place, cells) in shelf_cells.0.iter().enumerate() {
                if let Some(cells) = NonNullOwned::take(cells) {
                    cells.fold_into(common(shelf * SHELF + place));
                }
            }
        }
        drop(threads);
        if let Some(exits) = NonNullOwned::take(&state.exits) {
            exit::adopt(&exits);
        }
        slab::empty(state.magazine.get_mut());
    }
}

/// Boxes behind atomic pointers that nobody else looks at any more.
struct NonNullOwned;

impl NonNullOwned {
    fn take<T>(place: &AtomicPtr<T>) -> Option<Box<T>> {
        let pointer = place.swap(null_mut(), Acquire);
        // SAFETY: every pointer in a state came from a box; it is taken out, once.
        (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
    }
}

/// What the pointer refers to, made first where it is null. Made by one thread only, or leaked by the losers.
fn get_or_make<T>(place: &AtomicPtr<T>, make: impl FnOnce() -> T) -> *mut T {
    let found = place.load(Acquire);
    if !found.is_null() {
        return found;
    }
    let made = Box::into_raw(Box::new(make()));
    match place.compare_exchange(null_mut(), made, Release, Acquire) {
        Ok(_) => made,
        Err(other) => {
            // SAFETY: made above, and seen by nobody.
            drop(unsafe { Box::from_raw(made) });
            other
        }
    }
}

fn common(kind: usize) -> &'static Cells {
    let place = COMMON.get(kind).unwrap_or(&COMMON[0]);
    // SAFETY: common cells are never freed.
    unsafe { &*get_or_make(place, Cells::default) }
}

// ===== what the hot path asks for =====

/// Runs `f` on this thread's magazine; `None` while the thread is being torn down.
#[inline]
pub(crate) fn with_magazine<R>(f: impl FnOnce(&mut Magazine) -> R) -> Option<R> {
    // SAFETY: this thread's own, and `f` is of `slab`, which does not come back here (invariant 3).
    state(|state| f(unsafe { &mut *state.magazine.get() }))
}

/// What a new task needs of its thread, for one look at it: its kind is counted, and here are a record, if there is one
/// to be had, and a number that no task of this process had before.
#[inline]
pub(crate) fn spawn(kind: u16) -> (Option<NonNull<Record>>, u64) {
    count(kind, Spawn);
    state(|state| {
        // SAFETY: this thread's own, and `slab` does not come back here (invariant 3).
        let record = slab::take_from(unsafe { &mut *state.magazine.get() });
        (record, state.next_id())
    })
    .unwrap_or_else(spawn_in_teardown)
}

struct Spawn;
impl Count for Spawn {
    #[inline(always)]
    fn count<A: Add>(self, cells: &Cells) {
        cells.spawn::<A>();
    }
}

#[cold]
fn spawn_in_teardown() -> (Option<NonNull<Record>>, u64) {
    (slab::take_one(), NEXT_ID.fetch_add(1, Relaxed))
}

/// What is counted by kind.
pub(crate) trait Count {
    fn count<A: Add>(self, cells: &Cells);
}

/// Counts for a kind: in this thread's own cells where it still has them.
#[inline(always)]
pub(crate) fn count(kind: u16, what: impl Count) {
    LOCAL.with(|local| {
        if local.kind.get() == kind {
            // SAFETY: this thread's own cells, which live as long as its state.
            what.count::<Owner>(unsafe { &*local.cells.get() });
        } else {
            count_another(kind, what);
        }
    });
}

/// Counts for another kind than the last one.
#[inline(never)]
fn count_another(kind: u16, what: impl Count) {
    match state(|state| state.find_cells(kind)) {
        // SAFETY: this thread's own cells, which live as long as its state.
        Some(cells) => what.count::<Owner>(unsafe { &*cells }),
        None => what.count::<Anyone>(common(kind.into())),
    }
}

impl State {
    #[inline(always)]
    fn next_id(&self) -> u64 {
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = NEXT_ID.fetch_add(IDS, Relaxed);
            end = next + IDS;
        }
        self.ids.set((next + 1, end));
        next
    }

    fn find_cells(&self, kind: u16) -> *const Cells {
        let place = usize::from(kind);
        let shelf = self.cells.get(place / SHELF).unwrap_or(&self.cells[0]);
        let shelf = get_or_make(shelf, || Shelf([const { AtomicPtr::new(null_mut()) }; SHELF]));
        // SAFETY: lives as long as the state.
        let shelf = unsafe { &*shelf };
        let cells: *const Cells = get_or_make(&shelf.0[place % SHELF], Cells::default);
        LOCAL.with(|local| {
            local.kind.set(kind);
            local.cells.set(cells);
        });
        cells
    }
}

/// The kind of a name that never changes.
#[inline]
pub(crate) fn kind_of(name: &'static str) -> KindId {
    let (address, len) = (name.as_ptr(), name.len());
    state(|state| {
        let place = &state.names[(address.addr() >> 3 ^ len) % NAMES];
        let (known, known_len, id) = place.get();
        if std::ptr::eq(known, address) && known_len == len {
            return id;
        }
        let id = KindId::named(name);
        place.set((address, len, id));
        id
    })
    .unwrap_or_else(|| KindId::named(name))
}

/// The runtime whose worker this thread is, found out by `find` once for each thread.
pub(crate) fn runtime(find: impl FnOnce() -> u8) -> u8 {
    state(|state| {
        state.runtime.get().unwrap_or_else(|| {
            let found = find();
            state.runtime.set(Some(found));
            found
        })
    })
    .unwrap_or(0)
}

/// Keeps an exit for whoever drains it.
pub(crate) fn keep_exit(exit: Exit) {
    let mut exit = Some(exit);
    let kept = state(|state| {
        let ring = get_or_make(&state.exits, || Ring::new(exit::RING));
        // SAFETY: lives as long as the state.
        let ring = unsafe { &*ring };
        if let Some(exit) = exit.take() {
            // SAFETY: pushed to by this thread alone.
            if unsafe { ring.push(exit) }.is_err() {
                exit::count_dropped(1);
            }
        }
    });
    if let (None, Some(exit)) = (kept, exit) {
        exit::keep_apart(exit);
    }
}

// ===== the sampled scheduling delay =====

/// Remembers when the record was woken. Of two records that share a place one loses its sample; if both
/// are woken in the same nanoseconds, one can get the other's time, which is nearly its own.
#[cold]
pub(crate) fn stamp_wake(record: &Record) {
    let stamp = stamp(record);
    stamp.record.store(0, Relaxed);
    stamp.ticks.store(crate::clock::ticks(), Relaxed);
    stamp.record.store(address(record), Release);
}

/// When the record was woken, if that was remembered.
#[cold]
pub(crate) fn take_stamp(record: &Record) -> Option<u64> {
    let stamp = stamp(record);
    let ours = stamp.record.load(Acquire) == address(record);
    ours.then(|| {
        let ticks = stamp.ticks.load(Relaxed);
        stamp.record.store(0, Relaxed);
        ticks
    })
}

struct Stamp {
    record: AtomicU64,
    ticks: AtomicU64,
}

static STAMPS: [Stamp; 64] = [const {
    Stamp {
        record: AtomicU64::new(0),
        ticks: AtomicU64::new(0),
    }
}; 64];

fn address(record: &Record) -> u64 {
    std::ptr::from_ref(record).addr() as u64
}

fn stamp(record: &Record) -> &'static Stamp {
    let address = address(record) >> 7;
    let place = (address ^ (address >> 6) ^ (address >> 12)) % 64;
    &STAMPS[place as usize]
}

// ===== readers =====

/// Adds up what was counted for each kind, with its index. Every kind is there, counted or not.
pub(crate) fn totals() -> Vec<Totals> {
    let mut totals: Vec<Totals> = kind::all().map(|_| Totals::new()).collect();
    // Held over both passes: a thread that ends waits with its counts.
    let threads = threads();
    let mut pass = |add: fn(&mut Totals, &Cells)| {
        for (kind, totals) in totals.iter_mut().enumerate() {
            let cells = COMMON.get(kind).map_or(null_mut(), |cells| cells.load(Acquire));
            // SAFETY: common cells are never freed.
            if let Some(cells) = unsafe { cells.as_ref() } {
                add(totals, cells);
            }
        }
        for thread in threads.iter() {
            // SAFETY: in the list, under its lock (invariant 2).
            let state = unsafe { &*thread.0 };
            for (place, shelf) in state.cells.iter().enumerate() {
                // SAFETY: lives as long as the state.
                let Some(shelf) = (unsafe { shelf.load(Acquire).as_ref() }) else {
                    continue;
                };
                for (cells, totals) in shelf.0.iter().zip(totals.iter_mut().skip(place * SHELF)) {
                    // SAFETY: lives as long as the state.
                    if let Some(cells) = unsafe { cells.load(Acquire).as_ref() } {
                        add(totals, cells);
                    }
                }
            }
        }
    };
    pass(Totals::add_finished);
    pass(Totals::add_spawned);
    drop(threads);
    totals
}

/// Hands the exits of all threads over, the oldest of each thread first.
pub(crate) fn drain_exits(mut each: impl FnMut(Exit)) {
    let threads = threads();
    for thread in threads.iter() {
        // SAFETY: in the list, under its lock (invariant 2).
        let state = unsafe { &*thread.0 };
        // SAFETY: lives as long as the state.
        if let Some(ring) = unsafe { state.exits.load(Acquire).as_ref() } {
            // SAFETY: popped under the lock of the list alone.
            while let Some(exit) = unsafe { ring.pop() } {
                each(exit);
            }
        }
    }
}
