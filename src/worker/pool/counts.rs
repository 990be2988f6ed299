//! What pools have counted, by name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::task::kind::KindId;

/// How many names of pools are counted apart. Pools of further names are counted as `other`.
pub const MAX_POOLS: usize = 64;

/// The pools of one name, as they were at one moment.
///
/// In each row, `offered` is the sum of `rejected`, `queued`, `running`, `done`, `panicked`, `aborted` and `dropped`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PoolRow {
    /// The name: the kind of the jobs.
    pub pool: KindId,
    /// How many jobs may run at a time.
    pub workers: usize,
    /// How many jobs may wait.
    pub queue: usize,
    /// Jobs that were submitted, those that were refused included. A `submit` that was dropped while it waited for room
    /// is not.
    pub offered: u64,
    /// Jobs that were refused.
    pub rejected: u64,
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that returned.
    pub done: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs that were aborted while they ran.
    pub aborted: u64,
    /// Jobs that were dropped before they began.
    pub dropped: u64,
}

/// All pools, by name, in the order in which the names were first used. A name stays when its pools are gone.
///
/// # Examples
///
/// ```
/// use lifespan::{Scope, WorkerPool, worker};
///
/// let pool = WorkerPool::builder("thumbnails").workers(2).queue(10).build(&Scope::new("example"));
/// let row = worker::pools().into_iter().find(|row| row.pool.name() == "thumbnails").expect("known");
/// assert_eq!((row.workers, row.queue, row.queued), (2, 10, 0));
/// ```
#[must_use]
pub fn pools() -> Vec<PoolRow> {
    lock(&NAMED).iter().map(|named| lock(named).clone()).collect()
}

/// What happens to jobs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Rejected,
    Accepted,
    Started,
    Done,
    Panicked,
    Aborted,
    Dropped,
}

/// The counts of one pool, and with them those of its name.
pub(super) struct Tally {
    own: Mutex<PoolRow>,
    named: Arc<Mutex<PoolRow>>,
}

impl Tally {
    pub(super) fn new(pool: KindId, workers: usize, queue: usize) -> Self {
        let named = named(pool);
        {
            let mut named = lock(&named);
            named.workers = named.workers.saturating_add(workers);
            named.queue = named.queue.saturating_add(queue);
        }
        let own = Mutex::new(PoolRow {
            workers,
            queue,
            ..PoolRow::new(pool)
        });
        Self { own, named }
    }

    pub(super) fn count(&self, step: Step) {
        lock(&self.own).count(step);
        lock(&self.named).count(step);
    }

    pub(super) fn row(&self) -> PoolRow {
        lock(&self.own).clone()
    }
}

/// The pool and its last job are gone.
impl Drop for Tally {
    fn drop(&mut self) {
        let own = self.row();
        let mut named = lock(&self.named);
        named.workers = named.workers.saturating_sub(own.workers);
        named.queue = named.queue.saturating_sub(own.queue);
    }
}

impl PoolRow {
    fn new(pool: KindId) -> Self {
        Self {
            pool,
            workers: 0,
            queue: 0,
            offered: 0,
            rejected: 0,
            queued: 0,
            running: 0,
            done: 0,
            panicked: 0,
            aborted: 0,
            dropped: 0,
        }
    }

    /// Each step leaves one number and enters another, so that the sum holds whatever happens.
    fn count(&mut self, step: Step) {
        let (left, entered) = match step {
            Step::Rejected => (None, &mut self.rejected),
            Step::Accepted => (None, &mut self.queued),
            Step::Started => (Some(&mut self.queued), &mut self.running),
            Step::Done => (Some(&mut self.running), &mut self.done),
            Step::Panicked => (Some(&mut self.running), &mut self.panicked),
            Step::Aborted => (Some(&mut self.running), &mut self.aborted),
            Step::Dropped => (Some(&mut self.queued), &mut self.dropped),
        };
        *entered = entered.saturating_add(1);
        match left {
            Some(left) => *left = left.saturating_sub(1),
            None => self.offered = self.offered.saturating_add(1),
        }
    }
}

/// The counts of a name.
fn named(pool: KindId) -> Arc<Mutex<PoolRow>> {
    let mut all = lock(&NAMED);
    let known = |all: &[Arc<Mutex<PoolRow>>], pool| all.iter().find(|row| lock(row).pool == pool).cloned();
    if let Some(known) = known(&all, pool) {
        return known;
    }
    let full = all.iter().filter(|row| lock(row).pool != KindId::OTHER).count() >= MAX_POOLS;
    let pool = if full { KindId::OTHER } else { pool };
    if let Some(known) = known(&all, pool) {
        return known;
    }
    let new = Arc::new(Mutex::new(PoolRow::new(pool)));
    all.push(Arc::clone(&new));
    new
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static NAMED: Mutex<Vec<Arc<Mutex<PoolRow>>>> = Mutex::new(Vec::new());
