//! How scopes end.

use std::future::pending;
use std::time::Duration;

use lifespan::scope::{ABORT_WAIT, Cause, DEFAULT_GRACE, Fate, ScopeState};
use lifespan::{KindId, Outcome, Reason, Scope, registry};
use tokio::time::{Instant, advance, sleep};

use super::{SECOND, settle};
use crate::support::{Counts, assert_settled, rows_of};

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_tasks_that_stop_by_themselves() {
    let scope = Scope::new("polite");
    let child = scope.child("child");
    for scope in [&scope, &child] {
        scope.spawn("scope-polite", |cx| async move {
            assert_eq!(cx.cancelled().await.cause(), Cause::Closed);
            sleep(SECOND * 2).await;
        });
    }
    let report = scope.close(SECOND * 5).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.took, SECOND * 2);
    assert_eq!(
        (scope.state(), child.state()),
        (ScopeState::Closed, ScopeState::Closed)
    );
    let mut expected = Counts::default();
    expected.add(Outcome::Completed);
    expected.add(Outcome::Completed);
    // Not settled some time later: at once.
    assert_eq!(Counts::of("scope-polite"), expected);
    assert_settled(KindId::named("scope-polite"), expected);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_stop_is_aborted_and_named() {
    let scope = Scope::new("stubborn");
    let child = scope.child("child");
    advance(SECOND).await;
    let line = line!() + 1;
    let task = child.spawn("scope-stubborn", |_| pending::<()>());
    let id = rows_of(KindId::named("scope-stubborn"))[0].id;
    let report = scope.close(SECOND * 5).await;
    assert_eq!(report.took, SECOND * 5);
    let [late] = &report.late[..] else {
        panic!("{report}")
    };
    assert_eq!((late.kind.name(), late.id), ("scope-stubborn", Some(id)));
    assert_eq!((&*late.scope, late.age), ("stubborn/child", SECOND * 5));
    let site = late.spawned_at.unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
    assert_eq!(late.fate, Fate::Ended);
    assert_eq!(report.survivors().count(), 0);
    assert!(report.to_string().contains("scope-stubborn, task"), "{report}");
    assert!(task.await.unwrap_err().is_cancelled());
    let mut expected = Counts::default();
    expected.add(Outcome::Cancelled);
    assert_settled(KindId::named("scope-stubborn"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_thread_cannot_be_aborted_and_overstays() {
    const KIND: &str = "scope-thread";
    let scope = Scope::new("overstay");
    let (release, held) = std::sync::mpsc::channel::<()>();
    scope
        .spawn("scope-thread-opener", |_| async move {
            lifespan::thread::spawn(KIND, move || held.recv());
        })
        .await
        .unwrap();
    let overstayed = || rows_of(KindId::named(KIND))[0].overstayed;
    let report = scope.close(SECOND * 3).await;
    let [late] = &report.late[..] else {
        panic!("{report}")
    };
    assert_eq!((late.kind.name(), late.fate), (KIND, Fate::Unabortable));
    // Nothing to wait for after the grace.
    assert_eq!(report.took, SECOND * 3);
    advance(Duration::from_millis(1)).await;
    assert!(overstayed());
    let swept = || {
        let sweep = registry::sweep();
        let states = sweep.kinds.iter().find(|states| states.kind.name() == KIND);
        states.map(|states| states.overstayed)
    };
    assert_eq!(swept(), Some(1));
    drop(release);
    let mut expected = Counts::default();
    expected.add(Outcome::Completed);
    assert_settled(KindId::named(KIND), expected);
    crate::support::wait_until("the scope is empty", || scope.tasks() == 0);
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_takes_no_effect_is_waited_for_a_second() {
    const KIND: &str = "scope-blocks";
    let scope = Scope::new("blocks");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (started, start) = std::sync::mpsc::channel::<()>();
    // On a worker of another runtime, which it blocks.
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let entered = other.enter();
    let task = scope.spawn(KIND, |_| async move {
        started.send(()).unwrap();
        held.recv().unwrap_err();
    });
    drop(entered);
    start.recv().unwrap();
    let report = scope.close(SECOND).await;
    assert_eq!(report.late[0].fate, Fate::Aborted);
    assert_eq!(report.took, SECOND + ABORT_WAIT);
    assert!(report.to_string().contains("aborted, and alive"), "{report}");
    drop(release);
    task.await.unwrap();
    let mut expected = Counts::default();
    expected.add(Outcome::Completed);
    assert_settled(KindId::named(KIND), expected);
    other.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn closing_again_is_harmless_and_tells_of_those_that_are_still_there() {
    const KIND: &str = "scope-again";
    let scope = Scope::new("again");
    let (release, held) = std::sync::mpsc::channel::<()>();
    scope
        .spawn("scope-again-opener", |_| async move {
            lifespan::thread::spawn(KIND, move || held.recv());
        })
        .await
        .unwrap();
    let (one, two) = tokio::join!(scope.close(SECOND), scope.close(SECOND * 2));
    assert_eq!((one.late.len(), two.late.len()), (1, 1));
    drop(release);
    crate::support::wait_until("the thread has ended", || scope.tasks() == 0);
    assert!(scope.close(SECOND).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_has_cancelled_and_can_be_called_anew() {
    let scope = Scope::new("dropped-close");
    let task = scope.spawn("scope-dropped-close", |_| pending::<()>());
    let dropped = tokio::time::timeout(SECOND, scope.close(SECOND * 60)).await;
    assert!(dropped.is_err());
    assert_eq!(scope.state(), ScopeState::Cancelled);
    assert!(!task.is_finished());
    let report = scope.close(SECOND).await;
    assert_eq!(report.late.len(), 1);
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn what_is_spawned_into_a_closed_scope_is_aborted() {
    let scope = Scope::new("late-spawn");
    let inside = scope.context();
    assert!(scope.close(SECOND).await.is_clean());
    let task = scope.spawn("scope-late-spawn", |_| pending::<()>());
    assert!(task.await.unwrap_err().is_cancelled());
    let child = inside.scope().child("later");
    assert_eq!(child.state(), ScopeState::Closed);
    let task = child.spawn("scope-late-spawn", |_| pending::<()>());
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(scope.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_cancelled_scope_overstay_after_the_default_grace() {
    let scope = Scope::new("cancelled-only");
    let task = scope.spawn("scope-cancelled-only", |_| pending::<()>());
    scope.cancel(Reason::new("enough"));
    let overstayed = || rows_of(KindId::named("scope-cancelled-only"))[0].overstayed;
    advance(DEFAULT_GRACE).await;
    assert!(!overstayed());
    advance(Duration::from_millis(1)).await;
    assert!(overstayed());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_are_counted_when_a_close_returns() {
    const KIND: &str = "scope-thousand";
    let start = Instant::now();
    let scope = Scope::new("thousand");
    for at in 0..1_000u32 {
        scope.child("request").spawn(KIND, move |cx| async move {
            cx.cancelled().await;
            match at % 4 {
                0 => pending().await,
                1 => sleep(SECOND).await,
                2 => panic!("told to"),
                _ => drop(lifespan::spawn(KIND, pending::<()>())),
            }
        });
    }
    let report = scope.close(SECOND * 2).await;
    assert_eq!(start.elapsed(), SECOND * 2);
    assert_eq!(report.late.len(), 500);
    assert_eq!(report.survivors().count(), 0);
    let counts = Counts::of(KIND);
    assert_eq!((counts.spawned, counts.ended()), (1_250, 1_250));
    assert_eq!(counts.finished[Outcome::Panicked as usize], 250);
    settle().await;
    assert_eq!(scope.tasks(), 0);
}
