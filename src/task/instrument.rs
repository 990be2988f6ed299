//! The wrapper future: the whole of the hot path.

#![expect(
    unsafe_code,
    reason = "pins its future in place, and drops it there at the moment the task ends"
)]

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::ptr::{NonNull, null};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::classify::{AnyOutput, ByResult, Classify};
use super::extra::{Extra, Facts};
use super::kind::{AsKind, KindId};
use super::membership::{self, Membership, Newcomer};
use super::record::{ASKED, Kept, MOVED, NOT_PLAIN, Record, STAMPED, flag};
use super::{Outcome, TaskId, lifecycle, local, panic, runtime, waker};
use crate::clock;
use crate::config;

#[cfg(feature = "profile")]
use super::probe;
#[cfg(feature = "profile")]
use crate::stack::copy::Registers;

/// Tracks any future, whoever spawns it.
pub trait Track: Future + Sized {
    /// Registers the future as a task of that kind, from now until it has returned, panicked or been dropped.
    ///
    /// This is the way in for every spawner: `tokio::spawn`, a `LocalSet`, `block_on`, `FuturesUnordered`.
    /// Where one of ours fits ([`spawn`](crate::spawn) and its neighbours), use that: it also knows that the
    /// future is the root of its task, which the verdict *orphaned* needs; here [`Tracked::root`] says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use lifespan::Track;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let task = tokio::spawn(async { 42 }.tracked("answer"));
    /// assert_eq!(task.await.expect("no panic"), 42);
    /// # }
    /// ```
    #[track_caller]
    fn tracked(self, kind: impl AsKind) -> Tracked<Self> {
        let task = Tracked::new(self, kind.kind_id(), 0, Location::caller());
        task.inherit();
        task
    }
}

impl<F: Future> Track for F {}

/// A future that is registered as a task.
///
/// It polls its future with a waker of its own that forwards to the runtime's (see the crate's docs), and drops
/// it in place as soon as it has returned or panicked; only then has the task ended. What it resolves to, and a
/// panic, pass through unchanged.
///
/// # Panics
///
/// Polling it again after it has returned panics, as with an `async` block. (A future of a kind that allows it,
/// such as a fused one, is gone by then.)
#[must_use = "futures do nothing unless polled"]
pub struct Tracked<F, C = AnyOutput> {
    task: Handle,
    future: ManuallyDrop<F>,
    classify: PhantomData<fn() -> C>,
}

/// What a future is to us: one word.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Handle(*const Record);

/// A `Handle`, taken apart.
enum Task<'a> {
    /// It has a record.
    Recorded(&'a Record),
    /// No memory was left for a record: it is counted, and nothing more is known of it.
    Counted(KindId),
    /// Recording is off.
    Ignored,
    /// It has ended.
    Ended,
}

impl Handle {
    const ENDED: Self = Self(null());
    const IGNORED: Self = Self(std::ptr::without_provenance(2));

    fn counted(kind: KindId) -> Self {
        // Records are aligned: an odd address is none.
        Self(std::ptr::without_provenance(usize::from(kind.index()) << 1 | 1))
    }

    #[inline]
    fn get<'a>(self) -> Task<'a> {
        let address = self.0.addr();
        if address >= PAGE {
            // SAFETY: made by `Tracked::new` and held until the task ends (invariant 1 of `record`).
            return Task::Recorded(unsafe { &*self.0 });
        }
        if address & 1 == 1 {
            let index = u16::try_from(address >> 1).unwrap_or(0);
            return Task::Counted(KindId::from_index(index));
        }
        if self == Self::IGNORED {
            Task::Ignored
        } else {
            Task::Ended
        }
    }
}

/// No record is below: kinds are fewer than half of it, and no system maps a first page.
const PAGE: usize = 4_096;
const _: () = assert!(super::MAX_KINDS * 2 + 1 < PAGE);

// SAFETY: the handle is a hold on a record, all of whose parts can be used from any thread, by one at a time,
// which `&mut` ensures as for the future.
unsafe impl<F: Send, C> Send for Tracked<F, C> {}
// SAFETY: through `&Tracked` only the future's own `Sync` parts and the task's id can be reached.
unsafe impl<F: Sync, C> Sync for Tracked<F, C> {}

impl<F: Future> Tracked<F> {
    pub(crate) fn new(future: F, kind: KindId, flags: u16, site: &'static Location<'static>) -> Self {
        Self {
            task: begin(kind, flags, size_of::<F>(), site),
            future: ManuallyDrop::new(future),
            classify: PhantomData,
        }
    }

