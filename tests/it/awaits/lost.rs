//! Lost wakeups: programs that wait for what has come are told, with the place; programs that wait for what has not,
//! or that something wakes, never are.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::event::{self, Event};
use lifespan::{KindId, State, registry};
use tokio::sync::Notify;

use super::{Boxed, boxed, dump, multi_thread, of_kinds};
use crate::orphans::live::ALIVE;
use crate::support::{rows_of, wait_until};

/// What the test does to the program while it waits: the event that it misses.
type Missed = Box<dyn FnOnce() + Send>;

/// Programs that miss an event. Each ends once somebody polls it afterwards.
type Program = (&'static str, fn() -> (Boxed, Missed));

static LOSING: &[Program] = &[
    ("wakes-an-older-waker", || {
        // A leaf that keeps all wakers and wakes the first, in a task that has polled it with another one since.
        let state = Arc::new((AtomicBool::new(false), Mutex::new(Vec::<Waker>::new())));
        let leaf = Arc::clone(&state);
        let keeps_all = move |cx: &mut std::task::Context<'_>| {
            if leaf.0.load(SeqCst) {
                return Poll::Ready(());
            }
            leaf.1.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        };
        let program = async move {
            let mut first = Box::pin(poll_fn(keeps_all));
            {
                let mut children = FuturesUnordered::from_iter([&mut first]);
                assert!(futures::poll!(children.next()).is_pending());
            }
            // Polled by the task itself from now on; the leaf has the waker of a child that is gone.
            stands_here(first).await;
        };
        let event = move || {
            state.0.store(true, SeqCst);
            state.1.lock().unwrap().remove(0).wake();
        };
        (boxed(program), Box::new(event))
    }),
    ("swallows-an-item", || {
        // Woken for an item that it does not want, it waits on without a look for the next, and without a waker there.
        let queue = Arc::new((AtomicUsize::new(0), Mutex::new(None::<Waker>)));
        let leaf = Arc::clone(&queue);
        let swallowed = Arc::new(AtomicBool::new(false));
        let swallows = Arc::clone(&swallowed);
        let program = async move {
            let second = poll_fn(move |cx| {
                if leaf.0.load(SeqCst) == 1 && !swallows.swap(true, SeqCst) {
                    return Poll::Pending;
                }
                if leaf.0.load(SeqCst) > 1 {
                    return Poll::Ready(());
                }
                *leaf.1.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            });
            stands_here(Box::pin(second)).await;
        };
        let event = move || {
            queue.0.store(1, SeqCst);
            let waker = queue.1.lock().unwrap().take();
            waker.unwrap().wake();
            wait_until("the first is swallowed", || swallowed.load(SeqCst));
            queue.0.store(2, SeqCst);
            assert!(queue.1.lock().unwrap().is_none());
        };
        (boxed(program), Box::new(event))
    }),
    ("checks-before-it-registers", || {
        let state = Arc::new((AtomicBool::new(false), Mutex::new(None::<Waker>)));
        let leaf = Arc::clone(&state);
        let program = async move {
            let checks = poll_fn(move |cx| {
                if leaf.0.load(SeqCst) {
                    return Poll::Ready(());
                }
                // Here the event comes, and finds nobody: see below.
                *leaf.1.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            });
            stands_here(Box::pin(checks)).await;
        };
        // As if it had come between the two: set, and nobody woken.
        (boxed(program), Box::new(move || state.0.store(true, SeqCst)))
    }),
    ("notifies-too-early", || {
        let state = Arc::new((AtomicBool::new(false), Notify::new()));
        let waits = Arc::clone(&state);
        let program = async move {
            let mut notified = Box::pin({
                let waits = Arc::clone(&waits);
                async move { waits.1.notified().await }
            });
            let condition = poll_fn(move |cx| {
                if waits.0.load(SeqCst) {
                    return Poll::Ready(());
                }
                notified.as_mut().poll(cx)
            });
            stands_here(Box::pin(condition)).await;
        };
        // The notification was before the task waited, and the flag is set after.
        (boxed(program), Box::new(move || state.0.store(true, SeqCst)))
    }),
];

/// The place that must be told.
async fn stands_here(leaf: impl Future<Output = ()> + Unpin) {
    leaf.await;
}

fn lost(kind: KindId) -> u64 {
    let kinds = registry::kinds();
    let summary = kinds.iter().find(|summary| summary.kind == kind);
    summary.map_or(0, |summary| summary.lost_wakeups)
}

