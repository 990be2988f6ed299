//! What can be asked of a supervisor while it runs.

use std::future::pending;

use lifespan::supervisor::{
    Backoff, ChildCounts, ChildSpec, ChildState, ControlError, End, Exit, Restart, SpecError, StartError,
    Strategy, Supervisor,
};
use tokio::time::Instant;

use super::{Order, SECOND, actors, settle, start, states};

fn counts(sup: &Supervisor) -> [usize; 4] {
    let ChildCounts {
        specs,
        active,
        supervisors,
        workers,
        ..
    } = sup.count();
    [specs, active, supervisors, workers]
}

#[tokio::test(start_paused = true)]
async fn child_adm() {
    let ([a], log) = actors(["a"]);
    let (sup, _scope) = start(Supervisor::builder("adm")).await;
    let id = sup.add(a.spec()).await.unwrap();
    settle().await;
    assert_eq!(log.take(), "+a");
    // It is there, once.
    let taken = sup.add(a.spec()).await.unwrap_err();
    assert_eq!(
        taken,
        ControlError::Start(StartError::Spec(SpecError::DuplicateName("a".into())))
    );
    assert_eq!(sup.delete("a").await, Err(ControlError::Running));
    assert_eq!(sup.restart("a").await, Err(ControlError::Running));
    // Terminated, it stays in the list; twice is as good as once.
    for _ in 0..2 {
        sup.terminate(id).await.unwrap();
    }
    assert_eq!(log.take(), "-a");
    assert_eq!(states(&sup), [("a".to_owned(), ChildState::Stopped)]);
    sup.restart("a").await.unwrap();
    settle().await;
    assert_eq!(log.take(), "+a");
    sup.terminate("a").await.unwrap();
    sup.delete("a").await.unwrap();
    assert!(sup.list().is_empty());
    for gone in [
        sup.delete("a").await,
        sup.restart(id).await,
        sup.terminate("a").await,
    ] {
        assert_eq!(gone, Err(ControlError::NoSuchChild));
    }
    // A child that is terminated did not fail.
    assert_eq!(sup.budget_remaining(), 5);
}

#[tokio::test(start_paused = true)]
async fn child_adm_simple() {
    let ([a], log) = actors(["a"]);
    let (sup, _scope) = start(Supervisor::builder("adm").strategy(Strategy::Dynamic)).await;
    let id = sup.add(a.spec()).await.unwrap();
    settle().await;
    assert_eq!(sup.restart(id).await, Err(ControlError::Dynamic));
    assert_eq!(sup.delete(id).await, Err(ControlError::Dynamic));
    sup.terminate(id).await.unwrap();
    assert_eq!(log.take(), "+a -a");
    assert!(sup.list().is_empty());
    assert_eq!(sup.terminate(id).await, Err(ControlError::NoSuchChild));
}

#[tokio::test(start_paused = true)]
async fn child_specs() {
    let (sup, _scope) = start(Supervisor::builder("specs")).await;
    let child = || ChildSpec::new("a", |_| pending::<()>()).kind("sup-specs");
    let refused = |error| Err(ControlError::Start(StartError::Spec(error)));
    assert_eq!(
        sup.add(child().significant()).await,
        refused(SpecError::SignificantPermanent("a".into()))
    );
    assert_eq!(
        sup.add(child().significant().restart(Restart::Transient)).await,
        refused(SpecError::SignificantWithoutAutoShutdown("a".into()))
    );
    assert_eq!(
        sup.add(child().heartbeat(std::time::Duration::ZERO)).await,
        refused(SpecError::ZeroDuration("heartbeat"))
    );
    assert_eq!(counts(&sup), [0; 4]);
    // One that does not start is not added.
    let fails = ChildSpec::new("a", |_| async { Err::<(), _>("no") }).kind("sup-specs");
    let error = sup.add(fails.start_timeout(SECOND)).await.unwrap_err();
    assert_eq!(error.to_string(), "child `a` did not start: no");
    assert_eq!(counts(&sup), [0; 4]);
    assert_eq!(sup.budget_remaining(), 5);
}

