//! Structured lifetimes: a tree of scopes, in which tasks live no longer than what they are for.
//!
//! A *scope* is a node of the tree: it has a name, perhaps a deadline, tasks, and further scopes in it.
//!
//! * **Cancellation goes down.** A scope that is cancelled cancels all in it and nothing else, and says why: the first
//!   [`Reason`] stays.
//! * **Deadlines only tighten.** A child has its parent's deadline, or a nearer one.
//! * **Tasks stay in.** What a scope's task spawns through lifespan is in the same scope, [`crate::spawn`] and all
//!   other [ways in](crate#ways-in) alike. To spawn what is to live longer, name the scope that it belongs to:
//!   [`Scope::root`]`().spawn(…)`.
//! * **The end is observed.** [`Scope::close`] cancels, waits, aborts, cleans up, and names every task that did not stop
//!   in time. A task that is still there after that has *overstayed*, in rows and metrics as well.
//!
//! Against `tokio_util`'s `TaskTracker` and `CancellationToken`, on which scopes stand: those two are apart, know no
//! reasons and no deadlines, and wait for tasks without a name. Against a `JoinSet`: dropping a handle of a scope
//! cancels nothing, and who spawned a task need not be who waits for it.
//!
//! A scope is gone with its last handle, task and child. It costs one allocation and a lock of its own; a task in it one
//! allocation more and two short locks. A task outside of scopes pays one check at its spawn.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use lifespan::Scope;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let request = Scope::root().child("request").timeout(Duration::from_secs(1));
//! let query = request.spawn("db-query", |cx| async move {
//!     tokio::select! {
//!         reason = cx.cancelled() => Err(reason),
//!         rows = async { 42 } => Ok(rows),
//!     }
//! });
//! assert_eq!(query.await.expect("no panic"), Ok(42));
//!
//! let report = request.close(Duration::from_secs(5)).await;
//! assert!(report.is_clean(), "{report}");
//! # }
//! ```

mod cleanup;
mod close;
mod context;
mod node;
mod reason;
mod report;
mod standing;
mod try_join;
mod view;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::slice;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::task::extra::Facts;
use crate::task::instrument::Tracked;
use crate::task::kind::{AsKind, KindId};
use crate::task::membership::{Membership, Newcomer};
use crate::task::record::flag;
use crate::task::{AnyOutput, Classify, TaskId, spawn_outside, text};

pub use cleanup::{CleanupRefused, MAX_CLEANUPS};
pub use close::ABORT_WAIT;
pub(crate) use close::{Found, GivenUp};
pub use context::Context;
pub use reason::{Cause, Reason};
pub use report::{CleanupFault, Fate, Fault, Late, Report};
pub use standing::{DEFAULT_GRACE, ScopeState};
pub use try_join::JoinFailure;
pub use view::{MAX_SHOWN, ScopeRow, Scopes, all, open};

use cleanup::Cleanup;
use node::{Member, Node};

/// A handle of a scope: see the [module](self).
///
/// Clones are handles of the same scope. Dropping one, and the last one too, cancels nothing: the scope lives on while a
/// task or a child is in it. What ends it is [`cancel`](Self::cancel), its deadline, and [`close`](Self::close).
#[derive(Clone)]
pub struct Scope {
    node: Arc<Node>,
}

impl Scope {
    /// The root scope of the process, named `root`. Closing it closes everything in it.
    #[must_use]
    pub fn root() -> Self {
        static ROOT: LazyLock<Scope> = LazyLock::new(|| Scope::new("root"));
        ROOT.clone()
    }

