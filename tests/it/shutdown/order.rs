//! What ends when: on tokio's paused clock, each in a process of its own.

use std::future::pending;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use lifespan::event::{self, Event};
use lifespan::scope::{Context, Fate, ScopeState};
use lifespan::shutdown::{self, Phase, Settings};
use lifespan::{KindId, Reason, Scope};
use tokio::time::{Instant, sleep};

use super::alone::passes_alone;
use crate::support::{rows_of, wait_until};

const SECOND: Duration = Duration::from_secs(1);

/// What has happened, in its order.
type Diary = Arc<Mutex<Vec<&'static str>>>;

/// Ends so long after it was told to.
async fn ends(cx: Context, after: Duration, diary: Diary, name: &'static str) {
    let reason = cx.cancelled().await;
    assert_eq!(reason.message(), "enough");
    sleep(after).await;
    diary.lock().unwrap().push(name);
}

/// Says that it is enough, and is then as stubborn as a service can be.
async fn enough() {
    assert!(shutdown::initiate(Reason::new("enough")));
    assert!(!shutdown::initiate(Reason::new("more than enough")));
    pending::<()>().await;
}

#[test]
fn scopes_are_closed_in_reverse_order() {
    passes_alone("order::reverse_order_alone");
}

#[tokio::test(start_paused = true)]
#[ignore = "needs a process of its own"]
async fn reverse_order_alone() {
    assert_eq!(shutdown::phase(), Phase::Running);
    let (diary, start) = (Diary::default(), Instant::now());
    let noted = Arc::clone(&diary);
    let finished = Settings::new()
        .run(move |root| async move {
            let note = || Arc::clone(&noted);
            let _own = root.spawn("order", {
                let diary = note();
                |cx| ends(cx, SECOND, diary, "root")
            });
            // Whatever the service's own future spawns is in the root scope.
            let mut spawned = Vec::new();
            for (scope, after, name) in [
                ("database", 1, "database"),
                ("request", 3, "first request"),
                ("cache", 2, "cache"),
                ("request", 1, "second request"),
                ("http", 1, "http"),
            ] {
                let (scope, diary) = (root.child(scope), note());
                spawned.push(scope.spawn("order", move |cx| ends(cx, SECOND * after, diary, name)));
            }
            let inherited = Arc::clone(&noted);
            lifespan::spawn("order", async move {
                shutdown::requested().await;
                inherited.lock().unwrap().push("requested");
                pending::<()>().await;
            });
            shutdown::initiate(Reason::new("enough"));
            root.context().cancelled().await.to_string()
        })
        .await;
    assert_eq!(finished.output.as_deref(), Some("enough"));
    assert_eq!(shutdown::phase(), Phase::Complete);
    assert_eq!(shutdown::reason(), Some(Reason::new("enough")));
    let diary = diary.lock().unwrap();
    assert_eq!(
        *diary,
        [
            "requested",
            "http",
            "second request",
            "first request",
            "cache",
            "database",
            "root"
        ]
    );
    // One that heard and did not listen, and nobody waits longer than the grace.
    assert_eq!(finished.report.late.len(), 1);
    assert_eq!(finished.report.late[0].fate, Fate::Ended);
    assert_eq!(finished.report.survivors().count(), 0);
    assert_eq!(start.elapsed(), shutdown::DEFAULT_GRACE);
    let told: Vec<Event> = event::recent()
        .entries
        .iter()
        .map(|entry| entry.event.clone())
        .filter(|event| event.name().starts_with("shutdown"))
        .collect();
    assert!(matches!(&told[0], Event::ShutdownInitiated { cause, .. } if &**cause == "enough"));
    assert!(matches!(told[1], Event::ShutdownComplete { survivors: 0, .. }));
    assert_eq!(told.len(), 2);
}

#[test]
fn a_stage_has_its_share_of_the_grace_and_is_then_aborted() {
    passes_alone("order::shares_alone");
}

