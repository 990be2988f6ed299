//! See every task of a tokio service, from spawn to exit.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod agent;
mod background;
mod clock;
mod config;
mod error;
mod event;
mod export;
mod readiness;
pub mod registry;
#[cfg(feature = "server")]
pub mod server;
mod task;

pub use agent::Agent;
pub use error::Error;

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
