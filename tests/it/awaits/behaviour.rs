//! What a dump tells beside stacks, and what it leaves alone.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::profile::{Refused, Waits};
use lifespan::{Kind, KindId, State, Track, registry};
use tokio::sync::{Notify, oneshot};

use super::{LONG, dump, multi_thread, of_kinds};
use crate::support::{rows_of, wait_until};

fn idle(kind: KindId) {
    wait_until(kind.name(), || {
        let rows = rows_of(kind);
        !rows.is_empty() && rows.iter().all(|row| row.state == State::Idle && row.polls > 0)
    });
}

/// The only task of a dump of one kind.
fn waits(kind: KindId) -> Waits {
    let dump = dump(&of_kinds(&[kind]));
    assert_eq!((dump.live, dump.tasks.len()), (1, 1), "{dump:?}");
    let mut dump = Arc::into_inner(dump).unwrap();
    dump.tasks.remove(0).waits
}

#[test]
fn a_task_that_registered_nothing_says_so() {
    let runtime = multi_thread();
    let kind = KindId::named("awaits-nothing");
    let task = lifespan::spawn_on(kind, pending::<()>(), runtime.handle());
    idle(kind);
    assert!(matches!(waits(kind), Waits::NoWaker));
    assert_eq!(rows_of(kind)[0].polls, 1, "it was not polled for that");
    task.abort();
}

#[test]
fn a_task_is_left_alone_by_request_of_its_own_or_its_kinds() {
    static LEFT: Kind = Kind::new("awaits-kind-left-alone").no_probe();
    let runtime = multi_thread();
    let _in_runtime = runtime.enter();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = || {
        let polls = Arc::clone(&polls);
        let mut sleep = Box::pin(tokio::time::sleep(LONG));
        std::future::poll_fn(move |cx| {
            polls.fetch_add(1, SeqCst);
            sleep.as_mut().poll(cx)
        })
    };
    let one = KindId::named("awaits-left-alone");
    drop(lifespan::Builder::new(one).no_probe().spawn(counted()));
    drop(lifespan::spawn(&LEFT, counted()));
    let later = KindId::named("awaits-later-left-alone");
    later.no_probe();
    drop(lifespan::spawn(later, counted()));
    for kind in [one, LEFT.id(), later] {
        idle(kind);
        assert!(matches!(waits(kind), Waits::NotAsked(_)), "{kind}");
    }
    assert_eq!(polls.load(SeqCst), 3);
    // The negative control.
    let probed = KindId::named("awaits-not-left-alone");
    drop(lifespan::spawn(probed, counted()));
    idle(probed);
    assert!(matches!(waits(probed), Waits::At(_)));
    assert_eq!(polls.load(SeqCst), 5);
    runtime.shutdown_background();
}

#[test]
fn what_another_executor_polls_says_so() {
    let runtime = multi_thread();
    let inner = KindId::named("awaits-in-unordered");
    let outer = KindId::named("awaits-with-unordered");
    let all = async move {
        let mut all = FuturesUnordered::from_iter([tokio::time::sleep(LONG).tracked(inner)]);
        all.next().await;
    };
    drop(lifespan::spawn_on(outer, all, runtime.handle()));
    idle(outer);
    idle(inner);
    assert!(matches!(waits(inner), Waits::NotAsked(_)));
    assert!(matches!(waits(outer), Waits::At(_)));
    runtime.shutdown_background();
}

