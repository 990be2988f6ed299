//! Every task that is spawned ends exactly once, by whatever way it came in and however it ends; and it has ended
//! only when its destructors have run.

mod ways;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Waker};

use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::registry::{self};
use lifespan::{Builder, JoinSet, KindId, Outcome, Track};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, yield_now};

use crate::support::{Counts, assert_settled, rows_of};
use ways::{
    Body, Ending, Ledger, Output, Owned, Refused, Task, Told, WAYS, body, check, check_payload,
    current_thread, multi_thread, of_set, quiet_body, run,
};

/// Checks the ledgers all the time, until dropped.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Reader {
    fn of(ledgers: Vec<Arc<Ledger>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !stopped.load(SeqCst) {
                let kinds = registry::kinds();
                ledgers.iter().for_each(|ledger| ledger.check_in(&kinds));
                rounds += 1;
                std::thread::yield_now();
            }
            rounds
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn finish(mut self) {
        self.stop.store(true, SeqCst);
        assert!(self.thread.take().unwrap().join().unwrap() > 0);
    }
}

/// Where a test fails.
impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

#[test]
fn every_way_in_and_every_end() {
    for (flavor, runtime) in [("one", current_thread()), ("two", multi_thread(2))] {
        let ledgers = WAYS
            .iter()
            .map(|way| Ledger::new(&format!("conservation-{flavor}-{}", way.name)));
        let ledgers: Vec<_> = ledgers.collect();
        let reader = Reader::of(ledgers.clone());
        let mut expected = vec![Counts::default(); WAYS.len()];
        LocalSet::new().block_on(&runtime, async {
            for ending in Ending::ALL.into_iter().cycle().take(20 * Ending::ALL.len()) {
                for ((way, ledger), counts) in WAYS.iter().zip(&ledgers).zip(&mut expected) {
                    counts.add(run(way, ledger, ending).await);
                }
            }
        });
        for (ledger, expected) in ledgers.iter().zip(expected) {
            assert_settled(ledger.kind, expected);
        }
        reader.finish();
    }
}

#[test]
fn a_runtime_shuts_down_with_all_its_tasks() {
    for (polled, workers) in [(false, 0), (true, 0), (true, 2)] {
        let runtime = if workers == 0 {
            current_thread()
        } else {
            multi_thread(workers)
        };
        let ways: Vec<_> = WAYS.iter().filter(|way| way.anywhere).collect();
        let ledgers: Vec<_> = (ways.iter())
            .map(|way| Ledger::new(&format!("conservation-shutdown-{polled}-{workers}-{}", way.name)))
            .collect();
        let reader = Reader::of(ledgers.clone());
        let mut expected = vec![Counts::default(); ways.len()];
        // Held, so that what a set would do when it is dropped does not end them.
        let mut tasks = Vec::new();
        for ((way, ledger), expected) in ways.iter().zip(&ledgers).zip(&mut expected) {
            for _ in 0..10 {
                let _in_runtime = runtime.enter();
                let (started, starts) = oneshot::channel();
                tasks.push((way.spawn)(ledger.kind, body(ledger, Ending::Aborted, started)));
                if polled {
                    runtime.block_on(starts).unwrap();
                }
                expected.add(Outcome::Cancelled);
            }
            assert_eq!(Counts::of(ledger.kind.name()).ended(), 0);
            assert_eq!(rows_of(ledger.kind).len(), 10, "{}", way.name);
        }
        drop(runtime);
        for (ledger, expected) in ledgers.iter().zip(expected) {
            assert_settled(ledger.kind, expected);
        }
        reader.finish();
    }
}

