//! The ways in: tokio's spawn functions, with a kind.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::classify::{AnyOutput, ByResult, Classify};
use super::extra::{Extra, Facts};
use super::instrument::Tracked;
use super::job::Job;
use super::kind::{AsKind, KindId};
use super::membership::Membership;
use super::record::flag;
use super::{local, runtime, text};

/// Spawns a task of that kind on the current runtime.
///
/// It is `tokio::spawn` with a kind: the handle is tokio's own, a panic reaches it, and dropping it detaches the
/// task. Because the future is known to be the root of its task, the verdict *orphaned* is exact.
///
/// # Panics
///
/// Outside of a tokio runtime, as `tokio::spawn` does.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let task = lifespan::spawn("analytics", async { 42 });
/// assert_eq!(task.await.expect("no panic"), 42);
/// # }
/// ```
#[track_caller]
pub fn spawn<F>(kind: impl AsKind, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[cfg(tokio_unstable)]
    let _ours = super::hooks::ours();
    on_current(root(kind.kind_id(), future, Location::caller()))
}

/// Spawns a task of that kind on a given runtime, from anywhere.
///
/// # Examples
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// let task = lifespan::spawn_on("analytics", async { 42 }, runtime.handle());
/// assert_eq!(runtime.block_on(task).expect("no panic"), 42);
/// ```
#[track_caller]
pub fn spawn_on<F>(kind: impl AsKind, future: F, handle: &Handle) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let task = root(kind.kind_id(), future, Location::caller());
    task.set_runtime(runtime::number(handle));
    #[cfg(tokio_unstable)]
    let _ours = super::hooks::ours();
    on_handle(task, handle)
}

/// Spawns a task of that kind on the current `LocalSet`, whose future need not be `Send`.
///
/// # Panics
///
/// Outside of a `LocalSet`, as `tokio::task::spawn_local` does.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// let local = tokio::task::LocalSet::new();
/// let answer = local.block_on(&runtime, async {
///     let shared = std::rc::Rc::new(42);
///     lifespan::spawn_local("local", async move { *shared }).await
/// });
/// assert_eq!(answer.expect("no panic"), 42);
/// ```
#[track_caller]
pub fn spawn_local<F>(kind: impl AsKind, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    #[cfg(tokio_unstable)]
    let _ours = super::hooks::ours();
    on_local(local_root(kind.kind_id(), future, Location::caller()))
}

/// Runs a closure of that kind on tokio's pool for blocking code.
///
/// It is shown as scheduled while it waits for a thread and as running from then on. A job that runs cannot be
/// aborted, by nobody: it ends when it returns.
///
/// # Panics
///
/// Outside of a tokio runtime, as `tokio::task::spawn_blocking` does.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let job = lifespan::spawn_blocking("thumbnail", || 6 * 7);
/// assert_eq!(job.await.expect("no panic"), 42);
/// # }
/// ```
#[track_caller]
pub fn spawn_blocking<F, R>(kind: impl AsKind, f: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    on_pool(Job::new(f, kind.kind_id(), flag::BLOCKING, Location::caller()))
}

/// Spawns on the current runtime, in the scope of the current task if that has one.
#[track_caller]
pub(crate) fn on_current<F, C>(task: Tracked<F, C>) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    C: Classify<F::Output> + 'static,
{
    let Some(scope) = local::scope() else {
        return outside(task);
    };
    let member = task.admit(|newcomer| scope.admit(newcomer));
    abortable(member, outside(task))
}

/// Spawns on the current runtime, in no other scope than the task has been put into.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "what all others are to use ends here")]
pub(crate) fn outside<F, C>(task: Tracked<F, C>) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    C: Classify<F::Output> + 'static,
{
    tokio::spawn(task)
}

#[track_caller]
fn on_handle<F, C>(task: Tracked<F, C>, handle: &Handle) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    C: Classify<F::Output> + 'static,
{
    let member = task.inherit();
    abortable(member, handle.spawn(task))
}

#[track_caller]
fn on_local<F, C>(task: Tracked<F, C>) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
    C: Classify<F::Output> + 'static,
{
    let member = task.inherit();
    abortable(member, tokio::task::spawn_local(task))
}

#[track_caller]
fn on_pool<F, R>(job: Job<F>) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let member = job.inherit();
    abortable(member, tokio::task::spawn_blocking(move || job.run()))
}

/// Tells a task's scope how to abort it.
fn abortable<T>(member: Option<Arc<dyn Membership>>, handle: JoinHandle<T>) -> JoinHandle<T> {
    if let Some(member) = member {
        member.abort_with(handle.abort_handle());
    }
    handle
}

/// A future of which we know that it is its task's root, and that tokio polls it.
#[inline]
pub(crate) fn root<F: Future>(kind: KindId, future: F, site: &'static Location<'static>) -> Tracked<F> {
    Tracked::new(future, kind, flag::ROOT | flag::SPAWNED, site)
}

/// The same of one that a `LocalSet` polls.
pub(crate) fn local_root<F: Future>(kind: KindId, future: F, site: &'static Location<'static>) -> Tracked<F> {
    Tracked::new(future, kind, LOCAL_ROOT, site)
}

