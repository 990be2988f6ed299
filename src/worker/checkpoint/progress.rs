//! The handle that runs of one worker share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::fence::Fence;
use super::{Checkpoint, CheckpointError};
use crate::task::kind::Kind;
use crate::task::spawn_blocking;

/// How far a worker has come, in all its runs.
///
/// It is made once, outside of what is restarted, and each run [resumes](Self::resume). Clones are handles of the same
/// progress; the store is closed with the last handle and [`Run`].
///
/// Its calls run as tasks of kind `checkpoint` on tokio's pool for blocking code, one at a time, so that the disk holds
/// up no worker thread.
pub struct Progress<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    runs: AtomicU64,
    /// The store's own lock: nobody waits for it but who uses this store, and on threads that may block.
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    fence: Fence,
    store: Box<dyn Checkpoint<T>>,
}

impl<T: Send + 'static> Progress<T> {
    /// Progress that is kept in that store.
    #[must_use]
    pub fn new(store: impl Checkpoint<T> + 'static) -> Self {
        let kept = Kept {
            fence: Fence::default(),
            store: Box::new(store),
        };
        Self {
            shared: Arc::new(Shared {
                runs: AtomicU64::new(0),
                kept: Mutex::new(kept),
            }),
        }
    }

    /// Begins a run: gives what was committed last, `None` where nothing ever was, and the right to commit, which
    /// earlier runs lose.
    ///
    /// A commit that an earlier run has left underway is either in what this gives, or never made.
    ///
    /// # Errors
    ///
    /// What the store says; [`Superseded`](CheckpointError::Superseded) where another run has resumed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time. Earlier runs may have lost their right then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn resume(&self) -> Result<(Option<T>, Run<T>), CheckpointError> {
        let run = self.shared.runs.fetch_add(1, Relaxed).saturating_add(1);
        let load = move |kept: &mut Kept<T>| {
            if kept.fence.resume(run) {
                kept.store.load()
            } else {
                Err(CheckpointError::Superseded)
            }
        };
        let last = on_pool(&self.shared, load).await?;
        let run = Run {
            shared: Arc::clone(&self.shared),
            run,
            commits: 0,
        };
        Ok((last, run))
    }
}

/// One run of a worker, which may commit until a later one [resumes](Progress::resume).
pub struct Run<T> {
    shared: Arc<Shared<T>>,
    run: u64,
    commits: u64,
}

impl<T: Send + 'static> Run<T> {
    /// Commits how far the run has come. When this has returned, no later run begins before that.
    ///
    /// # Errors
    ///
    /// [`Superseded`](CheckpointError::Superseded) where a later run has resumed, and what the store says. After any
    /// error, it is [`Progress::resume`] that tells what is committed.
    ///
    /// # Cancel safety
    ///
    /// One that is dropped is still made, or not, but nothing between. It is never made after a later commit, nor after
    /// a later run has resumed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn commit(&mut self, value: T) -> Result<(), CheckpointError> {
        self.commits = self.commits.saturating_add(1);
        let (run, commit) = (self.run, self.commits);
        let make = move |kept: &mut Kept<T>| {
            if kept.fence.commit(run, commit) {
                kept.store.commit(&value)
            } else {
                Err(CheckpointError::Superseded)
            }
        };
        on_pool(&self.shared, make).await
    }
}

async fn on_pool<T, R>(
    shared: &Arc<Shared<T>>,
    f: impl FnOnce(&mut Kept<T>) -> Result<R, CheckpointError> + Send + 'static,
) -> Result<R, CheckpointError>
where
    T: Send + 'static,
    R: Send + 'static,
{
    static KIND: Kind = Kind::new("checkpoint");
    let shared = Arc::clone(shared);
    let job = spawn_blocking(&KIND, move || {
        f(&mut shared.kept.lock().unwrap_or_else(PoisonError::into_inner))
    });
    job.await.unwrap_or(Err(CheckpointError::Unknown))
}

impl<T> Clone for Progress<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> fmt::Debug for Progress<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}
