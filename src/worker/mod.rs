//! Work in bounds: pools of jobs.
//!
//! A [`WorkerPool`] is the answer to a spawn for each request: so many jobs run at a time, so many wait, and who comes
//! after that is told so.

mod pool;

pub use pool::{
    Builder, DEFAULT_QUEUE, MAX_POOLS, PoolReport, PoolRow, Refused, WorkerPool, default_workers, pools,
};
