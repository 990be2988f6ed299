//! The live set, and those who have just left it.
//!
//! Nothing is inserted anywhere when a task is spawned: the live set *is* a walk over the slabs in which records
//! live. Counts by kind are exact, and cost as many additions as there are kinds and threads. Rows are weakly
//! consistent, each with its own sample time: a task that lives over the whole of a walk is in it once; one that is
//! spawned or ends meanwhile may be.
//!
//! All of it belongs to the process, like the tasks: there is one registry, and no handle to it. Reading never
//! blocks a task.

#[cfg(tokio_unstable)]
mod foreign;
mod health;
mod history;
pub(crate) mod lost;
mod snapshot;
mod sweep;
mod watched;

#[cfg(tokio_unstable)]
pub use foreign::{Foreign, ForeignSite, foreign};
pub use health::{BlockingJobs, Health, blocking_jobs, health};
pub use history::{DEFAULT_EXITS, Exit, History, PanicFacts, exits};
pub(crate) use history::{Notable, drain, set_capacity, take_notable};
pub(crate) use snapshot::row_at;
pub use snapshot::{Finished, KindSummary, Nature, Row, Rows, kinds, row, rows};
#[cfg(feature = "profile")]
pub(crate) use snapshot::{Place, looks};
pub use sweep::{KindStates, SiteStates, Sweep, last as last_sweep, sweep};
pub(crate) use sweep::{MOST_LONG_LIVED, Spot, pace};
pub use watched::{MAX_WATCHED, untracked, watch, watched};
