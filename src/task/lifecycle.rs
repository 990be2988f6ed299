//! The beginning and the end of a task, whatever it is made of.

#![expect(unsafe_code, reason = "a record outlives every hold on it")]

use std::any::Any;
use std::panic::Location;
use std::ptr::NonNull;

use super::cells::{Add, Cells};
use super::exit::{self, Detail, Panic};
use super::extra::Extra;
use super::kind::KindId;
use super::record::{Birth, Record};
use super::{Outcome, local, panic, waker};
use crate::clock;

/// Counts a task as spawned, and gives it a record if there is one to be had.
#[inline]
pub(crate) fn begin_record(
    kind: KindId,
    flags: u16,
    size: usize,
    site: &'static Location<'static>,
) -> Option<NonNull<Record>> {
    let (taken, id) = local::spawn(kind.index());
    let taken = taken?;
    // SAFETY: a record, and ours now.
    let record = unsafe { taken.as_ref() };
    record.begin(&Birth {
        id,
        kind: kind.index(),
        flags,
        size: u32::try_from(size).unwrap_or(u32::MAX),
        parent: local::current_id(),
        now: clock::ticks(),
        site,
    });
    Some(taken)
}

/// Tells of a task that has ended, and counts it: in this order, so that who sees the count finds the exit. Its
/// destructors have run.
#[inline]
pub(crate) fn finish(record: &Record, outcome: Outcome, end: u64, payload: Option<&(dyn Any + Send)>) {
    if exit::heeded() {
        return finish_heeded(record, outcome, end, payload);
    }
    local::count(record.kind(), Finish(outcome, end.saturating_sub(record.born())));
    record.end();
}

/// The same where somebody heeds it. Its scope is told last: whoever waits for the scope's tasks finds them counted.
#[cold]
fn finish_heeded(record: &Record, outcome: Outcome, end: u64, payload: Option<&(dyn Any + Send)>) {
    let scope = record.extra().and_then(Extra::scope);
    let wanted = exit::wanted();
    let panic = payload.filter(|_| wanted || scope.is_some()).map(panic::told);
    if wanted {
        tell(record, outcome, end, panic.clone());
    }
    local::count(record.kind(), Finish(outcome, end.saturating_sub(record.born())));
    record.end();
    if let Some(scope) = scope {
        scope.leave(panic);
    }
}

/// Counts a task without a record as ended. How long it lived is not known.
pub(crate) fn count_finished(kind: KindId, outcome: Outcome) {
    local::count(kind.index(), FinishUnknown(outcome));
}

/// Counts how long a task waited for its first run.
pub(crate) fn count_delayed(record: &Record, start: u64) {
    count_delay(record, start.saturating_sub(record.born()));
}

/// Lets go of a record whose task has ended. `outer` is the current task again before foreign code runs: the
/// runtime's waker is dropped here, and the record may be another task's by then.
#[inline]
pub(crate) fn let_go(record: &'static Record, outer: *const Record) {
    local::set_current(outer);
    waker::release(NonNull::from(record));
}

fn tell(record: &Record, outcome: Outcome, ended: u64, panic: Option<Panic>) {
    let extra = record.extra();
    let scope = extra.and_then(Extra::scope);
    let detail = (extra.is_some() || panic.is_some()).then(|| {
        Box::new(Detail {
            facts: extra.map(|extra| extra.facts.clone()).unwrap_or_default(),
            scope: scope.map(|scope| scope.path()),
            supervisor: scope.and_then(|scope| scope.supervisor()),
            panic,
        })
    });
    let exit = record.exit(outcome, ended, detail);
    if outcome == Outcome::Panicked {
        // Not where a thousand ordinary ones may have taken the room.
        exit::keep_apart(exit);
    } else {
        local::keep_exit(exit);
    }
}

/// Counts a poll of so many ticks.
#[inline(always)]
pub(crate) fn count_poll(record: &Record, ticks: u64) {
    local::count(record.kind(), Polled(ticks));
}

/// Counts how long a task that was woken waited for a worker, in ticks.
pub(crate) fn count_delay(record: &Record, ticks: u64) {
    local::count(record.kind(), Delayed(ticks));
}

struct Polled(u64);
impl local::Count for Polled {
    #[inline(always)]
    fn count<A: Add>(self, cells: &Cells) {
        cells.poll::<A>(self.0);
    }
}

struct Delayed(u64);
impl local::Count for Delayed {
    fn count<A: Add>(self, cells: &Cells) {
        cells.delay::<A>(self.0);
    }
}

struct Finish(Outcome, u64);
impl local::Count for Finish {
    #[inline(always)]
    fn count<A: Add>(self, cells: &Cells) {
        cells.finish::<A>(self.0, self.1);
    }
}

struct FinishUnknown(Outcome);
impl local::Count for FinishUnknown {
    fn count<A: Add>(self, cells: &Cells) {
        cells.finish_unknown::<A>(self.0);
    }
}