    /// Tells an `Err` apart: the outcome of a task that returns one is [`Outcome::Failed`].
    pub fn fallible<T, E>(self) -> Tracked<F, ByResult>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.classified()
    }
}

impl<F: Future, C> Tracked<F, C> {
    pub(crate) fn classified<D>(self) -> Tracked<F, D> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped and not used again.
        let future = unsafe { ManuallyDrop::take(&mut this.future) };
        Tracked {
            task: this.task,
            future: ManuallyDrop::new(future),
            classify: PhantomData,
        }
    }

    /// Says that the future will be the root of its task: that the runtime alone polls it, when it was woken.
    ///
    /// Only then is the verdict *orphaned* exact, and only then is it given. Our own spawn routes say it. Do not
    /// say it of a branch of a `select!` or `join!`, which is polled by its parent as well.
    pub fn root(self) -> Self {
        self.with(flag::ROOT)
    }

    /// Lets the runtime's own waker through, for this task only. Its wakes and wakers are then not known.
    pub fn no_waker(self) -> Self {
        self.with(flag::PASS)
    }

    /// Never polls the task for the sake of a dump.
    ///
    /// A dump of await points takes one extra poll of the task. Futures must stand that, and this is for those
    /// that do not.
    pub fn no_probe(self) -> Self {
        self.with(flag::NO_PROBE)
    }

    /// The task's id; `None` where recording is off, or the task has ended.
    #[must_use]
    pub fn id(&self) -> Option<TaskId> {
        match self.task.get() {
            Task::Recorded(record) => TaskId::new(record.id()),
            Task::Counted(_) | Task::Ignored | Task::Ended => None,
        }
    }

    fn with(self, flags: u16) -> Self {
        if let Task::Recorded(record) = self.task.get() {
            record.add_flags(flags);
        }
        self
    }

    pub(crate) fn set_runtime(&self, number: u8) {
        if let Task::Recorded(record) = self.task.get() {
            record.set_runtime(number);
        }
    }

    pub(crate) fn set_facts(&self, facts: Facts) {
        if let Task::Recorded(record) = self.task.get() {
            record.set_extra(Box::new(Extra::new(facts)));
        }
    }
}

impl<F, C> Tracked<F, C> {
    /// Makes the task a member of the current task's scope, if that has one, before it is spawned.
    pub(crate) fn inherit(&self) -> Option<Arc<dyn Membership>> {
        let scope = local::scope()?;
        self.admit(|newcomer| scope.admit(newcomer))
    }

    /// Makes the task a member of a scope, before it is spawned; `None` where it has no record.
    pub(crate) fn admit(
        &self,
        scope: impl FnOnce(Newcomer) -> Arc<dyn Membership>,
    ) -> Option<Arc<dyn Membership>> {
        match self.task.get() {
            Task::Recorded(record) => Some(membership::admit(record, scope)),
            Task::Counted(_) | Task::Ignored | Task::Ended => None,
        }
    }
}

/// Registers a task.
#[inline]
fn begin(kind: KindId, flags: u16, size: usize, site: &'static Location<'static>) -> Handle {
    let standing = config::recording();
    if standing == config::OFF {
        return Handle::IGNORED;
    }
    let record = lifecycle::begin_record(kind, flags | standing, size, site);
    record.map_or_else(|| Handle::counted(kind), |record| Handle(record.as_ptr()))
}

impl<F: Future, C: Classify<F::Output>> Future for Tracked<F, C> {
    type Output = F::Output;

    // Into the runtime's own poll, where the future's would be: a call of its own costs as much as a clock.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is not moved: it is polled where it is, and dropped there.
        let this = unsafe { self.get_unchecked_mut() };
        match this.task.get() {
            Task::Recorded(record) => this.poll_recorded(record, cx),
            Task::Ignored => this.pinned().poll(cx),
            Task::Counted(kind) => this.poll_counted(kind, cx),
            Task::Ended => polled_after_end(),
        }
    }
}

impl<F, C> Tracked<F, C> {
    #[inline(always)]
    fn pinned(&mut self) -> Pin<&mut F> {
        // SAFETY: pinned with the wrapper, whose users reach it through `poll` alone from now on.
        unsafe { Pin::new_unchecked(&mut *self.future) }
    }

