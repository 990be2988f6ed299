//! Scopes: who is cancelled and why, who is in them, and how they end. Time is tokio's paused clock throughout.

mod cleanups;
mod close;
mod joins;
mod members;
#[cfg(all(feature = "prometheus", feature = "server"))]
mod views;

use std::future::pending;
use std::time::Duration;

use lifespan::scope::{Cause, ScopeState};
use lifespan::{Reason, Scope};
use proptest::prelude::*;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

proptest! {
    #[test]
    fn cancellation_reaches_exactly_the_subtree(
        parents in prop::collection::vec(any::<prop::sample::Index>(), 1..24),
        cancelled in any::<prop::sample::Index>(),
    ) {
        let mut scopes = vec![Scope::new("tree")];
        let mut above = vec![None];
        for parent in parents {
            let parent = parent.index(scopes.len());
            scopes.push(scopes[parent].child("node"));
            above.push(Some(parent));
        }
        let cancelled = cancelled.index(scopes.len());
        scopes[cancelled].cancel(Reason::new("this one"));
        for (at, scope) in scopes.iter().enumerate() {
            let mut path = std::iter::successors(Some(at), |at| above[*at]);
            let reached = path.any(|node| node == cancelled);
            prop_assert_eq!(scope.reason(), reached.then(|| Reason::new("this one")));
            prop_assert_eq!(scope.context().is_cancelled(), reached);
            prop_assert_eq!(scope.child("later").reason(), scope.reason());
        }
    }

    #[test]
    fn a_tree_of_deadlines_only_tightens(
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 1u64..1_000), 1..24),
    ) {
        let start = Instant::now() + SECOND * 3_600;
        let mut scopes = vec![Scope::new("tree")];
        let mut above = vec![None];
        for (at, is_child, seconds) in steps {
            let at = at.index(scopes.len());
            let before: Vec<_> = scopes.iter().map(|scope| scope.context().deadline()).collect();
            if is_child {
                scopes.push(scopes[at].child("node"));
                above.push(Some(at));
            } else {
                let _ = scopes[at].clone().deadline(start + SECOND * u32::try_from(seconds).unwrap());
            }
            for (scope, before) in scopes.iter().zip(before) {
                let now = scope.context().deadline();
                prop_assert!(before.is_none_or(|before| now.is_some_and(|now| now <= before)));
            }
            for (scope, parent) in scopes.iter().zip(&above) {
                let Some(parent) = parent else { continue };
                let (own, parent) = (scope.context().deadline(), scopes[*parent].context().deadline());
                prop_assert!(parent.is_none_or(|parent| own.is_some_and(|own| own <= parent)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_is_a_reason_of_its_own() {
    let start = Instant::now();
    let request = Scope::new("deadline").timeout(SECOND * 3).timeout(SECOND * 5);
    let query = request.child("query");
    let told = query.spawn("scope-deadline", |cx| async move { cx.cancelled().await });
    assert_eq!(query.state(), ScopeState::Open);
    assert_eq!(told.await.unwrap().cause(), Cause::Deadline);
    assert_eq!(start.elapsed(), SECOND * 3);
    assert_eq!(query.state(), ScopeState::Cancelled);
    // Too late for another reason.
    assert!(!request.cancel(Reason::new("client went away")));
    assert_eq!(query.reason().unwrap().cause(), Cause::Deadline);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_nearer_wakes_who_waits_already() {
    let start = Instant::now();
    let request = Scope::new("tighten").timeout(SECOND * 60);
    let query = request.child("query");
    let told = query.spawn("scope-tighten", |cx| async move { cx.cancelled().await });
    settle().await;
    let _ = request.clone().timeout(SECOND);
    assert_eq!(told.await.unwrap().cause(), Cause::Deadline);
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_stays() {
    let service = Scope::new("service");
    let request = service.child("request");
    assert!(request.cancel(Reason::new("client went away")));
    assert!(!request.cancel(Reason::new("again")));
    let other = service.child("request");
    let told = other.spawn("scope-reason", |cx| async move { cx.cancelled().await });
    settle().await;
    assert!(service.cancel(Reason::new("maintenance")));
    assert_eq!(told.await.unwrap().message(), "maintenance");
    assert_eq!(request.reason(), Some(Reason::new("client went away")));
    assert_eq!(other.reason(), Some(Reason::new("maintenance")));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handles_of_a_scope_cancels_nothing() {
    let service = Scope::new("dropped-handles");
    let request = service.child("request");
    let (answer, asked) = tokio::sync::oneshot::channel::<()>();
    let task = request.spawn("scope-dropped", |cx| async move {
        let _ = asked.await;
        cx.reason()
    });
    drop(request);
    assert_eq!(service.tasks(), 1);
    answer.send(()).unwrap();
    assert_eq!(task.await.unwrap(), None);
    assert_eq!(service.tasks(), 0);
}

#[tokio::test]
async fn a_scope_that_is_gone_leaves_nothing() {
    let here = |path: &str| {
        let all = lifespan::scope::all(usize::MAX);
        all.scopes
            .iter()
            .filter(|scope| scope.path.starts_with(path))
            .count()
    };
    let gone = Scope::new("gone-root");
    let child = gone.child("child");
    let task = child.spawn("scope-gone", |_| pending::<()>());
    assert_eq!(here("gone-root"), 2);
    drop((gone, child));
    // The task is still in it.
    assert_eq!(here("gone-root"), 2);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    crate::support::wait_until("the scope is gone", || {
        let _ = lifespan::registry::sweep();
        here("gone-root") == 0
    });
}

#[test]
fn a_chain_deeper_than_a_stack_can_be_cancelled_and_dropped() {
    let top = Scope::new("deep");
    let mut last = top.clone();
    // Not more, since other tests look at the first 100,000 scopes.
    for _ in 0..50_000 {
        last = last.child("deeper");
    }
    top.cancel(Reason::new("all of it"));
    assert_eq!(last.reason(), Some(Reason::new("all of it")));
    assert!(last.path().len() <= 256, "{}", last.path());
    drop(top);
    drop(last);
}

#[test]
fn names_are_cleaned_and_cut() {
    let scope = Scope::new("a\u{0}b\u{202e}\n").child("x".repeat(1_000));
    assert_eq!(scope.path(), format!("a_b__/{}", "x".repeat(64)));
    assert_eq!(Scope::new("").path(), "unnamed");
    assert_eq!(Reason::new("\u{1b}[2J").message(), "_[2J");
}
