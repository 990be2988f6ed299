//! tokio's `JoinSet`, whose tasks have a kind.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, Id, JoinError, LocalSet};

use super::job::Job;
use super::kind::AsKind;
use super::membership::Membership;
use super::record::flag;
use super::{runtime, spawn};

/// A set of tasks that are registered, each with its kind; otherwise tokio's
/// [`JoinSet`](tokio::task::JoinSet).
///
/// Its tasks are aborted when it is dropped.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut set = lifespan::JoinSet::new();
/// for i in 0..3 {
///     set.spawn("square", async move { i * i });
/// }
/// let mut squares = set.join_all().await;
/// squares.sort();
/// assert_eq!(squares, [0, 1, 4]);
/// # }
/// ```
#[must_use = "tasks of a set are aborted when it is dropped"]
pub struct JoinSet<T> {
    set: tokio::task::JoinSet<T>,
}

impl<T> JoinSet<T> {
    /// A set with no tasks.
    pub fn new() -> Self {
        Self {
            set: tokio::task::JoinSet::new(),
        }
    }

    /// How many tasks are in the set, those included that have ended and were not joined yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}

impl<T: 'static> JoinSet<T> {
    /// Spawns a task of that kind on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, kind: impl AsKind, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        let task = spawn::root(kind.kind_id(), future, Location::caller());
        let member = task.inherit();
        abortable(member, self.set.spawn(task))
    }

    /// Spawns a task of that kind on a given runtime.
    #[track_caller]
    pub fn spawn_on<F>(&mut self, kind: impl AsKind, future: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        let task = spawn::root(kind.kind_id(), future, Location::caller());
        task.set_runtime(runtime::number(handle));
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        let member = task.inherit();
        abortable(member, self.set.spawn_on(task, handle))
    }

    /// Spawns a task of that kind on the current `LocalSet`.
    ///
    /// # Panics
    ///
    /// Outside of a `LocalSet`.
    #[track_caller]
    pub fn spawn_local<F>(&mut self, kind: impl AsKind, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        let task = spawn::local_root(kind.kind_id(), future, Location::caller());
        let member = task.inherit();
        abortable(member, self.set.spawn_local(task))
    }

    /// Spawns a task of that kind on a given `LocalSet`, which need not run yet.
    #[track_caller]
    pub fn spawn_local_on<F>(&mut self, kind: impl AsKind, future: F, local: &LocalSet) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        let task = spawn::local_root(kind.kind_id(), future, Location::caller());
        let member = task.inherit();
        abortable(member, self.set.spawn_local_on(task, local))
    }

    /// Runs a closure of that kind on tokio's pool for blocking code.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, kind: impl AsKind, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        let job = Job::new(f, kind.kind_id(), flag::BLOCKING, Location::caller());
        let member = job.inherit();
        abortable(member, self.set.spawn_blocking(move || job.run()))
    }

    /// Waits until one of the tasks has ended, and takes it out; `None` where the set is empty.
    ///
    /// # Errors
    ///
    /// Where the task panicked or was aborted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no task was taken out.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.set.join_next().await
    }

    /// As [`join_next`](Self::join_next), with tokio's id of the task.
    ///
    /// # Errors
    ///
    /// Where the task panicked or was aborted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no task was taken out.
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        self.set.join_next_with_id().await
    }

    /// Takes a task out that has ended, if there is one.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.set.try_join_next()
    }

    /// Polls for a task that has ended.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.set.poll_join_next(cx)
    }

    /// Waits until all tasks have ended; returns their results as they ended.
    ///
    /// # Panics
    ///
    /// Where one of them panicked or was aborted; the others are aborted then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, all tasks are aborted.
    pub async fn join_all(self) -> Vec<T> {
        self.set.join_all().await
    }

    /// Aborts all tasks. They stay in the set until they are joined.
    pub fn abort_all(&mut self) {
        self.set.abort_all();
    }

    /// Takes all tasks out and lets them run on.
    pub fn detach_all(&mut self) {
        self.set.detach_all();
    }

    /// Aborts all tasks, and waits until they have ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, all tasks were told to abort.
    pub async fn shutdown(&mut self) {
        self.set.shutdown().await;
    }
}

#[inline]
fn abortable(member: Option<Arc<dyn Membership>>, handle: AbortHandle) -> AbortHandle {
    if let Some(member) = member {
        member.abort_with(handle.clone());
    }
    handle
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.fmt(f)
    }
}
