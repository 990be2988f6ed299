//! Orphans are found exactly: all of a corpus that cannot be woken, and none of one that can.

pub(crate) mod live;
mod lost;

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use lifespan::{KindId, Track, registry};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;

use crate::support::{rows_of, wait_until};
use live::ALIVE;
use lost::LOST;

pub(crate) type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(crate) type Program = (&'static str, fn() -> Boxed);

const LONG: Duration = Duration::from_secs(1_000);

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Boxed {
    Box::pin(future)
}

/// Each program as a task of its own kind.
fn spawn_all(programs: &[Program], handle: &Handle) -> Vec<(KindId, tokio::task::JoinHandle<()>)> {
    let spawn = |(name, program): &Program| {
        let kind = KindId::named(&format!("orphans-{name}"));
        let _in_runtime = handle.enter();
        (kind, lifespan::spawn_on(kind, program(), handle))
    };
    programs.iter().map(spawn).collect()
}

#[test]
fn what_cannot_be_woken_is_found_by_two_sweeps() {
    let runtime = runtime();
    let tasks = spawn_all(LOST, runtime.handle());
    for (kind, _) in &tasks {
        let settled = || {
            let rows = rows_of(*kind);
            rows.len() == 1 && rows[0].wakers == Some(0) && rows[0].state == lifespan::State::Idle
        };
        wait_until(kind.name(), settled);
    }
    registry::sweep();
    let sweep = registry::sweep();
    for (kind, task) in &tasks {
        let states = sweep.kinds.iter().find(|states| states.kind == *kind).unwrap();
        assert_eq!(states.orphaned, 1, "{kind}");
        assert!(rows_of(*kind)[0].orphaned, "{kind}");
        task.abort();
    }
    for (kind, task) in tasks {
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        wait_until("it has ended", || rows_of(kind).is_empty());
    }
}

/// Sweeps all the time, and says how often one of these kinds had an orphan.
struct Sweeper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(u64, Vec<KindId>)>>,
}

impl Sweeper {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut sweeps, mut orphaned) = (0, Vec::new());
            while !stopped.load(SeqCst) {
                let sweep = registry::sweep();
                let kinds = sweep.kinds.iter().filter(|states| states.orphaned > 0);
                orphaned.extend(kinds.map(|states| states.kind));
                orphaned.extend(registry::rows().filter(|row| row.orphaned).map(|row| row.kind));
                sweeps += 1;
            }
            (sweeps, orphaned)
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn assert_none_of(mut self, kinds: &[KindId]) {
        self.stop.store(true, SeqCst);
        let (sweeps, orphaned) = self.thread.take().unwrap().join().unwrap();
        assert!(sweeps > 1);
        let found: Vec<_> = orphaned.iter().filter(|kind| kinds.contains(kind)).collect();
        assert!(found.is_empty(), "false orphans: {found:?}");
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

#[test]
fn what_can_be_woken_is_never_reported() {
    let runtime = runtime();
    let sweeper = Sweeper::start();
    let tasks = spawn_all(ALIVE, runtime.handle());
    let mut kinds: Vec<KindId> = tasks.iter().map(|(kind, _)| *kind).collect();
    // No verdict is given on these, though nothing wakes them.
    let _in_runtime = runtime.enter();
    let unjudged = [
        runtime.spawn(pending::<()>().tracked("orphans-tracked-only")),
        runtime.spawn(pending::<()>().tracked("orphans-no-waker").root().no_waker()),
        lifespan::Builder::new("orphans-no-waker")
            .no_waker()
            .spawn(pending()),
        lifespan::Builder::new("orphans-long-lived")
            .long_lived()
            .spawn(pending()),
    ];
    let names = [
        "tracked-only",
        "no-waker",
        "long-lived",
        "child",
        "not-root",
        "blocking-job",
    ];
    kinds.extend(names.map(|name| KindId::named(&format!("orphans-{name}"))));
    for (kind, _) in &tasks {
        // Some wait in more than one task.
        wait_until(kind.name(), || rows_of(*kind).iter().all(|row| row.polls > 0));
    }
    for _ in 0..20 {
        registry::sweep();
        std::thread::sleep(Duration::from_millis(5));
    }
    for (kind, task) in &tasks {
        assert!(!task.is_finished(), "{kind} should wait");
    }
    sweeper.assert_none_of(&kinds);
    drop(unjudged);
    runtime.shutdown_background();
}

#[test]
fn tasks_at_ping_pong_never_look_orphaned() {
    static ROUNDS: AtomicU64 = AtomicU64::new(0);
    let kind = KindId::named("orphans-ping-pong");
    let runtime = runtime();
    let sweeper = Sweeper::start();
    let players = (0..4).map(|_| {
        let (ping, mut pinged) = mpsc::channel::<u64>(1);
        let (pong, mut ponged) = mpsc::channel::<u64>(1);
        let echo = async move {
            while let Some(ball) = pinged.recv().await {
                pong.send(ball).await.unwrap();
            }
        };
        let serve = async move {
            for ball in 0..10_000 {
                ping.send(ball).await.unwrap();
                assert_eq!(ponged.recv().await, Some(ball));
                ROUNDS.fetch_add(1, SeqCst);
            }
        };
        [
            lifespan::spawn_on(kind, echo, runtime.handle()),
            lifespan::spawn_on(kind, serve, runtime.handle()),
        ]
    });
    for player in players.collect::<Vec<_>>().into_iter().flatten() {
        runtime.block_on(player).unwrap();
    }
    assert_eq!(ROUNDS.load(SeqCst), 40_000);
    sweeper.assert_none_of(&[kind]);
}
