//! What a task knows of the scope that it runs in: a slot, behind which the scope itself stands.
//!
//! Scopes are built on tasks, so that a task must not know what they are.

use std::panic::Location;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::TaskId;
use super::exit::Panic;
use super::extra::{Extra, Facts};
use super::kind::KindId;
use super::record::{Record, flag};

/// One task's place in a scope, until it has ended.
pub(crate) trait Membership: Send + Sync {
    /// The names of the scope and of those that it is in.
    fn path(&self) -> Arc<str>;

    /// The path of the supervisor whose child the task is, if it is one.
    fn supervisor(&self) -> Option<Arc<str>> {
        None
    }

    /// Whether the frames of a panic are to be told as well.
    fn wants_backtrace(&self) -> bool {
        false
    }

    /// Whether the task has promised signs of life, and the last one is too long ago.
    fn is_silent(&self) -> bool {
        false
    }

    /// Whether the scope was closed, and the time that its tasks had to stop has passed.
    fn overstays(&self) -> bool;

    /// Takes a task in that this one spawns.
    fn admit(&self, newcomer: Newcomer) -> Arc<dyn Membership>;

    /// How the task can be aborted. Where this is never said, it cannot be.
    fn abort_with(&self, handle: AbortHandle);

    /// The task has ended: its destructors have run, and it is counted. Told with what it died of, if it panicked.
    fn leave(&self, panic: Option<Panic>);
}

/// What a scope is told of a task that enters it.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    /// Known where the task has a record.
    pub(crate) id: Option<TaskId>,
    pub(crate) kind: KindId,
    pub(crate) name: Option<Box<str>>,
    /// A blocking job or a thread, which nothing can abort once it runs.
    pub(crate) blocks: bool,
    pub(crate) site: Option<&'static Location<'static>>,
}

/// Makes a new task a member of a scope. For whoever holds its future, before it is spawned.
#[cold]
pub(crate) fn admit(
    record: &Record,
    scope: impl FnOnce(Newcomer) -> Arc<dyn Membership>,
) -> Arc<dyn Membership> {
    if record.extra().is_none() {
        record.set_extra(Box::new(Extra::new(Facts::default())));
    }
    let extra = record.extra();
    let member = scope(Newcomer {
        id: TaskId::new(record.id()),
        kind: KindId::from_index(record.kind()),
        name: extra.and_then(|extra| extra.facts.name.clone()),
        blocks: record.flags() & (flag::BLOCKING | flag::THREAD) != 0,
        site: record.site(),
    });
    if let Some(extra) = extra {
        extra.enter(Arc::clone(&member));
        record.add_flags(flag::SCOPED);
    }
    member
}