/// What a record tells is the same after a dump, but for clones ever made.
#[test]
fn a_probe_leaves_no_trace() {
    let runtime = multi_thread();
    let kind = KindId::named("awaits-no-trace");
    let waiting = async {
        tokio::select! {
            () = tokio::time::sleep(LONG) => {}
            () = tokio::time::sleep(LONG) => {}
        }
    };
    drop(lifespan::spawn_on(kind, waiting, runtime.handle()));
    idle(kind);
    let polled = |kind: KindId| {
        let kinds = registry::kinds();
        let kind = kinds.iter().find(|summary| summary.kind == kind).unwrap();
        (kind.poll.count(), kind.poll.sum())
    };
    let (before, counted) = (rows_of(kind).remove(0), polled(kind));
    let mut ask = of_kinds(&[kind]);
    ask.long_idle = Duration::ZERO; // asked each time
    for _ in 0..10 {
        let dump = dump(&ask);
        let Waits::At(stacks) = &dump.tasks[0].waits else {
            panic!("{dump:?}")
        };
        assert_eq!(stacks.len(), 2, "{dump:?}");
    }
    let after = rows_of(kind).remove(0);
    let told = |row: &registry::Row| (row.id, row.state, row.polls, row.wakes, row.self_wakes, row.busy);
    assert_eq!(told(&before), told(&after));
    assert_eq!((before.wakers, after.wakers), (Some(2), Some(2)));
    assert_eq!(before.woken_by, after.woken_by);
    assert!(after.idle > before.idle);
    assert_eq!(after.waker_clones, before.waker_clones.map(|clones| clones + 20));
    assert_eq!(polled(kind), counted);
    runtime.shutdown_background();
}

#[test]
fn a_task_that_has_not_run_is_not_asked_again_at_once() {
    let runtime = multi_thread();
    let kind = KindId::named("awaits-again");
    drop(lifespan::spawn_on(
        kind,
        async { tokio::time::sleep(LONG).await },
        runtime.handle(),
    ));
    idle(kind);
    let clones = || rows_of(kind)[0].waker_clones;
    let mut ask = of_kinds(&[kind]);
    ask.long_idle = LONG;
    let stacks = || match &dump(&ask).tasks[0].waits {
        Waits::At(stacks) => stacks.clone(),
        other => panic!("{other:?}"),
    };
    let first = stacks();
    let asked = clones();
    let second = stacks();
    assert!(Arc::ptr_eq(&first[0], &second[0]));
    assert_eq!(clones(), asked);
    runtime.shutdown_background();
}

#[test]
fn a_verdict_outlives_the_probe() {
    let runtime = multi_thread();
    let kind = KindId::named("awaits-orphan");
    let notify = Arc::new(Notify::new());
    let again = Arc::clone(&notify);
    // Forgets its waker at first, and registers one when it is polled again.
    let mut polls = 0;
    let mut registered = Vec::new();
    let forgets = std::future::poll_fn(move |cx| {
        polls += 1;
        if polls == 1 {
            drop(cx.waker().clone());
        } else {
            let mut notified = Box::pin(Arc::clone(&again).notified_owned());
            assert!(notified.as_mut().poll(cx).is_pending());
            registered.push(notified);
        }
        std::task::Poll::<()>::Pending
    });
    drop(lifespan::spawn_on(kind, forgets, runtime.handle()));
    idle(kind);
    registry::sweep();
    registry::sweep();
    assert!(rows_of(kind)[0].orphaned);
    let dump = dump(&of_kinds(&[kind]));
    assert!(
        dump.tasks[0].row.orphaned && matches!(&dump.tasks[0].waits, Waits::At(stacks) if stacks.len() == 1)
    );
    let row = rows_of(kind).remove(0);
    assert_eq!(row.wakers, Some(1), "the probe gave it one");
    assert!(row.orphaned, "and withdraws nothing");
    let sweep = registry::sweep();
    let states = sweep.kinds.iter().find(|states| states.kind == kind).unwrap();
    assert_eq!(states.orphaned, 1);
    // It runs of itself: now it is none.
    notify.notify_waiters();
    wait_until("it runs", || {
        rows_of(kind).first().is_none_or(|row| !row.orphaned)
    });
    runtime.shutdown_background();
}

