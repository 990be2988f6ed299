//! How a task looks in JSON: one shape for the live, the ended and the streamed.

use std::fmt;
use std::panic::Location;

use serde::{Serialize, Serializer};

use super::exits::ExitView;
use super::time::seconds;
use crate::registry::{Exit, Row};
use crate::task::TaskId;

/// A row. It borrows, so that a million of them cost no allocation each.
#[derive(Debug, Serialize)]
pub(super) struct RowView<'a> {
    id: u64,
    kind: &'static str,
    name: Option<&'a str>,
    state: Option<&'static str>,
    outcome: Option<&'static str>,
    #[serde(serialize_with = "seconds")]
    age_seconds: std::time::Duration,
    #[serde(serialize_with = "seconds")]
    idle_seconds: std::time::Duration,
    #[serde(serialize_with = "seconds")]
    busy_seconds: std::time::Duration,
    polls: u64,
    wakes: Option<u64>,
    self_wakes: Option<u64>,
    wakers: Option<u64>,
    woken_by: Option<u64>,
    parent: Option<u64>,
    scope: Later,
    supervisor: Later,
    runtime: Option<&'a str>,
    trace_id: Later,
    spawned_at: Option<Place>,
    waiting_at: Later,
    future_bytes: u64,
    attributes: Attributes<'a>,
    labels: Later,
    verdict: Option<&'static str>,
    /// Only where one task was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    exits: Option<Vec<ExitView<'a>>>,
}

impl<'a> From<&'a Row> for RowView<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            id: row.id.get(),
            kind: row.kind.name(),
            name: row.name.as_deref(),
            state: Some(row.state.name()),
            outcome: None,
            age_seconds: row.age,
            idle_seconds: row.idle,
            busy_seconds: row.busy,
            polls: row.polls,
            wakes: row.wakes,
            self_wakes: row.self_wakes,
            wakers: row.wakers,
            woken_by: row.woken_by.map(TaskId::get),
            parent: row.parent.map(TaskId::get),
            scope: Later,
            supervisor: Later,
            runtime: row.runtime,
            trace_id: Later,
            spawned_at: row.spawned_at.map(Place),
            waiting_at: Later,
            future_bytes: row.future_bytes,
            attributes: Attributes(&row.attributes),
            labels: Later,
            verdict: row.orphaned.then_some("orphaned"),
            exits: None,
        }
    }
}

impl<'a> From<&'a Exit> for RowView<'a> {
    /// The row of a task that has ended: an outcome, and no state.
    fn from(exit: &'a Exit) -> Self {
        Self {
            id: exit.id.get(),
            kind: exit.kind.name(),
            name: exit.name.as_deref(),
            state: None,
            outcome: Some(exit.outcome.name()),
            age_seconds: exit.lifetime,
            idle_seconds: std::time::Duration::ZERO,
            busy_seconds: exit.busy,
            polls: exit.polls,
            wakes: Some(exit.wakes),
            self_wakes: Some(exit.self_wakes),
            wakers: None,
            woken_by: None,
            parent: exit.parent.map(TaskId::get),
            scope: Later,
            supervisor: Later,
            runtime: exit.runtime,
            trace_id: Later,
            spawned_at: exit.spawned_at.map(Place),
            waiting_at: Later,
            future_bytes: exit.future_bytes,
            attributes: Attributes(&exit.attributes),
            labels: Later,
            verdict: None,
            exits: None,
        }
    }
}

impl<'a> RowView<'a> {
    /// With its ends, as far as they are among the last exits.
    pub(super) fn with_exits(mut self, exits: Vec<ExitView<'a>>) -> Self {
        self.exits = Some(exits);
        self
    }
}

/// A fact that this version does not know: `null`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Later;

/// `file:line:column`, written straight into the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(pub(super) &'static Location<'static>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// An object of what the spawner said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [(Box<str>, Box<str>)]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Of a key that was given twice, the last counts.
        let is_last = |at: usize, key: &str| {
            let mut later = self.0.iter().skip(at + 1);
            later.all(|(other, _)| **other != *key)
        };
        let last = self
            .0
            .iter()
            .enumerate()
            .filter(|(at, (key, _))| is_last(*at, key));
        serializer.collect_map(last.map(|(_, (key, value))| (key, value)))
    }
}
