//! What a scope does on close.

use std::future::pending;
use std::panic::panic_any;
use std::sync::{Arc, Mutex};

use lifespan::Scope;
use lifespan::scope::{CleanupRefused, Fault, MAX_CLEANUPS};
use tokio::time::sleep;

use super::SECOND;

#[tokio::test(start_paused = true)]
async fn cleanups_run_in_reverse_order_inner_scopes_first_and_after_the_tasks() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let order = Arc::clone(&order);
        async move { order.lock().unwrap().push(what) }
    };
    let scope = Scope::new("cleanups");
    scope.on_close("first", SECOND, note("first")).unwrap();
    let child = scope.child("child");
    child.on_close("inner", SECOND, note("inner")).unwrap();
    scope.on_close("second", SECOND, note("second")).unwrap();
    let stopped = note("task");
    scope.spawn("scope-cleanup-task", |cx| async move {
        cx.cancelled().await;
        sleep(SECOND).await;
        stopped.await;
    });
    let report = scope.close(SECOND * 5).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(*order.lock().unwrap(), ["task", "inner", "second", "first"]);
    // Each once.
    assert!(scope.close(SECOND).await.is_clean());
    assert_eq!(order.lock().unwrap().len(), 4);
}

/// A payload whose own drop panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bomb");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_or_is_late_stops_no_other() {
    let done = Arc::new(Mutex::new(false));
    let last = Arc::clone(&done);
    let scope = Scope::new("faults");
    scope
        .on_close("fine", SECOND, async move { *last.lock().unwrap() = true })
        .unwrap();
    scope.on_close("late", SECOND, pending()).unwrap();
    scope
        .on_close("panics", SECOND, async { panic!("told to") })
        .unwrap();
    scope.on_close("bomb", SECOND, async { panic_any(Bomb) }).unwrap();
    let report = scope.close(SECOND).await;
    let faults: Vec<(&str, &Fault)> = report
        .cleanups
        .iter()
        .map(|cleanup| (&*cleanup.name, &cleanup.fault))
        .collect();
    let panicked = |message: &str| Fault::Panicked(message.to_owned());
    assert_eq!(
        faults,
        [
            ("bomb", &panicked("(a panic without a message)")),
            ("panics", &panicked("told to")),
            ("late", &Fault::Late),
        ]
    );
    assert!(*done.lock().unwrap());
    assert_eq!(report.took, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_closed_or_full_takes_none() {
    let scope = Scope::new("refused");
    for _ in 0..MAX_CLEANUPS {
        scope.on_close("one", SECOND, async {}).unwrap();
    }
    assert_eq!(scope.on_close("one", SECOND, async {}), Err(CleanupRefused::Full));
    assert!(scope.close(SECOND).await.is_clean());
    assert_eq!(
        scope.on_close("one", SECOND, async {}),
        Err(CleanupRefused::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_never_closed_drops_its_cleanups_undone() {
    let scope = Scope::new("undone");
    let bomb = Bomb;
    let ran = Arc::new(Mutex::new(false));
    let told = Arc::clone(&ran);
    scope
        .on_close("undone", SECOND, async move {
            *told.lock().unwrap() = true;
            drop(bomb);
        })
        .unwrap();
    // Its destructor panics, and that goes no further.
    drop(scope);
    assert!(!*ran.lock().unwrap());
    assert_eq!(Arc::strong_count(&ran), 1);
}