#[tokio::test(start_paused = true)]
async fn count_children() {
    let ([a, b], _log) = actors(["a", "b"]);
    let builder = Supervisor::builder("count")
        .child(a.spec())
        .child(b.spec().restart(Restart::Transient))
        .child(ChildSpec::supervisor("sub", |builder| builder));
    let (sup, _scope) = start(builder).await;
    assert_eq!(counts(&sup), [3, 3, 1, 2]);
    b.order(Order::Done).await;
    assert_eq!(counts(&sup), [3, 2, 1, 2]);
    sup.terminate("a").await.unwrap();
    assert_eq!(counts(&sup), [3, 1, 1, 2]);
    sup.delete("a").await.unwrap();
    assert_eq!(counts(&sup), [2, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn count_restarting_children() {
    let ([a], _log) = actors(["a"]);
    let spec = a.spec().backoff(Backoff::new(10 * SECOND, 10 * SECOND));
    let (sup, _scope) = start(Supervisor::builder("count").child(spec)).await;
    a.order(Order::Fail).await;
    assert_eq!(counts(&sup), [1, 0, 0, 1]);
    assert_eq!(states(&sup)[0].1, ChildState::Restarting);
    assert_eq!(sup.restart("a").await, Err(ControlError::Restarting));
    assert_eq!(sup.delete("a").await, Err(ControlError::Restarting));
    // One that is terminated while it waits does not come back.
    sup.terminate("a").await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!((counts(&sup), a.starts()), ([1, 0, 0, 1], 1));
    sup.restart("a").await.unwrap();
    settle().await;
    assert_eq!((counts(&sup), a.starts()), ([1, 1, 0, 1], 2));
}

#[tokio::test(start_paused = true)]
async fn order_of_children() {
    let ([a, b, c], log) = actors(["a", "b", "c"]);
    let builder = Supervisor::builder("order").strategy(Strategy::RestForOne);
    let (sup, _scope) = start(builder.child(b.spec())).await;
    // One that is added comes last, whatever its name; one that is deleted and added again as well.
    sup.add(a.spec()).await.unwrap();
    sup.add(c.spec()).await.unwrap();
    sup.terminate("a").await.unwrap();
    sup.delete("a").await.unwrap();
    sup.add(a.spec()).await.unwrap();
    settle().await;
    log.take();
    c.order(Order::Fail).await;
    assert_eq!(log.take(), "-c -a +c +a");
    let names: Vec<_> = states(&sup).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b", "c", "a"]);
    assert_eq!(sup.stop().await, End::Stopped);
    assert_eq!(log.take(), "-a -c -b");
}

#[tokio::test(start_paused = true)]
async fn a_terminated_child_stays_down_when_its_group_restarts() {
    let ([a, b, c], log) = actors(["a", "b", "c"]);
    let builder = Supervisor::builder("held")
        .strategy(Strategy::OneForAll)
        .child(a.spec())
        .child(b.spec())
        .child(c.spec().restart(Restart::Transient));
    let (sup, _scope) = start(builder).await;
    sup.terminate("b").await.unwrap();
    c.order(Order::Done).await;
    log.take();
    // What was done is started with its group, as in Erlang; what a hand has stopped is not.
    a.order(Order::Fail).await;
    assert_eq!(log.take(), "-a +a +c");
}

#[tokio::test(start_paused = true)]
async fn tree() {
    let ([a, b, c], log) = actors(["a", "b", "c"]);
    let inner = [b.clone(), c.clone()];
    let builder = Supervisor::builder("tree")
        .child(a.spec())
        .child(ChildSpec::supervisor("sub", move |builder| {
            inner
                .iter()
                .fold(builder.intensity(1, 60 * SECOND), |builder, actor| {
                    builder.child(actor.spec())
                })
        }));
    let (sup, _scope) = start(builder).await;
    assert_eq!(log.take(), "+a +b +c");
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "-b +b");
    // The second one is too many for it, and one for the supervisor above.
    c.order(Order::Panic).await;
    assert_eq!(log.take(), "-c -b +b +c");
    let sub = &sup.list()[1];
    assert_eq!((sub.restarts, sup.budget_remaining()), (1, 4));
    let told = sub.last_exit.as_ref().unwrap().error.clone().unwrap();
    assert_eq!(
        &*told,
        "supervisor `tree/sub` gave up: child `c` failed once too often: it panicked: told to panic"
    );
    sup.terminate("sub").await.unwrap();
    assert_eq!(log.take(), "-c -b");
}

#[tokio::test(start_paused = true)]
async fn scale_start_stop_many_children() {
    let mut took = Vec::new();
    for children in [1_000usize, 4_000] {
        let (sup, scope) = start(Supervisor::builder("scale")).await;
        for child in 0..children {
            let spec = ChildSpec::new(format!("child-{child}"), |cx| async move {
                cx.cancelled().await;
            });
            sup.add(spec.kind("sup-scale")).await.unwrap();
        }
        assert_eq!(scope.tasks(), children + 1);
        let begin = Instant::now();
        assert_eq!(sup.stop().await, End::Stopped);
        took.push(begin.elapsed());
        settle().await;
        assert_eq!(scope.tasks(), 0);
    }
    // Nothing waits for a timer.
    assert_eq!(took, [std::time::Duration::ZERO; 2]);
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one_scale_many_temporary_children() {
    let (sup, scope) = start(Supervisor::builder("scale").strategy(Strategy::Dynamic)).await;
    for _ in 0..5_000 {
        let spec = ChildSpec::new("brief", |_| async {}).kind("sup-brief");
        sup.add(spec.restart(Restart::Temporary)).await.unwrap();
    }
    settle().await;
    super::wait_for(async || sup.count().specs == 0).await;
    assert_eq!((scope.tasks(), sup.budget_remaining()), (1, 5));
}

/// A child whose restarts fail at once, for ever, under a budget that allows it: others are heard all the same.
async fn hanging_restart_loop(strategy: Strategy, fails: ChildSpec, trigger: impl FnOnce()) {
    let ([a], log) = actors(["a"]);
    let builder = Supervisor::builder("hanging").strategy(strategy);
    let (sup, scope) = start(builder.intensity(u32::MAX, 3_600 * SECOND)).await;
    sup.add(a.spec()).await.unwrap();
    let id = sup.add(fails).await.unwrap();
    trigger();
    settle().await;
    let restarts = || {
        sup.list()
            .iter()
            .find(|child| child.id == id)
            .map_or(0, |child| child.restarts)
    };
    let before = restarts();
    assert!(before > 0);
    settle().await;
    assert!(restarts() > before, "it goes on");
    // What is asked for meanwhile is done.
    sup.terminate(id).await.unwrap();
    let before = restarts();
    settle().await;
    assert_eq!(restarts(), before);
    assert_eq!(scope.tasks(), 2);
    let _ = sup.stop().await;
    assert_eq!(log.take(), "+a -a");
}

/// Runs until it is told to fail, and panics in its factory from then on.
fn panics_in_factory() -> (ChildSpec, impl FnOnce()) {
    let (fail, failing) = tokio::sync::oneshot::channel::<()>();
    let mut first = Some(failing);
    let spec = ChildSpec::new("fails", move |_| {
        let failing = first.take().expect("once");
        async move {
            let _ = failing.await;
            Err::<(), _>("told to")
        }
    });
    (spec.kind("sup-hanging"), move || drop(fail))
}

#[tokio::test(start_paused = true)]
async fn hanging_restart_loop_one_for_one() {
    let (spec, trigger) = panics_in_factory();
    hanging_restart_loop(Strategy::OneForOne, spec, trigger).await;
}

#[tokio::test(start_paused = true)]
async fn hanging_restart_loop_rest_for_one() {
    let (spec, trigger) = panics_in_factory();
    hanging_restart_loop(Strategy::RestForOne, spec, trigger).await;
}

#[tokio::test(start_paused = true)]
async fn hanging_restart_loop_simple() {
    let (spec, trigger) = panics_in_factory();
    hanging_restart_loop(Strategy::Dynamic, spec, trigger).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_loop_is_stopped_with_its_scope() {
    let (spec, trigger) = panics_in_factory();
    let builder = Supervisor::builder("hanging").intensity(u32::MAX, 3_600 * SECOND);
    let (sup, scope) = start(builder.child(spec)).await;
    trigger();
    settle().await;
    assert_eq!(sup.stop().await, End::Stopped);
    settle().await;
    assert_eq!(scope.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_way_to_return_is_taken() {
    async fn returns<F, Fut>(run: F) -> (ChildState, u64)
    where
        F: FnMut(lifespan::supervisor::Context) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: lifespan::supervisor::IntoExit,
    {
        let spec = ChildSpec::new("returns", run).kind("sup-returns");
        let builder = Supervisor::builder("returns")
            .intensity(1, 60 * SECOND)
            .on_give_up(|_| {});
        let (sup, _scope) = start(builder.child(spec.restart(Restart::Transient))).await;
        let child = sup.list()[0].clone();
        (child.state, child.restarts)
    }
    let done = (ChildState::Stopped, 0);
    let failed = (ChildState::Stopped, 1);
    assert_eq!(returns(|_| async {}).await, done);
    assert_eq!(returns(|_| async { Ok::<(), &str>(()) }).await, done);
    assert_eq!(returns(|_| async { Exit::Done }).await, done);
    assert_eq!(returns(|_| async { Ok::<_, &str>(Exit::Stop) }).await, done);
    assert_eq!(returns(|_| async { Err::<(), _>("no") }).await, failed);
    assert_eq!(returns(|_| async { "x".parse::<u8>().map(drop) }).await, failed);
    let boxed = |_| async { Err::<(), Box<dyn std::error::Error + Send + Sync>>("no".into()) };
    assert_eq!(returns(boxed).await, failed);
    assert_eq!(returns(|_| async { Exit::restart("no") }).await, failed);
}
