//! Every metric of a scrape, once: the collectors, the README and the tests read this table.

use std::fmt::Write;

/// What is fixed about a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// The names of its labels, in the order in which samples show them.
    pub labels: &'static [&'static str],
    /// The base unit of its samples; empty where they count things.
    pub unit: &'static str,
    /// Where it exists, if not everywhere: on `Linux`, or in a build with `tokio_unstable`.
    pub only: Option<&'static str>,
    /// What it says.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Type {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts durations by upper bound.
    Histogram,
    /// A sum and a count; no quantiles.
    Summary,
}

impl Type {
    /// The name that a scrape shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// The catalogue as the table of the README, in Markdown.
///
/// # Examples
///
/// ```
/// assert!(lifespan::prometheus::markdown().contains("| `lifespan_tasks` | gauge | `kind` |"));
/// ```
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| metric | type | labels | unit | says |\n|---|---|---|---|---|\n");
    for metric in CATALOGUE {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let only = metric
            .only
            .map(|only| format!(" ({only} only)"))
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} | {}{only} |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.unit,
            metric.help,
        );
    }
    table
}

/// Makes a constant of each metric, and the table of all of them.
macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $unit:literal $(only $only:literal)? $help:literal;)+) => {
        $(pub(super) const $id: Metric = Metric {
            name: $name,
            kind: Type::$kind,
            labels: &[$($label),*],
            unit: $unit,
            only: metrics!(@only $($only)?),
            help: $help,
        };)+

        /// Every metric that a scrape can show, those of the runtime and of the process included.
        ///
        /// Names, types and labels are part of the crate's public contract.
        pub const CATALOGUE: &[Metric] = &[$($id),+];
    };
    (@only) => { None };
    (@only $only:literal) => { Some($only) };
}

