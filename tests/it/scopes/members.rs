//! Who is in a scope.

use std::future::pending;

use lifespan::{Builder, JoinSet, Scope, Track, registry};

use super::settle;
use crate::support::{rows_of, wait_until};

/// The paths of the scopes that tasks of a kind are in.
fn scopes_of(kind: &'static str) -> Vec<Option<String>> {
    let rows = rows_of(lifespan::KindId::named(kind));
    rows.into_iter()
        .map(|row| row.scope.map(|scope| scope.to_string()))
        .collect()
}

#[tokio::test]
async fn every_way_in_inherits_the_scope_of_the_task_that_spawns() {
    const KIND: &str = "scope-inherit";
    let scope = Scope::new("inherit").child("request");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (release_thread, held_thread) = std::sync::mpsc::channel::<()>();
    let parent = scope.spawn("scope-inherit-parent", |_| async move {
        lifespan::spawn(KIND, pending::<()>());
        lifespan::spawn_on(KIND, pending::<()>(), &tokio::runtime::Handle::current());
        Builder::new(KIND).name("named").spawn(pending::<()>());
        lifespan::spawn_blocking(KIND, move || held.recv());
        lifespan::thread::spawn(KIND, move || held_thread.recv());
        let mut set = JoinSet::new();
        set.spawn(KIND, pending::<()>());
        set.detach_all();
        // Through another tracked future, and a task that is not the scope's own child.
        async {
            drop(lifespan::spawn(KIND, pending::<()>()));
        }
        .tracked("scope-inherit-within")
        .await;
        lifespan::spawn("scope-inherit-between", async {
            drop(lifespan::spawn(KIND, pending::<()>()));
        })
        .await
        .unwrap();
        #[expect(clippy::disallowed_methods, reason = "a spawner that is not ours")]
        tokio::spawn(pending::<()>().tracked(KIND));
        pending::<()>().await;
    });
    settle().await;
    wait_until("all were spawned", || scopes_of(KIND).len() == 9);
    let all = scopes_of(KIND);
    assert!(
        all.iter()
            .all(|scope| scope.as_deref() == Some("inherit/request")),
        "{all:?}"
    );
    assert_eq!(scope.tasks(), 10);
    let named = rows_of(lifespan::KindId::named(KIND));
    assert_eq!(
        named
            .iter()
            .filter(|row| row.name.as_deref() == Some("named"))
            .count(),
        1
    );
    drop((release, release_thread));
    parent.abort();
    let _ = scope.close(super::SECOND).await;
}

#[tokio::test]
async fn local_tasks_inherit_too() {
    const KIND: &str = "scope-local";
    let scope = Scope::new("inherit-local");
    let handle = tokio::runtime::Handle::current();
    let found = scope.spawn("scope-local-opener", |_| async move {
        // A job of the scope that runs a set of its own.
        let job = lifespan::spawn_blocking("scope-local-job", move || {
            let local = tokio::task::LocalSet::new();
            handle.block_on(local.run_until(async {
                let task = lifespan::spawn_local(KIND, pending::<()>());
                let mut set = JoinSet::new();
                set.spawn_local(KIND, pending::<()>());
                let found = scopes_of(KIND);
                task.abort();
                found
            }))
        });
        job.await.unwrap()
    });
    assert_eq!(
        found.await.unwrap(),
        [Some("inherit-local".to_owned()), Some("inherit-local".to_owned())]
    );
    assert!(scope.close(super::SECOND).await.is_clean());
}

#[tokio::test]
async fn tasks_outside_of_scopes_have_none_and_root_is_the_way_out() {
    const KIND: &str = "scope-outside";
    let outside = lifespan::spawn(KIND, pending::<()>());
    assert_eq!(scopes_of(KIND), [None]);
    outside.abort();
    let _ = outside.await;
    let scope = Scope::new("way-out");
    let (told, daemon) = tokio::sync::oneshot::channel();
    let opener = scope.spawn("scope-outside-opener", |_| async {
        let daemon = Scope::root().spawn("scope-outside-daemon", |_| pending::<()>());
        told.send(daemon).unwrap();
    });
    opener.await.unwrap();
    let daemon = daemon.await.unwrap();
    assert_eq!(scopes_of("scope-outside-daemon"), [Some("root".to_owned())]);
    assert!(scope.close(super::SECOND).await.is_clean());
    assert!(!daemon.is_finished());
    daemon.abort();
}

#[tokio::test]
async fn rows_and_orphans_are_as_without_a_scope() {
    let scope = Scope::new("orphan-within");
    let task = scope.spawn("scope-orphan", |_| pending::<()>());
    settle().await;
    registry::sweep();
    registry::sweep();
    let rows = rows_of(lifespan::KindId::named("scope-orphan"));
    assert!(rows[0].orphaned);
    assert!(!rows[0].overstayed);
    task.abort();
}
