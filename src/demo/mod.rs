//! The demo: an order service that is busy, with the agent inside it.
//!
//! It shows every family of tasks that a service has: connections and requests that fan out ([`app`], [`orders`]),
//! a supervised pipeline ([`ingest`]), a bounded pool ([`analytics`]), blocking jobs ([`thumbnails`]), a dedicated thread
//! ([`prices`]), daemons ([`daemons`]); and what goes wrong in one, on request ([`fault`]).
//!
//! The service has a runtime for itself. The shutdown and the progress line run on another one, on the main thread: they
//! work when every worker of the service is blocked, as `POST /fault/block` can do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use lifespan::shutdown::{self, Settings};
use lifespan::supervisor::BoxError;
use lifespan::{Agent, Reason, Scope};
use tokio::runtime::{self, Handle};
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
mod store;
mod thumbnails;
mod topic;
mod unheard;

use progress::Progress;
use service::Port;

/// Runs the demo until it is told to end, and drains it. It has failed where tasks are still alive then.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, Error> {
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
    let port = Port::take(args.app, of_service.handle())?;
    let agent = Arc::new(watch(args, of_service.handle())?);
    let progress = Arc::new(Progress::new());
    let settings = Settings::new().grace(DRAIN).deadline(DEADLINE);
    let service = of_service.handle().clone();
    let finished = of_operator.block_on(settings.run({
        let (args, agent, progress) = (args.clone(), Arc::clone(&agent), Arc::clone(&progress));
        move |root| operate(args, port, service, agent, progress, root)
    }));
    let (report, output) = (finished.report, finished.output);
    progress.stopped(&report);
    drop(agent);
    // A worker that a fault has blocked is left behind; the process ends all the same.
    of_service.shutdown_timeout(Duration::from_millis(500));
    output.transpose()?;
    if report.survivors().next().is_some() {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// How long all parts have to end, one after the other: the load first, then requests, and then what they work with.
const DRAIN: Duration = Duration::from_secs(7);
/// How long it may take until the process has ended.
const DEADLINE: Duration = Duration::from_secs(10);
/// Some 30 seconds of exits at the default rate, so that a panic can be found a while after it was planted.
const EXITS: usize = 10_000;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The root scope's own task: starts the service, and lives as long.
async fn operate(
    args: DemoArgs,
    port: Port,
    service: Handle,
    agent: Arc<Agent>,
    progress: Arc<Progress>,
    root: Scope,
) -> Result<(), Error> {
    let app = port.address();
    let start = service::start(port, root.clone(), args.rate, Arc::clone(progress.counts()));
    let started = lifespan::spawn_on(&kinds::STARTUP, start, &service).await;
    started
        .map_err(|error| Error::Start(error.into()))?
        .map_err(Error::Start)?;
    Progress::started(&args, app, &agent);
    let reason = tokio::select! {
        reason = shutdown::requested() => reason,
        reason = end_of(args.seconds) => reason,
        never = tell(&progress) => match never {},
    };
    progress.stopping(&reason, DRAIN);
    root.context().cancelled().await;
    Ok(())
}

/// Starts the agent, which watches that runtime from a thread of its own, until it is dropped.
///
/// It fails open: where its port is taken, the service runs without it.
fn watch(args: &DemoArgs, runtime: &Handle) -> Result<Agent, Error> {
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

async fn end_of(limit: Option<Duration>) -> Reason {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    sleep(limit).await;
    shutdown::initiate(Reason::new("--seconds have passed"));
    shutdown::requested().await
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
    /// A part of the service did not start.
    Start(BoxError),
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
            Self::Start(error) => write!(f, "failed to start the service: {error}"),
        }
    }
}