#[test]
fn blocked_workers_are_named_within_the_deadline() {
    let runtime = multi_thread();
    let (blocked, waiting) = (
        KindId::named("awaits-blocked"),
        KindId::named("awaits-behind-blocked"),
    );
    for _ in 0..50 {
        drop(lifespan::spawn_on(
            waiting,
            async { tokio::time::sleep(LONG).await },
            runtime.handle(),
        ));
    }
    idle(waiting);
    let mut releases = Vec::new();
    for _ in 0..2 {
        let (release, released) = std::sync::mpsc::channel::<()>();
        releases.push(release);
        drop(lifespan::spawn_on(
            blocked,
            async move { released.recv().is_ok() },
            runtime.handle(),
        ));
    }
    wait_until("both workers are blocked", || {
        rows_of(blocked)
            .iter()
            .filter(|row| row.state == State::Running)
            .count()
            == 2
    });
    let mut ask = of_kinds(&[blocked, waiting]);
    ask.deadline = Duration::from_secs(1);
    let dumped = dump(&ask);
    assert!(dumped.took < Duration::from_secs(3), "{:?}", dumped.took);
    assert_eq!(dumped.tasks.len(), 52);
    for task in &dumped.tasks {
        let expected = match task.waits {
            Waits::Running => task.row.kind == blocked && task.row.running > Duration::ZERO,
            Waits::Silent => task.row.kind == waiting,
            _ => false,
        };
        assert!(expected, "{task:?}");
    }
    // All workers live, and all tasks answer.
    drop(releases);
    wait_until("they end", || rows_of(blocked).is_empty());
    let dumped = dump(&ask);
    assert!(
        dumped.tasks.iter().all(|task| matches!(task.waits, Waits::At(_))),
        "{dumped:?}"
    );
    runtime.shutdown_background();
}

#[test]
fn a_dump_that_is_dropped_asks_nobody_any_more() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let kind = KindId::named("awaits-dropped");
    let (sender, receiver) = oneshot::channel::<u8>();
    let task = lifespan::spawn_on(kind, receiver, runtime.handle());
    runtime.block_on(tokio::task::yield_now());
    idle(kind);
    // Nobody runs the runtime, so that the question stays open.
    let asker = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let ask = of_kinds(&[kind]);
    wait_until("no other dump runs", || {
        asker.block_on(async {
            let dumped = tokio::time::timeout(Duration::from_millis(20), lifespan::profile::dump(&ask)).await;
            !matches!(dumped, Ok(Err(Refused::Busy)))
        })
    });
    assert_eq!(rows_of(kind)[0].wakers, Some(1));
    sender.send(7).unwrap();
    assert_eq!(runtime.block_on(task).unwrap(), Ok(7));
    wait_until("its record is free", || rows_of(kind).is_empty());
}

#[test]
fn one_dump_runs_at_a_time() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let kind = KindId::named("awaits-one-at-a-time");
    // On a runtime that nobody runs, so that dumps take until their deadline.
    let waiting = async { Notify::new().notified().await };
    let _task = lifespan::spawn_on(kind, waiting, runtime.handle());
    runtime.block_on(tokio::task::yield_now());
    let asker = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let ask = of_kinds(&[kind]);
    wait_until("one of a thousand runs", || {
        let all = (0..1_000).map(|_| lifespan::profile::dump(&ask));
        let all = asker.block_on(futures::future::join_all(all));
        let (run, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
        assert!(
            refused
                .iter()
                .all(|refused| matches!(refused, Err(Refused::Busy)))
        );
        run.len() == 1
    });
}

#[test]
fn a_cap_is_shared_by_all_sites() {
    let runtime = multi_thread();
    let _in_runtime = runtime.enter();
    let (many, few) = (KindId::named("awaits-many"), KindId::named("awaits-few"));
    for _ in 0..1_000 {
        drop(lifespan::spawn(many, tokio::time::sleep(LONG)));
    }
    for _ in 0..5 {
        drop(lifespan::spawn(few, tokio::time::sleep(LONG)));
    }
    idle(many);
    idle(few);
    let mut ask = of_kinds(&[many, few]);
    ask.most = 20;
    let dump = dump(&ask);
    assert_eq!((dump.live, dump.not_asked, dump.tasks.len()), (1_005, 985, 20));
    let of_few = dump.tasks.iter().filter(|task| task.row.kind == few).count();
    assert_eq!(of_few, 5);
    runtime.shutdown_background();
}
