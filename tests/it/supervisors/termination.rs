//! What becomes of a child that ends, by its restart type and by how it ended.

use lifespan::supervisor::{ChildSpec, ChildState, Restart, Shutdown, Supervisor};
use lifespan::{Outcome, Reason};

use super::{Actor, Log, Order, SECOND, actors, settle, start, states};

/// A supervisor of one child of that type, which has ended so; and whether it was started again.
async fn ends(restart: Restart, order: Order) -> (Supervisor, bool) {
    let log = Log::default();
    let actor = Actor::new("a", &log);
    let (sup, _scope) = start(Supervisor::builder("ends").child(actor.spec().restart(restart))).await;
    actor.order(order).await;
    let again = actor.starts() == 2;
    assert_eq!(actor.runs(), again);
    (sup, again)
}

fn left(sup: &Supervisor) -> Option<ChildState> {
    states(sup).first().map(|(_, state)| *state)
}

#[tokio::test(start_paused = true)]
async fn permanent_normal() {
    let (sup, again) = ends(Restart::Permanent, Order::Done).await;
    assert!(again);
    assert_eq!(
        (left(&sup), sup.budget_remaining()),
        (Some(ChildState::Running), 4)
    );
}

#[tokio::test(start_paused = true)]
async fn transient_normal() {
    let (sup, again) = ends(Restart::Transient, Order::Done).await;
    assert!(!again);
    assert_eq!(
        (left(&sup), sup.budget_remaining()),
        (Some(ChildState::Stopped), 5)
    );
    assert_eq!(
        sup.list()[0].last_exit.as_ref().unwrap().outcome,
        Outcome::Completed
    );
}

#[tokio::test(start_paused = true)]
async fn temporary_normal() {
    let (sup, again) = ends(Restart::Temporary, Order::Done).await;
    assert!(!again);
    assert_eq!((left(&sup), sup.budget_remaining()), (None, 5));
}

#[tokio::test(start_paused = true)]
async fn permanent_abnormal() {
    for order in [Order::Fail, Order::Panic, Order::PanicInDrop] {
        let (sup, again) = ends(Restart::Permanent, order).await;
        assert!(again);
        assert_eq!(
            (left(&sup), sup.budget_remaining()),
            (Some(ChildState::Running), 4)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn transient_abnormal() {
    for order in [Order::Fail, Order::Panic, Order::PanicInDrop] {
        let (sup, again) = ends(Restart::Transient, order).await;
        assert!(again);
        assert_eq!(
            (left(&sup), sup.budget_remaining()),
            (Some(ChildState::Running), 4)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn temporary_abnormal() {
    for order in [Order::Fail, Order::Panic, Order::PanicInDrop] {
        let (sup, again) = ends(Restart::Temporary, order).await;
        assert!(!again);
        assert_eq!((left(&sup), sup.budget_remaining()), (None, 5));
    }
}

/// What Erlang's children say with the exit reason `shutdown`, ours say by their own scope: it was cancelled.
async fn cancels_itself(restart: Restart) -> (Supervisor, u64) {
    let spec = ChildSpec::new("a", |cx| async move {
        if cx.restarts() > 0 {
            cx.cancelled().await;
            return Ok(());
        }
        cx.scope().cancel(Reason::new("shutdown"));
        cx.cancelled().await;
        Err("cancelled")
    });
    let (sup, _scope) =
        start(Supervisor::builder("ends").child(spec.kind("sup-cancels").restart(restart))).await;
    let restarts = sup.list().first().map_or(0, |child| child.restarts);
    (sup, restarts)
}

#[tokio::test(start_paused = true)]
async fn permanent_shutdown() {
    let (sup, restarts) = cancels_itself(Restart::Permanent).await;
    assert_eq!((left(&sup), restarts), (Some(ChildState::Running), 1));
}

#[tokio::test(start_paused = true)]
async fn transient_shutdown() {
    let (sup, restarts) = cancels_itself(Restart::Transient).await;
    assert_eq!((left(&sup), restarts), (Some(ChildState::Stopped), 0));
}

#[tokio::test(start_paused = true)]
async fn temporary_shutdown() {
    let (sup, _) = cancels_itself(Restart::Temporary).await;
    assert_eq!(left(&sup), None);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_speaks_of_a_cancellation_is_an_error() {
    let other = lifespan::Scope::new("sup-other");
    other.cancel(Reason::new("not this one"));
    let spec = ChildSpec::new("a", move |cx| {
        let other = other.clone();
        async move {
            if cx.restarts() > 0 {
                cx.cancelled().await;
            }
            other.context().cancelled().await;
            Err::<(), _>("cancelled")
        }
    });
    let spec = spec.kind("sup-cancels").restart(Restart::Transient);
    let (sup, _scope) = start(Supervisor::builder("foreign").child(spec)).await;
    let child = &sup.list()[0];
    assert_eq!((child.state, child.restarts), (ChildState::Running, 1));
}

#[tokio::test(start_paused = true)]
async fn temporary_bystander() {
    // Neither restarted with its group, nor left in the list; nor is what it captured.
    let ([a, b, c], log) = actors(["a", "b", "c"]);
    let builder = Supervisor::builder("bystander")
        .strategy(lifespan::supervisor::Strategy::RestForOne)
        .child(a.spec())
        .child(b.spec().restart(Restart::Temporary))
        .child(c.spec());
    let (sup, _scope) = start(builder).await;
    log.take();
    a.order(Order::Fail).await;
    assert_eq!(log.take(), "-a -c -b +a +c");
    assert_eq!(sup.list().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn do_not_save_child_specs_for_temporary_children() {
    let captured = std::sync::Arc::new(());
    let held = std::sync::Arc::clone(&captured);
    let spec = ChildSpec::new("a", move |cx| {
        let held = std::sync::Arc::clone(&held);
        async move {
            cx.cancelled().await;
            drop(held);
        }
    });
    let (sup, _scope) =
        start(Supervisor::builder("forgets").child(spec.kind("sup-forgets").restart(Restart::Temporary)))
            .await;
    assert_eq!(std::sync::Arc::strong_count(&captured), 3);
    sup.terminate("a").await.unwrap();
    assert_eq!(std::sync::Arc::strong_count(&captured), 1);
}

#[tokio::test(start_paused = true)]
async fn child_unlink() {
    // A child that does not notice anything is aborted, and its supervisor goes on.
    let spec = ChildSpec::new("deaf", |_| std::future::pending::<()>())
        .kind("sup-deaf")
        .shutdown(Shutdown::Grace(SECOND));
    let ([a], log) = actors(["a"]);
    let (sup, _scope) = start(Supervisor::builder("unlink").child(spec).child(a.spec())).await;
    sup.terminate("deaf").await.unwrap();
    settle().await;
    assert_eq!(states(&sup)[0].1, ChildState::Stopped);
    assert_eq!(log.take(), "+a");
    sup.restart("deaf").await.unwrap();
    assert_eq!(states(&sup)[0].1, ChildState::Running);
}
