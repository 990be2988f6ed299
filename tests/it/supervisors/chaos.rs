//! What a supervisor must stand.

use std::future::pending;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use lifespan::supervisor::{
    Builder, ChildSpec, ChildState, ControlError, End, Restart, Shutdown, Strategy, Supervisor,
};
use lifespan::{KindId, Scope};
use tokio::time::Instant;

use super::{Actor, Log, Order, SECOND, actors, settle, start, states};
use crate::support::{Counts, rows_of, wait_until};

#[tokio::test(start_paused = true)]
async fn every_payload_with_every_strategy() {
    let strategies = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::Dynamic,
    ];
    for strategy in strategies {
        let ([a, b], _log) = actors(["a", "b"]);
        let builder = Supervisor::builder("bombs")
            .strategy(strategy)
            .intensity(20, 3_600 * SECOND);
        let (sup, _scope) = start(builder).await;
        for actor in [&a, &b] {
            sup.add(actor.spec()).await.unwrap();
        }
        settle().await;
        let mut failures = 0;
        for _ in 0..2 {
            for order in [Order::Panic, Order::Bomb, Order::BombOfBombs, Order::PanicInDrop] {
                a.order(order).await;
                failures += 1;
                assert!(a.runs() && b.runs(), "{strategy:?}");
                assert_eq!(sup.budget_remaining(), 20 - failures, "{strategy:?}");
            }
        }
        assert_eq!(a.starts(), 9, "{strategy:?}");
        assert_eq!(sup.stop().await, End::Stopped);
    }
}

/// Panics with itself, so many times, as it is dropped.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(next) = self.0.checked_sub(1) {
            panic_any(Self(next));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn destructors_that_panic_as_a_child_is_aborted() {
    let spec = ChildSpec::new("bomb", |_| async {
        let _bomb = Bomb(100);
        pending::<()>().await;
    });
    let ([a], _log) = actors(["a"]);
    let builder = Supervisor::builder("dropped-bomb")
        .strategy(Strategy::OneForAll)
        .child(a.spec())
        .child(spec.kind("sup-dropped-bomb").shutdown(Shutdown::Abort));
    let (sup, scope) = start(builder).await;
    for starts in 2..5 {
        a.order(Order::Fail).await;
        assert_eq!((a.starts(), scope.tasks()), (starts, 3));
    }
    assert_eq!(sup.stop().await, End::Stopped);
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_text_and_destructor_panic() {
    #[derive(Debug)]
    struct Hostile;
    impl std::fmt::Display for Hostile {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic_any(Bomb(3))
        }
    }
    impl std::error::Error for Hostile {}
    impl Drop for Hostile {
        fn drop(&mut self) {
            panic_any(Bomb(3));
        }
    }
    let spec = ChildSpec::new("hostile", |cx| async move {
        if cx.restarts() < 3 {
            return Err(Hostile);
        }
        cx.cancelled().await;
        Ok(())
    });
    let (sup, _scope) = start(Supervisor::builder("hostile").child(spec.kind("sup-hostile"))).await;
    let child = &sup.list()[0];
    assert_eq!((child.state, child.restarts), (ChildState::Running, 3));
}