    /// Drops the future in place; the task has no future any more.
    ///
    /// # Safety
    ///
    /// Called once, and the caller sets `task` to `Handle::ENDED`.
    unsafe fn drop_future(&mut self) {
        // SAFETY: the caller's promise.
        unsafe { ManuallyDrop::drop(&mut self.future) };
    }
}

impl<F: Future, C: Classify<F::Output>> Tracked<F, C> {
    #[inline(always)]
    fn poll_recorded(&mut self, record: &'static Record, cx: &mut Context<'_>) -> Poll<F::Output> {
        let outer = local::set_current(record);
        let clock = clock::begin();
        let start = clock.ticks;
        let wakes = record.enter(start);
        // The first poll, a changed waker, one that passes through, and a question are the rare cases.
        let stands_in = wakes & NOT_PLAIN == 0 && record.kept() == Kept::words(cx.waker())
            || stand_in(record, wakes, outer, start, cx);
        let polled = if stands_in {
            let waker = waker::borrowed(NonNull::from(record));
            self.poll_caught(&mut Context::from_waker(&waker))
        } else {
            #[cfg(feature = "profile")]
            if wakes & ASKED != 0 && record.stands_in() {
                return self.poll_asked(record, wakes, outer, start);
            }
            self.poll_caught(cx)
        };
        // At once, so that what did not panic does not go through memory.
        let polled = match polled {
            Ok(polled) => polled,
            Err(payload) => self.panicked(record, outer, start, payload),
        };
        let end = clock.now();
        lifecycle::count_poll(record, end.wrapping_sub(start));
        match polled {
            Poll::Pending => {
                record.leave(start, end);
                local::set_current(outer);
                Poll::Pending
            }
            Poll::Ready(output) => {
                record.leave_for_good(start, end);
                lifecycle::finish(record, C::outcome(&output), end, None);
                lifecycle::let_go(record, outer);
                Poll::Ready(output)
            }
        }
    }

    /// Polls with a waker whose clones say where the task waits. Stacks end at the frame of this function.
    #[cfg(feature = "profile")]
    #[cold]
    #[inline(never)]
    fn poll_asked(
        &mut self,
        record: &'static Record,
        wakes: u64,
        outer: *const Record,
        start: u64,
    ) -> Poll<F::Output> {
        let top = Registers::here().sp;
        let asked = probe::Asked::of(record, wakes);
        let polled = asked.while_polled(top, |cx| self.poll_called(cx));
        let polled = match polled {
            Ok(polled) => polled,
            Err(payload) => {
                asked.answer(true);
                self.panicked(record, outer, start, payload)
            }
        };
        let end = clock::ticks();
        if polled.is_pending()
            && let Some(last) = asked.waited_since()
        {
            record.leave_probed(last);
            local::set_current(outer);
            asked.answer(false);
            return polled;
        }
        lifecycle::count_poll(record, end.wrapping_sub(start));
        match polled {
            Poll::Pending => {
                record.leave(start, end);
                local::set_current(outer);
                asked.answer(false);
                Poll::Pending
            }
            Poll::Ready(output) => {
                record.leave_for_good(start, end);
                lifecycle::finish(record, C::outcome(&output), end, None);
                asked.answer(true);
                lifecycle::let_go(record, outer);
                Poll::Ready(output)
            }
        }
    }

    #[cold]
    fn panicked(
        &mut self,
        record: &'static Record,
        outer: *const Record,
        start: u64,
        payload: Box<dyn Any + Send>,
    ) -> ! {
        let end = clock::ticks();
        lifecycle::count_poll(record, end.wrapping_sub(start));
        record.leave_for_good(start, end);
        self.drop_after_panic();
        lifecycle::finish(record, Outcome::Panicked, clock::ticks(), Some(&*payload));
        lifecycle::let_go(record, outer);
        resume_unwind(payload)
    }

    /// Polls the future, and drops it where it is ready. What it captures is two words, on purpose: more go through
    /// memory.
    #[inline(always)]
    fn poll_caught(&mut self, cx: &mut Context<'_>) -> std::thread::Result<Poll<F::Output>> {
        catch_unwind(AssertUnwindSafe(move || {
            let polled = self.pinned().poll(cx);
            if polled.is_ready() {
                self.task = Handle::ENDED;
                // SAFETY: once, and `task` says so.
                unsafe { self.drop_future() };
            }
            polled
        }))
    }

