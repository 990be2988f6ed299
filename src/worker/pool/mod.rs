//! Jobs under two limits: how many run, and how many wait.
//!
//! # Invariants
//!
//! 1. A job has a *place* from the moment in which it is accepted until its future has been dropped, and there are as
//!    many places as workers and queue together. So the pool holds no more jobs than that.
//! 2. A job runs only while it has a *worker* beside its place, which it waits for in the order of acceptance.
//! 3. Each change of a job's standing is counted before its permits go back: never more jobs are counted as running
//!    than there are workers.

mod counts;
mod place;
mod report;

use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::JoinHandle;

use crate::scope::{Context, Scope, ScopeState};
use crate::task::kind::{AsKind, KindId};

use counts::{Step, Tally};
use place::{Place, Turn};

pub use counts::{MAX_POOLS, PoolRow, pools};
pub use report::PoolReport;

/// How many jobs wait at most, unless a builder says otherwise.
pub const DEFAULT_QUEUE: usize = 1_024;

/// How many jobs run at a time, unless a builder says otherwise: as many as the machine has processors for us.
#[must_use]
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A pool of jobs: so many run at a time, so many wait for that, and further ones are refused.
///
/// It is for what would otherwise be spawned once a request. Each job is a task of its own, of the pool's kind and in
/// the pool's [`Scope`]: it has a row from the moment in which it is accepted (idle while it waits), an outcome, its
/// place in the lifetimes of the kind, and tokio's own handle. A panic reaches that handle, and no other job. Aborting
/// a job that waits takes it out of the queue. Jobs begin in the order in which they were accepted.
///
/// Against a bare `Semaphore` in front of `spawn`: the jobs that wait are bounded as well, whoever is one too many
/// learns it at once, all of it is counted ([`pools`], `lifespan_pool_…`), and the end is observed.
///
/// Clones are handles of the same pool, and dropping them stops nothing. What stops a pool is [`close`](Self::close),
/// and its scope: from the moment in which that is cancelled nothing new is accepted, what was accepted goes on, and
/// the scope's close ends what is left when its grace has passed.
///
/// A job that waits for another one of the same pool can wait for ever: when all workers do so.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use lifespan::{Scope, WorkerPool};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let pool = WorkerPool::builder("analytics").workers(8).queue(1_000).build(&Scope::root());
///
/// // At the edge: say at once that there is no room.
/// match pool.try_submit(|_cx| async { 6 * 7 }) {
///     Ok(job) => assert_eq!(job.await.expect("no panic"), 42),
///     Err(refused) => eprintln!("503, try later: {refused}"),
/// }
/// // Inside: wait for room, and so pass the pressure on.
/// let job = pool.submit(|_cx| async { 6 * 7 }).await.expect("the pool is open");
///
/// let report = pool.close(Duration::from_secs(5)).await;
/// assert!(report.is_clean(), "{report}");
/// assert_eq!(job.await.expect("no panic"), 42);
/// # }
/// ```
#[derive(Clone)]
pub struct WorkerPool {
    shared: Arc<Shared>,
}

struct Shared {
    kind: KindId,
    scope: Scope,
    workers: Arc<Semaphore>,
    places: Arc<Semaphore>,
    tally: Arc<Tally>,
}

/// The limits of a pool to come.
#[derive(Clone, Debug)]
#[must_use = "a builder makes no pool until it is told to"]
pub struct Builder {
    kind: KindId,
    workers: usize,
    queue: usize,
}

impl WorkerPool {
    /// A pool whose jobs are of that kind, which is its name as well.
    ///
    /// Several pools of one name are counted as one.
    pub fn builder(kind: impl AsKind) -> Builder {
        Builder {
            kind: kind.kind_id(),
            workers: default_workers(),
            queue: DEFAULT_QUEUE,
        }
    }

