//! The tree of scopes, as a reader sees it.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Scope;
use super::node::{self, Node};
use super::reason::Reason;
use super::standing::ScopeState;
use crate::task::TaskId;
use crate::task::kind::KindId;

/// How many scopes a view shows at most.
pub const MAX_SHOWN: usize = 100_000;

/// The scopes that are alive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scopes {
    /// How many there are.
    pub total: usize,
    /// The first of them, each before those in it.
    pub scopes: Vec<ScopeRow>,
}

/// One scope, as it was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScopeRow {
    /// Its number, of which no other scope of the process has the same.
    pub id: u64,
    /// That of the scope that it is in.
    pub parent: Option<u64>,
    /// Its name.
    pub name: Box<str>,
    /// The names of the scopes that it is in, and its own, with `/` between them.
    pub path: Arc<str>,
    /// What it is doing.
    pub state: ScopeState,
    /// Why it was cancelled, if it was.
    pub reason: Option<Reason>,
    /// How long it has until its deadline, if it has one; zero once that has passed.
    pub deadline_left: Option<Duration>,
    /// How many tasks are alive in it, those in scopes in it not counted.
    pub tasks: usize,
    /// How many of them have overstayed.
    pub overstayed: usize,
    /// How many cleanups a close would run, those of scopes in it not counted.
    pub cleanups: usize,
}

/// Looks at all scopes that are alive, and shows the first `limit` of them (at most [`MAX_SHOWN`]).
///
/// Weakly consistent, like rows of tasks: each scope as one look found it.
///
/// # Examples
///
/// ```
/// use lifespan::{Scope, scope};
///
/// let request = Scope::new("seen");
/// let seen = scope::all(usize::MAX).scopes;
/// assert!(seen.iter().any(|scope| &*scope.path == "seen"));
/// ```
#[must_use]
pub fn all(limit: usize) -> Scopes {
    let now = Instant::now();
    let limit = limit.min(MAX_SHOWN);
    let (mut total, mut scopes) = (0usize, Vec::new());
    for node in node::walk(node::all_roots()) {
        total = total.saturating_add(1);
        if scopes.len() < limit {
            scopes.push(row(&node, now));
        }
    }
    Scopes { total, scopes }
}

/// A task of a scope, or of one in it.
#[derive(Clone, Debug)]
pub(crate) struct Alive {
    pub(crate) id: Option<TaskId>,
    pub(crate) kind: KindId,
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    pub(crate) blocks: bool,
}

/// The tasks that are alive in a scope and in those in it, the oldest first.
pub(crate) fn members(scope: &Scope) -> Vec<Alive> {
    let mut found = Vec::new();
    for node in scope.node().subtree() {
        found.extend(node.lock().members());
    }
    found.sort_by_key(|member| member.key);
    let view = |member: &Arc<node::Member>| Alive {
        id: member.id,
        kind: member.kind,
        spawned_at: member.site,
        blocks: member.blocks,
    };
    found.iter().map(view).collect()
}

/// How many scopes there are that are not closed.
#[must_use]
pub fn open() -> u64 {
    node::open()
}

fn row(node: &Node, now: Instant) -> ScopeRow {
    let inner = node.lock();
    let (standing, tasks) = (&inner.standing, inner.tasks());
    ScopeRow {
        id: node.id,
        parent: node.parent().map(|parent| parent.id),
        name: node.name.clone(),
        path: Arc::clone(&node.path),
        state: standing.state(now),
        reason: standing.reason(now),
        deadline_left: standing
            .deadline()
            .map(|deadline| deadline.saturating_duration_since(now)),
        tasks,
        overstayed: if standing.overstays(now) { tasks } else { 0 },
        cleanups: inner.cleanups.len(),
    }
}
