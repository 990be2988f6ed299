//! `/debug/kinds`.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use axum::extract::RawQuery;
use axum::response::Response;
use serde::Serialize;

use super::group::States;
use super::query::Query;
use super::refusal::Refusal;
#[cfg(tokio_unstable)]
use super::row::Place;
use super::tasks::json;
use super::time::seconds;
use crate::registry::{self, Finished, KindStates, KindSummary};
use crate::task::kind::KindId;
use crate::task::{Histogram, Outcome, State};
use crate::utc::Utc;

pub(super) async fn kinds(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Query::parse(query.as_deref(), &[])?;
    let at = SystemTime::now();
    let summaries = registry::kinds();
    let sweep = registry::last_sweep();
    let seen: HashMap<KindId, &KindStates> = sweep
        .iter()
        .flat_map(|sweep| &sweep.kinds)
        .map(|states| (states.kind, states))
        .collect();
    let blocking = registry::blocking_jobs();
    Ok(json(&Kinds {
        sampled_at: Utc(at),
        swept_at: sweep.as_ref().map(|sweep| Utc(sweep.at)),
        untracked_tasks: registry::untracked(),
        #[cfg(tokio_unstable)]
        untracked_sites: (registry::foreign().sites.into_iter())
            .take(MOST_SITES)
            .map(|site| Site {
                spawned_at: Place(site.spawned_at),
                live: site.live,
            })
            .collect(),
        blocking_jobs: Blocking {
            queued: blocking.queued,
            running: blocking.running,
        },
        kinds: (summaries.iter())
            .map(|summary| KindView::new(summary, seen.get(&summary.kind).copied(), sweep.is_some()))
            .collect(),
    }))
}

#[derive(Debug, Serialize)]
struct Kinds {
    sampled_at: Utc,
    swept_at: Option<Utc>,
    untracked_tasks: Option<u64>,
    /// Of the runtimes that have our hooks, the sites with most.
    #[cfg(tokio_unstable)]
    untracked_sites: Vec<Site>,
    blocking_jobs: Blocking,
    kinds: Vec<KindView>,
}

#[cfg(tokio_unstable)]
const MOST_SITES: usize = 1_000;

#[cfg(tokio_unstable)]
#[derive(Debug, Serialize)]
struct Site {
    spawned_at: Place,
    live: u64,
}

#[derive(Debug, Serialize)]
struct Blocking {
    queued: u64,
    running: u64,
}

/// One kind: exact counts, and what the last sweep saw.
#[derive(Debug, Serialize)]
struct KindView {
    kind: &'static str,
    live: u64,
    spawned: u64,
    finished: FinishedView,
    slow_polls: u64,
    lifetime: Spread,
    poll: Spread,
    schedule_delay: Spread,
    /// `null` before the first sweep.
    swept: Option<Swept>,
}

#[derive(Debug, Serialize)]
struct FinishedView {
    completed: u64,
    failed: u64,
    panicked: u64,
    cancelled: u64,
}

/// What a histogram says in two numbers.
#[derive(Debug, Serialize)]
struct Spread {
    count: u64,
    sum_seconds: f64,
}

#[derive(Debug, Default, Serialize)]
struct Swept {
    states: States,
    orphaned: u64,
    overstayed: u64,
    #[serde(serialize_with = "seconds")]
    oldest_seconds: Duration,
}

impl KindView {
    fn new(summary: &KindSummary, seen: Option<&KindStates>, is_swept: bool) -> Self {
        Self {
            kind: summary.kind.name(),
            live: summary.live(),
            spawned: summary.spawned,
            finished: FinishedView::new(summary.finished),
            slow_polls: summary.slow_polls(),
            lifetime: Spread::new(&summary.lifetime),
            poll: Spread::new(&summary.poll),
            schedule_delay: Spread::new(&summary.schedule_delay),
            // A sweep leaves out kinds without tasks.
            swept: is_swept.then(|| seen.map(Swept::new).unwrap_or_default()),
        }
    }
}

impl FinishedView {
    fn new(finished: Finished) -> Self {
        Self {
            completed: finished.with(Outcome::Completed),
            failed: finished.with(Outcome::Failed),
            panicked: finished.with(Outcome::Panicked),
            cancelled: finished.with(Outcome::Cancelled),
        }
    }
}

impl Spread {
    fn new(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            sum_seconds: histogram.sum(),
        }
    }
}

impl Swept {
    fn new(seen: &KindStates) -> Self {
        Self {
            states: States {
                idle: seen.with(State::Idle),
                scheduled: seen.with(State::Scheduled),
                running: seen.with(State::Running),
            },
            orphaned: seen.orphaned,
            overstayed: seen.overstayed,
            oldest_seconds: seen.oldest,
        }
    }
}