#[tokio::test(start_paused = true)]
async fn captures_that_panic_as_they_are_dropped() {
    let bomb = Bomb(5);
    let spec = ChildSpec::new("captures", move |cx| {
        let _captured = &bomb;
        async move {
            cx.cancelled().await;
        }
    });
    let ([a], _log) = actors(["a"]);
    let (sup, _scope) = start(Supervisor::builder("captures").child(a.spec())).await;
    let id = sup
        .add(spec.kind("sup-captures").restart(Restart::Temporary))
        .await
        .unwrap();
    sup.terminate(id).await.unwrap();
    assert!(a.runs());
    assert_eq!(states(&sup).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_fail_at_once_get_no_more_than_the_budget() {
    const KIND: &str = "sup-storm";
    let (fail, failing) = tokio::sync::watch::channel(false);
    let starts = Arc::new(AtomicUsize::new(0));
    let builder = Supervisor::builder("storm")
        .intensity(100, 60 * SECOND)
        .on_give_up(|_| {});
    let builder = (0..1_000).fold(builder, |builder, child| {
        let (failing, starts) = (failing.clone(), Arc::clone(&starts));
        let spec = ChildSpec::new(format!("child-{child}"), move |_| {
            let (mut failing, starts) = (failing.clone(), Arc::clone(&starts));
            async move {
                starts.fetch_add(1, SeqCst);
                let _ = failing.wait_for(|fail| *fail).await;
                Err::<(), _>("the dependency is gone")
            }
        });
        builder.child(spec.kind(KIND))
    });
    let (sup, scope) = start(builder).await;
    assert_eq!(starts.load(SeqCst), 1_000);
    fail.send(true).unwrap();
    let End::GaveUp(gave_up) = sup.ended().await else {
        panic!()
    };
    assert!(gave_up.stuck.is_empty());
    // Each restart that the budget allows was one run, or was stopped before it was polled.
    assert!(starts.load(SeqCst) <= 1_100, "{}", starts.load(SeqCst));
    settle().await;
    assert_eq!(scope.tasks(), 0);
    let counts = Counts::of(KIND);
    assert_eq!(counts.spawned, 1_100, "the budget, exactly");
    assert_eq!(counts.ended(), counts.spawned);
    assert!(rows_of(KindId::named(KIND)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flapping_dependency_is_given_up_in_bounded_time() {
    let (up, mut flaps) = (Arc::new(AtomicU64::new(0)), 0u64);
    let seen = Arc::clone(&up);
    let spec = ChildSpec::new("client", move |cx| {
        let seen = Arc::clone(&seen);
        async move {
            // Up for a second, then down.
            tokio::select! {
                () = tokio::time::sleep(SECOND) => {}
                _ = cx.cancelled() => return Ok(()),
            }
            seen.fetch_add(1, SeqCst);
            Err("connection reset")
        }
    });
    // Six in a minute are too many; one in twenty seconds is not.
    let builder = Supervisor::builder("flapping")
        .intensity(5, 60 * SECOND)
        .on_give_up(|_| {});
    let begin = Instant::now();
    let (sup, _scope) = start(builder.child(spec.kind("sup-flapping"))).await;
    assert!(matches!(sup.ended().await, End::GaveUp(_)));
    flaps += up.load(SeqCst);
    assert_eq!((flaps, begin.elapsed()), (6, 6 * SECOND));
    let spec = ChildSpec::new("client", |_| async {
        tokio::time::sleep(20 * SECOND).await;
        Err::<(), _>("connection reset")
    });
    let builder = Supervisor::builder("flapping").intensity(5, 60 * SECOND);
    let (sup, _scope) = start(builder.child(spec.kind("sup-flapping"))).await;
    tokio::time::sleep(24 * 3_600 * SECOND).await;
    assert!(sup.list()[0].restarts > 4_000);
    assert_eq!(sup.budget_remaining(), 3);
}

/// Supervisors in each other, so deep, with one actor at the bottom and one beside each supervisor.
fn nest(builder: Builder, levels: usize, actors: &[Actor]) -> Builder {
    let builder = builder.intensity(1, 3_600 * SECOND).child(actors[levels].spec());
    if levels == 0 {
        return builder;
    }
    let actors = actors.to_vec();
    builder.child(ChildSpec::supervisor("sub", move |builder| {
        nest(builder, levels - 1, &actors)
    }))
}

#[tokio::test(start_paused = true)]
async fn five_levels_of_escalation() {
    let (actors, log) = actors(["a", "b", "c", "d", "e"]);
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let builder = nest(Supervisor::builder("five"), 4, &actors).on_give_up(move |gave_up| {
        assert_eq!(&*gave_up.supervisor, "five");
        count.fetch_add(1, SeqCst);
    });
    let (sup, scope) = start(builder).await;
    assert_eq!(log.take(), "+e +d +c +b +a");
    assert_eq!(scope.tasks(), 10);
    let mut failures = 0;
    while actors[0].runs() {
        actors[0].order(Order::Fail).await;
        failures += 1;
        assert!(failures <= 32);
    }
    // Two runs a level: each failure of a level is two of the one below.
    assert_eq!(failures, 32);
    let End::GaveUp(gave_up) = sup.ended().await else {
        panic!()
    };
    assert!(
        gave_up.cause.contains("`five/sub/sub/sub/sub` gave up"),
        "{gave_up}"
    );
    assert_eq!(told.load(SeqCst), 1);
    // In reverse order, and no orphan is left.
    assert!(log.take().ends_with("-a -b -c -d -e"));
    settle().await;
    assert_eq!(scope.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_ignores_its_cancellation_is_aborted() {
    let deaf = ChildSpec::new("deaf", |_| pending::<()>())
        .kind("sup-ignores")
        .shutdown(Shutdown::Grace(3 * SECOND));
    let ([a], log) = actors(["a"]);
    let builder = Supervisor::builder("ignores").strategy(Strategy::OneForAll);
    let (_sup, scope) = start(builder.child(a.spec()).child(deaf)).await;
    let begin = Instant::now();
    a.order(Order::Fail).await;
    assert_eq!(log.take(), "+a -a");
    super::wait_for(async || a.runs()).await;
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert_eq!((log.take(), scope.tasks()), ("+a".to_owned(), 3));
}

/// A child that blocks its thread until it is let go of, and ignores everything.
fn blocks(runs: &Arc<AtomicUsize>) -> (ChildSpec, std::sync::mpsc::Sender<()>) {
    let (release, held) = std::sync::mpsc::channel();
    let (held, runs) = (Arc::new(std::sync::Mutex::new(held)), Arc::clone(runs));
    let spec = ChildSpec::new("blocks", move |cx| {
        let (held, runs) = (Arc::clone(&held), Arc::clone(&runs));
        async move {
            assert_eq!(runs.fetch_add(1, SeqCst), 0, "it runs twice");
            cx.ready();
            tokio::task::yield_now().await;
            let _ = held.lock().unwrap().recv();
            runs.fetch_sub(1, SeqCst);
        }
    });
    let grace = std::time::Duration::from_millis(10);
    let spec = spec.kind("sup-blocks").shutdown(Shutdown::Grace(grace));
    (spec.start_timeout(60 * SECOND), release)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_child_that_blocks_its_thread_is_stuck_and_never_runs_twice() {
    let (runs, log) = (Arc::default(), Log::default());
    let (spec, release) = blocks(&runs);
    let a = Actor::new("a", &log);
    let nested = std::sync::Mutex::new(Some(spec));
    let own = a.clone();
    let sub = ChildSpec::supervisor("sub", move |builder| {
        let builder = builder.strategy(Strategy::OneForAll).child(own.spec());
        let spec = nested.lock().unwrap().take();
        match spec {
            Some(spec) => builder.child(spec),
            None => builder,
        }
    });
    let scope = Scope::new("sup-stuck");
    let builder = Supervisor::builder("stuck").on_give_up(|_| {}).child(sub);
    let sup = builder.start(&scope).await.unwrap();
    wait_until("it runs and blocks", || a.runs());
    a.order(Order::Fail).await;
    // The supervisor above would start it again, and must not.
    let End::GaveUp(gave_up) = sup.ended().await else {
        panic!()
    };
    assert_eq!(gave_up.stuck, ["sub".into()]);
    assert!(gave_up.cause.contains("is stuck"), "{gave_up}");
    assert_eq!(runs.load(SeqCst), 1);
    assert!(sup.list()[0].stuck);
    // The negative control: let go of, it ends, and nobody is stuck.
    drop(release);
    wait_until("it ends", || !sup.list()[0].stuck);
    assert_eq!((runs.load(SeqCst), a.starts()), (0, 1));
    wait_until("nothing is left", || scope.tasks() == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stuck_child_is_not_started_by_hand_either() {
    let runs = Arc::default();
    let (spec, release) = blocks(&runs);
    let scope = Scope::new("sup-stuck");
    let sup = Supervisor::builder("stuck-hand")
        .child(spec)
        .start(&scope)
        .await
        .unwrap();
    wait_until("it runs", || runs.load(SeqCst) == 1);
    assert_eq!(sup.terminate("blocks").await, Err(ControlError::Stuck));
    assert_eq!(sup.restart("blocks").await, Err(ControlError::Stuck));
    assert_eq!(sup.delete("blocks").await, Err(ControlError::Stuck));
    assert_eq!(states(&sup)[0].1, ChildState::Stuck);
    drop(release);
    wait_until("it has ended", || states(&sup)[0].1 == ChildState::Stopped);
    sup.restart("blocks").await.unwrap();
    let _ = sup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conservation_holds_under_chaos() {
    const KIND: &str = "sup-chaos";
    let running: Arc<[AtomicUsize; 8]> = Arc::default();
    let scope = Scope::new("sup-chaos");
    let builder = Supervisor::builder("chaos")
        .strategy(Strategy::RestForOne)
        .intensity(2_000, 3_600 * SECOND)
        .on_give_up(|_| {});
    let names = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let builder = names.iter().enumerate().fold(builder, |builder, (child, name)| {
        let running = Arc::clone(&running);
        let spec = ChildSpec::new(name, move |cx| {
            let running = Arc::clone(&running);
            async move {
                struct Leave(Arc<[AtomicUsize; 8]>, usize);
                impl Drop for Leave {
                    fn drop(&mut self) {
                        self.0[self.1].fetch_sub(1, SeqCst);
                    }
                }
                assert_eq!(running[child].fetch_add(1, SeqCst), 0, "it runs twice");
                let _leave = Leave(running, child);
                // A helper that has to be aborted with it, now and then.
                if cx.restarts() % 3 == 0 {
                    lifespan::spawn(KIND, pending::<()>());
                }
                for _ in 0..child {
                    tokio::task::yield_now().await;
                }
                match cx.restarts() % 4 {
                    0 => Err("it fails"),
                    1 => panic!("it panics"),
                    2 => panic_any(Bomb(2)),
                    _ => Ok(()),
                }
            }
        });
        builder.child(spec.kind(KIND).shutdown(Shutdown::Abort))
    });
    let sup = builder.start(&scope).await.unwrap();
    let end = tokio::time::timeout(crate::support::DEADLINE, sup.ended()).await;
    let Ok(End::GaveUp(gave_up)) = end else {
        panic!("{end:?}")
    };
    assert!(gave_up.stuck.is_empty(), "{gave_up}");
    assert!(running.iter().all(|running| running.load(SeqCst) == 0));
    let _ = scope.close(SECOND).await;
    let counts = Counts::of(KIND);
    assert!(counts.spawned > 2_000);
    assert_eq!(counts.ended(), counts.spawned);
    assert!(rows_of(KindId::named(KIND)).is_empty());
}

#[tokio::test]
async fn a_runtime_that_shuts_down_leaves_nothing() {
    let ([a], log) = actors(["a"]);
    let (tell, told) = std::sync::mpsc::channel();
    let spec = a.spec();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let sup = runtime.block_on(async {
            let scope = Scope::new("sup-runtime");
            Supervisor::builder("runtime")
                .child(spec)
                .start(&scope)
                .await
                .unwrap()
        });
        runtime.shutdown_timeout(10 * SECOND);
        tell.send(sup).unwrap();
    })
    .join()
    .unwrap();
    let sup = told.recv().unwrap();
    assert_eq!(sup.ended().await, End::Stopped);
    assert_eq!(sup.terminate("a").await, Err(ControlError::Ended));
    assert!(["+a -a", ""].contains(&&*log.take()));
}
