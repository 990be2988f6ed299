//! Code that is not polled: a blocking job, an OS thread.

use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::kind::KindId;
use super::membership::{self, Membership};
use super::record::{Record, flag};
use super::{Outcome, lifecycle, local};
use crate::clock;
use crate::config;

/// A closure that is registered as a task, from now until it has returned, panicked or been dropped.
pub(crate) struct Job<F> {
    task: Registered,
    code: Option<F>,
}

enum Registered {
    Record(&'static Record),
    /// No memory was left for a record.
    Kind(KindId),
    Nowhere,
}

impl<F> Job<F> {
    pub(crate) fn new(code: F, kind: KindId, flags: u16, site: &'static Location<'static>) -> Self {
        let recording = config::recording();
        let task = if recording == config::OFF {
            Registered::Nowhere
        } else {
            let flags = flags | flag::PASS;
            match lifecycle::begin_record(kind, flags, size_of::<F>(), site) {
                Some(record) => Registered::Record(hold(record)),
                None => Registered::Kind(kind),
            }
        };
        let job = Self {
            task,
            code: Some(code),
        };
        if job.is_blocking() {
            QUEUED.fetch_add(1, Relaxed);
        }
        job
    }

    pub(crate) fn record(&self) -> Option<&'static Record> {
        match self.task {
            Registered::Record(record) => Some(record),
            Registered::Kind(_) | Registered::Nowhere => None,
        }
    }

    /// Makes the job a member of the current task's scope, if that has one.
    pub(crate) fn inherit(&self) -> Option<Arc<dyn Membership>> {
        let scope = local::scope()?;
        self.record()
            .map(|record| membership::admit(record, |newcomer| scope.admit(newcomer)))
    }

    /// Runs it on this thread.
    pub(crate) fn run<R>(mut self) -> R
    where
        F: FnOnce() -> R,
    {
        let Some(code) = self.code.take() else {
            unreachable_job()
        };
        let task = std::mem::replace(&mut self.task, Registered::Nowhere);
        let record = match task {
            Registered::Record(record) => record,
            Registered::Kind(kind) => {
                let result = catch_unwind(AssertUnwindSafe(code));
                let outcome = if result.is_ok() {
                    Outcome::Completed
                } else {
                    Outcome::Panicked
                };
                lifecycle::count_finished(kind, outcome);
                return result.unwrap_or_else(|payload| resume_unwind(payload));
            }
            Registered::Nowhere => return code(),
        };
        let blocking = record.flags() & flag::BLOCKING != 0;
        let outer = local::set_current(record);
        let start = clock::ticks();
        if blocking {
            QUEUED.fetch_sub(1, Relaxed);
            RUNNING.fetch_add(1, Relaxed);
            lifecycle::count_delayed(record, start);
        }
        record.run(start);
        let result = catch_unwind(AssertUnwindSafe(code));
        let end = clock::ticks();
        record.leave_for_good(start, end);
        if blocking {
            RUNNING.fetch_sub(1, Relaxed);
        }
        match result {
            Ok(result) => {
                lifecycle::finish(record, Outcome::Completed, end, None);
                lifecycle::let_go(record, outer);
                result
            }
            Err(payload) => {
                lifecycle::finish(record, Outcome::Panicked, end, Some(&*payload));
                lifecycle::let_go(record, outer);
                resume_unwind(payload)
            }
        }
    }

    fn is_blocking(&self) -> bool {
        self.record()
            .is_some_and(|record| record.flags() & flag::BLOCKING != 0)
    }
}

/// A job that is dropped never ran.
impl<F> Drop for Job<F> {
    fn drop(&mut self) {
        let blocking = self.is_blocking();
        match std::mem::replace(&mut self.task, Registered::Nowhere) {
            Registered::Nowhere => {}
            Registered::Kind(kind) => {
                self.code = None;
                lifecycle::count_finished(kind, Outcome::Cancelled);
            }
            Registered::Record(record) => {
                let outer = local::set_current(record);
                let _end = Ended {
                    record,
                    outer,
                    blocking,
                };
                self.code = None;
            }
        }
    }
}

/// Also where a destructor of the host panics.
struct Ended {
    record: &'static Record,
    outer: *const Record,
    blocking: bool,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.blocking {
            QUEUED.fetch_sub(1, Relaxed);
        }
        lifecycle::finish(self.record, Outcome::Cancelled, clock::ticks(), None);
        lifecycle::let_go(self.record, self.outer);
    }
}

/// Blocking jobs that wait for a thread, and that run.
pub(crate) fn blocking() -> (u64, u64) {
    (QUEUED.load(Relaxed), RUNNING.load(Relaxed))
}

#[expect(unsafe_code, reason = "a record outlives every hold on it")]
fn hold(record: NonNull<Record>) -> &'static Record {
    // SAFETY: a record stays one for the life of the process (invariant 1 of `record`).
    unsafe { record.as_ref() }
}

#[cold]
#[expect(
    clippy::unreachable,
    reason = "`run` consumes the job, and is the only one to take the code out"
)]
fn unreachable_job() -> ! {
    unreachable!("a job runs once")
}

static QUEUED: AtomicU64 = AtomicU64::new(0);
static RUNNING: AtomicU64 = AtomicU64::new(0);
