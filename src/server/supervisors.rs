//! `/debug/supervisors`.

use std::time::{Duration, SystemTime};

use axum::extract::RawQuery;
use axum::response::Response;
use serde::Serialize;

use super::filter::DEFAULT_ROWS;
use super::query::Query;
use super::refusal::Refusal;
use super::tasks::json;
use super::time::seconds;
use crate::supervisor::{self, ChildRow, LastExit, MAX_SHOWN, SupervisorRow};
use crate::task::TaskId;
use crate::utc::Utc;

pub(super) async fn supervisors(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(query.as_deref(), &["limit"])?;
    let limit = query.number("limit", 1, MAX_SHOWN)?.unwrap_or(DEFAULT_ROWS);
    let at = SystemTime::now();
    let seen = supervisor::all(limit);
    let shown: usize = seen.supervisors.iter().map(|one| one.children.len()).sum();
    Ok(json(&Tree {
        sampled_at: Utc(at),
        total: seen.total,
        truncated: seen.total > shown,
        exhausted: supervisor::exhausted().iter().map(ToString::to_string).collect(),
        supervisors: seen.supervisors.iter().map(SupervisorView::from).collect(),
    }))
}

/// The tree, each supervisor before those in it; `total` counts children, of which `limit` are shown.
#[derive(Debug, Serialize)]
struct Tree<'a> {
    sampled_at: Utc,
    total: usize,
    truncated: bool,
    exhausted: Vec<String>,
    supervisors: Vec<SupervisorView<'a>>,
}

#[derive(Debug, Serialize)]
struct SupervisorView<'a> {
    id: u64,
    parent: Option<u64>,
    path: &'a str,
    strategy: &'static str,
    state: &'static str,
    cause: Option<&'a str>,
    intensity: u32,
    period_seconds: Seconds,
    budget_remaining: u32,
    children: Vec<ChildView<'a>>,
}

#[derive(Debug, Serialize)]
struct ChildView<'a> {
    id: u64,
    name: &'a str,
    kind: &'static str,
    supervisor: bool,
    restart: &'static str,
    significant: bool,
    state: &'static str,
    task: Option<u64>,
    age_seconds: Option<Seconds>,
    restarts: u64,
    last_exit: Option<ExitView<'a>>,
    next_restart_seconds: Option<Seconds>,
    overdue: bool,
    stuck: bool,
}

#[derive(Debug, Serialize)]
struct ExitView<'a> {
    outcome: &'static str,
    error: Option<&'a str>,
    ran_seconds: Seconds,
}

#[derive(Debug, Serialize)]
struct Seconds(#[serde(serialize_with = "seconds")] Duration);

impl<'a> From<&'a SupervisorRow> for SupervisorView<'a> {
    fn from(row: &'a SupervisorRow) -> Self {
        Self {
            id: row.id,
            parent: row.parent,
            path: &row.path,
            strategy: row.strategy.name(),
            state: row.state.name(),
            cause: row.cause.as_deref(),
            intensity: row.intensity,
            period_seconds: Seconds(row.period),
            budget_remaining: row.budget_remaining,
            children: row.children.iter().map(ChildView::from).collect(),
        }
    }
}

impl<'a> From<&'a ChildRow> for ChildView<'a> {
    fn from(row: &'a ChildRow) -> Self {
        Self {
            id: row.id.get(),
            name: &row.name,
            kind: row.kind.name(),
            supervisor: row.is_supervisor,
            restart: row.restart.name(),
            significant: row.significant,
            state: row.state.name(),
            task: row.task.map(TaskId::get),
            age_seconds: row.age.map(Seconds),
            restarts: row.restarts,
            last_exit: row.last_exit.as_ref().map(ExitView::from),
            next_restart_seconds: row.next_restart.map(Seconds),
            overdue: row.overdue,
            stuck: row.stuck,
        }
    }
}

impl<'a> From<&'a LastExit> for ExitView<'a> {
    fn from(exit: &'a LastExit) -> Self {
        Self {
            outcome: exit.outcome.name(),
            error: exit.error.as_deref(),
            ran_seconds: Seconds(exit.ran),
        }
    }
}
