//! How supervisors start and stop.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use lifespan::supervisor::{
    AutoShutdown, ChildSpec, ChildState, ControlError, End, Exit, Restart, Shutdown, SpecError, StartError,
    Strategy, Supervisor, SupervisorState,
};
use lifespan::{Reason, Scope};
use tokio::time::Instant;

use super::{Order, SECOND, actors, settle, start, states};

#[tokio::test(start_paused = true)]
async fn sup_start_normal() {
    let ([a, b], log) = actors(["a", "b"]);
    let (sup, scope) = start(Supervisor::builder("normal").child(a.spec()).child(b.spec())).await;
    assert_eq!(log.take(), "+a +b");
    assert_eq!(sup.state(), SupervisorState::Running);
    // The task of the supervisor, and those of its children.
    assert_eq!(scope.tasks(), 3);
    assert_eq!(sup.stop().await, End::Stopped);
    assert_eq!(log.take(), "-b -a");
    assert_eq!(sup.state(), SupervisorState::Stopped);
    settle().await;
    assert_eq!(scope.tasks(), 0);
    assert_eq!(sup.add(a.spec()).await, Err(ControlError::Ended));
}

#[tokio::test(start_paused = true)]
async fn children_start_in_order_each_when_the_one_before_is_ready() {
    let ([a, b, c], log) = actors(["a", "b", "c"]);
    let begin = Instant::now();
    let builder = Supervisor::builder("ordered")
        .child(a.ready_after(SECOND))
        .child(b.ready_after(2 * SECOND))
        .child(c.spec());
    let (sup, _scope) = start(builder).await;
    assert_eq!(begin.elapsed(), 3 * SECOND);
    assert_eq!(log.take(), "=a +a =b +b +c");
    let _ = sup.stop().await;
    assert_eq!(log.take(), "-c -b -a");
}

