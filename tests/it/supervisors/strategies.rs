//! Whom a failed child takes with it, and when a supervisor gives up.

use lifespan::supervisor::{AutoShutdown, ChildSpec, ChildState, End, Restart, Strategy, Supervisor};

use super::{Actor, Order, SECOND, actors, settle, start, states};

async fn three(strategy: Strategy) -> (Supervisor, lifespan::Scope, [Actor; 3], super::Log) {
    let (actors, log) = actors(["a", "b", "c"]);
    let builder = actors.iter().fold(
        Supervisor::builder("three")
            .strategy(strategy)
            .intensity(2, 60 * SECOND),
        |builder, actor| builder.child(actor.spec()),
    );
    let (sup, scope) = start(builder).await;
    assert_eq!(log.take(), "+a +b +c");
    (sup, scope, actors, log)
}

/// It has given up, and says so.
async fn gave_up(sup: &Supervisor) -> String {
    match sup.ended().await {
        End::GaveUp(gave_up) => gave_up.cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_for_one() {
    let (sup, _scope, [_, b, _], log) = three(Strategy::OneForOne).await;
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "-b +b");
    assert_eq!(sup.budget_remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_for_one_escalation() {
    let (sup, scope, [_, b, _], log) = three(Strategy::OneForOne).await;
    for _ in 0..2 {
        b.order(Order::Fail).await;
    }
    assert_eq!(log.take(), "-b +b -b +b");
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "-b -c -a");
    assert_eq!(
        gave_up(&sup).await,
        "child `b` failed once too often: told to fail"
    );
    assert_eq!(
        scope.reason().unwrap().cause(),
        lifespan::scope::Cause::GaveUp,
        "the scope that it was started in is cancelled"
    );
}

#[tokio::test(start_paused = true)]
async fn one_for_all() {
    let (_sup, _scope, [_, b, _], log) = three(Strategy::OneForAll).await;
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "-b -c -a +a +b +c");
}

#[tokio::test(start_paused = true)]
async fn one_for_all_escalation() {
    let (sup, _scope, [a, b, _], log) = three(Strategy::OneForAll).await;
    b.order(Order::Fail).await;
    a.order(Order::Panic).await;
    log.take();
    a.order(Order::Fail).await;
    assert_eq!(log.take(), "-a -c -b");
    gave_up(&sup).await;
}

#[tokio::test(start_paused = true)]
async fn rest_for_one() {
    let (_sup, _scope, [a, b, c], log) = three(Strategy::RestForOne).await;
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "-b -c +b +c");
    c.order(Order::Fail).await;
    assert_eq!(log.take(), "-c +c");
    assert!(a.runs());
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_escalation() {
    let (sup, _scope, [_, b, _], log) = three(Strategy::RestForOne).await;
    for _ in 0..2 {
        b.order(Order::Fail).await;
    }
    log.take();
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "-b -c -a");
    gave_up(&sup).await;
}

/// A child that does not start the second and third time, and is ready else.
fn fails_to_restart(name: &'static str, log: &super::Log) -> ChildSpec {
    let log = log.clone();
    let spec = ChildSpec::new(name, move |cx| {
        let log = log.clone();
        async move {
            if (1..=2).contains(&cx.restarts()) {
                log.push(format!("!{name}"));
                return Err("not yet");
            }
            log.push(format!("+{name}"));
            cx.ready();
            cx.cancelled().await;
            log.push(format!("-{name}"));
            Ok(())
        }
    });
    spec.kind("sup-refuses").start_timeout(10 * SECOND)
}

async fn other_child_fails_restart(strategy: Strategy) -> (String, u32) {
    let ([a, c], log) = actors(["a", "c"]);
    let builder = Supervisor::builder("other")
        .strategy(strategy)
        .child(a.spec())
        .child(fails_to_restart("b", &log))
        .child(c.spec());
    let (sup, _scope) = start(builder).await;
    assert_eq!(log.take(), "+a +b +c");
    a.order(Order::Fail).await;
    assert!(a.runs() && c.runs());
    assert_eq!(states(&sup)[1].1, ChildState::Running);
    (log.take(), sup.budget_remaining())
}