metrics! {
    TASKS = Gauge "lifespan_tasks" ["kind"] ""
        "Tasks alive: in one scrape exactly those spawned less those finished.";
    TASK_STATES = Gauge "lifespan_task_states" ["kind", "state"] ""
        "Tasks by what they were doing at the last sweep: idle, scheduled or running.";
    SWEEP_TIMESTAMP = Gauge "lifespan_sweep_timestamp_seconds" [] "seconds"
        "When the last sweep began, since the Unix epoch.";
    TASKS_SPAWNED = Counter "lifespan_tasks_spawned_total" ["kind"] ""
        "Tasks spawned.";
    TASKS_FINISHED = Counter "lifespan_tasks_finished_total" ["kind", "outcome"] ""
        "Tasks that have ended, by outcome: completed, failed, panicked or cancelled.";
    TASK_PANICS = Counter "lifespan_task_panics_total" ["kind"] ""
        "Tasks that have ended with a panic.";
    TASK_LIFETIME = Histogram "lifespan_task_lifetime_seconds" ["kind"] "seconds"
        "How long tasks lived that have ended.";
    TASK_POLL = Histogram "lifespan_task_poll_seconds" ["kind"] "seconds"
        "How long polls took.";
    TASK_DELAY = Histogram "lifespan_task_schedule_delay_seconds" ["kind"] "seconds"
        "How long woken tasks waited for a worker, of a sample of wakes.";
    TASK_BUSY = Counter "lifespan_task_busy_seconds_total" ["kind"] "seconds"
        "Time spent in polls.";
    TASK_POLLS = Counter "lifespan_task_polls_total" ["kind"] ""
        "Polls.";
    TASK_SLOW_POLLS = Counter "lifespan_task_slow_polls_total" ["kind"] ""
        "Polls that took longer than 10 ms.";
    LOST_WAKEUPS = Counter "lifespan_lost_wakeups_total" ["kind"] ""
        "Tasks that waited for what had come, without a wake, as a dump of await points has found.";
    TASKS_LEAKED = Gauge "lifespan_tasks_leaked" ["kind", "verdict", "spawned_at"] ""
        "Tasks with a verdict (orphaned or overstayed) at the last sweep, by spawn site: the 20 sites with most of them, the rest as other.";
    SCOPE_OPEN = Gauge "lifespan_scope_open" [] ""
        "Scopes that exist and are not closed.";
    POOL_WORKERS = Gauge "lifespan_pool_workers" ["pool"] ""
        "Jobs that the pools of this name may run at a time.";
    POOL_QUEUE_CAPACITY = Gauge "lifespan_pool_queue_capacity" ["pool"] ""
        "Jobs that may wait in the pools of this name.";
    POOL_QUEUE_DEPTH = Gauge "lifespan_pool_queue_depth" ["pool"] ""
        "Jobs that wait for a worker of their pool.";
    POOL_RUNNING = Gauge "lifespan_pool_running" ["pool"] ""
        "Jobs that run in a pool.";
    POOL_REJECTED = Counter "lifespan_pool_rejected_total" ["pool"] ""
        "Jobs refused, since the pool was full or closed.";
    SHUTDOWN_PHASE = Gauge "lifespan_shutdown_phase" [] ""
        "How far the shutdown is: 0 running, 1 not ready, 2 draining, 3 complete.";
    TASK_RESTARTS = Counter "lifespan_task_restarts_total" ["supervisor", "child"] ""
        "Times that a supervisor started a child again: the first 256 children, the rest as other.";
    SUPERVISOR_BUDGET = Gauge "lifespan_supervisor_budget_remaining" ["supervisor"] ""
        "Restarts that the supervisor still allows within its period: the first 100 supervisors, the least of the rest as other.";
    SUPERVISOR_BACKOFF = Gauge "lifespan_supervisor_backoff_seconds" ["supervisor", "child"] "seconds"
        "How long it is until a child with a backoff is started again, 0 while it runs: the first 256 children, the longest of the rest as other.";
    SUPERVISOR_STUCK = Gauge "lifespan_supervisor_stuck" [] ""
        "Children whose tasks do not end though they were aborted.";
    SUPERVISOR_OVERDUE = Gauge "lifespan_supervisor_overdue" [] ""
        "Children whose heartbeat has not come in time.";
    SUPERVISOR_EXHAUSTED = Gauge "lifespan_supervisor_exhausted" [] ""
        "Supervisors that gave up, and that nobody has started again since.";
    BLOCKING_JOBS = Gauge "lifespan_blocking_jobs" ["state"] ""
        "Tracked jobs on the blocking pool: queued or running.";
    UNTRACKED_TASKS = Gauge "lifespan_untracked_tasks" [] ""
        "Tasks alive in the watched runtimes that are not tracked.";
    BUILD_INFO = Gauge "lifespan_build_info" ["version", "tokio_unstable"] ""
        "Always 1; its labels say which version of the library this is, and how it was built.";
    RECORD_BYTES = Gauge "lifespan_agent_record_bytes" [] "bytes"
        "Memory that task records take, those included that are free and kept.";
    RECORDS_REFUSED = Counter "lifespan_agent_records_refused_total" [] ""
        "Tasks that got no record, since no memory was left: counted, and in no list.";
    KINDS_REFUSED = Counter "lifespan_agent_kinds_refused_total" [] ""
        "Uses of a name beyond the first 1,024 kinds, counted as the kind other.";
    EXITS_DRAINED = Counter "lifespan_agent_exits_drained_total" [] ""
        "Exits taken in: all tasks that ended while an agent ran, less the exits dropped.";
    EXITS_DROPPED = Counter "lifespan_agent_exits_dropped_total" [] ""
        "Exits that found no room before they were read.";
    EXITS_EVICTED = Counter "lifespan_agent_exits_evicted_total" [] ""
        "Exits that made room in the history for later ones.";
    EVENTS = Counter "lifespan_agent_events_total" [] ""
        "Events told: those in the journal, and those dropped.";
    EVENTS_DROPPED = Counter "lifespan_agent_events_dropped_total" [] ""
        "Events that made room in the journal for later ones, or found none.";
    EVENT_LINES_SUPPRESSED = Counter "lifespan_agent_event_lines_suppressed_total" [] ""
        "Lines of events left out of the log, since there were too many of their sort.";
    FOREIGN_REFUSED = Counter "lifespan_agent_foreign_tasks_refused_total" [] "" only "tokio_unstable"
        "Untracked tasks whose spawn site found no room.";
    SWEEP_SECONDS = Gauge "lifespan_agent_sweep_seconds" [] "seconds"
        "How long the last sweep took.";
    SCRAPE_SECONDS = Summary "lifespan_agent_scrape_seconds" [] "seconds"
        "How long scrapes took, all those before this one.";
    SCRAPE_ERRORS = Counter "lifespan_agent_scrape_errors_total" ["part"] ""
        "Parts left out of scrapes since they failed: lifespan, tokio or process.";
    TOKIO_WORKERS = Gauge "tokio_workers" ["runtime"] ""
        "Worker threads of the runtime.";
    TOKIO_ALIVE_TASKS = Gauge "tokio_alive_tasks" ["runtime"] ""
        "Tasks alive in the runtime, tracked or not.";
    TOKIO_GLOBAL_QUEUE = Gauge "tokio_global_queue_depth" ["runtime"] ""
        "Tasks that wait in the runtime's global queue.";
    TOKIO_PARKS = Counter "tokio_worker_parks_total" ["runtime"] ""
        "Times that a worker went to sleep.";
    TOKIO_BUSY = Counter "tokio_worker_busy_seconds_total" ["runtime"] "seconds"
        "Time that workers were busy.";
    TOKIO_POLLS = Counter "tokio_polls_total" ["runtime"] "" only "tokio_unstable"
        "Polls of tasks by workers.";
    TOKIO_NOOPS = Counter "tokio_worker_noops_total" ["runtime"] "" only "tokio_unstable"
        "Times that a worker woke up and found nothing to do.";
    TOKIO_STEALS = Counter "tokio_stolen_tasks_total" ["runtime"] "" only "tokio_unstable"
        "Tasks that workers took from each other.";
    TOKIO_LOCAL_SCHEDULES = Counter "tokio_local_schedules_total" ["runtime"] "" only "tokio_unstable"
        "Tasks scheduled from a worker.";
    TOKIO_REMOTE_SCHEDULES = Counter "tokio_remote_schedules_total" ["runtime"] "" only "tokio_unstable"
        "Tasks scheduled from outside of the runtime.";
    TOKIO_OVERFLOWS = Counter "tokio_local_queue_overflows_total" ["runtime"] "" only "tokio_unstable"
        "Times that a worker's queue was full, and half of it went to the global one.";
    TOKIO_FORCED_YIELDS = Counter "tokio_budget_forced_yields_total" ["runtime"] "" only "tokio_unstable"
        "Times that a task had to yield since its budget was used up.";
    TOKIO_LOCAL_QUEUE = Gauge "tokio_local_queue_depth" ["runtime"] "" only "tokio_unstable"
        "Tasks that wait in the queues of workers.";
    TOKIO_BLOCKING_QUEUE = Gauge "tokio_blocking_queue_depth" ["runtime"] "" only "tokio_unstable"
        "Jobs that wait for a thread of the blocking pool, tracked or not.";
    TOKIO_BLOCKING_THREADS = Gauge "tokio_blocking_threads" ["runtime"] "" only "tokio_unstable"
        "Threads of the blocking pool.";
    TOKIO_IDLE_BLOCKING_THREADS = Gauge "tokio_idle_blocking_threads" ["runtime"] "" only "tokio_unstable"
        "Threads of the blocking pool that have nothing to do.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" [] "seconds" only "Linux"
        "Total user and system CPU time spent in seconds.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" [] "" only "Linux"
        "Number of open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" [] "" only "Linux"
        "Maximum number of open file descriptors.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" [] "bytes" only "Linux"
        "Virtual memory size in bytes.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" [] "bytes" only "Linux"
        "Resident memory size in bytes.";
    PROCESS_START = Gauge "process_start_time_seconds" [] "seconds" only "Linux"
        "Start time of the process since unix epoch in seconds.";
    PROCESS_THREADS = Gauge "process_threads" [] "" only "Linux"
        "Number of OS threads in the process.";
}
