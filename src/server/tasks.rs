//! `/debug/tasks` and `/debug/tasks/{id}`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::dump::{Dump, walk};
use super::exits::ExitView;
use super::filter::{Filter, GroupBy, Shape, Sort};
use super::group::{GroupView, Groups};
use super::query::Query;
use super::refusal::{JSON, Refusal, shown};
use super::row::RowView;
#[cfg(feature = "profile")]
use super::waiting::{self, Points};
use crate::leak;
#[cfg(feature = "profile")]
use crate::profile::dump::Waits;
use crate::registry::{self, Row};
use crate::task::TaskId;
use crate::utc::Utc;

pub(super) async fn list(headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let streams = accepts(&headers, "application/x-ndjson");
    let filter = Filter::parse(query.as_deref(), streams)?;
    match filter.shape {
        Shape::Walk if streams && filter.stacks == 0 => {
            let dump = Dump::new(filter.wanted.clone(), filter.stream_limit());
            Ok(([(CONTENT_TYPE, LINES)], Body::new(dump)).into_response())
        }
        Shape::Walk => answer(in_walk_order(&filter).await, &filter, streams).await,
        Shape::Sorted(sort) => answer(largest(&filter, sort).await, &filter, streams).await,
        Shape::Grouped(by) => {
            let (at, mut total) = (SystemTime::now(), 0usize);
            let mut groups = Groups::new(by, &filter.wanted.leaks);
            match by {
                #[cfg(feature = "profile")]
                GroupBy::WaitingAt => {
                    waiting::each(&filter.wanted, |row, waits| {
                        total += 1;
                        groups.add_waiting(row, waits);
                    })
                    .await?;
                }
                GroupBy::Kind | GroupBy::SpawnedAt => {
                    walk(&filter.wanted, |row| {
                        total += 1;
                        groups.add(&row);
                    })
                    .await;
                }
            }
            let (groups, count, elsewhere) = groups.finish(filter.limit());
            if streams {
                return Ok(lines(&groups, write_json));
            }
            Ok(json(&Grouping {
                sampled_at: Utc(at),
                total,
                truncated: count > groups.len() || elsewhere > 0,
                elsewhere,
                groups,
            }))
        }
    }
}

pub(super) async fn one(Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Query::parse(query.as_deref(), &[])?;
    let number = id
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| id.parse().ok());
    let Some(number) = number.flatten() else {
        let id = shown(&id);
        return Err(Refusal::bad_request(format!(
            "`{id}` is not the id of a task: it takes a whole number"
        )));
    };
    let missing = || {
        Refusal::not_found(format!(
            "no task {number} is alive, and it is not among the last exits"
        ))
    };
    let id = TaskId::new(number).ok_or_else(missing)?;
    // Alive first: one that ends meanwhile is then among the exits.
    let row = registry::row(id);
    let exit = registry::exits()
        .exits
        .into_iter()
        .rev()
        .find(|exit| exit.id == id);
    let mut body = Vec::new();
    match (&row, &exit) {
        (_, Some(exit)) => RowView::from(exit).write(&mut body),
        (Some(row), None) => write_one(row, &mut body).await,
        (None, None) => return Err(missing()),
    }
    // The row's object, with a key more.
    body.pop();
    body.extend_from_slice(b",\"exits\":");
    write_json(&exit.iter().map(ExitView::from).collect::<Vec<_>>(), &mut body);
    body.push(b'}');
    Ok(([(CONTENT_TYPE, JSON)], body).into_response())
}

/// The row of a live task. Where it waits is asked of it, unless others are being asked: a row is worth more than a
/// refusal.
async fn write_one(row: &Row, body: &mut Vec<u8>) {
    #[cfg(feature = "profile")]
    {
        let points = Points::of([row].into_iter()).await.unwrap_or_default();
        let waits = points.get(row.id);
        RowView::live(row, &leak::groups()).waiting(waits).write(body);
        body.pop();
        body.extend_from_slice(b",\"waits\":");
        let others = Waits::NotAsked("a dump of other tasks is under way");
        write_json(&waits.unwrap_or(&others).why(), body);
        body.push(b'}');
    }
    #[cfg(not(feature = "profile"))]
    RowView::live(row, &leak::groups()).write(body);
}

