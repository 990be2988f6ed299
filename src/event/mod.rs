//! What happened: one type for all that is told of tasks beside their records.
//!
//! A record says what a task *is*; an event says what *happened*, and to whom. Events are of supervised and long-lived
//! tasks, and of what goes wrong with any: single spawns and exits are far too many, and are in
//! [`registry::exits`](crate::registry::exits).
//!
//! Those who make events write them into one journal of the process, a ring of bounded length and size; all others read
//! it: [`recent`] gives what it holds, [`follow`] what comes. A reader that falls behind is told how much it missed.
//!
//! # Examples
//!
//! ```
//! let told = lifespan::event::recent();
//! assert_eq!(told.offered, told.entries.len() as u64 + told.dropped);
//! ```

mod journal;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::task::kind::KindId;
use crate::task::{Outcome, TaskId};

pub(crate) use journal::emit;
pub use journal::{Entry, Follow, MAX_BYTES, MAX_ENTRIES, Missed, Recent, follow, recent};

/// Whom an event is about. What is not known, or does not apply, is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Subject {
    /// The task.
    pub task: Option<TaskId>,
    /// The task's kind.
    pub kind: Option<KindId>,
    /// The name that the task was given.
    pub name: Option<Arc<str>>,
    /// The path of the supervisor.
    pub supervisor: Option<Arc<str>>,
    /// The child's name, in its supervisor.
    pub child: Option<Arc<str>>,
}

/// Something that happened, without whom and when: see [`Entry`].
///
/// Text in it is cut and cleaned of control characters by who makes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A task runs from now on.
    #[non_exhaustive]
    Spawned {
        /// How often it was restarted before; 0 for a first run, and for what is not supervised.
        restart: u64,
    },
    /// A child said that it is ready.
    #[non_exhaustive]
    Ready {
        /// How long its start took.
        after: Duration,
    },
    /// A task was asked to stop.
    #[non_exhaustive]
    Stopping {
        /// Why.
        cause: Arc<str>,
    },
    /// A task has ended, and its destructors have run.
    #[non_exhaustive]
    Stopped {
        /// How.
        outcome: Outcome,
        /// How long it lived.
        ran: Duration,
        /// Why, where it says so.
        error: Option<Arc<str>>,
    },
    /// A task panicked. That it has stopped is another event.
    #[non_exhaustive]
    Panicked {
        /// The panic's message.
        message: Arc<str>,
        /// Where, as `file:line:column`, if known.
        location: Option<Arc<str>>,
        /// The frames, where capturing them is on.
        backtrace: Option<Arc<str>>,
    },
    /// A child will be started again.
    #[non_exhaustive]
    RestartScheduled {
        /// In how long.
        delay: Duration,
        /// Which restart this is within the budget's period.
        restart: u32,
        /// How many the budget allows within it.
        of: u32,
    },
    /// A supervisor's children failed more often than its budget allows.
    #[non_exhaustive]
    BudgetExhausted {
        /// How many restarts it allows.
        allowed: u32,
        /// Within this time.
        period: Duration,
    },
    /// A supervisor gave up, and whoever is above it decides.
    #[non_exhaustive]
    Escalated {
        /// The path of the supervisor above, or `None` at the root.
        to: Option<Arc<str>>,
        /// Why.
        cause: Arc<str>,
    },
    /// A task did not stop in the time that it had.
    #[non_exhaustive]
    StopTimedOut {
        /// How long it had.
        grace: Duration,
    },
    /// A task was aborted.
    Aborted,
    /// A task does not end though it was aborted: it blocks its thread, or cannot be aborted.
    #[non_exhaustive]
    Stuck {
        /// Since when it was to have ended.
        after: Duration,
    },
    /// A child's heart beats again, having been overdue.
    #[non_exhaustive]
    Heartbeat {
        /// How long it was silent.
        silent: Duration,
    },
    /// A child's heartbeat has not come in the interval that it promised.
    #[non_exhaustive]
    Overdue {
        /// How long it has been silent.
        silent: Duration,
    },
    /// A group of tasks has an exact verdict.
    #[non_exhaustive]
    Leaked {
        /// Which: see [`leak::Verdict`](crate::leak::Verdict).
        verdict: &'static str,
        /// Where they were spawned, as `file:line:column`.
        spawned_at: Arc<str>,
        /// How many tasks it is said of.
        tasks: u64,
        /// What speaks for it.
        evidence: Arc<str>,
    },
    /// A group of tasks is suspected to be leaked.
    #[non_exhaustive]
    LeakSuspected {
        /// Where they were spawned, as `file:line:column`.
        spawned_at: Arc<str>,
        /// How many tasks are suspected.
        tasks: u64,
        /// What speaks for it.
        evidence: Arc<str>,
    },
    /// A verdict on a group of tasks is no longer true.
    #[non_exhaustive]
    LeakResolved {
        /// Which.
        verdict: &'static str,
        /// Where they were spawned, as `file:line:column`.
        spawned_at: Arc<str>,
        /// How long it was true.
        lasted: Duration,
    },
    /// The process begins to stop.
    #[non_exhaustive]
    ShutdownInitiated {
        /// Why: a signal's name, or what was said.
        cause: Arc<str>,
    },
    /// The process has stopped as far as it will.
    #[non_exhaustive]
    ShutdownComplete {
        /// How long that took.
        took: Duration,
        /// How many tasks did not stop.
        survivors: u64,
    },
}

impl Event {
    /// The name that `/debug/events` and logs show.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Spawned { .. } => "spawned",
            Self::Ready { .. } => "ready",
            Self::Stopping { .. } => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::Panicked { .. } => "panicked",
            Self::RestartScheduled { .. } => "restart_scheduled",
            Self::BudgetExhausted { .. } => "budget_exhausted",
            Self::Escalated { .. } => "escalated",
            Self::StopTimedOut { .. } => "stop_timed_out",
            Self::Aborted => "aborted",
            Self::Stuck { .. } => "stuck",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Overdue { .. } => "overdue",
            Self::Leaked { .. } => "leaked",
            Self::LeakSuspected { .. } => "leak_suspected",
            Self::LeakResolved { .. } => "leak_resolved",
            Self::ShutdownInitiated { .. } => "shutdown_initiated",
            Self::ShutdownComplete { .. } => "shutdown_complete",
        }
    }

    /// The bytes of its texts.
    fn text_bytes(&self) -> usize {
        let optional = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        match self {
            Self::Stopping { cause } | Self::ShutdownInitiated { cause } => cause.len(),
            Self::Stopped { error, .. } => optional(error),
            Self::Panicked {
                message,
                location,
                backtrace,
            } => message
                .len()
                .saturating_add(optional(location))
                .saturating_add(optional(backtrace)),
            Self::Leaked {
                spawned_at, evidence, ..
            }
            | Self::LeakSuspected {
                spawned_at, evidence, ..
            } => spawned_at.len().saturating_add(evidence.len()),
            Self::LeakResolved { spawned_at, .. } => spawned_at.len(),
            Self::Escalated { to, cause } => optional(to).saturating_add(cause.len()),
            _ => 0,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
