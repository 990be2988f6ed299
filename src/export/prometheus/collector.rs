//! What the registry says, as families of metrics.

use std::collections::HashMap;
use std::time::SystemTime;

use prometheus::core::Desc;
use prometheus::proto::MetricFamily;

use super::catalogue::{self, CATALOGUE, Metric};
use super::family::{Family, float};
use super::{leaked, scrape, supervisors};
use crate::config;
use crate::event;
use crate::registry::{self, KindSummary, Sweep};
use crate::scope;
use crate::shutdown;
use crate::task::{KindId, MAX_KINDS, Outcome, State};
use crate::worker;

/// How many kinds a scrape shows by default.
pub const DEFAULT_KINDS: usize = config::DEFAULT_METRICS_KINDS;

/// The `lifespan_*` metrics, for a registry of your own.
///
/// It holds no numbers: each scrape reads what the registry of tasks says at that moment, so that two collectors
/// agree, and a task costs the same whether it is scraped or not. In one scrape `lifespan_tasks` is exactly what
/// was spawned less what has finished. What needs a look at each task (states, leaks) is from the last sweep, which
/// the agent takes every second; without an agent, [`registry::sweep`] takes one.
///
/// [`render`](super::render) gives the same metrics, and those of the runtime and of the process, as text.
///
/// # Examples
///
/// ```
/// let registry = prometheus::Registry::new();
/// registry.register(Box::new(lifespan::prometheus::Collector::new()))?;
///
/// let families = registry.gather();
/// assert!(families.iter().any(|family| family.name() == "lifespan_tasks"));
/// # Ok::<(), prometheus::Error>(())
/// ```
#[derive(Debug)]
pub struct Collector {
    kinds: usize,
    descs: Vec<Desc>,
}

impl Collector {
    /// A collector that shows the first 100 kinds.
    #[must_use]
    pub fn new() -> Self {
        let ours = CATALOGUE
            .iter()
            .filter(|metric| metric.name.starts_with("lifespan_"));
        Self {
            kinds: DEFAULT_KINDS,
            // No name and no label of the catalogue is refused: a test registers them all.
            descs: ours.filter_map(|metric| describe(metric).ok()).collect(),
        }
    }

    /// Shows so many kinds, in the order in which they were first used, and sums the others up as `other`.
    ///
    /// 0 to 1,024; by default 100. A kind has 56 series: with 100 an instance stays below 10,000.
    #[must_use]
    pub fn kinds(mut self, kinds: usize) -> Self {
        self.kinds = kinds;
        self
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

impl prometheus::core::Collector for Collector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        scrape::timed(|| families(self.kinds))
    }
}

fn describe(metric: &Metric) -> prometheus::Result<Desc> {
    Desc::new(
        metric.name.to_owned(),
        metric.help.to_owned(),
        metric.labels.iter().map(|label| (*label).to_owned()).collect(),
        HashMap::new(),
    )
}

/// All `lifespan_*` families, in the order of the catalogue.
pub(super) fn families(kinds: usize) -> Vec<MetricFamily> {
    // The sweep first: every kind that it saw is then among the summaries.
    let sweep = registry::last_sweep();
    let kinds = Shown::new(registry::kinds(), sweep.as_deref(), kinds);
    let mut families = of_kinds(&kinds.0);
    if let Some(sweep) = &sweep {
        families.extend(of_sweep(sweep));
    }
    families.extend(supervisors::families());
    families.extend(of_process());
    families.extend(of_pools());
    families.extend(of_agent());
    families.into_iter().filter_map(Family::finish).collect()
}

/// The kinds that a scrape shows: `other` with all that are not shown, then the first ones.
struct Shown(Vec<Summary>);

struct Summary {
    name: &'static str,
    counts: KindSummary,
    /// By state, in the order of [`State::ALL`]; `None` before the first sweep.
    states: Option<[u64; State::ALL.len()]>,
}

impl Shown {
    fn new(all: Vec<KindSummary>, sweep: Option<&Sweep>, most: usize) -> Self {
        let most = most.min(MAX_KINDS);
        let mut shown: Vec<Summary> = Vec::with_capacity(all.len().min(most.saturating_add(1)));
        for counts in all {
            match shown.first_mut() {
                Some(other) if shown_at(counts.kind, most) == 0 => other.counts.merge(&counts),
                _ => shown.push(Summary {
                    name: counts.kind.name(),
                    counts,
                    states: sweep.map(|_| [0; State::ALL.len()]),
                }),
            }
        }
        for swept in sweep.map_or(&[][..], |sweep| &sweep.kinds) {
            let summary = shown.get_mut(shown_at(swept.kind, most));
            if let Some(states) = summary.and_then(|summary| summary.states.as_mut()) {
                for (sum, state) in states.iter_mut().zip(State::ALL) {
                    *sum = sum.saturating_add(swept.with(state));
                }
            }
        }
        Self(shown)
    }
}

/// The place of a kind among those shown; 0, that of `other`, where it is not one of them.
fn shown_at(kind: KindId, most: usize) -> usize {
    let at = usize::from(kind.index());
    if at <= most { at } else { 0 }
}