#[tokio::test(start_paused = true)]
async fn one_for_all_other_child_fails_restart() {
    // All that were started already stop again. Each start that failed counts.
    let happened = other_child_fails_restart(Strategy::OneForAll).await;
    assert_eq!(happened, ("-a -c -b +a !b -a +a !b -a +a +b +c".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_other_child_fails_restart() {
    // Those before it stay.
    let happened = other_child_fails_restart(Strategy::RestForOne).await;
    assert_eq!(happened, ("-a -c -b +a !b !b +b +c".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one() {
    let ([a, b], log) = actors(["a", "b"]);
    let (sup, _scope) = start(Supervisor::builder("dynamic").strategy(Strategy::Dynamic)).await;
    for actor in [&a, &b] {
        sup.add(actor.spec()).await.unwrap();
    }
    settle().await;
    assert_eq!(log.take(), "+a +b");
    a.order(Order::Fail).await;
    assert_eq!(log.take(), "-a +a");
    b.order(Order::Stop).await;
    assert_eq!(log.take(), "-b");
    assert_eq!(states(&sup), [("a".to_owned(), ChildState::Running)]);
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one_extra() {
    // Children that differ in what they were given, under one name.
    let (sup, _scope) = start(Supervisor::builder("dynamic").strategy(Strategy::Dynamic)).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for given in 0..3 {
        let tell = tell.clone();
        let spec = ChildSpec::new("same", move |cx| {
            let tell = tell.clone();
            async move {
                tell.send(given).unwrap();
                cx.cancelled().await;
            }
        });
        sup.add(spec.kind("sup-same")).await.unwrap();
    }
    for given in 0..3 {
        assert_eq!(told.recv().await, Some(given));
    }
    let children = sup.list();
    assert_eq!(children.len(), 3);
    // By name the oldest is meant, by id the one with it.
    sup.terminate("same").await.unwrap();
    sup.terminate(children[2].id).await.unwrap();
    let left = sup.list();
    assert_eq!((left.len(), left[0].id), (1, children[1].id));
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one_escalation() {
    let ([a, b], log) = actors(["a", "b"]);
    let builder = Supervisor::builder("dynamic").strategy(Strategy::Dynamic);
    let (sup, _scope) = start(builder.intensity(1, 60 * SECOND)).await;
    for actor in [&a, &b] {
        sup.add(actor.spec()).await.unwrap();
    }
    a.order(Order::Fail).await;
    log.take();
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "-b -a");
    gave_up(&sup).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_escalates_is_not_started_again() {
    let (sup, _scope, [_, b, _], log) = three(Strategy::OneForOne).await;
    b.order(Order::Escalate).await;
    assert_eq!(log.take(), "-b -c -a");
    assert_eq!(gave_up(&sup).await, "told to escalate");
}

/// Two significant children and one that is not; what happens as these end, one after the other.
async fn significant(auto: AutoShutdown, restart: Restart, orders: [Order; 2]) -> Vec<bool> {
    let ([a, b, c], _log) = actors(["a", "b", "c"]);
    let builder = Supervisor::builder("auto")
        .auto_shutdown(auto)
        .child(a.spec().restart(restart).significant())
        .child(b.spec().restart(restart).significant())
        .child(c.spec());
    let (sup, scope) = start(builder).await;
    let mut over = Vec::new();
    for (actor, order) in [a, b].iter().zip(orders) {
        if actor.runs() {
            actor.order(order).await;
        }
        let ended = scope.tasks() == 0;
        if ended {
            assert_eq!(sup.ended().await, End::Finished);
        }
        assert_eq!(c.runs(), !ended);
        over.push(ended);
    }
    over
}

#[tokio::test(start_paused = true)]
async fn auto_shutdown_any_significant() {
    for restart in [Restart::Transient, Restart::Temporary] {
        let over = significant(AutoShutdown::AnySignificant, restart, [Order::Done, Order::Done]).await;
        assert_eq!(over, [true, true], "{restart:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn auto_shutdown_all_significant() {
    for restart in [Restart::Transient, Restart::Temporary] {
        let over = significant(AutoShutdown::AllSignificant, restart, [Order::Done, Order::Stop]).await;
        assert_eq!(over, [false, true], "{restart:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn significant_abnormal() {
    // A transient child that failed is started again, and has not ended; a temporary one has.
    let any = AutoShutdown::AnySignificant;
    let over = significant(any, Restart::Transient, [Order::Fail, Order::Panic]).await;
    assert_eq!(over, [false, false]);
    let over = significant(any, Restart::Temporary, [Order::Fail, Order::Panic]).await;
    assert_eq!(over, [true, true]);
}

#[tokio::test(start_paused = true)]
async fn significant_bystander() {
    // One that ends since it was terminated, or with its group, did not end by itself.
    let ([a, b], _log) = actors(["a", "b"]);
    let builder = Supervisor::builder("auto")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .strategy(Strategy::OneForAll)
        .child(a.spec())
        .child(b.spec().restart(Restart::Transient).significant());
    let (sup, scope) = start(builder).await;
    a.order(Order::Fail).await;
    assert!(a.runs() && b.runs());
    sup.terminate("b").await.unwrap();
    settle().await;
    assert!(a.runs() && scope.tasks() == 2);
}

#[tokio::test(start_paused = true)]
async fn significant_escalation() {
    // A supervisor that has shut down by itself is done: a permanent one is started again, a transient one is not.
    for (restart, starts) in [(Restart::Permanent, 2), (Restart::Transient, 1)] {
        let ([a], _log) = actors(["a"]);
        let own = a.clone();
        let nested = ChildSpec::supervisor("nested", move |builder| {
            builder
                .auto_shutdown(AutoShutdown::AnySignificant)
                .child(own.spec().restart(Restart::Transient).significant())
        });
        let (_sup, _scope) = start(Supervisor::builder("auto").child(nested.restart(restart))).await;
        a.order(Order::Done).await;
        assert_eq!(a.starts(), starts, "{restart:?}");
    }
}
