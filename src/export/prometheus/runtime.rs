//! What tokio says of the watched runtimes, through `tokio-metrics`.
//!
//! `tokio-metrics` gives what happened since it was asked last; counters of a scrape must never go back, whoever
//! else scrapes. So there is one monitor a runtime for the whole process, and what it gives is added up. The least
//! and most of its workers are left out: over an interval that each scrape ends they mean nothing to the next one.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use tokio::runtime::{Handle, Id};
use tokio_metrics::{RuntimeIntervals, RuntimeMetrics, RuntimeMonitor};

use super::catalogue;
use super::family::{Family, float};
use super::scrape::{self, Part};
use crate::registry;
use crate::task::text;

/// The most runtimes that a scrape shows: the first ones that were watched.
const MOST: usize = 64;
/// The longest label of a runtime, in bytes.
const MOST_LABEL: usize = 64;

/// All `tokio_*` families.
pub(super) fn families() -> Vec<MetricFamily> {
    let mut monitors = MONITORS.lock().unwrap_or_else(PoisonError::into_inner);
    for handle in registry::watched() {
        if monitors.iter().any(|monitor| monitor.id == handle.id()) {
            continue;
        }
        if monitors.len() >= MOST {
            scrape::count_error(Part::Tokio);
            break;
        }
        let label = label(&handle, &monitors);
        monitors.push(Monitor::new(&handle, label));
    }
    let mut families = Families::new();
    for monitor in monitors.iter_mut() {
        if let Some(now) = monitor.take() {
            families.add(monitor, &now);
        }
    }
    families.finish()
}

/// The runtime's name, or its id where it has none; with the id behind where another one is called so.
fn label(handle: &Handle, others: &[Monitor]) -> String {
    let id = handle.id();
    let name = handle.name().map(|name| text::clean(name, MOST_LABEL));
    let label = name.map_or_else(|| id.to_string(), Cow::into_owned);
    if others.iter().any(|other| other.label == label) {
        format!("{label} ({id})")
    } else {
        label
    }
}

static MONITORS: Mutex<Vec<Monitor>> = Mutex::new(Vec::new());

struct Monitor {
    id: Id,
    label: String,
    intervals: RuntimeIntervals,
    sums: Sums,
}

/// What has happened since the runtime started.
#[derive(Debug, Default)]
struct Sums {
    parks: u64,
    busy: Duration,
    #[cfg(tokio_unstable)]
    unstable: Unstable,
}

impl Monitor {
    fn new(handle: &Handle, label: String) -> Self {
        // What happened until now; the intervals begin here.
        let past = handle.metrics();
        let workers = 0..past.num_workers();
        let sums = Sums {
            parks: workers.clone().map(|worker| past.worker_park_count(worker)).sum(),
            busy: workers
                .map(|worker| past.worker_total_busy_duration(worker))
                .sum(),
            #[cfg(tokio_unstable)]
            unstable: Unstable::past(&past),
        };
        Self {
            id: handle.id(),
            label,
            intervals: RuntimeMonitor::new(handle).intervals(),
            sums,
        }
    }

    fn take(&mut self) -> Option<RuntimeMetrics> {
        let now = self.intervals.next()?;
        self.sums.parks = self.sums.parks.saturating_add(now.total_park_count);
        self.sums.busy = self.sums.busy.saturating_add(now.total_busy_duration);
        #[cfg(tokio_unstable)]
        self.sums.unstable.add(&now);
        Some(now)
    }
}

struct Families {
    workers: Family,
    alive: Family,
    queue: Family,
    parks: Family,
    busy: Family,
    #[cfg(tokio_unstable)]
    unstable: Vec<Family>,
}

impl Families {
    fn new() -> Self {
        Self {
            workers: Family::new(&catalogue::TOKIO_WORKERS),
            alive: Family::new(&catalogue::TOKIO_ALIVE_TASKS),
            queue: Family::new(&catalogue::TOKIO_GLOBAL_QUEUE),
            parks: Family::new(&catalogue::TOKIO_PARKS),
            busy: Family::new(&catalogue::TOKIO_BUSY),
            #[cfg(tokio_unstable)]
            unstable: Unstable::METRICS.iter().copied().map(Family::new).collect(),
        }
    }