#[test]
fn a_future_is_dropped_before_it_has_ended() {
    let ledger = Ledger::new("conservation-dropped");
    let mut expected = Counts::default();
    let mut context = Context::from_waker(Waker::noop());
    for polls in 0..2 {
        let bodies = || quiet_body(&ledger, Ending::Aborted);
        let mut plain = Box::pin(bodies().tracked(ledger.kind));
        let mut built = Box::pin(Builder::new(ledger.kind).name("a name").track(bodies()));
        for _ in 0..polls {
            assert!(plain.as_mut().poll(&mut context).is_pending());
            assert!(built.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(rows_of(ledger.kind).len(), 2);
        drop((plain, built));
        expected.add(Outcome::Cancelled);
        expected.add(Outcome::Cancelled);
    }
    ledger.check();
    assert_settled(ledger.kind, expected);
}

#[test]
fn a_caller_blocks_on_a_future() {
    let ledger = Ledger::new("conservation-block-on");
    let mut expected = Counts::default();
    let runtime = current_thread();
    let ways: [&dyn Fn(Body) -> Output; 3] = [
        &|body| runtime.block_on(body.tracked(ledger.kind)),
        &|body| runtime.block_on(body.tracked(ledger.kind).root()),
        &|body| futures::executor::block_on(body.tracked(ledger.kind)),
    ];
    for way in ways {
        for ending in [Ending::Completes, Ending::Fails] {
            let output = way(quiet_body(&ledger, ending));
            assert_eq!(
                output,
                if ending == Ending::Fails {
                    Err(Refused)
                } else {
                    Ok(42)
                }
            );
            expected.add(Outcome::Completed);
        }
        let body = quiet_body(&ledger, Ending::Panics);
        check_payload(catch_unwind(AssertUnwindSafe(|| way(body))).unwrap_err());
        expected.add(Outcome::Panicked);
        ledger.check();
    }
    assert_settled(ledger.kind, expected);
}

#[test]
fn blocking_jobs_and_threads() {
    type Job = Box<dyn FnOnce() -> Output + Send>;
    let ledger = Ledger::new("conservation-blocking");
    let job = |ending: Ending| -> Job {
        let owned = Owned(Arc::clone(&ledger));
        Box::new(move || {
            let _owned = owned;
            match ending {
                Ending::Panics => resume_unwind(Box::new(Told(7))),
                Ending::Fails => Err(Refused),
                _ => Ok(42),
            }
        })
    };
    let kind = ledger.kind;
    let ways: [fn(KindId, Job) -> Task; 3] = [
        |kind, job| lifespan::spawn_blocking(kind, job).into(),
        |kind, job| Builder::new(kind).name("a name").spawn_blocking(job).into(),
        |kind, job| of_set(|set| set.spawn_blocking(kind, job)),
    ];
    let reader = Reader::of(vec![Arc::clone(&ledger)]);
    let mut expected = Counts::default();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.max_blocking_threads(1).build().unwrap()
    };
    let ended = runtime();
    for way in ways {
        for ending in [Ending::Completes, Ending::Fails, Ending::Panics] {
            check(
                ending,
                ended.block_on(async { way(kind, job(ending)).join.await }),
            );
            expected.add(ending.outcome(false));
        }
        // The pool's only thread is taken: these wait, and never run.
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = ended.spawn_blocking(move || wait.recv());
        let task = ended.block_on(async { way(kind, job(Ending::Aborted)) });
        task.abort.abort();
        drop(release);
        check(Ending::Aborted, ended.block_on(task.join));
        expected.add(Outcome::Cancelled);
        ended.block_on(busy).unwrap().unwrap_err();

        // One that comes too late.
        let shut = runtime();
        let handle = shut.handle().clone();
        shut.shutdown_background();
        let _in_runtime = handle.enter();
        let _task = way(kind, job(Ending::Aborted));
        expected.add(Outcome::Cancelled);
    }
    assert_eq!(
        lifespan::thread::spawn(kind, job(Ending::Completes))
            .join()
            .unwrap(),
        Ok(42)
    );
    expected.add(Outcome::Completed);
    check_payload(
        lifespan::thread::spawn(kind, job(Ending::Panics))
            .join()
            .unwrap_err(),
    );
    expected.add(Outcome::Panicked);
    assert_settled(kind, expected);
    reader.finish();
}

#[cfg(feature = "server")]
#[test]
fn what_hyper_spawns() {
    use hyper::rt::Executor as _;

    let ledger = Ledger::new("conservation-executor");
    let executor = lifespan::Executor::new(ledger.kind);
    let runtime = current_thread();
    let mut expected = Counts::default();
    runtime.block_on(async {
        for ending in [Ending::Completes, Ending::Fails, Ending::Panics, Ending::Aborted] {
            executor.execute(quiet_body(&ledger, ending));
            expected.add(ending.outcome(false));
        }
        while Counts::of(ledger.kind.name()).ended() < 3 {
            yield_now().await;
        }
    });
    assert_eq!(rows_of(ledger.kind).len(), 1);
    drop(runtime);
    assert_settled(ledger.kind, expected);
}

/// A host's thread-local is destroyed after ours, and ends, begins and polls tasks then.
#[test]
fn a_thread_is_torn_down() {
    type Tracked = Pin<Box<dyn Future<Output = Output>>>;
    struct Late(RefCell<Vec<Tracked>>, RefCell<Option<Arc<Ledger>>>);
    impl Drop for Late {
        fn drop(&mut self) {
            let Some(ledger) = self.1.take() else { return };
            let mut context = Context::from_waker(Waker::noop());
            let mut late = Box::pin(quiet_body(&ledger, Ending::Completes).tracked(ledger.kind));
            assert!(late.as_mut().poll(&mut context).is_pending());
            assert!(late.as_mut().poll(&mut context).is_ready());
            drop(quiet_body(&ledger, Ending::Aborted).tracked(ledger.kind));
        }
    }
    thread_local! {
        static LATE: Late = const { Late(RefCell::new(Vec::new()), RefCell::new(None)) };
    }
    let ledger = Ledger::new("conservation-torn-down");
    let mut expected = Counts::default();
    for _ in 0..20 {
        let owned = Arc::clone(&ledger);
        std::thread::spawn(move || {
            // The host's first, so that it goes last.
            LATE.with(|late| late.1.replace(Some(Arc::clone(&owned))));
            for polls in 0..2 {
                let mut task: Tracked = Box::pin(quiet_body(&owned, Ending::Aborted).tracked(owned.kind));
                for _ in 0..polls {
                    let mut context = Context::from_waker(Waker::noop());
                    assert!(task.as_mut().poll(&mut context).is_pending());
                }
                LATE.with(|late| late.0.borrow_mut().push(task));
            }
        })
        .join()
        .unwrap();
        for outcome in [
            Outcome::Completed,
            Outcome::Cancelled,
            Outcome::Cancelled,
            Outcome::Cancelled,
        ] {
            expected.add(outcome);
        }
        ledger.check();
    }
    assert_settled(ledger.kind, expected);
}

#[test]
fn a_local_set_that_never_ran() {
    let ledger = Ledger::new("conservation-local-set");
    let mut expected = Counts::default();
    let runtime = current_thread();
    let local = LocalSet::new();
    let mut set = JoinSet::new();
    set.spawn_local_on(ledger.kind, quiet_body(&ledger, Ending::Completes), &local);
    local.block_on(&runtime, async {
        check(Ending::Completes, set.join_next().await.unwrap());
    });
    expected.add(Outcome::Completed);
    set.spawn_local_on(ledger.kind, quiet_body(&ledger, Ending::Completes), &local);
    drop((set, local));
    expected.add(Outcome::Cancelled);
    assert_settled(ledger.kind, expected);
}

/// 1,000,000 tasks over all ways in at once, in 8 runtimes at once.
#[test]
fn a_million_tasks() {
    const TASKS: u64 = 1_000_000;
    const RUNTIMES: u64 = 8;
    /// Of so many tasks, one each goes every way in and has every end; the others are cheap.
    const ROUND: u64 = 12_500;

    let ledgers: Vec<_> = (0..RUNTIMES)
        .map(|i| Ledger::new(&format!("conservation-million-{i}")))
        .collect();
    let reader = Reader::of(ledgers.clone());
    let threads: Vec<_> = (ledgers.iter().cloned())
        .map(|ledger| std::thread::spawn(move || drive(&ledger, TASKS / RUNTIMES, ROUND)))
        .collect();
    let expected: Vec<Counts> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(expected.iter().map(|counts| counts.spawned).sum::<u64>(), TASKS);
    for (ledger, expected) in ledgers.iter().zip(expected) {
        assert_settled(ledger.kind, expected);
        assert_eq!(ledger.destroyed.load(SeqCst), expected.spawned);
    }
    reader.finish();
}

fn drive(ledger: &Arc<Ledger>, tasks: u64, round: u64) -> Counts {
    let runtime = if ledger.kind.name().ends_with(['0', '1']) {
        multi_thread(2)
    } else {
        current_thread()
    };
    let mut expected = Counts::default();
    LocalSet::new().block_on(&runtime, async {
        while expected.spawned < tasks {
            let end = expected.spawned + round;
            for way in WAYS {
                for ending in Ending::ALL {
                    expected.add(run(way, ledger, ending).await);
                }
            }
            let blocking = (0..4).map(|_| {
                let owned = Owned(Arc::clone(ledger));
                lifespan::spawn_blocking(ledger.kind, move || drop(owned))
            });
            for job in blocking.collect::<Vec<_>>() {
                job.await.unwrap();
                expected.add(Outcome::Completed);
            }
            let owned = Owned(Arc::clone(ledger));
            lifespan::thread::spawn(ledger.kind, move || drop(owned))
                .join()
                .unwrap();
            expected.add(Outcome::Completed);

            // Five cheap ways, alive all at once.
            let owned = || Owned(Arc::clone(ledger));
            let mut set = JoinSet::new();
            let mut unordered = FuturesUnordered::new();
            let mut dropped = Vec::new();
            let mut way = 0;
            while expected.spawned < end {
                let owned = owned();
                let task = async move { drop(owned) };
                match way % 5 {
                    0 => drop(lifespan::spawn(ledger.kind, task)),
                    1 => drop(set.spawn(ledger.kind, task)),
                    2 => unordered.push(task.tracked(ledger.kind)),
                    3 => drop(lifespan::spawn_local(ledger.kind, task)),
                    _ => dropped.push(task.tracked(ledger.kind)),
                }
                expected.add(if way % 5 == 4 {
                    Outcome::Cancelled
                } else {
                    Outcome::Completed
                });
                way += 1;
            }
            drop(dropped);
            while unordered.next().await.is_some() {}
            while let Some(result) = set.join_next().await {
                result.unwrap();
            }
        }
        while ledger.destroyed.load(SeqCst) < expected.spawned {
            yield_now().await;
        }
    });
    expected
}
