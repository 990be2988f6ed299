//! Supervisors, as a reader sees them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::exit::LastExit;
use super::shared::{self, Facts, Inner, Shared};
use super::spec::Restart;
use super::strategy::Strategy;
use crate::task::TaskId;
use crate::task::kind::KindId;

/// How many children a view shows at most, those of all supervisors together.
pub const MAX_SHOWN: usize = 100_000;

/// Identifies a child of a supervisor; never used again for another one of it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChildId(pub(super) u64);

impl ChildId {
    /// The id as a number, as views show it. It grows in the order of starts.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// What a supervisor is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SupervisorState {
    /// Its first children are being started.
    Starting,
    /// It looks after its children.
    Running,
    /// It stops its children.
    Stopping,
    /// It has stopped: it was told to, or its significant children had ended.
    Stopped,
    /// It gave up, and its children have been stopped.
    Exhausted,
}

impl SupervisorState {
    /// The name that views show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Exhausted => "exhausted",
        }
    }
}

/// What a child is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ChildState {
    /// It runs, and has not said yet that it is ready.
    Starting,
    /// It runs.
    Running,
    /// It is asked to stop.
    Stopping,
    /// It failed, and will be started again; or waits for one that it is started with.
    Restarting,
    /// It does not run.
    Stopped,
    /// Its task does not end though it was aborted.
    Stuck,
}

impl ChildState {
    /// The name that views show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
            Self::Stuck => "stuck",
        }
    }

    /// Whether it has a task.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Running | Self::Stopping | Self::Stuck
        )
    }
}

/// The supervisors that somebody still holds or that have children.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Supervisors {
    /// How many children they have.
    pub total: usize,
    /// All of them, each before those in it.
    pub supervisors: Vec<SupervisorRow>,
}

/// One supervisor, as it was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorRow {
    /// Its number, of which no other supervisor of the process has the same.
    pub id: u64,
    /// That of the supervisor whose child it is.
    pub parent: Option<u64>,
    /// The names of the supervisors above it, and its own, with `/` between them.
    pub path: Arc<str>,
    /// Whom a failed child takes with it.
    pub strategy: Strategy,
    /// What it is doing.
    pub state: SupervisorState,
    /// Why it gave up, if it did.
    pub cause: Option<Arc<str>>,
    /// How many restarts it allows within [`period`](Self::period).
    pub intensity: u32,
    /// The period of its budget.
    pub period: Duration,
    /// How many restarts it would allow now.
    pub budget_remaining: u32,
    /// Its children, in the order of their starts; no more than there was room for.
    pub children: Vec<ChildRow>,
}

/// One child, as it was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildRow {
    /// Its id.
    pub id: ChildId,
    /// Its name.
    pub name: Arc<str>,
    /// The kind of its tasks.
    pub kind: KindId,
    /// Whether it is a supervisor.
    pub is_supervisor: bool,
    /// When it is started again.
    pub restart: Restart,
    /// Whether its end may be that of its supervisor.
    pub significant: bool,
    /// What it is doing.
    pub state: ChildState,
    /// Its task, where it has one that is recorded.
    pub task: Option<TaskId>,
    /// How long its run has lasted, if it has one.
    pub age: Option<Duration>,
    /// How often it was started again.
    pub restarts: u64,
    /// How its last run ended, if it has had one.
    pub last_exit: Option<LastExit>,
    /// In how long it is started again, where that is known.
    pub next_restart: Option<Duration>,
    /// Whether it has a backoff.
    pub backs_off: bool,
    /// Its heartbeat did not come in time.
    pub overdue: bool,
    /// Its task does not end though it was aborted, and still has not.
    pub stuck: bool,
}

/// How many children there are: see [`Supervisor::count`](super::Supervisor::count).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ChildCounts {
    /// All of them.
    pub specs: usize,
    /// Those that have a task.
    pub active: usize,
    /// Those that are supervisors.
    pub supervisors: usize,
    /// Those that are not.
    pub workers: usize,
}

