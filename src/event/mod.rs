//! What happened: one type for all that is told of tasks beside their records.
//!
//! A record says what a task *is*; an event says what *happened*, and to whom. Events are of supervised and long-lived
//! tasks, and of what goes wrong with any: single spawns and exits are far too many, and are in
//! [`registry::exits`](crate::registry::exits).
//!
//! | tells | of |
//! |---|---|
//! | a [`Scope`](crate::Scope) that closes | its tasks that do not stop in time: `stop_timed_out`, `aborted`, `stuck` |
//! | an agent | tasks that are [long-lived](crate::Builder::long_lived): `spawned`, `stopped`; of any that panics: `panicked`, `stopped` |
//!
//! Those who make events write them into one journal of the process, a ring of bounded length and size; all others read
//! it: [`recent`] gives what it holds, [`follow`] what comes. A reader that falls behind is told how much it missed.
//!
//! # In the log
//!
//! Each event is also a line of `tracing`, with the target `lifespan::event`, the event's name as its message, and what
//! is known of it as fields: `seq`, `task`, `kind`, `name`, `supervisor`, `child`, then the event's own, such as
//! `outcome` and `ran_seconds` (the message of a panic is `panic`). [`Event::level`] says how loud it is, [`log_level`]
//! makes a kind quieter. In a storm most lines are left out, and counted: see [`lines`].
//!
//! # In JSON
//!
//! With feature `server`, [`Entry`], [`Event`] and [`Subject`] implement `serde::Serialize`. An entry is one flat
//! object: `seq`, `at` (RFC 3339), `event` (its name), `task`, `kind`, `name`, `supervisor`, `child`, and then the
//! event's own fields. Times are seconds and say so: `ran_seconds`, `delay_seconds`, `grace_seconds`, `after_seconds`,
//! `silent_seconds`, `period_seconds`, `took_seconds`. What is not known is `null`. Names are stable; later versions
//! may add fields and events.
//!
//! ```json
//! {"seq":7,"at":"2026-11-24T07:23:03.000001Z","event":"stopped","task":29,"kind":"reader","name":null,
//!  "supervisor":"ingest","child":"reader","outcome":"failed","ran_seconds":1.5,"error":"no route"}
//! ```
//!
//! # Examples
//!
//! Those of the last events that went wrong:
//!
//! ```
//! use lifespan::event::{LogLevel, recent};
//!
//! let told = recent();
//! assert_eq!(told.offered, told.entries.len() as u64 + told.dropped);
//! for entry in told.entries.iter().filter(|entry| entry.event.level() <= LogLevel::Warn) {
//!     println!("{} {}: {:?}", entry.seq, entry.event, entry.subject.kind);
//! }
//! ```

mod journal;
mod limit;
mod log;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::task::kind::KindId;
use crate::task::{Outcome, TaskId};

#[cfg(feature = "prometheus")]
pub(crate) use journal::counts;
pub use journal::{Entry, Follow, MAX_BYTES, MAX_ENTRIES, Missed, Recent, follow, recent};
pub(crate) use journal::{count_unheard, emit, note};
pub(crate) use log::flush;
pub use log::{Lines, LogLevel, lines, log_level};

/// The names of all events, in the order in which [`Event`] has them.
pub const NAMES: &[&str] = &[
    "spawned",
    "ready",
    "stopping",
    "stopped",
    "panicked",
    "restart_scheduled",
    "budget_exhausted",
    "escalated",
    "stop_timed_out",
    "aborted",
    "stuck",
    "heartbeat",
    "overdue",
    "lost_wakeup",
    "shutdown_initiated",
    "shutdown_complete",
];

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
    /// A task waited for what had come already, and nothing woke it: a poll that was made to ask it where it waits has
    /// moved it on, and no wake came within a second after. It is the host's defect, or that of a future that it uses.
    #[non_exhaustive]
    LostWakeup {
        /// The functions that it waited in, the innermost first; `None` where it was not asked before.
        waiting_at: Option<Arc<str>>,
        /// How long it had waited.
        idle: Duration,
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
            Self::LostWakeup { .. } => "lost_wakeup",
            Self::ShutdownInitiated { .. } => "shutdown_initiated",
            Self::ShutdownComplete { .. } => "shutdown_complete",
        }
    }

    /// Its own facts, under the names that `/debug/events` and logs show. Every output is made from this.
    pub(crate) fn fields<'a>(&'a self, mut field: impl FnMut(&'static str, Value<'a>)) {
        match self {
            Self::Spawned { restart } => field("restart", Value::Number(*restart)),
            Self::Ready { after } | Self::Stuck { after } => field("after_seconds", Value::Time(*after)),
            Self::Stopping { cause } | Self::ShutdownInitiated { cause } => {
                field("cause", Value::Text(Some(cause)));
            }
            Self::Stopped { outcome, ran, error } => {
                field("outcome", Value::Word(outcome.name()));
                field("ran_seconds", Value::Time(*ran));
                field("error", Value::Text(error.as_deref()));
            }
            Self::LostWakeup { waiting_at, idle } => {
                field("waiting_at", Value::Text(waiting_at.as_deref()));
                field("idle_seconds", Value::Time(*idle));
            }
            Self::Panicked {
                message,
                location,
                backtrace,
            } => {
                field("message", Value::Text(Some(message)));
                field("location", Value::Text(location.as_deref()));
                field("backtrace", Value::Text(backtrace.as_deref()));
            }
            Self::RestartScheduled { delay, restart, of } => {
                field("delay_seconds", Value::Time(*delay));
                field("restart", Value::Number((*restart).into()));
                field("of", Value::Number((*of).into()));
            }
            Self::BudgetExhausted { allowed, period } => {
                field("allowed", Value::Number((*allowed).into()));
                field("period_seconds", Value::Time(*period));
            }
            Self::Escalated { to, cause } => {
                field("to", Value::Text(to.as_deref()));
                field("cause", Value::Text(Some(cause)));
            }
            Self::StopTimedOut { grace } => field("grace_seconds", Value::Time(*grace)),
            Self::Aborted => {}
            Self::Heartbeat { silent } | Self::Overdue { silent } => {
                field("silent_seconds", Value::Time(*silent));
            }
            Self::ShutdownComplete { took, survivors } => {
                field("took_seconds", Value::Time(*took));
                field("survivors", Value::Number(*survivors));
            }
        }
    }

    /// The bytes of its texts.
    fn text_bytes(&self) -> usize {
        let mut bytes = 0usize;
        self.fields(|_, value| {
            if let Value::Text(Some(text)) = value {
                bytes = bytes.saturating_add(text.len());
            }
        });
        bytes
    }
}

/// One fact of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Time(Duration),
    /// One of a few words of ours.
    Word(&'static str),
    /// Where it is known.
    Text(Option<&'a str>),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_name_of_its_own() {
        let names: Vec<&str> = samples::each().iter().map(Event::name).collect();
        assert_eq!(names, NAMES);
    }
}
