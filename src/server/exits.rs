//! `/debug/exits`.

use axum::extract::RawQuery;
use axum::response::Response;
use serde::Serialize;

use super::filter::{DEFAULT_ROWS, MAX_ROWS, parse_kind};
use super::query::Query;
use super::refusal::Refusal;
use super::row::{Attributes, Place};
use super::tasks::json;
use super::time::seconds;
use crate::registry::{self, Exit, PanicFacts};
use crate::task::{Outcome, TaskId};
use crate::utc::Utc;

pub(super) async fn exits(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(query.as_deref(), &["kind", "outcome", "limit"])?;
    let kind = parse_kind(&query)?;
    let outcome = query.word("outcome", OUTCOMES)?;
    let limit = query.number("limit", 1, MAX_ROWS)?.unwrap_or(DEFAULT_ROWS);
    let history = registry::exits();
    let wanted = |exit: &&Exit| {
        kind.is_none_or(|kind| kind == Some(exit.kind))
            && outcome.is_none_or(|outcome| outcome == exit.outcome)
    };
    let mut exits: Vec<ExitView<'_>> = history
        .exits
        .iter()
        .rev()
        .filter(wanted)
        .map(ExitView::from)
        .collect();
    let total = exits.len();
    exits.truncate(limit);
    Ok(json(&Exits {
        sampled_at: Utc(std::time::SystemTime::now()),
        total,
        truncated: total > exits.len(),
        drained: history.drained,
        evicted: history.evicted,
        dropped: history.dropped,
        exits,
    }))
}

#[derive(Debug, Serialize)]
struct Exits<'a> {
    sampled_at: Utc,
    total: usize,
    truncated: bool,
    drained: u64,
    evicted: u64,
    dropped: u64,
    exits: Vec<ExitView<'a>>,
}

/// How a task ended.
#[derive(Debug, Serialize)]
pub(super) struct ExitView<'a> {
    id: u64,
    kind: &'static str,
    name: Option<&'a str>,
    nature: &'static str,
    outcome: &'static str,
    ended_at: Utc,
    #[serde(serialize_with = "seconds")]
    lifetime_seconds: std::time::Duration,
    #[serde(serialize_with = "seconds")]
    busy_seconds: std::time::Duration,
    polls: u64,
    wakes: u64,
    self_wakes: u64,
    parent: Option<u64>,
    scope: Option<&'a str>,
    supervisor: Option<&'a str>,
    runtime: Option<&'static str>,
    spawned_at: Option<Place>,
    future_bytes: u64,
    attributes: Attributes<'a>,
    panic: Option<PanicView<'a>>,
}

#[derive(Debug, Serialize)]
struct PanicView<'a> {
    message: &'a str,
    location: Option<&'a str>,
}

impl<'a> From<&'a Exit> for ExitView<'a> {
    fn from(exit: &'a Exit) -> Self {
        let panic = |panic: &'a PanicFacts| PanicView {
            message: &panic.message,
            location: panic.location.as_deref(),
        };
        Self {
            id: exit.id.get(),
            kind: exit.kind.name(),
            name: exit.name.as_deref(),
            nature: exit.nature.name(),
            outcome: exit.outcome.name(),
            ended_at: Utc(exit.ended_at),
            lifetime_seconds: exit.lifetime,
            busy_seconds: exit.busy,
            polls: exit.polls,
            wakes: exit.wakes,
            self_wakes: exit.self_wakes,
            parent: exit.parent.map(TaskId::get),
            scope: exit.scope.as_deref(),
            supervisor: exit.supervisor.as_deref(),
            runtime: exit.runtime,
            spawned_at: exit.spawned_at.map(Place),
            future_bytes: exit.future_bytes,
            attributes: Attributes(&exit.attributes),
            panic: exit.panic.as_ref().map(panic),
        }
    }
}

const OUTCOMES: &[(&str, Outcome)] = &[
    ("completed", Outcome::Completed),
    ("failed", Outcome::Failed),
    ("panicked", Outcome::Panicked),
    ("cancelled", Outcome::Cancelled),
];
