//! What the terminal shows.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lifespan::registry::{self, KindSummary};
use lifespan::shutdown::Report;
use lifespan::{Agent, Outcome, Reason, supervisor};
use tokio::time::Instant;

use super::counts::Counts;
use super::report;
use crate::cli::DemoArgs;

/// Plain lines on standard output.
#[derive(Debug)]
pub(super) struct Progress {
    counts: Arc<Counts>,
    start: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            counts: Arc::default(),
            start: Instant::now(),
        }
    }

    /// What the service is to count.
    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// What runs, and where.
    pub(super) fn started(args: &DemoArgs, app: SocketAddr, agent: &Agent) {
        say(format_args!(
            "lifespan demo: an order service, and the agent that watches it"
        ));
        say(format_args!(
            "  app      http://{app}/orders/1 ({} requests/s from within)",
            args.rate
        ));
        say(format_args!(
            "  faults   POST http://{app}/fault/{{leak,orphan,lost-wakeup,panic,block,restart-storm,spin}}"
        ));
        match (agent.address(), agent.status().server.error()) {
            (Some(agent), None) => {
                say(format_args!("  agent    http://{agent}/"));
                say(format_args!("  metrics  http://{agent}/metrics"));
            }
            (_, error) => {
                let why = error.map(because).unwrap_or_default();
                say(format_args!("  agent    off, the service runs without it{why}"));
            }
        }
        match args.seconds {
            Some(limit) => say(format_args!(
                "  ends after {} s, or with Ctrl-C or SIGTERM",
                limit.as_secs()
            )),
            None => say(format_args!("  ends with Ctrl-C or SIGTERM")),
        }
    }

    /// How it goes.
    pub(super) fn line(&self) {
        let tasks = Tasks::now();
        let Counts {
            served,
            late,
            rejected,
            ingested,
            skipped,
        } = &*self.counts;
        say(format_args!(
            "{:5.0} s  live {}  spawned {}  {}  served {served}  late {late}  rejected {rejected}  \
             skipped {skipped}  ingested {ingested}{}",
            self.start.elapsed().as_secs_f64(),
            tasks.live,
            tasks.spawned,
            tasks.ended,
            exhausted()
        ));
    }

    pub(super) fn stopping(&self, reason: &Reason, limit: Duration) {
        say(format_args!(
            "{:5.0} s  {reason}: draining; what is under way has {} s to end",
            self.start.elapsed().as_secs_f64(),
            limit.as_secs()
        ));
    }

    /// The report at the end.
    pub(super) fn stopped(&self, report: &Report) {
        self.line();
        say(format_args!("shutdown report"));
        say(format_args!(
            "{} in {:.2} s",
            if report.is_clean() {
                "drained"
            } else {
                "not drained in time, ended"
            },
            report.took.as_secs_f64()
        ));
        say(format_args!("ended: {}", Tasks::now().ended));
        let tables = [
            report::table("late", report.late.iter().map(report::late)),
            report::table("still alive", report::alive()),
        ];
        for table in tables {
            let _ = io::stdout().write_all(table.as_bytes());
        }
        for survivor in report.survivors().take(MOST_SURVIVORS) {
            say(format_args!("  {survivor}"));
        }
    }
}

/// The supervisors that have given up, if any.
fn exhausted() -> String {
    let exhausted = supervisor::exhausted();
    exhausted.iter().map(|path| format!("  {path} gave up")).collect()
}

/// How many survivors are named; the tables count all.
const MOST_SURVIVORS: usize = 1_000;

/// Prints a line. Not with `println`, which panics where nobody reads standard output any more, and would take the
/// service with it.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// An error and what caused it.
fn because(error: &lifespan::Error) -> String {
    match error.source() {
        Some(cause) => format!(": {error}: {cause}"),
        None => format!(": {error}"),
    }
}

/// All tasks of the process, whatever their kind.
#[derive(Debug, Default)]
struct Tasks {
    live: u64,
    spawned: u64,
    ended: Ended,
}

impl Tasks {
    fn now() -> Self {
        registry::kinds().iter().fold(Self::default(), Self::with)
    }

    fn with(mut self, kind: &KindSummary) -> Self {
        self.live += kind.live();
        self.spawned += kind.spawned;
        for (count, outcome) in self.ended.0.iter_mut().zip(Outcome::ALL) {
            *count += kind.finished.with(outcome);
        }
        self
    }
}

/// Tasks by outcome, in the order of `Outcome::ALL`.
#[derive(Debug, Default)]
struct Ended([u64; Outcome::ALL.len()]);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (count, outcome)) in self.0.iter().zip(Outcome::ALL).enumerate() {
            let space = if index == 0 { "" } else { "  " };
            write!(f, "{space}{outcome} {count}")?;
        }
        Ok(())
    }
}
