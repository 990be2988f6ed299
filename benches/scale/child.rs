//! One configuration, in a process of its own: memory that one has freed is not taken for another's.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use lifespan::{Builder, Kind};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::memory;
use crate::readers;

/// Who spawns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Spawner {
    /// `tokio::spawn`.
    Raw,
    /// `lifespan::spawn`.
    Bare,
    /// `lifespan::Builder` with a name, which takes an `Extra`.
    Named,
}

impl Spawner {
    pub(crate) const ALL: [Self; 3] = [Self::Raw, Self::Bare, Self::Named];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Bare => "bare",
            Self::Named => "named",
        }
    }
}

/// What was measured, by name.
pub(crate) type Figures = Map<String, Value>;

/// Spawns so many tasks, and measures what they take, what it takes to read them, and what is left of them.
pub(crate) fn run(spawner: Spawner, tasks: u64) -> Result<Figures, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| format!("runtime: {error}"))?;
    let mut figures = Figures::new();
    // What the first task allocates for the whole process is not a task's.
    spawn_and_wait(&runtime, spawner, 1);
    let before = memory::resident()?.now;
    spawn_and_wait(&runtime, spawner, tasks);
    let bytes = memory::resident()?.now.saturating_sub(before);
    figures.insert("bytes".to_owned(), json!(bytes));
    if spawner == Spawner::Bare {
        readers::read(&mut figures, tasks)?;
    }
    end_all(&runtime);
    if spawner != Spawner::Raw {
        // One sweep gives back what is free.
        lifespan::registry::sweep();
        let left = lifespan::registry::health().record_bytes;
        figures.insert("record_bytes_after".to_owned(), json!(left));
    }
    Ok(figures)
}

static KINDS: [Kind; 4] = [
    Kind::new("scale-a"),
    Kind::new("scale-b"),
    Kind::new("scale-c"),
    Kind::new("scale-d"),
];
static END: Notify = Notify::const_new();
static WAITING: AtomicU64 = AtomicU64::new(0);

/// Spawns tasks that wait to be told to end, and returns when they all wait.
fn spawn_and_wait(runtime: &Runtime, spawner: Spawner, tasks: u64) {
    let wanted = WAITING.load(Relaxed) + tasks;
    runtime.block_on(async {
        for (_, kind) in (0..tasks).zip(KINDS.iter().cycle()) {
            match spawner {
                Spawner::Raw => spawn_raw(wait()),
                Spawner::Bare => drop(lifespan::spawn(kind, wait())),
                Spawner::Named => drop(Builder::new(kind).name("worker").spawn(wait())),
            }
        }
        while WAITING.load(Relaxed) < wanted {
            tokio::task::yield_now().await;
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "what the others are compared with")]
fn spawn_raw(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

async fn wait() {
    let end = END.notified();
    WAITING.fetch_add(1, Relaxed);
    end.await;
    WAITING.fetch_sub(1, Relaxed);
}

fn end_all(runtime: &Runtime) {
    runtime.block_on(async {
        END.notify_waiters();
        while WAITING.load(Relaxed) > 0 || runtime.metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    });
}