    /// A scope in no other: for tests, and for what must outlive the root scope.
    ///
    /// Control characters in the name become `_`, and it is cut to 64 bytes.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self {
            node: Node::root(name.as_ref()),
        }
    }

    /// A new scope in this one. Two children of one name are two scopes.
    ///
    /// Where this one is cancelled or closed already, so is the child.
    #[must_use]
    pub fn child(&self, name: impl AsRef<str>) -> Self {
        Self {
            node: self.node.child(name.as_ref()),
        }
    }

    /// Gives it so much time from now, unless it has less already. All in it have no more, either.
    ///
    /// A deadline that passes cancels: it wakes who waits for [`Context::cancelled`], and aborts nothing. It takes no
    /// timer but those of who waits.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        match Instant::now().checked_add(limit) {
            Some(at) => self.deadline(at),
            None => self, // further away than a clock can tell
        }
    }

    /// Gives it time until then, unless it has less already. As [`timeout`](Self::timeout).
    #[must_use]
    pub fn deadline(self, at: Instant) -> Self {
        self.node.tighten(at);
        self
    }

    /// Asks all tasks in it to stop, and says why. Nothing is aborted.
    ///
    /// Says whether that was news: of several reasons the first one stays, and one that came from outside or a deadline
    /// that passed counts as well.
    #[expect(
        clippy::must_use_candidate,
        clippy::needless_pass_by_value,
        reason = "most callers have nothing to do with the answer, nor with their reason"
    )]
    pub fn cancel(&self, reason: Reason) -> bool {
        self.node.cancel(&reason)
    }

    /// Why it was cancelled, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.context().reason()
    }

    /// Open, cancelled or closed.
    #[must_use]
    pub fn state(&self) -> ScopeState {
        self.node.lock().standing.state(Instant::now())
    }

    /// The names of the scopes that it is in, and its own, with `/` between them. One longer than 256 bytes shows its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.node.path
    }

    /// How many tasks are alive in it, and in the scopes in it.
    #[must_use]
    pub fn tasks(&self) -> usize {
        node::walk(vec![Arc::clone(&self.node)])
            .map(|node| node.lock().tasks())
            .sum()
    }

    /// What its tasks are given.
    #[must_use]
    pub fn context(&self) -> Context {
        Context::new(&self.node)
    }

    /// Spawns a task of that kind in it, on the current runtime.
    ///
    /// The handle is tokio's own; dropping it detaches the task, which the scope still knows. In a scope that is closed
    /// the task is aborted at once.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<F, Fut>(&self, kind: impl AsKind, f: F) -> JoinHandle<Fut::Output>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        self.spawn_from(kind.kind_id(), f, Location::caller())
    }

    /// As [`spawn`](Self::spawn), for whoever was asked to spawn somewhere else.
    pub(crate) fn spawn_from<F, Fut>(
        &self,
        kind: KindId,
        f: F,
        site: &'static Location<'static>,
    ) -> JoinHandle<Fut::Output>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let (task, member) = self.enter::<_, AnyOutput>(kind, f(self.context()), site);
        #[cfg(tokio_unstable)]
        let _ours = crate::task::hooks::ours();
        if let Some(member) = member {
            let handle = spawn_outside(task);
            member.abort_with(handle.abort_handle());
            return handle;
        }
        let (unrecorded, member) = self.enter_unrecorded(kind, task, site);
        #[expect(
            clippy::disallowed_methods,
            reason = "what is within is as tracked as it can be"
        )]
        let handle = tokio::spawn(unrecorded);
        member.abort_with(handle.abort_handle());
        handle
    }

    /// Runs children of one kind, each a task, in a scope of their own within this one; returns what they did, in their
    /// order. The first that fails, panics or is aborted cancels the others, and all are waited for.
    ///
    /// Nothing runs before it is polled first. Children that ignore their cancellation are waited for all the same:
    /// [`close`](Self::close) has an end, this has not.
    ///
    /// # Errors
    ///
    /// The first failure.
    ///
    /// # Cancel safety
    ///
    /// Dropping it aborts the children; it cannot wait for them then. They are still in this scope, whose close does.
    ///
    /// # Examples
    ///
    /// ```
    /// use lifespan::Scope;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let request = Scope::new("request");
    /// let parts = ["1", "2", "x"].map(|part| move |_cx| async move { part.parse::<u8>() });
    /// let joined = request.try_join("parse", parts).await;
    /// assert!(joined.is_err());
    /// # }
    /// ```
    #[track_caller]
    pub fn try_join<F, Fut, T, E>(
        &self,
        kind: impl AsKind,
        children: impl IntoIterator<Item = F>,
    ) -> impl Future<Output = Result<Vec<T>, JoinFailure<E>>>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (kind, site) = (kind.kind_id(), Location::caller());
        try_join::try_join(self.child(kind.name()), kind, children, site)
    }

    /// Adds something to do when the scope is closed: after its tasks have stopped, the last added first, each for so
    /// long at most. A scope that is never closed drops it undone.
    ///
    /// It runs as a task of kind `scope-cleanup`, outside of the scope. One that panics or is late is in the report and
    /// stops no other. One that holds a handle of its own scope keeps the scope alive until it is closed.
    ///
    /// # Errors
    ///
    /// Where the scope is closed, or has [`MAX_CLEANUPS`] already.
    #[track_caller]
    pub fn on_close<F>(&self, name: impl AsRef<str>, limit: Duration, work: F) -> Result<(), CleanupRefused>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Made before the lock is taken, and dropped after it: what the host gave runs under none.
        let cleanup = Cleanup {
            name: text::clean(name.as_ref(), MOST_CLEANUP_NAME).into(),
            limit,
            work: Box::pin(work),
            site: Location::caller(),
        };
        let mut inner = self.node.lock();
        let refused = if inner.standing.is_closed() {
            CleanupRefused::Closed
        } else if inner.cleanups.len() >= MAX_CLEANUPS {
            CleanupRefused::Full
        } else {
            inner.cleanups.push(cleanup);
            return Ok(());
        };
        drop(inner);
        Err(refused)
    }

    /// Ends it: cancels all in it, waits until its tasks have ended or `grace` has passed, aborts those that are left,
    /// waits for these [`ABORT_WAIT`] at most, and runs the cleanups. Says which tasks did not stop in time.
    ///
    /// Tasks that have stopped are counted as finished, and their destructors have run. One that ignores the abort, or
    /// cannot be aborted, is named in the report and left alone: it has *overstayed*. A task that closes its own scope
    /// waits for itself, and is aborted: close it from outside.
    ///
    /// It can be called again, and by several at a time: each is told of the tasks that are late then, and each cleanup
    /// runs once.
    ///
    /// # Cancel safety
    ///
    /// What was begun stays: a close that is dropped has cancelled the scope. Calling it anew goes on. A cleanup that
    /// runs meanwhile goes on by itself, within its deadline, and is in no report.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers.
    pub async fn close(&self, grace: Duration) -> Report {
        let start = Instant::now();
        let found = close::close(slice::from_ref(&self.node), grace, &mut GivenUp::default()).await;
        Report {
            scope: Arc::clone(&self.node.path),
            took: start.elapsed(),
            late: found.late,
            cleanups: found.cleanups,
        }
    }

    /// Closes several at a time, but for tasks that an earlier close has given up.
    pub(crate) async fn close_all(scopes: &[Self], grace: Duration, given_up: &mut GivenUp) -> Found {
        let nodes: Vec<_> = scopes.iter().map(|scope| Arc::clone(&scope.node)).collect();
        close::close(&nodes, grace, given_up).await
    }

    /// The scopes in it that are not closed, those in them left out; the last made first, all of one name together.
    pub(crate) fn stages(&self) -> Vec<Vec<Self>> {
        let mut children = self.node.children();
        children.retain(|child| !child.lock().standing.is_closed());
        children.sort_by_key(|child| Reverse(child.id));
        let (mut stages, mut at) = (Vec::<Vec<Self>>::new(), HashMap::new());
        for child in children {
            let stage = *at.entry(child.name.clone()).or_insert(stages.len());
            if stage == stages.len() {
                stages.push(Vec::new());
            }
            if let Some(stage) = stages.get_mut(stage) {
                stage.push(Self { node: child });
            }
        }
        stages
    }

    fn of(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
        }
    }

    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// A scope in this one that whoever made it cancels, in its own time, when this one is cancelled: a close of this
    /// one waits for its tasks as well.
    pub(crate) fn shielded_child(&self, name: &str) -> Self {
        Self {
            node: self.node.shielded_child(name),
        }
    }

    /// Takes a task in.
    pub(crate) fn admit(&self, newcomer: Newcomer) -> Arc<dyn Membership> {
        self.node.admit(newcomer)
    }

    /// Whether no task is in it, nor in any scope in it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.node.is_quiet()
    }

    /// Waits until no task is in it, at most until then; says whether none is.
    pub(crate) async fn quiet(&self, until: Option<Instant>) -> bool {
        close::quiet(&self.node, until).await
    }

    /// Closes it at once, and aborts the tasks that are left; says how many there were. They overstay from then on.
    pub(crate) fn shut(&self) -> usize {
        let now = Instant::now();
        self.node.cancel(&Reason::closed());
        self.node.lock().standing.grant(now);
        let left = self.node.shut();
        for member in &left {
            member.abort();
        }
        left.len()
    }

    /// Closes it where no task is in it; says whether none is. For who closes many that had but one task.
    pub(crate) fn retire(&self) -> bool {
        if self.node.retire(&Reason::closed(), Instant::now()) {
            return true;
        }
        let quiet = self.node.is_quiet();
        if quiet {
            self.shut();
        }
        quiet
    }

    /// Spawns a task in it as part of a set. `place` wraps its place in the scope, and stays with the task's record.
    pub(crate) fn spawn_into<F, T, E>(
        &self,
        set: &mut JoinSet<F::Output>,
        kind: KindId,
        facts: Facts,
        future: F,
        site: &'static Location<'static>,
        place: impl FnOnce(Arc<dyn Membership>) -> Arc<dyn Membership>,
    ) -> (AbortHandle, Option<TaskId>)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let task = Tracked::new(future, kind, flag::ROOT | flag::SPAWNED, site).fallible();
        if !facts.is_empty() {
            task.set_facts(facts);
        }
        let id = task.id();
        let member = task.admit(|newcomer| place(self.node.admit(newcomer)));
        #[cfg(tokio_unstable)]
        let _ours = crate::task::hooks::ours();
        let handle = if let Some(member) = member {
            let handle = set.spawn(task);
            member.abort_with(handle.clone());
            handle
        } else {
            let (unrecorded, member) = self.enter_unrecorded(kind, task, site);
            let handle = set.spawn(unrecorded);
            member.abort_with(handle.clone());
            handle
        };
        (handle, id)
    }

    /// The same for a task without a record that would tell its end: recording is off, or no memory was left.
    fn enter_unrecorded<F: Future>(
        &self,
        kind: KindId,
        task: F,
        site: &'static Location<'static>,
    ) -> (impl Future<Output = F::Output> + use<F>, Arc<Member>) {
        let member = self.node.admit(Newcomer {
            id: None,
            kind,
            name: None,
            blocks: false,
            site: Some(site),
        });
        let leaving = Leaving(Arc::clone(&member));
        let unrecorded = async move {
            let _leaving = leaving;
            task.await
        };
        (unrecorded, member)
    }

    /// Registers a task that is in this scope; not a member where it has no record.
    fn enter<F: Future, C: Classify<F::Output>>(
        &self,
        kind: KindId,
        future: F,
        site: &'static Location<'static>,
    ) -> (Tracked<F, C>, Option<Arc<dyn Membership>>) {
        let task = Tracked::new(future, kind, flag::ROOT | flag::SPAWNED, site).classified();
        let member = task.admit(|newcomer| self.node.admit(newcomer));
        (task, member)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("path", &self.node.path)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Tells the end of a task that has no record.
struct Leaving(Arc<Member>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave(None);
    }
}

/// The longest name of a cleanup, in bytes.
const MOST_CLEANUP_NAME: usize = 64;
