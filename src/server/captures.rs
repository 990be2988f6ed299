//! `/debug/leaks/captures`, and each of them.

use axum::extract::{Path, RawQuery};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::Response;
use serde::Serialize;

use super::leaks::LeakView;
use super::query::Query;
use super::refusal::{Refusal, shown};
use super::row::Place;
use super::tasks::json;
use super::time::seconds;
use crate::leak::{self, Capture};
use crate::registry::SiteStates;
use crate::utc::Utc;

pub(super) async fn all(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Query::parse(query.as_deref(), &[])?;
    let captures = leak::captures();
    Ok(json(&Listing {
        taken: captures.taken,
        captures: (captures.captures.iter().rev())
            .map(|capture| Head::from(&**capture))
            .collect(),
    }))
}

/// One capture, to be saved.
pub(super) async fn one(Path(number): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Query::parse(query.as_deref(), &[])?;
    let captures = leak::captures();
    let mut kept = captures.captures.iter();
    let Some(capture) = kept.find(|capture| capture.number.to_string() == number) else {
        let number = shown(&number);
        return Err(Refusal::not_found(format!(
            "no capture `{number}` is kept: `/debug/leaks/captures` lists them"
        )));
    };
    let mut answer = json(&Whole {
        head: Head::from(&**capture),
        leaks: capture.leaks.iter().map(LeakView::from).collect(),
        sites: capture.sites.iter().map(SiteView::from).collect(),
    });
    let name = format!("attachment; filename=\"leaks-{}.json\"", capture.number);
    if let Ok(name) = HeaderValue::try_from(name) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(answer)
}

/// The newest first.
#[derive(Debug, Serialize)]
struct Listing<'a> {
    taken: u64,
    captures: Vec<Head<'a>>,
}

#[derive(Debug, Serialize)]
struct Head<'a> {
    number: u64,
    captured_at: Utc,
    cause: &'a str,
    live: u64,
    leaks_total: usize,
    sites_total: usize,
}

#[derive(Debug, Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    leaks: Vec<LeakView<'a>>,
    sites: Vec<SiteView>,
}

#[derive(Debug, Serialize)]
struct SiteView {
    kind: &'static str,
    spawned_at: Place,
    live: u64,
    orphaned: u64,
    overstayed: u64,
    overdue: u64,
    #[serde(rename = "oldest_seconds", serialize_with = "seconds")]
    oldest: std::time::Duration,
}

impl<'a> From<&'a Capture> for Head<'a> {
    fn from(capture: &'a Capture) -> Self {
        Self {
            number: capture.number,
            captured_at: Utc(capture.at),
            cause: &capture.cause,
            live: capture.live,
            leaks_total: capture.leaks_total,
            sites_total: capture.sites_total,
        }
    }
}

impl From<&SiteStates> for SiteView {
    fn from(site: &SiteStates) -> Self {
        Self {
            kind: site.kind.name(),
            spawned_at: Place(site.spawned_at),
            live: site.live,
            orphaned: site.orphaned,
            overstayed: site.overstayed,
            overdue: site.overdue,
            oldest: site.oldest,
        }
    }
}
