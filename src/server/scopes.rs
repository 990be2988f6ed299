//! `/debug/scopes`.

use std::time::{Duration, SystemTime};

use axum::extract::RawQuery;
use axum::response::Response;
use serde::Serialize;

use super::filter::DEFAULT_ROWS;
use super::query::Query;
use super::refusal::Refusal;
use super::tasks::json;
use super::time::seconds;
use crate::scope::{self, MAX_SHOWN, ScopeRow};
use crate::utc::Utc;

pub(super) async fn scopes(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(query.as_deref(), &["limit"])?;
    let limit = query.number("limit", 1, MAX_SHOWN)?.unwrap_or(DEFAULT_ROWS);
    let at = SystemTime::now();
    let seen = scope::all(limit);
    Ok(json(&Tree {
        sampled_at: Utc(at),
        total: seen.total,
        truncated: seen.total > seen.scopes.len(),
        open: scope::open(),
        scopes: seen.scopes.iter().map(ScopeView::from).collect(),
    }))
}

/// The tree, each scope before those in it. Flat, since a host can nest scopes deeper than clients can read.
#[derive(Debug, Serialize)]
struct Tree<'a> {
    sampled_at: Utc,
    total: usize,
    truncated: bool,
    open: u64,
    scopes: Vec<ScopeView<'a>>,
}

#[derive(Debug, Serialize)]
struct ScopeView<'a> {
    id: u64,
    parent: Option<u64>,
    name: &'a str,
    path: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    /// How long it has; 0 once its deadline has passed.
    deadline_seconds: Option<Seconds>,
    tasks: usize,
    overstayed: usize,
    cleanups: usize,
}

#[derive(Debug, Serialize)]
struct Seconds(#[serde(serialize_with = "seconds")] Duration);

impl<'a> From<&'a ScopeRow> for ScopeView<'a> {
    fn from(row: &'a ScopeRow) -> Self {
        Self {
            id: row.id,
            parent: row.parent,
            name: &row.name,
            path: &row.path,
            state: row.state.name(),
            reason: row.reason.as_ref().map(scope::Reason::message),
            deadline_seconds: row.deadline_left.map(Seconds),
            tasks: row.tasks,
            overstayed: row.overstayed,
            cleanups: row.cleanups,
        }
    }
}
