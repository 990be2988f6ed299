//! What a close found.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::node::Member;
use crate::task::TaskId;
use crate::task::kind::KindId;

/// What [`Scope::close`](super::Scope::close) has to say.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "it names the tasks that did not stop"]
pub struct Report {
    /// The path of the scope.
    pub scope: Arc<str>,
    /// How long the close took.
    pub took: Duration,
    /// The tasks that did not stop within the grace, the oldest first.
    pub late: Vec<Late>,
    /// The cleanups that did not end well, in the order in which they ran.
    pub cleanups: Vec<CleanupFault>,
}

impl Report {
    /// Whether every task stopped in time, and every cleanup ended well.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.late.is_empty() && self.cleanups.is_empty()
    }

    /// The tasks that are still alive.
    pub fn survivors(&self) -> impl Iterator<Item = &Late> {
        self.late.iter().filter(|late| late.fate != Fate::Ended)
    }
}

impl fmt::Display for Report {
    /// One line, and one more for each task that was late and each cleanup that failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (late, survivors) = (self.late.len(), self.survivors().count());
        write!(
            f,
            "closed {} in {:.1?}: {late} late, {survivors} of them alive, {} cleanups failed",
            self.scope,
            self.took,
            self.cleanups.len()
        )?;
        for late in &self.late {
            write!(f, "\n  {late}")?;
        }
        for cleanup in &self.cleanups {
            write!(f, "\n  cleanup {}: {}", cleanup.name, cleanup.fault)?;
        }
        Ok(())
    }
}

/// A task that did not stop in time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Late {
    /// Its id; `None` where recording is off.
    pub id: Option<TaskId>,
    /// Its kind.
    pub kind: KindId,
    /// The name that it was given, if it was.
    pub name: Option<Box<str>>,
    /// The path of its scope: that which was closed, or one in it.
    pub scope: Arc<str>,
    /// How long it had been in the scope when the grace was over.
    pub age: Duration,
    /// Where it was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// What has become of it.
    pub fate: Fate,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        if let Some(id) = self.id {
            write!(f, ", task {id}")?;
        }
        write!(f, ", age {:.1?}", self.age)?;
        if let Some(site) = self.spawned_at {
            write!(f, ", spawned at {site}")?;
        }
        write!(f, ": {}", self.fate.name())
    }
}

/// What has become of a task that did not stop in time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Fate {
    /// It has ended since, aborted or by itself.
    Ended,
    /// It was aborted, and has not ended yet: it blocks its thread, or is not polled.
    Aborted,
    /// It cannot be aborted: a blocking job that runs, a thread, or a future that something else spawned.
    Unabortable,
}

impl Fate {
    /// The name that reports show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended since",
            Self::Aborted => "aborted, and alive",
            Self::Unabortable => "cannot be aborted",
        }
    }

    /// Decides it, after the task had time to notice.
    fn of(ended: bool, abortable: bool) -> Self {
        match (ended, abortable) {
            (true, _) => Self::Ended,
            (false, true) => Self::Aborted,
            (false, false) => Self::Unabortable,
        }
    }
}

/// A cleanup that did not end well.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CleanupFault {
    /// The name that it was given.
    pub name: Box<str>,
    /// What went wrong.
    pub fault: Fault,
}

/// What went wrong with a cleanup.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It was not done at its deadline, and was dropped.
    Late,
    /// It panicked, with this message.
    Panicked(String),
    /// Its task was aborted: the runtime shuts down.
    Aborted,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("not done at its deadline"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Aborted => f.write_str("aborted by its runtime"),
        }
    }
}

/// One line of the report.
pub(super) fn late(member: &Member, at: Instant, abortable: bool) -> Late {
    Late {
        id: member.id,
        kind: member.kind,
        name: member.name.clone(),
        scope: Arc::clone(&member.scope().path),
        age: at.saturating_duration_since(member.since),
        spawned_at: member.site,
        fate: Fate::of(member.has_left(), abortable),
    }
}
