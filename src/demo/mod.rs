//! The demo: an order service that is busy, with the agent inside it.
//!
//! It shows every family of tasks that a service has: connections and requests that fan out ([`app`], [`orders`]),
//! a pipeline ([`ingest`]), a bounded pool ([`analytics`]), blocking jobs ([`thumbnails`]), a dedicated thread
//! ([`prices`]), daemons ([`daemons`]); and what goes wrong in one, on request ([`fault`]).
//!
//! The service has a runtime for itself. Signals, the progress line and the deadline of the drain run on another
//! one, on the main thread: they work when every worker of the service is blocked, as `POST /fault/block` can do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use lifespan::Agent;
use tokio::runtime::{self, Runtime};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::cli::DemoArgs;

mod analytics;
mod app;
mod chance;
mod counts;
mod daemons;
mod fault;
mod ingest;
mod kinds;
mod load;
mod orders;
mod prices;
mod progress;
mod report;
mod service;
mod signal;
mod stop;
mod store;
mod thumbnails;
mod unheard;

use progress::Progress;
use service::Service;
use signal::Signals;

/// Runs the demo until it is told to end, and drains it.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Error> {
    let workers = available_parallelism().map_or(2, NonZeroUsize::get).max(2);
    let of_service = runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("service")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let of_operator = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let ended = of_operator.block_on(operate(args, &of_service));
    // A worker that a fault has blocked is left behind; the process ends all the same.
    of_service.shutdown_timeout(Duration::from_millis(500));
    ended
}

/// How long live requests have to end.
const DRAIN: Duration = Duration::from_secs(5);
/// Some 30 seconds of exits at the default rate, so that a panic can be found a while after it was planted.
const EXITS: usize = 10_000;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

async fn operate(args: &DemoArgs, runtime: &Runtime) -> Result<(), Error> {
    let mut signals = Signals::listen().map_err(Error::Signals)?;
    let service = Service::start(args, runtime)?;
    let agent = watch(args, runtime)?;
    let progress = Progress::new(service.counts());
    Progress::started(args, service.app(), &agent);

    let reason = tokio::select! {
        signal = signals.next() => signal,
        () = end_of(args.seconds) => "--seconds have passed",
        never = tell(&progress) => match never {},
    };
    progress.stopping(reason, DRAIN);
    let _hold = agent.readiness().hold("draining");
    let drained = tokio::select! {
        drained = service.drain(DRAIN) => drained,
        signal = signals.next() => {
            progress.note(format_args!("{signal} again: no longer waiting"));
            service::Drained::Interrupted
        }
    };
    progress.stopped(&drained);
    Ok(())
}

/// Starts the agent, which watches that runtime from a thread of its own, until it is dropped.
///
/// It fails open: where its port is taken, the service runs without it.
fn watch(args: &DemoArgs, runtime: &Runtime) -> Result<Agent, Error> {
    let _on = runtime.enter();
    let mut agent = Agent::builder("demo").exits(EXITS);
    if let Some(address) = args.listen {
        agent = agent.listen(address);
    }
    if let Some(young) = args.young {
        agent = agent.young(young);
    }
    agent.start().map_err(Error::Agent)
}

async fn end_of(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

async fn tell(progress: &Progress) -> std::convert::Infallible {
    let mut ticks = interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        progress.line();
    }
}

/// Why the demo cannot run.
#[derive(Debug)]
pub(crate) enum Error {
    Agent(lifespan::Error),
    /// The app's address cannot be had.
    Listen(SocketAddr, io::Error),
    Runtime(io::Error),
    Signals(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(error) => write!(f, "failed to start the agent: {error}"),
            Self::Listen(address, error) => {
                write!(
                    f,
                    "failed to listen on {address} for the order service: {error}; choose another with --app"
                )
            }
            Self::Runtime(error) => write!(f, "failed to start a runtime: {error}"),
            Self::Signals(error) => write!(f, "failed to listen for signals: {error}"),
        }
    }
}
