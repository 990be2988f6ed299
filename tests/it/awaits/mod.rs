//! Where tasks wait: every leaf is named, on every runtime, and asking changes nothing.

mod behaviour;
mod leaves;
mod lost;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lifespan::profile::{Ask, Dump, Refused, Task, Waits};
use lifespan::{KindId, State};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::support::{rows_of, wait_until};
use leaves::LEAVES;

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) const LONG: Duration = Duration::from_secs(1_000);

fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Boxed {
    Box::pin(future)
}

/// Asks as an agent does: from a thread with a runtime of its own.
fn dump(ask: &Ask) -> Arc<Dump> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut dumped = None;
    // Other tests of this process dump as well, one at a time.
    wait_until("no other dump runs", || {
        match runtime.block_on(lifespan::profile::dump(ask)) {
            Ok(dump) => dumped = Some(dump),
            Err(Refused::Busy) => {}
            Err(other) => panic!("{other}"),
        }
        dumped.is_some()
    });
    dumped.unwrap()
}

fn of_kinds(kinds: &[KindId]) -> Ask {
    let mut ask = Ask::default();
    ask.kinds = kinds.to_vec();
    ask
}

fn kinds_of(flavour: &str) -> Vec<KindId> {
    let name = |(name, ..): &leaves::Leaf| KindId::named(&format!("awaits-{flavour}-{name}"));
    LEAVES.iter().map(name).collect()
}

/// Waits until all wait, asks them, and compares.
fn assert_named(kinds: &[KindId]) {
    for kind in kinds {
        wait_until(kind.name(), || {
            let rows = rows_of(*kind);
            rows.len() == 1 && rows[0].polls > 0 && rows[0].state == State::Idle && rows[0].wakers > Some(0)
        });
    }
    let dump = dump(&of_kinds(kinds));
    let mut wrong = String::new();
    for (kind, (_, functions, _)) in kinds.iter().zip(LEAVES) {
        let task = dump.tasks.iter().find(|task| task.row.kind == *kind);
        let task = task.unwrap_or_else(|| panic!("{kind} is not in the dump"));
        if !is_named(task, functions) {
            wrong += &format!("{kind}: {functions:?} in {:#?}\n", said(task));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn said(task: &Task) -> Vec<Vec<String>> {
    match &task.waits {
        Waits::At(stacks) => stacks
            .iter()
            .map(|stack| stack.functions().map(str::to_owned).collect())
            .collect(),
        other => vec![vec![format!("{other:?}")]],
    }
}

/// Whether each function is in one of the stacks, and every stack ends with the task's own future.
fn is_named(task: &Task, functions: &[&str]) -> bool {
    let said = said(task);
    let is_root = |function: &String| function.contains("awaits::leaves") || ROOTS.contains(&&**function);
    functions
        .iter()
        .all(|wanted| said.iter().flatten().any(|function| function.contains(wanted)))
        && said.iter().all(|stack| stack.last().is_some_and(is_root))
}

/// Futures of others that are spawned as they are.
const ROOTS: &[&str] = &[
    "<futures_util::future::future::Map<Fut,F> as core::future::future::Future>::poll",
    "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
];

fn multi_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Runs `f` in a runtime that has one thread, with something that ends when it may.
fn on_one_thread(f: impl FnOnce(oneshot::Receiver<()>, Runtime) + Send + 'static) -> Stopped {
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        f(stopped, runtime);
    });
    Stopped { stop, thread }
}

struct Stopped {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Stopped {
    fn stop(self) {
        drop(self.stop);
        self.thread.join().unwrap();
    }
}

#[test]
fn every_leaf_is_named_on_a_multi_thread_runtime() {
    let runtime = multi_thread();
    let _in_runtime = runtime.enter();
    let kinds = kinds_of("multi");
    for (kind, (_, _, leaf)) in kinds.iter().zip(LEAVES) {
        drop(lifespan::spawn(*kind, leaf()));
    }
    assert_named(&kinds);
    runtime.shutdown_background();
}

#[test]
fn every_leaf_is_named_on_a_current_thread_runtime() {
    let kinds = kinds_of("current");
    let spawned = kinds.clone();
    let runs = on_one_thread(move |stopped, runtime| {
        runtime.block_on(async {
            for (kind, (_, _, leaf)) in spawned.iter().zip(LEAVES) {
                drop(lifespan::spawn(*kind, leaf()));
            }
            let _ = stopped.await;
        });
        runtime.shutdown_background();
    });
    assert_named(&kinds);
    runs.stop();
}

#[test]
fn every_leaf_is_named_on_a_local_set() {
    let kinds = kinds_of("local");
    let spawned = kinds.clone();
    let runs = on_one_thread(move |stopped, runtime| {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            for (kind, (_, _, leaf)) in spawned.iter().zip(LEAVES) {
                drop(lifespan::spawn_local(*kind, leaf()));
            }
            let _ = stopped.await;
        });
        drop(local);
        runtime.shutdown_background();
    });
    assert_named(&kinds);
    runs.stop();
}
