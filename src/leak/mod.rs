//! Leaks: which groups of tasks have outlived what they are for, how sure that is, and what speaks for it.
//!
//! A group is the tasks of one kind that were spawned at one place. It can have four verdicts:
//!
//! | verdict | says | how sure |
//! |---|---|---|
//! | *orphaned* | they wait, and no waker of them is left: nothing but an abort can end them | exact, for roots of tasks |
//! | *overstayed* | their [scope](crate::scope) was closed or cancelled, and the time to stop has passed | exact |
//! | *overdue* | they are older than their [`max_lifetime`](crate::Builder::max_lifetime) | exact, if the declaration is right |
//! | *suspected* | they are too old for their kind, they do not come back, and there are ever more of them | statistical |
//!
//! What is marked [`long_lived`](crate::Builder::long_lived) is never orphaned nor suspected.
//!
//! # When tasks are suspected
//!
//! The rules compare the ages of live tasks with the lifetimes of those that have ended. Times are multiples of the age
//! below which a task is *young*, 5 minutes unless the agent is [told otherwise](crate::agent::Builder::young).
//!
//! * A task is too old at four times the age that 99.9 % of its kind did not pass, and when it is no longer young.
//! * Of silent tasks, which were not polled in the second half of their lives, 10 that are too old are a leak where their
//!   number only grows, or they stay for hours, and where they are more than twice what is explained: by Little's law as
//!   many as pass that age in a second, seen from the ends of such tasks in the last hour, times the seconds that they then
//!   have left; and one in a thousand of those spawned in the last hour.
//! * Of tasks that run on, 20 are, where as good as none ends at that age and their number rises steadily for an hour.
//! * Of a kind of which as good as none ever ends, 20 are after an hour of steady growth if they are silent, and 50 after
//!   two hours if not.
//!
//! Left out are the tasks that were there from the start (a pool); kinds of which more than one in a thousand lives
//! longer than an hour; and groups that fill up, that is, grow ever more slowly. A group that leaks once and then no more
//! is found after two hours. Connections that nobody uses, in a kind whose other tasks are short, look like a leak: give
//! them a kind of their own, or mark them as long-lived.
//!
//! # Evidence from the moment of a spike
//!
//! When twice as many tasks live as in the last minute, and these are a thousand, or when a hundred thousand do, then
//! what is known at that moment is kept: the groups with a verdict, and the sites of most tasks. Likewise for twice as
//! many tasks with a verdict, if these are ten, or for a thousand of them. After one there is none for ten minutes, and the
//! last 8 are [kept](captures). [`capture`](fn@capture) takes one at any time.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use lifespan::{leak, registry};
//!
//! let _task = lifespan::spawn("stuck", std::future::pending::<()>());
//! tokio::task::yield_now().await;
//! // The agent does this every second.
//! registry::sweep();
//! registry::sweep();
//! leak::look();
//!
//! let leaks = leak::groups();
//! let leak = leaks.leaks.iter().find(|leak| leak.kind.name() == "stuck").expect("it is orphaned");
//! assert_eq!((leak.verdict, leak.tasks), (leak::Verdict::Orphaned, 1));
//! # }
//! ```

mod capture;
mod evidence;
mod growth;
mod lived;
mod rules;
mod spike;
mod standing;
mod suspicion;
mod watch;

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, SystemTime};

use crate::registry::Row;
use crate::task::KindId;

pub use capture::{Capture, Captures, MAX_CAPTURED, MAX_CAPTURES};
pub use rules::{Findings, MAX_GROUPS, Rules};
pub(crate) use watch::job;
pub use watch::{capture, captures, groups, look};

/// Why tasks are called leaked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Verdict {
    /// They wait, and no waker of them is left.
    Orphaned,
    /// Their scope has ended, and the time that they had to stop has passed.
    Overstayed,
    /// They are older than they were declared to live at most, or the heartbeat that they promised has not come.
    Overdue,
    /// They are too old for their kind, and do not come back: see the [module](self).
    Suspected,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Orphaned, Self::Overstayed, Self::Overdue, Self::Suspected];

    /// The name that rows, metrics and filters show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Orphaned => "orphaned",
            Self::Overstayed => "overstayed",
            Self::Overdue => "overdue",
            Self::Suspected => "suspected",
        }
    }

    /// Whether it is a fact about each task, and not a guess about a group.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self != Self::Suspected
    }

    /// The verdict on one task; of several that are true, the first of [`ALL`](Self::ALL).
    #[must_use]
    pub fn of(row: &Row, leaks: &Leaks) -> Option<Self> {
        if row.orphaned {
            Some(Self::Orphaned)
        } else if row.overstayed {
            Some(Self::Overstayed)
        } else if row.overdue {
            Some(Self::Overdue)
        } else {
            leaks.suspects(row).then_some(Self::Suspected)
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A group of tasks with a verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Leak {
    /// Their kind.
    pub kind: KindId,
    /// Where they were spawned.
    pub spawned_at: &'static Location<'static>,
    /// The verdict.
    pub verdict: Verdict,
    /// How many tasks it is said of.
    pub tasks: u64,
    /// The age of the oldest task of the group, whatever is said of it.
    pub oldest: Duration,
    /// How long the verdict has been true.
    pub lasted: Duration,
    /// How old tasks of the group are from which on they are suspected; zero for other verdicts.
    pub older_than: Duration,
    /// Whether only those are suspected that were not polled in the second half of their lives.
    pub silent: bool,
    /// What speaks for it, in words and numbers that can be checked.
    pub evidence: String,
}

/// What has changed about a group.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum News {
    /// It has a verdict.
    Raised(Leak),
    /// It no longer has.
    Resolved(Leak),
}

/// The groups with a verdict, as the last look found them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Leaks {
    /// When the sweep began that it is from.
    pub at: SystemTime,
    /// The groups, those of most tasks first.
    pub leaks: Vec<Leak>,
    /// How often a group was passed over, since [`MAX_GROUPS`] were known.
    pub refused: u64,
    /// The places of suspected groups in `leaks`, by kind: a dump asks a million times.
    suspected: HashMap<KindId, Vec<usize>>,
}

impl Leaks {
    fn new(at: SystemTime, leaks: Vec<Leak>, refused: u64) -> Self {
        let mut suspected: HashMap<KindId, Vec<usize>> = HashMap::new();
        for (place, leak) in leaks.iter().enumerate() {
            if leak.verdict == Verdict::Suspected {
                suspected.entry(leak.kind).or_default().push(place);
            }
        }
        Self {
            at,
            leaks,
            refused,
            suspected,
        }
    }

    /// Whether a task is one of those that are suspected.
    #[must_use]
    #[inline]
    pub fn suspects(&self, row: &Row) -> bool {
        !self.suspected.is_empty() && self.suspects_one(row)
    }

    fn suspects_one(&self, row: &Row) -> bool {
        if row.long_lived || row.orphaned || row.overstayed || row.overdue {
            return false;
        }
        let places = self.suspected.get(&row.kind).map_or(&[][..], Vec::as_slice);
        let mut groups = places.iter().filter_map(|&place| self.leaks.get(place));
        groups.any(|leak| {
            row.age >= leak.older_than
                && Some(leak.spawned_at) == row.spawned_at
                && (!leak.silent || row.idle.max(row.running) >= row.age / 2)
        })
    }
}
