//! `/debug/events`.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Settings;
use super::filter::{DEFAULT_ROWS, parse_kind};
use super::following::Following;
use super::query::{Query, bad};
use super::refusal::Refusal;
use super::tasks::{accepts, json};
use crate::background::Stop;
use crate::event::{self, Entry, MAX_ENTRIES, NAMES};
use crate::task::kind::KindId;
use crate::utc::Utc;

pub(super) async fn events(
    State(settings): State<Arc<Settings>>,
    stop: Option<Extension<Stop>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = Query::parse(
        query.as_deref(),
        &["kind", "event", "supervisor", "limit", "after"],
    )?;
    let wanted = Wanted::parse(&query)?;
    let limit = query.number("limit", 1, MAX_ENTRIES)?;
    let after = query.number("after", 0, usize::MAX)?.map(|after| after as u64);
    if !accepts(&headers, "text/event-stream") {
        return Ok(listing(&wanted, after, limit.unwrap_or(DEFAULT_ROWS)));
    }
    let place = Arc::clone(&settings.followers).try_acquire_owned();
    let place = place.map_err(|_| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "as many clients follow the events as may at a time: one of them must leave first",
        )
    })?;
    let follow = match resumed(&headers)?.or(after) {
        Some(seq) => event::follow().after(seq),
        None => event::follow(),
    };
    let body = Following::new(follow, wanted, limit, stop.map(|Extension(stop)| stop), place);
    Ok(([(CONTENT_TYPE, EVENTS)], Body::new(body)).into_response())
}

/// The number of the last event that a client saw before it came back.
fn resumed(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        Refusal::bad_request("`last-event-id` is not the number of an event: it takes a whole number")
    })
}

/// The last events that are wanted, or the first behind a number; oldest first.
fn listing(wanted: &Wanted, after: Option<u64>, limit: usize) -> Response {
    let recent = event::recent();
    let mut events: Vec<&Entry> = recent
        .entries
        .iter()
        .map(|entry| &**entry)
        .filter(|entry| after.is_none_or(|after| entry.seq > after) && wanted.wants(entry))
        .collect();
    let total = events.len();
    match after {
        Some(_) => events.truncate(limit),
        None => drop(events.drain(..total.saturating_sub(limit))),
    }
    json(&Events {
        sampled_at: Utc(SystemTime::now()),
        total,
        truncated: total > events.len(),
        offered: recent.offered,
        dropped: recent.dropped,
        events,
    })
}

#[derive(Debug, Serialize)]
struct Events<'a> {
    sampled_at: Utc,
    total: usize,
    truncated: bool,
    offered: u64,
    dropped: u64,
    events: Vec<&'a Entry>,
}

/// Which events are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    kind: Option<Option<KindId>>,
    event: Option<&'static str>,
    supervisor: Option<String>,
}

impl Wanted {
    pub(super) fn parse(query: &Query) -> Result<Self, Refusal> {
        let words: Vec<(&str, &str)> = NAMES.iter().map(|&name| (name, name)).collect();
        let supervisor = query.get("supervisor");
        if let Some(path) = supervisor
            && (path.is_empty() || path.chars().any(char::is_control))
        {
            return Err(bad("supervisor", path, "a path without control characters"));
        }
        Ok(Self {
            kind: parse_kind(query)?,
            event: query.word("event", &words)?,
            supervisor: supervisor.map(str::to_owned),
        })
    }

    pub(super) fn wants(&self, entry: &Entry) -> bool {
        let subject = &entry.subject;
        self.kind
            .is_none_or(|kind| kind.is_some() && kind == subject.kind)
            && self.event.is_none_or(|event| event == entry.event.name())
            && (self.supervisor.as_deref()).is_none_or(|path| subject.supervisor.as_deref() == Some(path))
    }
}

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
