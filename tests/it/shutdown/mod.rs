//! Shutdown: in what order, in what time, and whatever the runtime does.
//!
//! There is one root scope and one shutdown a process, so that each service here runs in a process of its own: this very
//! binary, told to run one ignored test.

mod alone;
mod order;
// Those send signals.
#[cfg(unix)]
mod services;
#[cfg(unix)]
mod signals;