fn idle(kind: KindId) -> bool {
    rows_of(kind)
        .iter()
        .all(|row| row.state == State::Idle && row.polls > 0)
}

#[test]
fn lost_wakeups_are_told_with_the_place() {
    let _agent = lifespan::Agent::builder("lost-wakeups").start();
    let runtime = multi_thread();
    let programs = LOSING.iter().map(|(name, program)| {
        let kind = KindId::named(&format!("awaits-lost-{name}"));
        let (program, event) = program();
        let task = lifespan::spawn_on(kind, program, runtime.handle());
        (kind, task, event)
    });
    let programs: Vec<_> = programs.collect();
    let kinds: Vec<KindId> = programs.iter().map(|(kind, ..)| *kind).collect();
    wait_until("all wait", || {
        kinds.iter().all(|kind| rows_of(*kind).len() == 1 && idle(*kind))
    });
    let mut ask = of_kinds(&kinds);
    ask.long_idle = Duration::ZERO;
    // Where they stand.
    assert_eq!(dump(&ask).tasks.len(), kinds.len());
    let mut tasks = Vec::new();
    for (kind, task, event) in programs {
        event();
        wait_until("all is quiet", || idle(kind));
        tasks.push((kind, task));
    }
    assert!(
        tasks.iter().all(|(_, task)| !task.is_finished()),
        "they have lost it"
    );
    // And that they should not stand there any more.
    dump(&ask);
    for (kind, task) in tasks {
        wait_until(kind.name(), || lost(kind) == 1);
        runtime.block_on(task).unwrap();
        let told = event::recent().entries;
        let told = told
            .iter()
            .find(|entry| entry.subject.kind == Some(kind) && entry.event.name() == "lost_wakeup");
        let Event::LostWakeup { waiting_at, .. } = &told.unwrap().event else {
            panic!("{told:?}")
        };
        // That one has run since it was asked: where it stood then is not where it stands.
        let known = kind.name() != "awaits-lost-swallows-an-item";
        let named = waiting_at
            .as_ref()
            .is_some_and(|at| at.contains("lost::stands_here"));
        assert_eq!(named, known, "{kind}: {waiting_at:?}");
    }
}

#[test]
fn what_is_woken_or_waits_is_never_told() {
    let _agent = lifespan::Agent::builder("no-lost-wakeups").start();
    let runtime = multi_thread();
    let kinds: Vec<KindId> = (ALIVE.iter())
        .map(|(name, _)| KindId::named(&format!("awaits-live-{name}")))
        .collect();
    let _in_runtime = runtime.enter();
    for (kind, (_, program)) in kinds.iter().zip(ALIVE) {
        drop(lifespan::spawn(*kind, program()));
    }
    wait_until("all have run", || {
        kinds
            .iter()
            .all(|kind| rows_of(*kind).iter().all(|row| row.polls > 0))
    });
    let mut ask = of_kinds(&kinds);
    ask.long_idle = Duration::ZERO;
    let mut answered = 0;
    let rounds = if std::env::var_os("LIFESPAN_SOAK").is_some() {
        1_000
    } else {
        10
    };
    for _ in 0..rounds {
        let dump = dump(&ask);
        let at = |task: &&lifespan::profile::Task| matches!(task.waits, lifespan::profile::Waits::At(_));
        answered += dump.tasks.iter().filter(at).count();
    }
    assert!(answered > rounds * kinds.len() / 2, "only {answered} answers");
    // Suspects have had their second.
    let settled = KindId::named("awaits-lost-settled");
    let state = Arc::new(AtomicBool::new(false));
    let sets = Arc::clone(&state);
    let kept = Mutex::new(None::<Waker>);
    let checks = poll_fn(move |cx| {
        if state.load(SeqCst) {
            return Poll::Ready(());
        }
        *kept.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    });
    let last = lifespan::spawn(settled, checks);
    wait_until("it waits", || idle(settled));
    sets.store(true, SeqCst);
    let mut control = of_kinds(&[settled]);
    control.long_idle = Duration::ZERO;
    dump(&control);
    wait_until("the control is told", || lost(settled) == 1);
    runtime.block_on(last).unwrap();
    let told: Vec<KindId> = kinds.into_iter().filter(|kind| lost(*kind) > 0).collect();
    assert!(told.is_empty(), "{told:?}");
    runtime.shutdown_background();
}
