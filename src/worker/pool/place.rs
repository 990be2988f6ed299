//! One job's place in its pool, and its turn.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;

use super::counts::{Step, Tally};

/// A place, from acceptance until it is dropped, which counts how the job ended.
pub(super) struct Place {
    tally: Arc<Tally>,
    stage: Stage,
    // Given back in this order, after the count (invariant 3).
    worker: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy)]
enum Stage {
    Waiting,
    /// The host's code runs: whoever drops the place now unwinds.
    Inside,
    /// Between two polls.
    Between,
    Done,
}

impl Place {
    pub(super) fn new(tally: Arc<Tally>, place: OwnedSemaphorePermit) -> Self {
        tally.count(Step::Accepted);
        Self {
            tally,
            stage: Stage::Waiting,
            worker: None,
            _place: place,
        }
    }

    pub(super) fn start(&mut self, worker: OwnedSemaphorePermit) {
        self.tally.count(Step::Started);
        self.worker = Some(worker);
        self.stage = Stage::Inside;
    }

    /// Polls the job's future. Once that is ready it counts as inside until its destructor has run.
    pub(super) fn poll<F: Future>(&mut self, work: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.stage = Stage::Inside;
        let polled = work.poll(cx);
        if polled.is_pending() {
            self.stage = Stage::Between;
        }
        polled
    }

    pub(super) fn finish(&mut self) {
        self.stage = Stage::Done;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tally.count(match self.stage {
            Stage::Waiting => Step::Dropped,
            Stage::Inside => Step::Panicked,
            Stage::Between => Step::Aborted,
            Stage::Done => Step::Done,
        });
    }
}

/// A job's turn at the workers.
pub(super) enum Turn {
    Now(Option<OwnedSemaphorePermit>),
    Later(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
}

impl Turn {
    /// Stands in line from now on, and not only when the job's task is first polled, whose order is the runtime's.
    pub(super) fn new(workers: &Arc<Semaphore>) -> Self {
        // Does not jump the line: a permit that somebody waits for is never free.
        if let Ok(worker) = Arc::clone(workers).try_acquire_owned() {
            return Self::Now(Some(worker));
        }
        let workers = Arc::clone(workers);
        // Not held up by the budget of the task that submits.
        let mut turn = Box::pin(unconstrained(async move { workers.acquire_owned().await.ok() }));
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(worker) => Self::Now(worker),
            Poll::Pending => Self::Later(turn),
        }
    }
}

impl Turn {
    pub(super) async fn come(&mut self) -> OwnedSemaphorePermit {
        let worker = poll_fn(|cx| match self {
            Self::Now(worker) => Poll::Ready(worker.take()),
            Self::Later(turn) => turn.as_mut().poll(cx),
        });
        match worker.await {
            Some(worker) => worker,
            // Nobody closes the semaphore.
            None => std::future::pending().await,
        }
    }
}