const LOCAL_ROOT: u16 = flag::ROOT | flag::SPAWNED | flag::LOCAL;

/// Says more of a task than its kind, and spawns it.
///
/// Every setting here is for people who look at a task, or at its kind; none changes how it runs. A task that
/// has a name, attributes or a limit costs one small allocation more.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let shard = 7;
/// let task = lifespan::Builder::new("shard")
///     .name(format!("shard-{shard}"))
///     .attribute("shard", shard)
///     .long_lived()
///     .spawn(async { /* for ever */ });
/// # task.await.expect("no panic");
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder spawns nothing until it is told to"]
pub struct Builder<C = AnyOutput> {
    kind: KindId,
    flags: u16,
    facts: Facts,
    classify: std::marker::PhantomData<fn() -> C>,
}

/// The longest name of a task, and key or value of an attribute, in bytes. Longer ones are cut.
pub(crate) const MOST_TEXT: usize = 256;
/// The most attributes of a task. Further ones are left out.
pub(crate) const MOST_ATTRIBUTES: usize = 16;

impl Builder {
    /// A task of that kind, with nothing more to say yet.
    pub fn new(kind: impl AsKind) -> Self {
        Self {
            kind: kind.kind_id(),
            flags: 0,
            facts: Facts::default(),
            classify: std::marker::PhantomData,
        }
    }

    /// Tells an `Err` apart: the outcome of a task that returns one is *failed*.
    pub fn fallible(self) -> Builder<ByResult> {
        Builder {
            kind: self.kind,
            flags: self.flags,
            facts: self.facts,
            classify: std::marker::PhantomData,
        }
    }
}

impl<C> Builder<C> {
    /// Names this task. By default, it has no name beside its kind's. Cut to 256 bytes.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.facts.name = Some(text::clean(name.as_ref(), MOST_TEXT).into());
        self
    }

    /// Adds an attribute. By default, there is none; at most 16 are kept, each key and value cut to 256 bytes.
    #[expect(clippy::needless_pass_by_value, reason = "numbers are given as they are")]
    pub fn attribute(mut self, key: impl AsRef<str>, value: impl ToString) -> Self {
        if self.facts.attributes.len() < MOST_ATTRIBUTES {
            let value = value.to_string();
            self.facts.attributes.push((
                text::clean(key.as_ref(), MOST_TEXT).into(),
                text::clean(&value, MOST_TEXT).into(),
            ));
        }
        self
    }

    /// Says that the task is meant to live as long as the service. By default, it is not.
    ///
    /// Such a task is never called a leak for its age, nor orphaned: one that serves as a guard and waits to be
    /// aborted looks so.
    pub fn long_lived(mut self) -> Self {
        self.flags |= flag::LONG_LIVED;
        self
    }

    /// Says how long the task lives at most; one that lives longer is overdue. By default, there is no limit.
    pub fn max_lifetime(mut self, limit: Duration) -> Self {
        self.facts.max_lifetime = Some(limit);
        self.flags |= flag::LIMITED;
        self
    }

    /// Never polls the task for the sake of a dump. By default, a dump may.
    pub fn no_probe(mut self) -> Self {
        self.flags |= flag::NO_PROBE;
        self
    }

    /// Lets the runtime's own waker through. By default, the task's record stands in for it.
    pub fn no_waker(mut self) -> Self {
        self.flags |= flag::PASS;
        self
    }

    /// Spawns the task on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: Classify<F::Output> + 'static,
    {
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        on_current(self.build(future, flag::ROOT | flag::SPAWNED, Location::caller()))
    }

    /// Spawns the task on a given runtime, from anywhere.
    #[track_caller]
    pub fn spawn_on<F>(self, future: F, handle: &Handle) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: Classify<F::Output> + 'static,
    {
        let task = self.build(future, flag::ROOT | flag::SPAWNED, Location::caller());
        task.set_runtime(runtime::number(handle));
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        on_handle(task, handle)
    }

    /// Spawns the task on the current `LocalSet`.
    ///
    /// # Panics
    ///
    /// Outside of a `LocalSet`.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
        C: Classify<F::Output> + 'static,
    {
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        on_local(self.build(future, LOCAL_ROOT, Location::caller()))
    }

    /// Runs a closure on tokio's pool for blocking code.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn_blocking<F, R>(self, f: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let job = Job::new(f, self.kind, self.flags | flag::BLOCKING, Location::caller());
        if let (Some(record), false) = (job.record(), self.facts.is_empty()) {
            record.set_extra(Box::new(Extra::new(self.facts)));
        }
        on_pool(job)
    }

    /// Tracks a future for a spawner of your own; see [`Track::tracked`](crate::Track::tracked).
    #[track_caller]
    pub fn track<F>(self, future: F) -> Tracked<F, C>
    where
        F: Future,
        C: Classify<F::Output>,
    {
        let task = self.build(future, 0, Location::caller());
        task.inherit();
        task
    }

    fn build<F: Future>(self, future: F, flags: u16, site: &'static Location<'static>) -> Tracked<F, C> {
        let task = Tracked::new(future, self.kind, self.flags | flags, site).classified();
        if !self.facts.is_empty() {
            task.set_facts(self.facts);
        }
        task
    }
}
