//! Signals in, and the way out.

#![cfg_attr(unix, expect(unsafe_code, reason = "calls of the system"))]

/// A signal that asks the process to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Signal {
    pub(super) name: &'static str,
    pub(super) number: u8,
}

#[cfg(unix)]
#[expect(clippy::cast_possible_truncation, reason = "numbers of signals are small")]
pub(super) const SIGNALS: [Signal; 2] = [
    Signal {
        name: "SIGTERM",
        number: libc::SIGTERM as u8,
    },
    Signal {
        name: "SIGINT",
        number: libc::SIGINT as u8,
    },
];

#[cfg(not(unix))]
pub(super) const SIGNALS: [Signal; 0] = [];

/// Rings the bell when the signal comes.
#[cfg(unix)]
pub(super) fn listen(signal: Signal) -> std::io::Result<()> {
    let process = std::process::id();
    let heard = move || {
        // A forked child has the same handler and the same bell, and its signals are not ours.
        if std::process::id() == process {
            super::bell::ring(signal.number);
        }
    };
    // SAFETY: `heard` calls `getpid` and writes a byte to a socket that does not block, and nothing else: both can be done
    // in a signal handler. `errno` is put back by the registry.
    unsafe { signal_hook_registry::register(signal.number.into(), heard) }.map(drop)
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on unix, where it can fail")]
pub(super) fn listen(_: Signal) -> std::io::Result<()> {
    Ok(())
}

/// Ends the process at once: nothing of the host's runs any more.
#[cfg(unix)]
pub(super) fn exit(code: u8) -> ! {
    // SAFETY: can be called at any time, by any thread.
    unsafe { libc::_exit(code.into()) }
}

#[cfg(not(unix))]
#[expect(
    clippy::exit,
    reason = "the deadline is over; std has no other way out with a code"
)]
pub(super) fn exit(code: u8) -> ! {
    std::process::exit(code.into())
}
