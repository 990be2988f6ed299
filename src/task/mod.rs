//! The write side: what a task is, and how it comes to be known.
//!
//! [`instrument`] wraps a future; [`lifecycle`] begins and ends a task; [`mod@spawn`] has the ways in; [`record`] holds one task's facts and is its
//! waker; [`slab`] is where records live; [`kind`] and [`cells`] count by kind; [`local`] is what a thread
//! keeps of all that; [`exit`] tells of tasks that have ended; [`membership`] is the slot for a task's scope.

use std::fmt;
use std::num::NonZeroU64;

pub(crate) mod cells;
mod classify;
pub(crate) mod exit;
pub(crate) mod extra;
pub(crate) mod instrument;
pub(crate) mod job;
pub(crate) mod kind;
mod lifecycle;
pub(crate) mod local;
pub(crate) mod membership;
pub(crate) mod panic;
#[cfg(feature = "profile")]
pub(crate) mod probe;
pub(crate) mod record;
pub(crate) mod runtime;
pub(crate) mod slab;
mod spawn;
mod sync;
pub(crate) mod text;
mod waker;

mod join_set;
pub mod thread;

#[cfg(feature = "server")]
mod executor;
#[cfg(tokio_unstable)]
pub mod hooks;

#[cfg(all(test, task_loom))]
mod models;
#[cfg(all(test, not(task_loom)))]
mod tests;

pub use cells::Histogram;
pub use classify::{AnyOutput, ByResult, Classify};
#[cfg(feature = "server")]
pub use executor::Executor;
pub use instrument::{Track, Tracked};
pub use join_set::JoinSet;
pub use kind::{AsKind, Kind, KindId, MAX_KIND_BYTES, MAX_KINDS};
pub(crate) use spawn::outside as spawn_outside;
pub use spawn::{Builder, spawn, spawn_blocking, spawn_local, spawn_on};

/// Identifies one task of this process; never used again for another.
///
/// It is not tokio's [`tokio::task::Id`]: a tracked future can be polled outside of a tokio task, and moved
/// between them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// The id as a number, as it is shown everywhere.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The task with that number; there need be none. `None` for 0, which no task has.
    #[must_use]
    pub fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Outcome {
    /// It returned.
    Completed = 0,
    /// It returned an `Err`, and its spawner asked for that to be told apart: see [`Tracked::fallible`].
    Failed = 1,
    /// It panicked. Its destructors have run.
    Panicked = 2,
    /// It was dropped before it returned: aborted, or its runtime shut down, or never polled.
    Cancelled = 3,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::Panicked, Self::Cancelled];

    /// The name that labels and rows show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a live task is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// It waits, and nothing has woken it.
    Idle,
    /// It was woken (or spawned) and waits for a worker; a blocking job waits for a thread.
    Scheduled,
    /// It is being polled; a thread or a blocking job runs.
    Running,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Idle, Self::Scheduled, Self::Running];

    /// The name that labels and rows show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The tracked task being polled on this thread, the innermost one; `None` outside of any.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// assert_eq!(lifespan::current(), None);
/// let id = lifespan::spawn("worker", async { lifespan::current() }).await.expect("no panic");
/// assert!(id.is_some());
/// # }
/// ```
#[must_use]
pub fn current() -> Option<TaskId> {
    TaskId::new(local::current_id())
}
