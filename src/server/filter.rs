//! Which rows `/debug/tasks` shows, in what order and how many.

use std::cmp::Reverse;
use std::time::Duration;

use super::query::{Query, bad};
use super::refusal::Refusal;
use crate::registry::Row;
use crate::task::kind::{self, KindId};
use crate::task::{MAX_KIND_BYTES, State};

/// How many rows, groups or exits a JSON answer has by default.
pub const DEFAULT_ROWS: usize = 1_000;

/// How many it has at most. A stream of rows that are not sorted has no limit.
pub const MAX_ROWS: usize = 10_000;

/// What was asked of `/debug/tasks`.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) wanted: Wanted,
    pub(super) shape: Shape,
    /// How many rows show where their tasks wait.
    pub(super) stacks: usize,
    limit: Option<usize>,
}

/// How the rows are shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// As the walk finds them.
    Walk,
    /// The largest first.
    Sorted(Sort),
    /// Counted.
    Grouped(GroupBy),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Sort {
    Age,
    Idle,
    Busy,
    Polls,
    Wakes,
    SelfWakes,
    Wakers,
    FutureBytes,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum GroupBy {
    Kind,
    SpawnedAt,
    #[cfg(feature = "profile")]
    WaitingAt,
}

impl Filter {
    pub(super) fn parse(raw: Option<&str>, streams: bool) -> Result<Self, Refusal> {
        let query = Query::parse(raw, KEYS)?;
        let wanted = Wanted::parse(&query)?;
        let stacks = query.number("stacks", 0, MAX_ROWS)?.unwrap_or_default();
        if stacks > 0 && cfg!(not(feature = "profile")) {
            return Err(Refusal::not_implemented(format!("`stacks` {NO_PROFILE}")));
        }
        let sort = query.word("sort", SORTS)?;
        let group = match query.word("group_by", GROUPS)? {
            Some(None) => {
                return Err(Refusal::not_implemented(format!(
                    "`group_by=waiting_at` {NO_PROFILE}"
                )));
            }
            group => group.flatten(),
        };
        let shape = match (sort, group) {
            (Some(_), Some(_)) => {
                return Err(Refusal::bad_request(
                    "`sort` orders rows, and `group_by` shows none",
                ));
            }
            (Some(sort), None) => Shape::Sorted(sort),
            (None, Some(group)) => Shape::Grouped(group),
            (None, None) => Shape::Walk,
        };
        if group.is_some() && stacks > 0 {
            return Err(Refusal::bad_request(
                "`stacks` stand in rows, and `group_by` shows none",
            ));
        }
        // Only an unsorted stream holds no row longer than it takes to write it; but to ask a task takes that.
        let most = match shape {
            Shape::Walk if streams && stacks == 0 => usize::MAX,
            _ => MAX_ROWS,
        };
        let limit = query.number("limit", 1, most)?;
        Ok(Self {
            wanted,
            shape,
            stacks,
            limit,
        })
    }

    /// How many rows or groups are shown.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_ROWS)
    }

    /// How many rows a stream has: all, unless it was said how many.
    pub(super) fn stream_limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Orphaned,
    Overstayed,
}

impl Verdict {
    fn is_said_of(self, row: &Row) -> bool {
        match self {
            Self::Orphaned => row.orphaned,
            Self::Overstayed => row.overstayed,
        }
    }
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    kind: Option<Option<KindId>>,
    state: Option<State>,
    verdict: Option<Verdict>,
    min_age: Duration,
}

impl Wanted {
    fn parse(query: &Query) -> Result<Self, Refusal> {
        let kind = parse_kind(query)?;
        let state = query.word("state", STATES)?;
        let verdict = match query.word("verdict", VERDICTS)? {
            Some(None) => {
                let verdict = query.get("verdict").unwrap_or_default();
                return Err(Refusal::not_implemented(format!(
                    "`verdict={verdict}` needs the leak rules, which this version does not have yet: it has orphaned and overstayed"
                )));
            }
            verdict => verdict.flatten(),
        };
        let min_age = query.time("min_age")?.unwrap_or_default();
        Ok(Self {
            kind,
            state,
            verdict,
            min_age,
        })
    }

    pub(super) fn wants(&self, row: &Row) -> bool {
        self.kind.is_none_or(|kind| kind == Some(row.kind))
            && self.state.is_none_or(|state| state == row.state)
            && self.verdict.is_none_or(|verdict| verdict.is_said_of(row))
            && row.age >= self.min_age
    }
}

impl Sort {
    /// What rows are ordered by: the largest of it first, then the smallest id.
    pub(super) fn key(self, row: &Row) -> (u128, Reverse<u64>) {
        let number = |number: Option<u64>| u128::from(number.unwrap_or_default());
        let key = match self {
            Self::Age => row.age.as_nanos(),
            Self::Idle => row.idle.as_nanos(),
            Self::Busy => row.busy.as_nanos(),
            Self::Polls => row.polls.into(),
            Self::Wakes => number(row.wakes),
            Self::SelfWakes => number(row.self_wakes),
            Self::Wakers => number(row.wakers),
            Self::FutureBytes => row.future_bytes.into(),
        };
        (key, Reverse(row.id.get()))
    }
}

/// The kind of that name, if it is asked for; inside is `None` where no task ever had it. Asking makes no kind.
pub(super) fn parse_kind(query: &Query) -> Result<Option<Option<KindId>>, Refusal> {
    let Some(name) = query.get("kind") else {
        return Ok(None);
    };
    if name.is_empty() || name.len() > MAX_KIND_BYTES || name.chars().any(char::is_control) {
        return Err(bad(
            "kind",
            name,
            "a name of 1 to 64 bytes without control characters",
        ));
    }
    Ok(Some(kind::all().find(|kind| kind.name() == name)))
}

const NO_PROFILE: &str = "asks tasks where they wait: this build is without the feature `profile`";

const KEYS: &[&str] = &[
    "kind", "state", "verdict", "min_age", "sort", "limit", "stacks", "group_by",
];

const STATES: &[(&str, State)] = &[
    ("idle", State::Idle),
    ("scheduled", State::Scheduled),
    ("running", State::Running),
];

/// Verdicts; `None` for those that this version does not give.
const VERDICTS: &[(&str, Option<Verdict>)] = &[
    ("orphaned", Some(Verdict::Orphaned)),
    ("overstayed", Some(Verdict::Overstayed)),
    ("overdue", None),
    ("suspected", None),
];

const SORTS: &[(&str, Sort)] = &[
    ("age", Sort::Age),
    ("idle", Sort::Idle),
    ("busy", Sort::Busy),
    ("polls", Sort::Polls),
    ("wakes", Sort::Wakes),
    ("self_wakes", Sort::SelfWakes),
    ("wakers", Sort::Wakers),
    ("future_bytes", Sort::FutureBytes),
];

/// What rows can be grouped by; `None` for what this build does not have.
const GROUPS: &[(&str, Option<GroupBy>)] = &[
    ("kind", Some(GroupBy::Kind)),
    ("spawned_at", Some(GroupBy::SpawnedAt)),
    #[cfg(feature = "profile")]
    ("waiting_at", Some(GroupBy::WaitingAt)),
    #[cfg(not(feature = "profile"))]
    ("waiting_at", None),
];
