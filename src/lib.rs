//! See every task of a tokio service, from spawn to exit.
//!
//! Every task that is spawned through lifespan, or wrapped by it, has a record: what it is, where it was spawned and by
//! whom, what it does now, how often it was polled and woken, who woke it last, whether anything is left that could
//! wake it, and how it ended. The record is also the task's *waker*, so that all of this is known at every moment and
//! nobody has to ask. One row of `/debug/tasks` (with feature `server`):
//!
//! ```json
//! {"id":29,"kind":"db-query","name":null,"state":"idle","age_seconds":4.108,"idle_seconds":4.101,
//!  "busy_seconds":0.0000061,"polls":3,"wakes":2,"self_wakes":0,"wakers":0,"woken_by":17,"parent":17,
//!  "spawned_at":"src/orders.rs:88:14","future_bytes":312,"verdict":"orphaned"}
//! ```
//!
//! # Quick start
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let _agent = lifespan::Agent::builder("orders").listen(([127, 0, 0, 1], 9464)).start()?;
//!     lifespan::spawn("refresh", async { /* … */ }).await?;
//!     Ok(())
//! }
//! # #[cfg(not(feature = "server"))] fn main() {}
//! ```
//!
//! # Ways in
//!
//! | instead of | use | it is known as |
//! |---|---|---|
//! | `tokio::spawn(future)` | [`spawn`]`(kind, future)`, or [`Builder`] to say more | the root of its task |
//! | `handle.spawn(future)` | [`spawn_on`] | the root of its task, and its runtime |
//! | `tokio::task::spawn_local` | [`spawn_local`] | the root of its task |
//! | `tokio::task::spawn_blocking` | [`spawn_blocking`] | a blocking job: queued, then running |
//! | `tokio::task::JoinSet` | [`JoinSet`] | the root of its task |
//! | `std::thread::spawn` | [`thread::spawn`] | a thread |
//! | any other spawner | `future.`[`tracked`](Track::tracked)`(kind)` | a future; [`root`](Tracked::root) says that it is a task's |
//!
//! All of them return tokio's (or std's) own handles, and a panic reaches those as before. Tasks that are to end
//! together stand in a [`Scope`]: see [`scope`]. [`run`] ends all of a service, in order and in time: see [`shutdown`].
//! A *kind* is a low-cardinality name for a family of tasks: see [`Kind`].
//!
//! # What stands on it
//!
//! | module | gives |
//! |---|---|
//! | [`scope`] | a tree of cancellation, with reasons, deadlines and an end that is observed |
//! | [`supervisor`] | children that are started in order, restarted within a budget, and stopped in reverse order |
//! | [`worker`] | pools with two bounds, and checkpoints from which a restarted worker goes on |
//! | [`shutdown`] | [`run`]: signals, a drain in order, a deadline that holds whatever the runtime does |
//! | [`event`] | what happened to supervised and long-lived tasks, and what went wrong: a journal, and lines of `tracing` |
//! | [`leak`] | verdicts on groups of tasks, with their evidence |
//! | [`testing`] | a guard that fails a test whose tasks outlive it |
//! | `profile` | where each task waits (with that feature) |
//!
//! # What a record knows, and when
//!
//! * Counts by kind are exact: live tasks are those spawned less those finished, and never negative. A task has
//!   finished only when its destructors have run.
//! * Rows are weakly consistent: each is what one look at a task saw, at its own time.
//! * *Orphaned* is exact for the root of a task: it waits and no waker of it is alive, so that nothing but an abort can
//!   still end it. It is a lower bound: a waker in a channel that the task itself owns hides a dead task. It is never
//!   said of a task that is meant to live for ever, since a guard that waits to be aborted looks so.
//! * Wakes and wakers are known where tokio polls a task. Where another executor does (`block_on`, `FuturesUnordered`),
//!   its own waker passes through, and the record says that it does not know.
//! * The runtime of a task is known on workers of a multi-thread runtime, and where it was spawned onto a given one.
//!
//! # It must not harm its host
//!
//! Recording takes no lock and no allocation a task, some sixty nanoseconds a task and a dozen a poll (see the README). Every buffer
//! is bounded, and what finds no room is counted: see [`registry::health`]. What reads runs on a thread of the agent's
//! own, which is never among what is observed, and answers while every worker of the service is blocked. Where
//! something of the agent's cannot start, the service runs on and the agent says why: see [`agent`].
//!
//! `LIFESPAN_DISABLED=1` in the environment switches the recording off, `LIFESPAN_WAKER=passthrough` lets the runtime's
//! wakers through everywhere. Both are read once, at the first task.
//!
//! # Features
//!
//! None is on by default. Each only adds.
//!
//! | feature | adds |
//! |---|---|
//! | `server` | the HTTP endpoints, served by the agent or mounted in an axum app of yours; `Executor` for hyper |
//! | `prometheus` | a collector for the `prometheus` crate, and `/metrics` |
//! | `profile` | `profile::dump`: where each task waits, and lost wakeups; as text, profiles for `go tool pprof`, flame graphs; brings `server` |
//! | `cli` | the binary, with a demo service |
//! | `full` | all of these |
//!
//! `otlp`, `pprof`, `console`, `etcd` and `heap` are names of parts to come, and add nothing yet. A build with
//! `--cfg tokio_unstable` also tells untracked tasks by their spawn site.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod agent;
mod background;
mod clock;
mod config;
mod error;
pub mod event;
mod export;
pub mod leak;
#[cfg(feature = "profile")]
pub mod profile;
mod readiness;
pub mod registry;
mod ring;
pub mod scope;
#[cfg(feature = "server")]
pub mod server;
pub mod shutdown;
#[cfg(feature = "profile")]
#[expect(dead_code, unused_imports, reason = "more of it is wanted than a dump needs")]
mod stack;
pub mod supervisor;
mod task;
pub mod testing;
#[cfg(feature = "server")]
mod utc;
pub mod worker;

pub use agent::Agent;
pub use error::Error;
pub use scope::{Reason, Scope};
pub use shutdown::run;
pub use supervisor::{ChildSpec, Supervisor};
pub use worker::WorkerPool;

pub use task::{
    AnyOutput, AsKind, Builder, ByResult, Classify, Histogram, JoinSet, Kind, KindId, MAX_KIND_BYTES,
    MAX_KINDS, Outcome, State, TaskId, Track, Tracked, current, spawn, spawn_blocking, spawn_local, spawn_on,
    thread,
};

#[cfg(feature = "prometheus")]
pub use export::prometheus;
#[cfg(feature = "server")]
pub use task::Executor;
#[cfg(tokio_unstable)]
pub use task::hooks;

/// Compiles what the README shows.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct Readme;
