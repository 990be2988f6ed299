//! Who spawns: tokio itself, this crate, and its peers.

use std::sync::LazyLock;

use lifespan::{Kind, Track};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_metrics::TaskMonitor;
use tracing::Instrument;

use crate::cases::{Case, Raw, Spawner, spawn_raw};
use crate::supervised;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Subject {
    Raw,
    /// `lifespan::spawn` with a static kind, and no agent: nobody reads what is recorded.
    Lifespan,
    /// `tokio::spawn` of a tracked future, which may be any branch of a task.
    Tracked,
    /// A child of a supervisor, without a backoff; of the cases that one can be in.
    Supervised,
    /// The same program as [`Self::Lifespan`], in a process with `LIFESPAN_DISABLED=1`.
    Disabled,
    /// One `TaskMonitor` for all tasks.
    TokioMetrics,
    /// A `tracing` span a task, in a bare `tracing_subscriber::registry()`.
    Tracing,
    /// `console-subscriber` with its defaults and no client, in a process with `tokio_unstable`.
    Console,
}

impl Subject {
    pub(crate) const ALL: [Self; 8] = [
        Self::Raw,
        Self::Lifespan,
        Self::Tracked,
        Self::Supervised,
        Self::Disabled,
        Self::TokioMetrics,
        Self::Tracing,
        Self::Console,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Lifespan => "lifespan",
            Self::Tracked => "lifespan-tracked",
            Self::Supervised => "lifespan-supervised",
            Self::Disabled => "lifespan-disabled",
            Self::TokioMetrics => "tokio-metrics",
            Self::Tracing => "tracing",
            Self::Console => "console-subscriber",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.name() == name)
    }

    /// Whether it can be in that case.
    pub(crate) fn takes(self, case: Case) -> bool {
        self != Self::Supervised || matches!(case, Case::Poll | Case::Restart)
    }

    /// One sample, taken in this process, which must have been started as the subject needs it.
    pub(crate) fn sample(self, case: Case, runtime: &Runtime, ops: u64) -> f64 {
        match self {
            Self::Raw | Self::Console => case.nanos_per_op::<Raw>(runtime, ops),
            Self::Lifespan | Self::Disabled => case.nanos_per_op::<Lifespan>(runtime, ops),
            Self::Tracked => case.nanos_per_op::<Tracked>(runtime, ops),
            Self::Supervised => Case::nanos_of(runtime, ops, supervised::run(case, ops)),
            Self::TokioMetrics => case.nanos_per_op::<Monitored>(runtime, ops),
            Self::Tracing => case.nanos_per_op::<Spanned>(runtime, ops),
        }
    }
}

/// Lets spans of [`Subject::Tracing`] go somewhere. Nothing else here has a span, so that no other subject pays.
pub(crate) fn install_subscriber() {
    // An error means that there is one already, which is as good.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
}

static KIND: Kind = Kind::new("bench");
static MONITOR: LazyLock<TaskMonitor> = LazyLock::new(TaskMonitor::new);

enum Lifespan {}

impl Spawner for Lifespan {
    fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        lifespan::spawn(&KIND, future)
    }
}

enum Tracked {}

impl Spawner for Tracked {
    fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_raw(future.tracked(&KIND))
    }
}

enum Monitored {}

impl Spawner for Monitored {
    fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_raw(TaskMonitor::instrument(&MONITOR, future))
    }
}

enum Spanned {}

impl Spawner for Spanned {
    fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_raw(future.instrument(tracing::info_span!("task")))
    }
}