#[tokio::test(start_paused = true)]
#[ignore = "needs a process of its own"]
async fn shares_alone() {
    let start = Instant::now();
    let ended = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&ended);
    let finished = Settings::new()
        .grace(SECOND * 12)
        .run(move |root| async move {
            for name in ["first", "second", "third"] {
                let note = Arc::clone(&note);
                let task = root.child(name).spawn("share", |_| pending::<()>());
                // Outside of the root scope, since it looks at what becomes of it.
                Scope::new("watching").spawn("share-watch", move |_| async move {
                    assert!(task.await.unwrap_err().is_cancelled());
                    note.lock().unwrap().push((name, start.elapsed()));
                });
            }
            enough().await;
        })
        .await;
    // A quarter of 12 s, a third of the rest, a half of the rest; and the service's own future has what is left.
    let ended = ended.lock().unwrap().clone();
    assert_eq!(
        ended,
        [
            ("third", SECOND * 3),
            ("second", SECOND * 6),
            ("first", SECOND * 9)
        ]
    );
    assert_eq!(start.elapsed(), SECOND * 12);
    let late: Vec<&str> = finished.report.late.iter().map(|late| late.kind.name()).collect();
    assert_eq!(late, ["share", "share", "share", "main"]);
    assert!(finished.output.is_none());
    assert_eq!(finished.report.survivors().count(), 0);
}

#[test]
fn what_cannot_be_aborted_is_a_survivor_and_waited_for_once() {
    passes_alone("order::survivors_alone");
}

/// On a real clock: a paused one does not run while a thread blocks.
#[tokio::test]
#[ignore = "needs a process of its own"]
async fn survivors_alone() {
    let (release, released) = mpsc::channel::<()>();
    let (passing, passes) = mpsc::channel::<()>();
    let (belated, belates) = mpsc::channel::<()>();
    let (started, starts) = tokio::sync::oneshot::channel();
    let start = Instant::now();
    let finished = Settings::new()
        .grace(SECOND * 16)
        .deadline(SECOND * 60)
        .exit_code(70)
        .run(move |root| async move {
            // Its share is half of the grace. The other half is the root's, which has nothing more to wait for.
            root.child("jobs").spawn("survivor-jobs", |_| async move {
                lifespan::thread::spawn("survivor-thread", move || released.recv());
                lifespan::thread::spawn("survivor-passing", move || passes.recv());
                lifespan::thread::spawn("survivor-belated", move || belates.recv());
                started.send(()).unwrap();
            });
            starts.await.unwrap();
            shutdown::initiate(Reason::new("enough"));
            root.context().cancelled().await;
            drop(belated);
            while !rows_of(KindId::named("survivor-belated")).is_empty() {
                tokio::task::yield_now().await;
            }
        });
    let finished = lifespan::spawn("survivor-run", finished);
    while shutdown::phase() < Phase::Draining {
        tokio::task::yield_now().await;
    }
    // This one ends in time, and is in no report.
    drop(passing);
    let finished = finished.await.unwrap();
    assert!(finished.output.is_some());
    let survivors: Vec<_> = finished.report.survivors().collect();
    assert_eq!(survivors.len(), 1, "{}", finished.report);
    assert_eq!(survivors[0].kind.name(), "survivor-thread");
    assert_eq!(survivors[0].fate, Fate::Unabortable);
    // One that was late has ended since.
    let late: Vec<Fate> = finished.report.late.iter().map(|late| late.fate).collect();
    assert_eq!(late, [Fate::Unabortable, Fate::Ended], "{}", finished.report);
    assert!(
        start.elapsed() < SECOND * 14,
        "waited for twice: {}",
        finished.report
    );
    let code = std::process::Termination::report(finished);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(70)));
    drop(release);
}

#[test]
fn readiness_is_off_before_the_drain_begins() {
    passes_alone("order::readiness_alone");
}

#[tokio::test(start_paused = true)]
#[ignore = "needs a process of its own"]
async fn readiness_alone() {
    #[cfg(feature = "server")]
    assert_eq!(crate::client::get("/readyz").await.status, 200);
    let start = Instant::now();
    let finished = Settings::new()
        .readiness_delay(SECOND * 5)
        .run(move |root| async move {
            assert_eq!(shutdown::phase(), Phase::Running);
            let door = root.child("door");
            let told = door.spawn("door", |cx| async move {
                cx.cancelled().await;
                Instant::now()
            });
            shutdown::initiate(Reason::new("enough"));
            // Not ready, and at work for five seconds.
            sleep(SECOND * 4).await;
            assert_eq!(shutdown::phase(), Phase::Unready);
            assert_eq!((door.state(), root.state()), (ScopeState::Open, ScopeState::Open));
            #[cfg(feature = "server")]
            {
                let answer = crate::client::get("/readyz").await;
                assert_eq!((answer.status, &*answer.body), (503, "shutting down\n"));
                assert_eq!(crate::client::get("/livez").await.status, 200);
            }
            assert_eq!(shutdown::requested().await.message(), "enough");
            assert_eq!(start.elapsed(), SECOND * 5);
            assert_eq!(shutdown::phase(), Phase::Draining);
            assert_eq!(told.await.unwrap() - start, SECOND * 5);
            root.context().cancelled().await;
        })
        .await;
    assert!(finished.report.is_clean(), "{}", finished.report);
    assert!(finished.output.is_some());
    #[cfg(feature = "prometheus")]
    assert!(
        lifespan::prometheus::render(0)
            .unwrap()
            .contains("\nlifespan_shutdown_phase 3\n")
    );
    #[cfg(feature = "server")]
    assert_eq!(crate::client::get("/readyz").await.status, 503);
}

