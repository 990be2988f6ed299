//! See every task of a tokio service, from spawn to exit.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod config;
mod event;
pub mod registry;
mod task;

pub use task::{
    AnyOutput, AsKind, Builder, ByResult, Classify, Histogram, JoinSet, Kind, KindId, MAX_KIND_BYTES,
    MAX_KINDS, Outcome, State, TaskId, Track, Tracked, current, spawn, spawn_blocking, spawn_local, spawn_on,
    thread,
};

#[cfg(feature = "server")]
pub use task::Executor;
