//! Supervisors. Time is tokio's paused clock throughout.
//!
//! Tests named as cases of Erlang's `supervisor_SUITE` are those: `docs/SUPERVISOR_SUITE.md` has the table.

mod actor;
mod chaos;
mod control;
mod start;
mod strategies;
mod termination;
#[cfg(all(feature = "prometheus", feature = "server"))]
mod views;
mod watch;

use std::time::Duration;

use lifespan::Scope;
use lifespan::supervisor::{Builder, ChildState, Supervisor};

use actor::{Actor, Log, Order};

const SECOND: Duration = Duration::from_secs(1);

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Starts a supervisor in a scope that nothing else is in.
async fn start(builder: Builder) -> (Supervisor, Scope) {
    let scope = Scope::new("sup-test");
    let supervisor = builder.start(&scope).await.expect("it starts");
    settle().await;
    (supervisor, scope)
}

/// Actors of these names, that log to one log.
fn actors<const N: usize>(names: [&'static str; N]) -> ([Actor; N], Log) {
    let log = Log::default();
    (names.map(|name| Actor::new(name, &log)), log)
}

/// How the children stand, by name.
fn states(supervisor: &Supervisor) -> Vec<(String, ChildState)> {
    let children = supervisor.list().into_iter();
    children
        .map(|child| (child.name.to_string(), child.state))
        .collect()
}

/// Lets time pass until something holds.
async fn wait_for(mut done: impl AsyncFnMut() -> bool) {
    let give_up = tokio::time::Instant::now() + SECOND * 100_000;
    while !done().await {
        assert!(tokio::time::Instant::now() < give_up, "it never does");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