#[test]
fn a_service_that_keeps_making_scopes_ends_with_the_root() {
    passes_alone("order::flood_alone");
}

#[tokio::test(start_paused = true)]
#[ignore = "needs a process of its own"]
async fn flood_alone() {
    let start = Instant::now();
    let finished = Settings::new()
        .run(|root| async move {
            root.child("door").spawn("flood-door", {
                let root = root.clone();
                |cx| async move {
                    while !cx.is_cancelled() {
                        let request = root.child("request");
                        request.spawn("flood", |_| sleep(SECOND));
                        sleep(SECOND / 10).await;
                    }
                }
            });
            sleep(SECOND * 2).await;
            shutdown::initiate(Reason::new("enough"));
            root.context().cancelled().await;
        })
        .await;
    assert!(finished.report.is_clean(), "{}", finished.report);
    assert!(start.elapsed() < SECOND * 5, "{:?}", start.elapsed());
}

#[test]
fn the_error_of_a_service_is_the_exit_code() {
    passes_alone("order::error_alone");
}

#[tokio::test(start_paused = true)]
#[ignore = "needs a process of its own"]
async fn error_alone() {
    let start = Instant::now();
    let ended = Arc::new(Mutex::new(false));
    let note = Arc::clone(&ended);
    let code = lifespan::run(|root| async move {
        root.child("part").spawn("error-part", |cx| async move {
            assert_eq!(cx.cancelled().await.message(), "the service has ended");
            sleep(SECOND).await;
            *note.lock().unwrap() = true;
        });
        Err::<(), _>("no database")
    })
    .await;
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    assert!(*ended.lock().unwrap(), "the rest was not drained");
    assert_eq!(start.elapsed(), SECOND);
    // Once a process: a later call finds the root scope closed.
    let finished = Settings::new().run(|_| async { 42 }).await;
    assert_eq!(finished.output, None);
}

#[test]
fn a_panic_of_the_service_goes_on_after_the_drain() {
    passes_alone("order::panic_alone");
}

#[tokio::test(start_paused = true)]
#[ignore = "needs a process of its own"]
async fn panic_alone() {
    let panics = lifespan::spawn(
        "panic-run",
        lifespan::run(|root| async move {
            root.child("part")
                .spawn("panic-part", |cx| async move { cx.cancelled().await });
            tokio::task::yield_now().await;
            std::panic::resume_unwind(Box::new("told"));
            #[expect(unreachable_code, reason = "says what the future would return")]
            ExitCode::SUCCESS
        }),
    );
    let payload = panics.await.unwrap_err().into_panic();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"told"));
    assert_eq!(shutdown::phase(), Phase::Complete);
    assert_eq!(Scope::root().state(), ScopeState::Closed);
    assert_eq!(Scope::root().tasks(), 0);
}

#[test]
fn a_process_that_never_runs_has_no_handler_and_no_thread() {
    passes_alone("order::untouched_alone");
}

#[tokio::test]
#[ignore = "needs a process of its own"]
async fn untouched_alone() {
    assert!(!shutdown::initiate(Reason::new("enough")));
    assert_eq!((shutdown::phase(), shutdown::reason()), (Phase::Running, None));
    #[cfg(target_os = "linux")]
    {
        assert_eq!(ours(), (0, 0));
        let _ = lifespan::run(|_| async {}).await;
        // The negative control: this test sees what it looks for.
        wait_until("a thread of ours, by name", || ours() == (2, 1));
    }
}

/// Handlers of SIGTERM and SIGINT, and threads of ours.
#[cfg(target_os = "linux")]
fn ours() -> (u32, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    let handlers = caught & (1 << (15 - 1) | 1 << (2 - 1));
    let names = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| {
        let name = thread.unwrap().path().join("comm");
        std::fs::read_to_string(name).unwrap_or_default()
    });
    let threads = names.filter(|name| name.starts_with("lifespan-signal")).count();
    (handlers.count_ones(), threads)
}
