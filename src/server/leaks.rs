//! `/debug/leaks`.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::RawQuery;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::filter::{DEFAULT_ROWS, MAX_ROWS};
use super::query::Query;
use super::refusal::{Refusal, TEXT};
use super::row::Place;
use super::tasks::json;
use super::time::seconds;
use crate::leak::{self, Leak, Leaks, Verdict};
use crate::utc::Utc;

pub(super) async fn leaks(headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(query.as_deref(), &["verdict", "limit", "format"])?;
    let verdict = query.word("verdict", &Verdict::ALL.map(|verdict| (verdict.name(), verdict)))?;
    let limit = query.number("limit", 1, MAX_ROWS)?.unwrap_or(DEFAULT_ROWS);
    let format = query.word("format", FORMATS)?;
    let leaks = leak::groups();
    let wanted = |leak: &&Leak| verdict.is_none_or(|verdict| verdict == leak.verdict);
    let found: Vec<&Leak> = leaks.leaks.iter().filter(wanted).collect();
    let mut answer = match format.unwrap_or_else(|| accepted(&headers)) {
        Format::Json => json(&Listing::new(&leaks, &found, limit)),
        Format::Text => ([(CONTENT_TYPE, TEXT)], text(&leaks, &found, limit)).into_response(),
    };
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("accept"));
    Ok(answer)
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Json,
    Text,
}

const FORMATS: &[(&str, Format)] = &[("json", Format::Json), ("text", Format::Text)];

/// Text for who asks for it before JSON, else JSON.
fn accepted(headers: &HeaderMap) -> Format {
    let values = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut kinds = values
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .map(|kind| kind.trim().to_ascii_lowercase());
    match kinds.find(|kind| matches!(&**kind, "text/plain" | "application/json")) {
        Some(kind) if kind == "text/plain" => Format::Text,
        _ => Format::Json,
    }
}

/// Groups with a verdict, as JSON.
#[derive(Debug, Serialize)]
struct Listing<'a> {
    sampled_at: Utc,
    total: usize,
    truncated: bool,
    /// Groups passed over: more were known than can be.
    refused: u64,
    leaks: Vec<LeakView<'a>>,
}

impl<'a> Listing<'a> {
    fn new(leaks: &Leaks, found: &[&'a Leak], limit: usize) -> Self {
        Self {
            sampled_at: Utc(leaks.at),
            total: found.len(),
            truncated: found.len() > limit,
            refused: leaks.refused,
            leaks: found
                .iter()
                .take(limit)
                .map(|leak| LeakView::from(*leak))
                .collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct LeakView<'a> {
    kind: &'static str,
    spawned_at: Place,
    verdict: &'static str,
    exact: bool,
    tasks: u64,
    #[serde(rename = "oldest_seconds", serialize_with = "seconds")]
    oldest: Duration,
    #[serde(rename = "lasted_seconds", serialize_with = "seconds")]
    lasted: Duration,
    evidence: &'a str,
}

impl<'a> From<&'a Leak> for LeakView<'a> {
    fn from(leak: &'a Leak) -> Self {
        Self {
            kind: leak.kind.name(),
            spawned_at: Place(leak.spawned_at),
            verdict: leak.verdict.name(),
            exact: leak.verdict.is_exact(),
            tasks: leak.tasks,
            oldest: leak.oldest,
            lasted: leak.lasted,
            evidence: &leak.evidence,
        }
    }
}

/// A line for each group, under one that says how many there are.
fn text(leaks: &Leaks, found: &[&Leak], limit: usize) -> String {
    let mut text = format!("leaks: {} groups at {}\n", found.len(), Utc(leaks.at));
    for leak in found.iter().take(limit) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {}", leak.verdict, leak.evidence);
    }
    if found.len() > limit {
        let _ = writeln!(text, "and {} more", found.len() - limit);
    }
    if leaks.refused > 0 {
        let _ = writeln!(
            text,
            "passed over, since too many groups are known: {} times",
            leaks.refused
        );
    }
    text
}