/// Looks at all supervisors, and shows the first `limit` of their children (at most [`MAX_SHOWN`]).
///
/// Weakly consistent, like rows of tasks: each supervisor as one look found it.
///
/// # Examples
///
/// ```
/// use lifespan::{Scope, Supervisor, supervisor};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), supervisor::StartError> {
/// let ingest = Supervisor::builder("seen").start(&Scope::root()).await?;
/// let seen = supervisor::all(usize::MAX).supervisors;
/// assert!(seen.iter().any(|supervisor| supervisor.path == ingest.path().into()));
/// # Ok(()) }
/// ```
#[must_use]
pub fn all(limit: usize) -> Supervisors {
    let now = Instant::now();
    let mut room = limit.min(MAX_SHOWN);
    let mut total = 0usize;
    let supervisors = (in_order(shared::all()).iter())
        .map(|supervisor| {
            let row = row(supervisor, now, room);
            room = room.saturating_sub(row.children.len());
            total = total.saturating_add(supervisor.lock().children.len());
            row
        })
        .collect();
    Supervisors { total, supervisors }
}

/// The paths of the supervisors that have given up, for which none of the same path has been started since.
#[must_use]
pub fn exhausted() -> Vec<Arc<str>> {
    let mut last = std::collections::BTreeMap::new();
    // The oldest first: of one path, the last one counts.
    for supervisor in shared::all() {
        let state = supervisor.lock().state;
        last.insert(Arc::clone(&supervisor.path), state);
    }
    last.retain(|_, state| *state == SupervisorState::Exhausted);
    last.into_keys().collect()
}

/// Each before those in it, and the older of two first.
fn in_order(all: Vec<Arc<Shared>>) -> Vec<Arc<Shared>> {
    let known: std::collections::HashSet<u64> = all.iter().map(|one| one.id).collect();
    let mut below: std::collections::BTreeMap<Option<u64>, Vec<Arc<Shared>>> = Default::default();
    for one in all {
        let parent = one.parent.filter(|parent| known.contains(parent));
        below.entry(parent).or_default().push(one);
    }
    let mut todo = below.remove(&None).unwrap_or_default();
    todo.reverse();
    let mut ordered = Vec::new();
    while let Some(one) = todo.pop() {
        let children = below.remove(&Some(one.id)).unwrap_or_default();
        todo.extend(children.into_iter().rev());
        ordered.push(one);
    }
    ordered
}

pub(super) fn row(supervisor: &Shared, now: Instant, room: usize) -> SupervisorRow {
    let (row, stuck) = {
        let inner = supervisor.lock();
        let children: Vec<ChildRow> = (inner.children.iter())
            .take(room)
            .map(|(key, facts)| child(*key, facts, now))
            .collect();
        let stuck: Vec<_> = (inner.children.iter())
            .take(room)
            .map(|(_, facts)| facts.run.clone().filter(|_| facts.state == ChildState::Stuck))
            .collect();
        (SupervisorRow::new(supervisor, &inner, children, now), stuck)
    };
    let mut row = row;
    // Outside of the lock: it looks into scopes, and lets go of runs.
    for (child, run) in row.children.iter_mut().zip(stuck) {
        child.stuck = run.is_some_and(|run| !run.scope.is_quiet());
    }
    row
}

impl SupervisorRow {
    fn new(supervisor: &Shared, inner: &Inner, children: Vec<ChildRow>, now: Instant) -> Self {
        Self {
            id: supervisor.id,
            parent: supervisor.parent,
            path: Arc::clone(&supervisor.path),
            strategy: supervisor.strategy,
            state: inner.state,
            cause: inner.cause.clone(),
            intensity: inner.budget.allowed(),
            period: inner.budget.period(),
            budget_remaining: inner.budget.left(now),
            children,
        }
    }
}

fn child(key: u64, facts: &Facts, now: Instant) -> ChildRow {
    let run = facts.run.as_ref();
    ChildRow {
        id: ChildId(key),
        name: Arc::clone(&facts.name),
        kind: facts.kind,
        is_supervisor: facts.is_supervisor,
        restart: facts.restart,
        significant: facts.significant,
        state: facts.state,
        task: run.and_then(|run| run.task()),
        age: run.map(|run| now.saturating_duration_since(run.since)),
        restarts: facts.restarts,
        last_exit: facts.last.clone(),
        next_restart: facts.next.map(|at| at.saturating_duration_since(now)),
        backs_off: facts.backs_off,
        overdue: run.is_some_and(|run| run.is_overdue()),
        stuck: false,
    }
}
