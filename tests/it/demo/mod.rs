//! `lifespan demo`, as a process of its own: what it serves, what its faults plant, how it ends.

// Those send signals.
#[cfg(unix)]
mod end;
mod faults;
pub(crate) mod process;
mod service;
mod supervision;
mod usage;