    fn add(&mut self, monitor: &Monitor, now: &RuntimeMetrics) {
        let label = &[&*monitor.label][..];
        self.workers.add(label, gauge(now.workers_count));
        self.alive.add(label, gauge(now.live_tasks_count));
        self.queue.add(label, gauge(now.global_queue_depth));
        self.parks.count(label, monitor.sums.parks);
        self.busy.add(label, monitor.sums.busy.as_secs_f64());
        #[cfg(tokio_unstable)]
        for (family, value) in self.unstable.iter_mut().zip(monitor.sums.unstable.values(now)) {
            family.add(label, value);
        }
    }

    fn finish(self) -> Vec<MetricFamily> {
        let families = [self.workers, self.alive, self.queue, self.parks, self.busy];
        #[cfg(tokio_unstable)]
        let families = families.into_iter().chain(self.unstable);
        families.into_iter().filter_map(Family::finish).collect()
    }
}

fn gauge(value: usize) -> f64 {
    float(u64::try_from(value).unwrap_or(u64::MAX))
}

#[cfg(tokio_unstable)]
use unstable::Unstable;

/// What only a build with `tokio_unstable` can say.
#[cfg(tokio_unstable)]
mod unstable {
    use tokio_metrics::RuntimeMetrics;

    use super::catalogue::{self, Metric};
    use super::{float, gauge};

    #[derive(Debug, Default)]
    pub(super) struct Unstable {
        polls: u64,
        noops: u64,
        steals: u64,
        local_schedules: u64,
        remote_schedules: u64,
        overflows: u64,
        forced_yields: u64,
    }

    impl Unstable {
        /// In the order of [`values`](Self::values).
        pub(super) const METRICS: [&'static Metric; 11] = [
            &catalogue::TOKIO_POLLS,
            &catalogue::TOKIO_NOOPS,
            &catalogue::TOKIO_STEALS,
            &catalogue::TOKIO_LOCAL_SCHEDULES,
            &catalogue::TOKIO_REMOTE_SCHEDULES,
            &catalogue::TOKIO_OVERFLOWS,
            &catalogue::TOKIO_FORCED_YIELDS,
            &catalogue::TOKIO_LOCAL_QUEUE,
            &catalogue::TOKIO_BLOCKING_QUEUE,
            &catalogue::TOKIO_BLOCKING_THREADS,
            &catalogue::TOKIO_IDLE_BLOCKING_THREADS,
        ];

        pub(super) fn past(past: &tokio::runtime::RuntimeMetrics) -> Self {
            let sum = |of: &dyn Fn(usize) -> u64| (0..past.num_workers()).map(of).sum();
            Self {
                polls: sum(&|worker| past.worker_poll_count(worker)),
                noops: sum(&|worker| past.worker_noop_count(worker)),
                steals: sum(&|worker| past.worker_steal_count(worker)),
                local_schedules: sum(&|worker| past.worker_local_schedule_count(worker)),
                remote_schedules: past.remote_schedule_count(),
                overflows: sum(&|worker| past.worker_overflow_count(worker)),
                forced_yields: past.budget_forced_yield_count(),
            }
        }

        pub(super) fn add(&mut self, now: &RuntimeMetrics) {
            for (sum, more) in [
                (&mut self.polls, now.total_polls_count),
                (&mut self.noops, now.total_noop_count),
                (&mut self.steals, now.total_steal_count),
                (&mut self.local_schedules, now.total_local_schedule_count),
                (&mut self.remote_schedules, now.num_remote_schedules),
                (&mut self.overflows, now.total_overflow_count),
                (&mut self.forced_yields, now.budget_forced_yield_count),
            ] {
                *sum = sum.saturating_add(more);
            }
        }

        pub(super) fn values(&self, now: &RuntimeMetrics) -> [f64; 11] {
            [
                float(self.polls),
                float(self.noops),
                float(self.steals),
                float(self.local_schedules),
                float(self.remote_schedules),
                float(self.overflows),
                float(self.forced_yields),
                gauge(now.total_local_queue_depth),
                gauge(now.blocking_queue_depth),
                gauge(now.blocking_threads_count),
                gauge(now.idle_blocking_threads_count),
            ]
        }
    }
}