    /// Submits a job, or gives it back where there is no room for it.
    ///
    /// The closure is called when it is the job's turn; its context is that of the pool's scope.
    ///
    /// # Errors
    ///
    /// Where the queue is full, and where the pool is closed or its scope cancelled; with the job.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn try_submit<F, Fut>(&self, job: F) -> Result<JoinHandle<Fut::Output>, Refused<F>>
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        match self.room() {
            Ok(place) => Ok(self.accept(place, job, Location::caller())),
            Err(why) => Err(self.refuse(why, job)),
        }
    }

    /// Submits a job, and waits until there is room for it; not until it has run, which the handle tells.
    ///
    /// Who has waited longest is next.
    ///
    /// # Errors
    ///
    /// Where the pool is closed or its scope cancelled, also while it waits; with the job.
    ///
    /// # Cancel safety
    ///
    /// One that is dropped before it returned has submitted nothing, and its job is dropped with it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn submit<F, Fut>(
        &self,
        job: F,
    ) -> impl Future<Output = Result<JoinHandle<Fut::Output>, Refused<F>>> + use<'_, F, Fut>
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let site = Location::caller();
        async move {
            let place = match self.room() {
                Err(Why::Full) => self.wait_for_room().await,
                other => other,
            };
            match place {
                Ok(place) => Ok(self.accept(place, job, site)),
                Err(why) => Err(self.refuse(why, job)),
            }
        }
    }

    /// Stops it: accepts nothing more, lets what was accepted run until `grace` has passed, and then drops the queue
    /// and aborts what runs. Says how many jobs ended in which way.
    ///
    /// It closes the pool's scope, so that jobs that watch their context are told at once: see
    /// [`Scope::close`], which also says how long an abort is waited for.
    ///
    /// # Cancel safety
    ///
    /// What was begun stays: a close that is dropped has stopped the pool from accepting. Calling it anew goes on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers.
    pub async fn close(&self, grace: Duration) -> PoolReport {
        let before = self.row();
        let scope = self.shared.scope.close(grace).await;
        PoolReport::between(&before, &self.row(), scope)
    }

    /// Its scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.shared.scope
    }

    /// What it holds and what it has counted: this one alone, where several have its name.
    #[must_use]
    pub fn row(&self) -> PoolRow {
        self.shared.tally.row()
    }

    fn room(&self) -> Result<OwnedSemaphorePermit, Why> {
        if self.shared.scope.state() != ScopeState::Open {
            return Err(Why::Closed);
        }
        Arc::clone(&self.shared.places)
            .try_acquire_owned()
            .map_err(|error| match error {
                TryAcquireError::NoPermits => Why::Full,
                TryAcquireError::Closed => Why::Closed,
            })
    }

    async fn wait_for_room(&self) -> Result<OwnedSemaphorePermit, Why> {
        let context = self.shared.scope.context();
        let mut stopped = pin!(context.cancelled());
        let mut room = pin!(Arc::clone(&self.shared.places).acquire_owned());
        std::future::poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Why::Closed));
            }
            room.as_mut().poll(cx).map_err(|_| Why::Closed)
        })
        .await
    }

    fn accept<F, Fut>(
        &self,
        place: OwnedSemaphorePermit,
        job: F,
        site: &'static Location<'static>,
    ) -> JoinHandle<Fut::Output>
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let mut place = Place::new(Arc::clone(&self.shared.tally), place);
        let mut turn = Turn::new(&self.shared.workers);
        let run = |cx: Context| async move {
            let worker = turn.come().await;
            if cx.scope().state() == ScopeState::Closed {
                // It would only begin to be aborted: the close that frees workers aborts this one as well.
                std::future::pending::<()>().await;
            }
            place.start(worker);
            let value = {
                let mut work = pin!(job(cx));
                std::future::poll_fn(|cx| place.poll(work.as_mut(), cx)).await
            };
            place.finish();
            value
        };
        self.shared.scope.spawn_from(self.shared.kind, run, site)
    }

    #[cold]
    fn refuse<F>(&self, why: Why, job: F) -> Refused<F> {
        self.shared.tally.count(Step::Rejected);
        match why {
            Why::Full => Refused::Full(job),
            Why::Closed => Refused::Closed(job),
        }
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("scope", &self.shared.scope.path())
            .field("row", &self.row())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// How many jobs run at a time, at least 1. By default, [`default_workers`].
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many jobs wait at most, beside those that run. By default, [`DEFAULT_QUEUE`].
    pub fn queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }

    /// Makes the pool, with a scope of its name in that one.
    #[must_use]
    pub fn build(self, scope: &Scope) -> WorkerPool {
        // A semaphore panics beyond its most.
        let workers = self.workers.clamp(1, Semaphore::MAX_PERMITS);
        let queue = self.queue.min(Semaphore::MAX_PERMITS - workers);
        WorkerPool {
            shared: Arc::new(Shared {
                kind: self.kind,
                scope: scope.child(self.kind.name()),
                workers: Arc::new(Semaphore::new(workers)),
                places: Arc::new(Semaphore::new(workers + queue)),
                tally: Arc::new(Tally::new(self.kind, workers, queue)),
            }),
        }
    }
}

/// Why a pool did not take a job, with the job.
#[derive(Clone, Copy, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refused<F> {
    /// All places are taken: try later, or wait with [`WorkerPool::submit`].
    Full(F),
    /// The pool stops, or has stopped.
    Closed(F),
}

impl<F> Refused<F> {
    /// The job.
    #[must_use]
    pub fn into_job(self) -> F {
        match self {
            Self::Full(job) | Self::Closed(job) => job,
        }
    }

    /// Whether it may be taken later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<F> fmt::Debug for Refused<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_full() { "Full(..)" } else { "Closed(..)" })
    }
}

impl<F> fmt::Display for Refused<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full(_) => "the pool is full",
            Self::Closed(_) => "the pool is closed",
        })
    }
}

impl<F> std::error::Error for Refused<F> {}

#[derive(Clone, Copy)]
enum Why {
    Full,
    Closed,
}
