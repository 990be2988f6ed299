//! The way a scope ends: cancel, wait, abort, clean up.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::node::{Member, Node};
use super::reason::Reason;
use super::report::{CleanupFault, Fate, Late, late};
use crate::event::{self, Event, Subject};

/// How long a close waits for tasks that it has aborted. An abort takes effect when the runtime gets to the task: at
/// once, unless the task blocks its thread.
pub const ABORT_WAIT: Duration = Duration::from_secs(1);

/// A grace that no clock can tell: as good as for ever.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// What a close of several scopes found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) late: Vec<Late>,
    pub(crate) cleanups: Vec<CleanupFault>,
}

/// The tasks that a close has given up, so that a later one need not wait for them again.
#[derive(Debug, Default)]
pub(crate) struct GivenUp(HashSet<u64>);

impl GivenUp {
    pub(super) fn has(&self, member: &Member) -> bool {
        self.0.contains(&member.key)
    }
}

/// Closes scopes, all at a time. Tasks that were given up already are left out.
///
/// Every step is taken once and written down in the tree, so that a close that is dropped can be called anew.
pub(super) async fn close(nodes: &[Arc<Node>], grace: Duration, given_up: &mut GivenUp) -> Found {
    let until = Instant::now() + grace.min(FOREVER);
    for node in nodes {
        node.cancel(&Reason::closed());
        for below in node.subtree() {
            below.lock().standing.grant(until);
        }
    }
    for node in nodes {
        // A timeout is what the rest is for.
        let _ = timeout_at(until, until_left(node, || node.is_quiet_but(given_up))).await;
    }
    let at = Instant::now();
    let left: Vec<Vec<(Arc<Member>, bool)>> =
        (nodes.iter()).map(|node| abort(node.shut(), given_up)).collect();
    for (node, left) in nodes.iter().zip(&left) {
        let stopped = || {
            let mut wanted = left.iter().filter(|(_, abortable)| *abortable);
            wanted.all(|(member, _)| member.has_left())
        };
        let _ = timeout_at(at + ABORT_WAIT, until_left(node, stopped)).await;
    }
    let mut found = Found::default();
    for (member, abortable) in left.iter().flatten() {
        found.late.push(late(member, at, *abortable));
        given_up.0.insert(member.key);
    }
    found
        .late
        .iter()
        .take(MOST_TOLD)
        .for_each(|late| tell(late, grace));
    for node in nodes {
        found.cleanups.extend(clean_up(node).await);
    }
    found
}

/// Aborts tasks, and says of each whether that is possible.
fn abort(left: Vec<Arc<Member>>, given_up: &GivenUp) -> Vec<(Arc<Member>, bool)> {
    let left = left.into_iter().filter(|member| !given_up.has(member));
    left.map(|member| {
        let has_handle = member.abort();
        let abortable = has_handle && !member.blocks;
        (member, abortable)
    })
    .collect()
}

/// How many late tasks a close tells of at most: all are in its report, and the journal has room for others.
const MOST_TOLD: usize = 64;

fn tell(late: &Late, grace: Duration) {
    let subject = || Subject {
        task: late.id,
        kind: Some(late.kind),
        name: late.name.as_deref().map(Arc::from),
        ..Subject::default()
    };
    event::emit(subject(), Event::StopTimedOut { grace });
    if late.fate != Fate::Unabortable {
        event::emit(subject(), Event::Aborted);
    }
    if late.fate != Fate::Ended {
        event::emit(subject(), Event::Stuck { after: grace });
    }
}

/// Waits until no task is in a scope, at most until then; says whether none is.
pub(super) async fn quiet(node: &Arc<Node>, until: Option<Instant>) -> bool {
    if node.is_quiet() {
        return true;
    }
    let left = until_left(node, || node.is_quiet());
    if let Some(until) = until {
        return timeout_at(until, left).await.is_ok();
    }
    left.await;
    true
}

/// Waits until `done` holds, which only the end of a task makes true.
async fn until_left(node: &Node, done: impl Fn() -> bool) {
    loop {
        let mut emptied = pin!(node.emptied.notified());
        // Listening before looking: a task that ends in between is then heard.
        emptied.as_mut().enable();
        if done() {
            return;
        }
        emptied.await;
    }
}

/// Runs what was to be done on close: scopes inside before those around them, and in each the last first.
async fn clean_up(node: &Arc<Node>) -> Vec<CleanupFault> {
    let mut faults = Vec::new();
    for scope in node.subtree().into_iter().rev() {
        loop {
            // Taken out before it runs: of two closes at a time, one runs it.
            let next = scope.lock().cleanups.pop();
            let Some(cleanup) = next else { break };
            faults.extend(cleanup.run().await);
        }
    }
    faults
}