    /// The same by a call that stays one, so that the future has a frame of its own.
    #[cfg(feature = "profile")]
    fn poll_called(&mut self, cx: &mut Context<'_>) -> std::thread::Result<Poll<F::Output>> {
        let poll: fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output> = std::hint::black_box(F::poll);
        catch_unwind(AssertUnwindSafe(move || {
            let polled = poll(self.pinned(), cx);
            if polled.is_ready() {
                self.task = Handle::ENDED;
                // SAFETY: once, and `task` says so.
                unsafe { self.drop_future() };
            }
            polled
        }))
    }

    /// Drops the future after a panic, unless it was its destructor that panicked.
    #[cold]
    fn drop_after_panic(&mut self) {
        if self.task != Handle::ENDED {
            self.task = Handle::ENDED;
            // A second panic is not told: the first one is what the task died of.
            // SAFETY: once, and `task` says so.
            panic::contain(|| unsafe { self.drop_future() });
        }
    }

    #[cold]
    fn poll_counted(&mut self, kind: KindId, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.poll_caught(cx);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => {
                lifecycle::count_finished(kind, C::outcome(&output));
                Poll::Ready(output)
            }
            Err(payload) => {
                self.drop_after_panic();
                lifecycle::count_finished(kind, Outcome::Panicked);
                resume_unwind(payload)
            }
        }
    }
}

impl<F, C> Drop for Tracked<F, C> {
    fn drop(&mut self) {
        let task = self.task;
        self.task = Handle::ENDED;
        match task.get() {
            Task::Ended => {}
            // SAFETY: once, and `task` says so.
            Task::Ignored => unsafe { self.drop_future() },
            Task::Counted(kind) => {
                let _count = OnDrop(|| lifecycle::count_finished(kind, Outcome::Cancelled));
                // SAFETY: once, and `task` says so.
                unsafe { self.drop_future() };
            }
            Task::Recorded(record) => {
                let outer = local::set_current(record);
                // Also where a destructor of the host panics.
                let _end = OnDrop(|| {
                    lifecycle::finish(record, Outcome::Cancelled, clock::ticks(), None);
                    lifecycle::let_go(record, outer);
                });
                // SAFETY: once, and `task` says so.
                unsafe { self.drop_future() };
            }
        }
    }
}

impl<F, C> fmt::Debug for Tracked<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked").finish_non_exhaustive()
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cold]
#[expect(
    clippy::panic,
    reason = "the contract of futures: an `async` block does the same"
)]
fn polled_after_end() -> ! {
    panic!("`Tracked` polled after it has ended")
}

/// Decides whether the record stands in, with its ordinary waker, for the one that a poll came with, where that is not
/// plain.
#[cold]
fn stand_in(record: &Record, wakes: u64, outer: *const Record, start: u64, cx: &Context<'_>) -> bool {
    let flags = record.flags();
    let kept = record.kept();
    if wakes & STAMPED != 0 {
        count_stamped(record, start);
    }
    if record.polls() == 0 {
        first_poll(record, outer, start);
    }
    if flags & flag::PASS != 0 {
        return false;
    }
    // Who is asked is polled with another waker of its record.
    let plain = wakes & ASKED == 0;
    let runtime = cx.waker();
    if flags & flag::SPAWNED != 0 && !waker::knows_tokio() {
        waker::learn_tokio(runtime);
    }
    let is_tokio =
        waker::is_tokio(runtime) || (kept.is_none() && runtime::learn_waker() && waker::is_tokio(runtime));
    if !is_tokio {
        record.add_flags(flag::FOREIGN);
        return false;
    }
    if wakes & MOVED == 0 && kept == Kept::words(runtime) {
        return plain; // there was only a stamp, or a question
    }
    // Foreign code, with nothing locked.
    drop(record.forward_to(runtime));
    plain
}

fn first_poll(record: &Record, outer: *const Record, start: u64) {
    if outer.is_null() {
        record.add_flags(flag::OUTERMOST);
        #[cfg(tokio_unstable)]
        if record.flags() & flag::SPAWNED == 0 {
            super::hooks::disown_current();
        }
    }
    if !record.has_runtime() {
        record.set_runtime(local::runtime(runtime::of_this_worker));
    }
    // The wake by which it was spawned is a sample for one task in 64.
    if record.id().is_multiple_of(64) {
        lifecycle::count_delayed(record, start);
    }
}

fn count_stamped(record: &Record, start: u64) {
    record.unstamp();
    if let Some(woken) = local::take_stamp(record) {
        lifecycle::count_delay(record, start.saturating_sub(woken));
    }
}
