//! What tokio itself says of tasks that are not ours, by spawn site (only in a build with `tokio_unstable`).
//!
//! tokio's hooks are a second source, never the first: they are unstable, they say nothing of a task's end but
//! that it came, and they do not balance: the blocking pool, worker threads included, tells of ends alone, and a
//! `LocalSet` of nothing. So the difference of two counters would be wrong. Here a task is known from its spawn to
//! its end by its id, and an end without a spawn is no news.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, TaskMeta};
use tokio::task::Id;

/// The most tasks whose spawn site is known at a time; further ones are counted alone. Some 4 MiB when full.
const MOST: usize = 1 << 16;
const SHARDS: usize = 16;

type Callback = Box<dyn Fn(&TaskMeta<'_>) + Send + Sync>;

/// Hooks for a runtime, so that its untracked tasks are known by the place where they were spawned:
/// [`registry::foreign`](crate::registry::foreign) lists them.
///
/// A runtime has one callback a hook, and a later one takes the place of an earlier one unseen. So give the ones
/// that you want to this, and not to the builder: they are called after ours. The hooks for polls are not used
/// here; those stay the builder's.
///
/// A callback of yours that panics does what it does without us: see tokio's documentation.
///
/// # Examples
///
/// ```
/// use lifespan::hooks::Hooks;
///
/// let mut builder = tokio::runtime::Builder::new_multi_thread();
/// Hooks::new()
///     .on_task_spawn(|task| println!("spawned at {}", task.spawned_at()))
///     .install(&mut builder);
/// let runtime = builder.build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
#[must_use = "hooks do nothing until they are installed"]
pub struct Hooks {
    spawn: Vec<Callback>,
    terminate: Vec<Callback>,
}

impl Hooks {
    /// The hooks that lifespan needs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also calls this for each task that is spawned; several of them in the order in which they were given.
    pub fn on_task_spawn(mut self, f: impl Fn(&TaskMeta<'_>) + Send + Sync + 'static) -> Self {
        self.spawn.push(Box::new(f));
        self
    }

    /// Also calls this for each task that has ended; several of them in the order in which they were given.
    pub fn on_task_terminate(mut self, f: impl Fn(&TaskMeta<'_>) + Send + Sync + 'static) -> Self {
        self.terminate.push(Box::new(f));
        self
    }

    /// Sets the runtime's two hooks. Those that the builder already has are lost.
    pub fn install(self, builder: &mut Builder) -> &mut Builder {
        INSTALLED.store(true, Relaxed);
        let Self { spawn, terminate } = self;
        builder.on_task_spawn(move |task| {
            spawned(task.id(), task.spawned_at());
            spawn.iter().for_each(|callback| callback(task));
        });
        builder.on_task_terminate(move |task| {
            ended(task.id());
            terminate.iter().for_each(|callback| callback(task));
        })
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_task_spawn", &self.spawn.len())
            .field("on_task_terminate", &self.terminate.len())
            .finish()
    }
}

/// Says that the next task that this thread spawns is one of ours, as long as the guard lives.
pub(crate) fn ours() -> Ours {
    Ours(OURS.try_with(|ours| ours.replace(true)).unwrap_or(false))
}

pub(crate) struct Ours(bool);

impl Drop for Ours {
    fn drop(&mut self) {
        // A thread that is being torn down spawns nothing more that we would know of.
        let _ = OURS.try_with(|ours| ours.set(self.0));
    }
}

/// Forgets the task being polled: it is tracked, though it was not spawned by us.
pub(crate) fn disown_current() {
    if INSTALLED.load(Relaxed)
        && let Some(id) = tokio::task::try_id()
    {
        shard(id).remove(&id);
    }
}

/// How many untracked tasks are alive, by spawn site.
pub(crate) fn by_site() -> HashMap<&'static Location<'static>, u64> {
    let mut sites = HashMap::new();
    for shard in &TABLE.shards {
        for site in lock(shard).values() {
            let tasks: &mut u64 = sites.entry(*site).or_default();
            *tasks = tasks.saturating_add(1);
        }
    }
    sites
}

/// How many tasks found no place.
pub(crate) fn refused() -> u64 {
    REFUSED.load(Relaxed)
}

fn spawned(id: Id, site: &'static Location<'static>) {
    let ours = OURS.try_with(Cell::take).unwrap_or(false);
    let over = ENDED.try_with(|ended| ended.take() == Some(id)).unwrap_or(false);
    if ours || over {
        return;
    }
    let mut tasks = shard(id);
    if tasks.len() < MOST / SHARDS {
        tasks.insert(id, site);
    } else {
        REFUSED.fetch_add(1, Relaxed);
    }
}

fn ended(id: Id) {
    if shard(id).remove(&id).is_none() {
        let _ = ENDED.try_with(|ended| ended.set(Some(id)));
    }
}

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
    /// The last task whose end came as no news. A runtime that has shut down ends a new task in the middle of its
    /// spawn, and tells of the spawn after it: that one is over already.
    static ENDED: Cell<Option<Id>> = const { Cell::new(None) };
}

struct Table {
    /// For the choice of a shard; each has one of its own for its places.
    hasher: RandomState,
    shards: [Mutex<Tasks>; SHARDS],
}

type Tasks = HashMap<Id, &'static Location<'static>>;

fn shard(id: Id) -> MutexGuard<'static, Tasks> {
    let table = &*TABLE;
    #[expect(clippy::cast_possible_truncation, reason = "any part of a hash will do")]
    let at = table.hasher.hash_one(id) as usize % SHARDS;
    lock(&table.shards[at])
}

fn lock(shard: &Mutex<Tasks>) -> MutexGuard<'_, Tasks> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    hasher: RandomState::new(),
    shards: std::array::from_fn(|_| Mutex::default()),
});
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Whether any runtime has our hooks: without, a first poll has nothing to look up.
static INSTALLED: AtomicBool = AtomicBool::new(false);
