//! Settings: defaults as constants, text from the environment made into values, once.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

#[cfg(feature = "profile")]
mod dumps;
#[cfg(feature = "server")]
mod endpoints;

#[cfg(feature = "profile")]
pub(crate) use dumps::DumpEnvironment;
#[cfg(feature = "profile")]
pub use dumps::DumpSignal;
#[cfg(feature = "server")]
pub(crate) use endpoints::{Environment, parse_host, parse_token};

/// What [`recording`] says where recording is off.
pub(crate) const OFF: u16 = 1 << 15;
/// What it says where wakers pass through; a bit of a record's flags.
pub(crate) const PASS_THROUGH: u16 = 1;

/// Whether tasks are recorded (0), recorded with wakers that pass through, or not at all.
///
/// Read from `LIFESPAN_DISABLED` and `LIFESPAN_WAKER` at the first task, and the same from then on: a task that
/// was counted as spawned must be counted as finished.
#[inline]
pub(crate) fn recording() -> u16 {
    match RECORDING.load(Relaxed) {
        UNKNOWN => read_recording(),
        known => known,
    }
}

#[cold]
fn read_recording() -> u16 {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
    let recording = if is("LIFESPAN_DISABLED", "1") {
        OFF
    } else if is("LIFESPAN_WAKER", "passthrough") {
        PASS_THROUGH
    } else {
        0
    };
    match RECORDING.compare_exchange(UNKNOWN, recording, Relaxed, Relaxed) {
        Ok(_) => recording,
        Err(other) => other,
    }
}

const UNKNOWN: u16 = u16::MAX;
static RECORDING: AtomicU16 = AtomicU16::new(UNKNOWN);

/// Where the agent listens by default.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9464));

/// How many kinds `/metrics` shows by default; the others are summed as `other`.
pub const DEFAULT_METRICS_KINDS: usize = 100;

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 512;
