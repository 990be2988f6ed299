//! A dump: every live task, and where each waits.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::registry::Row;

/// What one look at the live tasks saw.
#[derive(Debug)]
pub(crate) struct Dump {
    /// When it began.
    pub(crate) sampled_at: SystemTime,
    /// How long it took.
    pub(crate) took: Duration,
    /// Live tasks that were asked for: those in `tasks`, and those cut.
    pub(crate) live: u64,
    /// The tasks.
    pub(crate) tasks: Vec<Task>,
    /// Tasks in `tasks` that nobody asked where they wait.
    pub(crate) not_asked: u64,
    /// Tasks that found no room in `tasks`.
    pub(crate) cut: u64,
}

/// One task, and where it waits.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) row: Row,
    pub(crate) waits: Waits,
}

/// Where a task waits, or why that is not known.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Waits {
    /// There; one stack a branch of it that waits.
    At(Vec<Arc<Stack>>),
    /// For nothing that could wake it.
    NoWaker,
    /// It does not: it runs.
    Running,
    /// It was woken, and no worker has taken it yet.
    Scheduled,
    /// It was not asked, for that reason.
    NotAsked(&'static str),
    /// It was asked, and did not answer in time.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing asks yet"))]
    Silent,
}

/// The frames of one await point.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Stack {
    /// The leaf first, and at the end the task's own future.
    pub(crate) frames: Vec<Frame>,
    /// The frames go on beyond the last.
    pub(crate) cut: bool,
}

/// One function of a stack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) address: u64,
    pub(crate) function: Arc<str>,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: Option<u32>,
    pub(crate) inlined: bool,
}