fn of_kinds(kinds: &[Summary]) -> Vec<Family> {
    let mut live = Family::new(&catalogue::TASKS);
    let mut states = Family::new(&catalogue::TASK_STATES);
    let mut spawned = Family::new(&catalogue::TASKS_SPAWNED);
    let mut finished = Family::new(&catalogue::TASKS_FINISHED);
    let mut panics = Family::new(&catalogue::TASK_PANICS);
    let mut lifetime = Family::new(&catalogue::TASK_LIFETIME);
    let mut poll = Family::new(&catalogue::TASK_POLL);
    let mut delay = Family::new(&catalogue::TASK_DELAY);
    let mut busy = Family::new(&catalogue::TASK_BUSY);
    let mut polls = Family::new(&catalogue::TASK_POLLS);
    let mut slow = Family::new(&catalogue::TASK_SLOW_POLLS);
    let mut lost = Family::new(&catalogue::LOST_WAKEUPS);
    for Summary {
        name,
        counts,
        states: swept,
    } in kinds
    {
        let kind = &[*name][..];
        live.count(kind, counts.live());
        for (state, tasks) in State::ALL.into_iter().zip(swept.iter().flatten()) {
            states.count(&[name, state.name()], *tasks);
        }
        spawned.count(kind, counts.spawned);
        for outcome in Outcome::ALL {
            finished.count(&[name, outcome.name()], counts.finished.with(outcome));
        }
        panics.count(kind, counts.finished.with(Outcome::Panicked));
        lifetime.histogram(kind, &counts.lifetime);
        poll.histogram(kind, &counts.poll);
        delay.histogram(kind, &counts.schedule_delay);
        busy.add(kind, counts.poll.sum());
        polls.count(kind, counts.poll.count());
        slow.count(kind, counts.slow_polls());
        lost.count(kind, counts.lost_wakeups);
    }
    vec![
        live, states, spawned, finished, panics, lifetime, poll, delay, busy, polls, slow, lost,
    ]
}

fn of_sweep(sweep: &Sweep) -> Vec<Family> {
    let since_epoch = sweep.at.duration_since(SystemTime::UNIX_EPOCH);
    vec![
        Family::single(
            &catalogue::SWEEP_TIMESTAMP,
            since_epoch.unwrap_or_default().as_secs_f64(),
        ),
        leaked::family(sweep),
        Family::single(&catalogue::SWEEP_SECONDS, sweep.took.as_secs_f64()),
    ]
}

fn of_process() -> Vec<Family> {
    let mut jobs = Family::new(&catalogue::BLOCKING_JOBS);
    let blocking = registry::blocking_jobs();
    jobs.count(&["queued"], blocking.queued);
    jobs.count(&["running"], blocking.running);
    let mut untracked = Family::new(&catalogue::UNTRACKED_TASKS);
    if let Some(tasks) = registry::untracked() {
        untracked.count(&[], tasks);
    }
    let mut build = Family::new(&catalogue::BUILD_INFO);
    let unstable = if cfg!(tokio_unstable) { "true" } else { "false" };
    build.count(&[env!("CARGO_PKG_VERSION"), unstable], 1);
    let scopes = Family::single(&catalogue::SCOPE_OPEN, float(scope::open()));
    let phase = Family::single(&catalogue::SHUTDOWN_PHASE, f64::from(shutdown::phase() as u8));
    vec![scopes, phase, jobs, untracked, build]
}

fn of_pools() -> Vec<Family> {
    let mut workers = Family::new(&catalogue::POOL_WORKERS);
    let mut capacity = Family::new(&catalogue::POOL_QUEUE_CAPACITY);
    let mut depth = Family::new(&catalogue::POOL_QUEUE_DEPTH);
    let mut running = Family::new(&catalogue::POOL_RUNNING);
    let mut rejected = Family::new(&catalogue::POOL_REJECTED);
    for row in worker::pools() {
        let pool = &[row.pool.name()][..];
        workers.count(pool, row.workers as u64);
        capacity.count(pool, row.queue as u64);
        depth.count(pool, row.queued);
        running.count(pool, row.running);
        rejected.count(pool, row.rejected);
    }
    vec![workers, capacity, depth, running, rejected]
}

fn of_agent() -> Vec<Family> {
    let health = registry::health();
    let (offered, dropped) = event::counts();
    let single = |metric, value| Family::single(metric, float(value));
    vec![
        single(&catalogue::RECORD_BYTES, health.record_bytes),
        single(&catalogue::RECORDS_REFUSED, health.records_refused),
        single(&catalogue::KINDS_REFUSED, health.kinds_refused),
        single(&catalogue::EXITS_DRAINED, health.exits_drained),
        single(&catalogue::EXITS_DROPPED, health.exits_dropped),
        single(&catalogue::EXITS_EVICTED, health.exits_evicted),
        single(&catalogue::EVENTS, offered),
        single(&catalogue::EVENTS_DROPPED, dropped),
        single(&catalogue::EVENT_LINES_SUPPRESSED, event::lines().suppressed),
        #[cfg(tokio_unstable)]
        single(&catalogue::FOREIGN_REFUSED, registry::foreign().refused),
        scrape::seconds(),
        scrape::errors(),
    ]
}