/// Rows, the first of them with where their tasks wait.
async fn answer(found: Found, filter: &Filter, streams: bool) -> Result<Response, Refusal> {
    let Found { rows, total, at } = found;
    let leaks = &filter.wanted.leaks;
    #[cfg(feature = "profile")]
    let points = match filter.stacks {
        0 => Points::default(),
        stacks => Points::of(rows.iter().take(stacks)).await?,
    };
    #[cfg(feature = "profile")]
    let write = |row: &Row, body: &mut Vec<u8>| {
        let waits = points.get(row.id);
        RowView::live(row, leaks).waiting(waits).write(body);
    };
    #[cfg(not(feature = "profile"))]
    let write = |row: &Row, body: &mut Vec<u8>| RowView::live(row, leaks).write(body);
    if streams {
        return Ok(lines(&rows, write));
    }
    Ok(listing(at, total, &rows, write))
}

/// Rows that a listing shows, and how many there are in all.
struct Found {
    rows: Vec<Row>,
    total: usize,
    at: SystemTime,
}

/// As the walk finds them; what is beyond the limit is only counted.
async fn in_walk_order(filter: &Filter) -> Found {
    let (at, limit) = (SystemTime::now(), filter.limit());
    let (mut rows, mut total) = (Vec::new(), 0usize);
    walk(&filter.wanted, |row| {
        total += 1;
        if rows.len() < limit {
            rows.push(row);
        }
    })
    .await;
    Found { rows, total, at }
}

/// The largest by a key, and how many there are in all. Never holds more than the limit.
async fn largest(filter: &Filter, sort: Sort) -> Found {
    let (at, limit) = (SystemTime::now(), filter.limit());
    let (mut kept, mut total) = (BinaryHeap::new(), 0usize);
    walk(&filter.wanted, |row| {
        total += 1;
        let ranked = Ranked {
            key: sort.key(&row),
            row,
        };
        if kept.len() < limit {
            kept.push(Reverse(ranked));
        } else if let Some(mut least) = kept.peek_mut()
            && least.0.key < ranked.key
        {
            *least = Reverse(ranked);
        }
    })
    .await;
    let rows = kept.into_sorted_vec();
    let rows = rows.into_iter().map(|ranked| ranked.0.row).collect();
    Found { rows, total, at }
}

struct Ranked {
    key: (u128, Reverse<u64>),
    row: Row,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Ranked {}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

#[derive(Debug, Serialize)]
struct Grouping {
    sampled_at: Utc,
    total: usize,
    truncated: bool,
    elsewhere: u64,
    groups: Vec<GroupView>,
}

/// Whether a client asks for that kind of content.
pub(super) fn accepts(headers: &HeaderMap, content: &str) -> bool {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case(content))
}

/// Rows as one document.
fn listing(at: SystemTime, total: usize, rows: &[Row], write: impl Fn(&Row, &mut Vec<u8>)) -> Response {
    let (at, truncated) = (Utc(at), total > rows.len());
    let head = format!(r#"{{"sampled_at":"{at}","total":{total},"truncated":{truncated},"tasks":["#);
    let mut body = head.into_bytes();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        write(row, &mut body);
    }
    body.extend_from_slice(b"]}");
    ([(CONTENT_TYPE, JSON)], body).into_response()
}

/// One value a line.
fn lines<T>(values: &[T], write: impl Fn(&T, &mut Vec<u8>)) -> Response {
    let mut body = Vec::new();
    for value in values {
        write(value, &mut body);
        body.push(b'\n');
    }
    ([(CONTENT_TYPE, LINES)], body).into_response()
}

pub(super) fn write_json(value: &impl Serialize, to: &mut Vec<u8>) {
    let start = to.len();
    if serde_json::to_writer(&mut *to, value).is_err() {
        // It cannot be: no value here refuses, and memory takes all.
        to.truncate(start);
    }
}

/// A value as one document.
pub(super) fn json(value: &impl Serialize) -> Response {
    let mut body = Vec::new();
    write_json(value, &mut body);
    ([(CONTENT_TYPE, JSON)], body).into_response()
}

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
