//! A test fails where its own tasks outlive it, and no other's.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use lifespan::testing::{DEFAULT_WAIT, LeakGuard};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

const KIND: &str = "leak-guard-worker";

/// What a test fails with; `None` where it passes.
async fn failure(test: impl Future<Output = ()>) -> Option<String> {
    let result = AssertUnwindSafe(test).catch_unwind().await;
    result.err().map(|panic| *panic.downcast::<String>().unwrap())
}

/// Of five tests of one kind, one leaks.
async fn test(number: u32) {
    LeakGuard::new()
        .wait(Duration::from_millis(50))
        .run(async move {
            let (go, gone) = oneshot::channel::<()>();
            match number % 20 {
                0 => drop(lifespan::spawn(KIND, pending::<()>())),
                5 => {
                    let kept = lifespan::spawn(KIND, gone);
                    lifespan::spawn(KIND, async move { drop((kept.await, go)) });
                }
                10 => drop(lifespan::spawn(KIND, async {
                    drop(lifespan::spawn(KIND, sleep(DEFAULT_WAIT * 100)));
                })),
                15 => drop(lifespan::Scope::new("other").child("own").spawn(KIND, |_| async {
                    lifespan::spawn(KIND, pending::<()>());
                })),
                odd if odd % 2 == 1 => drop(lifespan::spawn(KIND, sleep(Duration::from_millis(5)))),
                _ => {
                    drop(go);
                    lifespan::spawn(KIND, gone).await.unwrap().unwrap_err();
                }
            }
        })
        .await;
}

#[test]
fn of_a_hundred_tests_at_once_exactly_those_fail_that_leak() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let tests: Vec<_> = (0..100)
        .map(|number| runtime.spawn(async move { failure(test(number)).await }))
        .collect();
    for (number, test) in (0u32..).zip(tests) {
        let failure = runtime.block_on(test).unwrap();
        // Number 15 of 20 names a scope of its own, whose tasks are not the test's.
        let leaks = matches!(number % 20, 0 | 5 | 10);
        assert_eq!(failure.is_some(), leaks, "{number}: {failure:?}");
        let Some(failure) = failure else { continue };
        let tasks = if number % 20 == 5 {
            "2 tasks outlive"
        } else {
            "1 task outlives"
        };
        assert!(failure.starts_with(tasks), "{failure}");
        assert!(
            failure.contains(&format!("x `{KIND}`, spawned at {}:", file!())),
            "{failure}"
        );
    }
    runtime.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn the_message_says_what_is_left_and_what_to_do() {
    let line = line!() + 3;
    let left = failure(LeakGuard::new().run(async {
        for _ in 0..10 {
            lifespan::spawn("leak-guard-message", pending::<()>());
        }
        lifespan::spawn("leak-guard-other", sleep(DEFAULT_WAIT * 10));
        tokio::task::yield_now().await;
    }))
    .await
    .unwrap();
    let lines: Vec<&str> = left.lines().collect();
    let guard = format!(
        "11 tasks outlive the test of the guard at {}:{}:",
        file!(),
        line - 2
    );
    assert!(lines[0].starts_with(&guard), "{left}");
    let many = format!("  10 x `leak-guard-message`, spawned at {}:{line}:", file!());
    assert!(lines[1].starts_with(&many), "{left}");
    assert!(lines[1].contains(", ...): it is idle"), "{left}");
    assert!(lines[1].ends_with("nothing is left that could wake it"), "{left}");
    assert!(lines[2].starts_with("  1 x `leak-guard-other`"), "{left}");
    assert!(lines[3].contains("ignore_kind"), "{left}");
}

#[tokio::test(start_paused = true)]
async fn tasks_have_until_the_wait_is_over() {
    let lives = |lifetime| async move {
        lifespan::spawn(KIND, sleep(lifetime));
    };
    let start = Instant::now();
    let guard = || LeakGuard::new().wait(Duration::from_secs(60));
    assert_eq!(failure(guard().run(lives(Duration::from_secs(50)))).await, None);
    assert!(start.elapsed() < Duration::from_secs(51));
    assert!(
        failure(guard().run(lives(Duration::from_secs(70))))
            .await
            .is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_ignored_may_live_on() {
    let body = || async {
        lifespan::spawn("leak-guard-pool", pending::<()>());
    };
    assert_eq!(
        failure(LeakGuard::new().ignore_kind("leak-guard-pool").run(body())).await,
        None
    );
    assert_eq!(
        failure(LeakGuard::new().ignore_site("leaks/guard.rs").run(body())).await,
        None
    );
    let others = LeakGuard::new()
        .ignore_kind("leak-guard-pools")
        .ignore_site("leaks/guards.rs");
    assert!(failure(others.run(body())).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_keeps_its_output_and_its_panic() {
    assert_eq!(LeakGuard::new().run(async { 42 }).await, 42);
    let panics = async {
        lifespan::spawn(KIND, pending::<()>());
        std::panic::panic_any("its own".to_owned());
    };
    assert_eq!(
        failure(LeakGuard::new().run(panics)).await.as_deref(),
        Some("its own")
    );
}

#[tokio::test]
async fn a_guard_that_nobody_checks_looks_when_it_is_dropped() {
    let left = failure(async {
        let guard = LeakGuard::new();
        guard.scope().spawn(KIND, |_| pending::<()>());
    });
    assert!(left.await.unwrap().starts_with("1 task outlives"));
    let clean = failure(async {
        let guard = LeakGuard::new();
        guard
            .scope()
            .child("child")
            .spawn(KIND, |_| async {})
            .await
            .unwrap();
        guard.check().await;
    });
    assert_eq!(clean.await, None);
}

/// A job on the pool for blocking code counts, too.
#[test]
fn a_blocking_job_is_named_as_one() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let left = runtime.block_on(failure(LeakGuard::new().wait(Duration::from_millis(10)).run(
        async move {
            lifespan::spawn_blocking("leak-guard-blocking", move || ended.recv());
        },
    )));
    assert!(left.unwrap().contains("and cannot be aborted"));
    drop(end);
}
