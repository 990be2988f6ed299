//! Work in bounds, and work that goes on where it stopped.
//!
//! A [`WorkerPool`] is the answer to a spawn for each request: so many jobs run at a time, so many wait, and who comes
//! after that is told so.
//!
//! A worker that reads a stream and is started again resumes behind what its [`Progress`] says: see [`checkpoint`]. For
//! libraries that need one thread for all calls there is [`thread::serve`](crate::thread::serve).

pub mod checkpoint;
mod pool;

pub use checkpoint::{
    Checkpoint, CheckpointError, FileStore, MAX_CHECKPOINT_BYTES, MemoryStore, Position, Progress, Run,
};
pub use pool::{
    Builder, DEFAULT_QUEUE, MAX_POOLS, PoolReport, PoolRow, Refused, WorkerPool, default_workers, pools,
};
