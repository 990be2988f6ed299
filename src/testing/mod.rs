//! For tests of yours: fail where a task outlives what it was spawned for.

mod guard;
mod message;

pub use guard::{DEFAULT_WAIT, LEAST_LOOKS, LeakGuard};
