//! What the terminal shows.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lifespan::registry::{self, KindSummary};
use lifespan::{Agent, Outcome};
use tokio::time::Instant;

use super::counts::Counts;
use super::report;
use super::service::Drained;
use crate::cli::DemoArgs;

/// Plain lines on standard output.
#[derive(Debug)]
pub(super) struct Progress {
    counts: Arc<Counts>,
    start: Instant,
}

impl Progress {
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        let start = Instant::now();
        Self { counts, start }
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
            restarts,
            skipped,
        } = &*self.counts;
        say(format_args!(
            "{:5.0} s  live {}  spawned {}  {}  served {served}  late {late}  rejected {rejected}  \
             restarts {restarts}  skipped {skipped}",
            self.start.elapsed().as_secs_f64(),
            tasks.live,
            tasks.spawned,
            tasks.ended,
        ));
    }

    pub(super) fn note(&self, note: fmt::Arguments<'_>) {
        say(format_args!(
            "{:5.0} s  {note}",
            self.start.elapsed().as_secs_f64()
        ));
    }

    pub(super) fn stopping(&self, reason: &str, limit: Duration) {
        self.note(format_args!(
            "{reason}: draining; requests under way have {} s to end",
            limit.as_secs()
        ));
    }

    /// The report at the end.
    pub(super) fn stopped(&self, drained: &Drained) {
        self.line();
        say(format_args!("shutdown report"));
        match drained {
            Drained::Wholly(took) => say(format_args!("drained in {:.2} s", took.as_secs_f64())),
            Drained::Late(limit) => say(format_args!("not drained within {} s", limit.as_secs())),
            Drained::Interrupted => say(format_args!("not drained: interrupted")),
        }
        say(format_args!("ended: {}", Tasks::now().ended));
        let _ = io::stdout().write_all(report::table(report::alive()).as_bytes());
    }
}

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