#[tokio::test(start_paused = true)]
async fn sup_start_fail() {
    let ([a, b], log) = actors(["a", "b"]);
    let scope = Scope::new("sup-test");
    let fails = ChildSpec::new("fails", |_| async { Err::<(), _>("no database") })
        .kind("sup-fails")
        .start_timeout(SECOND);
    let started = Supervisor::builder("fail")
        .child(a.spec())
        .child(b.spec())
        .child(fails)
        .start(&scope)
        .await;
    let error = started.expect_err("it does not start");
    assert_eq!(error.to_string(), "child `fails` did not start: no database");
    assert_eq!(log.take(), "+a +b -b -a");
    settle().await;
    assert_eq!(scope.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn sup_start_error_return() {
    let ([a], log) = actors(["a"]);
    let scope = Scope::new("sup-test");
    let late = ChildSpec::new("late", |_| pending::<()>())
        .kind("sup-late")
        .start_timeout(10 * SECOND);
    let begin = Instant::now();
    let started = Supervisor::builder("late").child(a.spec()).child(late);
    let error = started.start(&scope).await.expect_err("it does not start");
    assert_eq!(
        error.to_string(),
        "child `late` did not start: it was not ready in time"
    );
    // And the grace that it had to stop.
    assert_eq!(begin.elapsed(), 15 * SECOND);
    assert_eq!(log.take(), "+a -a");
    // A panic of the factory is told as well.
    let factory = ChildSpec::new("factory", |_| -> std::future::Ready<()> {
        panic!("no ports left")
    });
    let error = Supervisor::builder("factory").child(factory.kind("sup-late"));
    let error = error.start(&scope).await.expect_err("it does not start");
    assert_eq!(
        error.to_string(),
        "child `factory` did not start: its factory panicked: no ports left"
    );
    settle().await;
    assert_eq!(scope.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_child() {
    // One that wants not to be started, of each kind; what Erlang says with `ignore`.
    for restart in [Restart::Permanent, Restart::Transient] {
        let ([a], log) = actors(["a"]);
        let ignored = ChildSpec::new("ignored", |_| async { Exit::Stop })
            .kind("sup-ignored")
            .restart(restart)
            .start_timeout(SECOND);
        let (sup, _scope) = start(Supervisor::builder("ignore").child(ignored).child(a.spec())).await;
        assert_eq!(log.take(), "+a");
        let [ignored, a] = &states(&sup)[..] else { panic!() };
        assert_eq!(
            (ignored.1, a.1),
            (ChildState::Stopped, ChildState::Running),
            "{restart:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_temporary_child() {
    let ([a], _log) = actors(["a"]);
    let ignored = || {
        ChildSpec::new("ignored", |_| async { Exit::Stop })
            .kind("sup-ignored")
            .restart(Restart::Temporary)
            .start_timeout(SECOND)
    };
    let (sup, _scope) = start(Supervisor::builder("ignore").child(ignored()).child(a.spec())).await;
    assert_eq!(states(&sup), [("a".to_owned(), ChildState::Running)]);
    // And added later.
    assert!(sup.add(ignored()).await.is_ok());
    assert_eq!(states(&sup), [("a".to_owned(), ChildState::Running)]);
    let (dynamic, _scope) = start(Supervisor::builder("ignore").strategy(Strategy::Dynamic)).await;
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        assert!(dynamic.add(ignored().restart(restart)).await.is_ok());
        assert_eq!(dynamic.count().specs, 0, "{restart:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sup_start_map_faulty_specs() {
    let scope = Scope::new("sup-test");
    let child = |name: &str| ChildSpec::new(name, |_| pending::<()>()).kind("sup-faulty");
    let never = Supervisor::builder("faulty");
    let any = || Supervisor::builder("faulty").auto_shutdown(AutoShutdown::AnySignificant);
    let faulty = [
        (
            never.child(child("a")).child(child("b")).child(child("a")),
            SpecError::DuplicateName("a".into()),
        ),
        (
            any().child(child("a").significant()),
            SpecError::SignificantPermanent("a".into()),
        ),
        (
            Supervisor::builder("faulty").child(child("a").restart(Restart::Transient).significant()),
            SpecError::SignificantWithoutAutoShutdown("a".into()),
        ),
        (
            any().child(child("a").heartbeat(Duration::ZERO)),
            SpecError::ZeroDuration("heartbeat"),
        ),
        (
            any().child(child("a").start_timeout(Duration::ZERO)),
            SpecError::ZeroDuration("start timeout"),
        ),
        (
            any().intensity(1, Duration::ZERO),
            SpecError::ZeroDuration("period"),
        ),
        (
            any().strategy(Strategy::Dynamic).child(child("a")),
            SpecError::DynamicWithChildren("a".into()),
        ),
    ];
    for (builder, expected) in faulty {
        let error = builder.start(&scope).await.expect_err("it is not valid");
        assert_eq!(error, StartError::Spec(expected));
        assert_eq!(scope.tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_start_stops_what_it_has_started() {
    let ([a, b], log) = actors(["a", "b"]);
    let scope = Scope::new("sup-test");
    let builder = Supervisor::builder("dropped")
        .child(a.spec())
        .child(b.ready_after(10 * SECOND));
    assert!(tokio::time::timeout(SECOND, builder.start(&scope)).await.is_err());
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(log.take(), "+a -a");
    assert_eq!(scope.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_cancelled_stops_children_in_reverse_order() {
    let ([a, b, c], log) = actors(["a", "b", "c"]);
    let builder = Supervisor::builder("reverse").child(a.spec()).child(b.spec());
    let nested = c.clone();
    let builder = builder.child(ChildSpec::supervisor("nested", move |builder| {
        builder.child(nested.spec())
    }));
    let (sup, scope) = start(builder).await;
    assert_eq!(log.take(), "+a +b +c");
    scope.cancel(Reason::new("maintenance"));
    assert_eq!(sup.ended().await, End::Stopped);
    assert_eq!(log.take(), "-c -b -a");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_scope_stops_it_too() {
    let ([a], log) = actors(["a"]);
    let scope = Scope::new("sup-test").timeout(10 * SECOND);
    let begin = Instant::now();
    let sup = Supervisor::builder("deadline")
        .child(a.spec())
        .start(&scope)
        .await
        .unwrap();
    assert_eq!(sup.ended().await, End::Stopped);
    assert_eq!(begin.elapsed(), 10 * SECOND);
    assert_eq!(log.take(), "+a -a");
}

/// A child that needs so long to stop, and says whether it could.
fn slow(stopped: &Arc<AtomicBool>, takes: Duration, shutdown: Shutdown) -> ChildSpec {
    let stopped = Arc::clone(stopped);
    let spec = ChildSpec::new("slow", move |cx| {
        let stopped = Arc::clone(&stopped);
        async move {
            cx.cancelled().await;
            tokio::time::sleep(takes).await;
            stopped.store(true, SeqCst);
        }
    });
    spec.kind("sup-slow").shutdown(shutdown)
}

/// How long its supervisor took to stop it, and whether it could.
async fn stop_slow(takes: Duration, shutdown: Shutdown, dynamic: bool) -> (Duration, bool) {
    let stopped = Arc::default();
    let child = slow(&stopped, takes, shutdown);
    let (sup, scope) = if dynamic {
        let (sup, scope) = start(Supervisor::builder("stop").strategy(Strategy::Dynamic)).await;
        sup.add(child).await.unwrap();
        (sup, scope)
    } else {
        start(Supervisor::builder("stop").child(child)).await
    };
    settle().await;
    let begin = Instant::now();
    assert_eq!(sup.stop().await, End::Stopped);
    assert!(scope.tasks() <= 1, "nothing but the supervisor is left");
    (begin.elapsed(), stopped.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn sup_stop_infinity() {
    assert_eq!(
        stop_slow(3_600 * SECOND, Shutdown::Infinite, false).await,
        (3_600 * SECOND, true)
    );
}

#[tokio::test(start_paused = true)]
async fn sup_stop_timeout() {
    let grace = Shutdown::Grace(10 * SECOND);
    assert_eq!(stop_slow(9 * SECOND, grace, false).await, (9 * SECOND, true));
    assert_eq!(stop_slow(11 * SECOND, grace, false).await, (10 * SECOND, false));
    assert_eq!(
        stop_slow(6 * SECOND, Shutdown::default(), false).await,
        (5 * SECOND, false)
    );
}

#[tokio::test(start_paused = true)]
async fn sup_stop_timeout_dynamic() {
    let grace = Shutdown::Grace(10 * SECOND);
    assert_eq!(stop_slow(9 * SECOND, grace, true).await, (9 * SECOND, true));
    assert_eq!(stop_slow(11 * SECOND, grace, true).await, (10 * SECOND, false));
}

#[tokio::test(start_paused = true)]
async fn sup_stop_brutal_kill() {
    assert_eq!(
        stop_slow(SECOND, Shutdown::Abort, false).await,
        (Duration::ZERO, false)
    );
}

#[tokio::test(start_paused = true)]
async fn sup_stop_brutal_kill_dynamic() {
    assert_eq!(
        stop_slow(SECOND, Shutdown::Abort, true).await,
        (Duration::ZERO, false)
    );
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one_shutdown() {
    // A thousand that need a second each stop in a second.
    let (sup, _scope) = start(Supervisor::builder("parallel").strategy(Strategy::Dynamic)).await;
    let stopped = Arc::default();
    for _ in 0..1_000 {
        sup.add(slow(&stopped, SECOND, Shutdown::default()))
            .await
            .unwrap();
    }
    settle().await;
    let begin = Instant::now();
    assert_eq!(sup.stop().await, End::Stopped);
    assert_eq!(begin.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_close_of_the_scope_has_the_last_word() {
    let stopped = Arc::default();
    let builder = Supervisor::builder("closed").child(slow(&stopped, 3_600 * SECOND, Shutdown::Infinite));
    let (sup, scope) = start(builder).await;
    let report = scope.close(10 * SECOND).await;
    // The child, and its supervisor that waited for it.
    assert_eq!(report.late.len(), 2, "{report}");
    assert_eq!(report.survivors().count(), 0, "{report}");
    assert_eq!(sup.ended().await, End::Stopped);
    assert!(!stopped.load(SeqCst));
    assert_eq!(states(&sup), [("slow".to_owned(), ChildState::Stopped)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_child_spawned_ends_with_its_run() {
    let ([a], log) = actors(["a"]);
    let helper = a.clone();
    let parent = ChildSpec::new("parent", move |_| {
        let helper = helper.clone();
        async move {
            let own = helper.clone();
            lifespan::spawn("sup-helper", async move {
                // Nobody tells it to stop, so that it is aborted after its parent's grace.
                let _guard = own.hold();
                pending::<()>().await;
            });
            tokio::time::sleep(SECOND).await;
            Err::<(), _>("the parent fails")
        }
    });
    let parent = parent.kind("sup-parent").shutdown(Shutdown::Grace(2 * SECOND));
    let (sup, _scope) = start(Supervisor::builder("helpers").child(parent)).await;
    assert_eq!(log.take(), "+a");
    // The negative control: the helper outlives its parent, and holds the restart up.
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(log.take(), "");
    assert_eq!(states(&sup)[0].1, ChildState::Stopping);
    tokio::time::sleep(SECOND + SECOND / 2).await;
    assert_eq!(log.take(), "-a +a");
    let _ = sup.stop().await;
    assert_eq!(log.take(), "-a");
}

#[tokio::test(start_paused = true)]
async fn a_child_can_be_held_back_by_what_it_returns() {
    let ([a], _log) = actors(["a"]);
    let (sup, _scope) = start(Supervisor::builder("stops").child(a.spec())).await;
    a.order(Order::Stop).await;
    assert_eq!(states(&sup), [("a".to_owned(), ChildState::Stopped)]);
    assert_eq!(sup.budget_remaining(), 5);
    sup.restart("a").await.unwrap();
    settle().await;
    assert_eq!(states(&sup), [("a".to_owned(), ChildState::Running)]);
}
