//! Readiness, heartbeats, waits, and what is told of them.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use lifespan::KindId;
use lifespan::event::{self, Event};
use lifespan::supervisor::{Backoff, ChildSpec, ChildState, End, Strategy, Supervisor};
use tokio::time::{Instant, sleep};

use crate::support::rows_of;

use super::{Order, SECOND, actors, settle, start, states};

/// What was told of a supervisor so far.
fn told(path: &str) -> Vec<Event> {
    let entries = event::recent().entries.into_iter();
    entries
        .filter(|entry| entry.subject.supervisor.as_deref() == Some(path))
        .map(|entry| entry.event.clone())
        .collect()
}

fn names(path: &str) -> Vec<&'static str> {
    told(path).iter().map(Event::name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_is_not_ready_in_time_has_failed() {
    let spec = ChildSpec::new("slow", |cx| async move {
        if cx.restarts() == 0 {
            cx.ready();
            sleep(SECOND).await;
            return Err::<(), _>("the first run fails");
        }
        pending().await
    });
    let spec = spec
        .kind("sup-not-ready")
        .start_timeout(10 * SECOND)
        .shutdown(lifespan::supervisor::Shutdown::Abort);
    let builder = Supervisor::builder("watch-not-ready").intensity(2, SECOND);
    let begin = Instant::now();
    let (sup, _scope) = start(builder.child(spec)).await;
    sleep(2 * SECOND).await;
    assert_eq!(states(&sup)[0].1, ChildState::Starting);
    // Each start takes longer than the period, and counts all the same: gives up after the second one that is late.
    let End::GaveUp(gave_up) = sup.ended().await else {
        panic!()
    };
    assert_eq!(
        &*gave_up.cause,
        "child `slow` failed once too often: it was not ready in time"
    );
    assert_eq!(begin.elapsed(), 21 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_longer_than_the_window_does_not_restart_for_ever() {
    let starts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&starts);
    let spec = ChildSpec::new("slow", move |cx| {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, SeqCst);
            if cx.restarts() == 0 {
                cx.ready();
                sleep(SECOND).await;
            } else {
                sleep(30 * SECOND).await;
            }
            Err::<(), _>("it does not connect")
        }
    });
    let builder = Supervisor::builder("watch-slow").intensity(3, 5 * SECOND);
    let (sup, _scope) = start(builder.child(spec.kind("sup-slow-start").start_timeout(60 * SECOND))).await;
    assert!(matches!(sup.ended().await, End::GaveUp(_)));
    assert_eq!(starts.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_does_not_come_is_told_once_and_so_is_its_return() {
    let (beats, mut beat) = tokio::sync::mpsc::unbounded_channel::<()>();
    let first = std::sync::Mutex::new(Some(()));
    let spec = ChildSpec::new("beats", move |cx| {
        let beat = first
            .lock()
            .unwrap()
            .take()
            .map(|()| std::mem::replace(&mut beat, tokio::sync::mpsc::unbounded_channel().1));
        async move {
            let mut beat = beat.expect("one run");
            while beat.recv().await.is_some() {
                cx.heartbeat();
            }
        }
    });
    let builder = Supervisor::builder("watch-beats");
    let (sup, _scope) = start(builder.child(spec.kind("sup-beats").heartbeat(10 * SECOND))).await;
    let overdue = || sup.list()[0].overdue;
    for _ in 0..5 {
        sleep(9 * SECOND).await;
        beats.send(()).unwrap();
        settle().await;
        assert!(!overdue());
    }
    sleep(SECOND * 21 / 2).await;
    assert!(overdue());
    assert!(rows_of(KindId::named("sup-beats"))[0].overdue);
    sleep(60 * SECOND).await;
    beats.send(()).unwrap();
    settle().await;
    assert!(!overdue());
    assert!(!rows_of(KindId::named("sup-beats"))[0].overdue);
    sleep(11 * SECOND).await;
    assert!(overdue());
    let told: Vec<Event> = told("watch-beats").into_iter().skip(1).collect();
    let [
        Event::Overdue { silent: first, .. },
        Event::Heartbeat { silent: whole, .. },
        Event::Overdue { silent: last, .. },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    let about = |time: &Duration, seconds: f64| (time.as_secs_f64() - seconds).abs() < 0.01;
    assert!(
        about(first, 10.0) && about(whole, 70.5) && about(last, 10.0),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_makes_nobody_overdue() {
    let spec = |name: &'static str| {
        ChildSpec::new(name, |cx| async move {
            loop {
                sleep(5 * SECOND).await;
                cx.heartbeat();
                if cx.is_cancelled() {
                    return;
                }
            }
        })
    };
    let builder = Supervisor::builder("watch-jump").child(spec("a").kind("sup-jump").heartbeat(10 * SECOND));
    let (sup, _scope) = start(builder).await;
    sleep(SECOND).await;
    // All that was due meanwhile is due at once, and the supervisor may be the first to run.
    tokio::time::advance(3_600 * SECOND).await;
    settle().await;
    assert_eq!(names("watch-jump"), ["spawned"]);
    assert!(!sup.list()[0].overdue);
    // The negative control is above: one that is silent while the clock goes on is overdue.
}

#[tokio::test(start_paused = true)]
async fn each_child_waits_for_itself() {
    let ([a, b], log) = actors(["a", "b"]);
    let slow = Backoff::new(100 * SECOND, 100 * SECOND);
    let builder = Supervisor::builder("watch-backoff")
        .child(a.spec().backoff(slow))
        .child(b.spec());
    let (sup, _scope) = start(builder).await;
    a.order(Order::Fail).await;
    b.order(Order::Fail).await;
    assert_eq!(log.take(), "+a +b -a -b +b");
    let wait = sup.list()[0].next_restart.unwrap();
    assert!(wait <= 100 * SECOND);
    let begin = Instant::now();
    super::wait_for(async || a.runs()).await;
    assert!(begin.elapsed() >= wait);
    assert_eq!(log.take(), "+a");
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_the_longest_wait_in_it() {
    let ([a, b, c], log) = actors(["a", "b", "c"]);
    let backoff = |seconds: u32| Backoff::new(SECOND * seconds, SECOND * seconds);
    let builder = Supervisor::builder("watch-group")
        .strategy(Strategy::RestForOne)
        .child(a.spec().backoff(backoff(1)))
        .child(b.spec().backoff(backoff(1_000)))
        .child(c.spec());
    let (sup, _scope) = start(builder).await;
    log.take();
    let begin = Instant::now();
    b.order(Order::Fail).await;
    // Stopped at once, and started together.
    assert_eq!(log.take(), "-b -c");
    let until = begin + sup.list()[1].next_restart.unwrap();
    a.order(Order::Fail).await;
    assert_eq!(log.take(), "-a");
    assert_eq!(sup.budget_remaining(), 3);
    super::wait_for(async || c.runs()).await;
    assert!(Instant::now() >= until);
    assert_eq!(log.take(), "+a +b +c");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_fail_together_come_back_apart() {
    let (fail, failing) = tokio::sync::watch::channel(false);
    let back = Arc::new(std::sync::Mutex::new(Vec::new()));
    let builder = Supervisor::builder("watch-thousand").intensity(1_000, 3_600 * SECOND);
    let builder = (0..1_000).fold(builder, |builder, child| {
        let (failing, back) = (failing.clone(), Arc::clone(&back));
        let spec = ChildSpec::new(format!("child-{child}"), move |cx| {
            let (mut failing, back) = (failing.clone(), Arc::clone(&back));
            async move {
                if cx.restarts() > 0 {
                    back.lock().unwrap().push(Instant::now());
                    cx.cancelled().await;
                }
                tokio::select! {
                    _ = failing.wait_for(|fail| *fail) => Err("all at once"),
                    _ = cx.cancelled() => Ok(()),
                }
            }
        });
        builder.child(
            spec.kind("sup-thousand")
                .backoff(Backoff::new(10 * SECOND, 10 * SECOND)),
        )
    });
    let (sup, scope) = start(builder).await;
    let begin = Instant::now();
    fail.send(true).unwrap();
    super::wait_for(async || back.lock().unwrap().len() == 1_000).await;
    assert_eq!(sup.budget_remaining(), 0);
    assert_eq!(scope.tasks(), 1_001);
    let mut waits: Vec<Duration> = back.lock().unwrap().iter().map(|at| *at - begin).collect();
    waits.sort_unstable();
    // Full jitter: a quarter of them in each quarter of the time, but for chance.
    for (quarter, wait) in [(1, waits[250]), (2, waits[500]), (3, waits[750])] {
        let expected = 10.0 * f64::from(quarter) / 4.0;
        assert!((wait.as_secs_f64() - expected).abs() < 1.0, "{quarter}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told_in_order() {
    let ([a], _log) = actors(["a"]);
    let builder = Supervisor::builder("watch-events").intensity(1, 60 * SECOND);
    let (sup, _scope) = start(builder.child(a.ready_after(SECOND))).await;
    a.order(Order::Panic).await;
    sleep(SECOND).await;
    settle().await;
    a.order(Order::Fail).await;
    let _ = sup.ended().await;
    assert_eq!(
        names("watch-events"),
        [
            "spawned",
            "ready",
            "panicked",
            "stopped",
            "restart_scheduled",
            "spawned",
            "ready",
            "stopped",
            "budget_exhausted",
            "escalated",
        ]
    );
    let told = told("watch-events");
    let Event::Panicked {
        message,
        location,
        backtrace,
        ..
    } = &told[2]
    else {
        panic!()
    };
    assert_eq!(&**message, "told to panic");
    assert!(location.as_deref().unwrap().contains("actor.rs:"), "{location:?}");
    assert_eq!(*backtrace, None);
    assert!(matches!(
        &told[4],
        Event::RestartScheduled {
            restart: 1,
            of: 1,
            ..
        }
    ));
    assert!(matches!(&told[9], Event::Escalated { to: None, .. }));
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_panic_are_told_where_that_is_on() {
    let ([a], _log) = actors(["a"]);
    let (_sup, _scope) = start(Supervisor::builder("watch-frames").backtraces().child(a.spec())).await;
    a.order(Order::Panic).await;
    let told = told("watch-frames");
    let Some(Event::Panicked {
        backtrace: Some(frames),
        ..
    }) = told.get(1)
    else {
        panic!("{told:?}")
    };
    assert!(frames.contains("Actor"), "{frames}");
    assert!(frames.len() <= 16 * 1_024);
}
