//! Cheap monotonic clock: two reads a poll must cost next to nothing.
//!
//! Hot paths store raw *ticks* and readers turn them into time. On x86-64 a tick is one of the invariant
//! TSC, on aarch64 one of the generic timer; elsewhere, and wherever the kernel itself does not trust its
//! TSC, a tick is a nanosecond of [`Instant`]. Ticks of two cores can differ by a few nanoseconds, so that
//! every difference here saturates at zero.
//!
//! The `quanta` crate reads the same counters, but its first reader spins for up to 200 ms to calibrate.
//! That reader would be a worker of the host. Here the first reading spins for 50 us, and the agent
//! corrects the scale once, over a base of a second (see [`recalibrate`]).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
#[expect(
    clippy::disallowed_types,
    reason = "this is the clock that the rest is to use"
)]
use std::time::Instant;

/// The time now, in ticks.
#[inline]
pub(crate) fn ticks() -> u64 {
    if SOURCE.load(Relaxed) == COUNTER {
        counter::read()
    } else {
        slow_ticks()
    }
}

/// Begins to measure a poll: the time now, and how it was read.
#[inline(always)]
pub(crate) fn begin() -> Begun {
    let counts = SOURCE.load(Relaxed) == COUNTER;
    Begun {
        ticks: if counts { counter::read() } else { slow_ticks() },
        counts,
    }
}

/// When a poll began.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    pub(crate) ticks: u64,
    counts: bool,
}

impl Begun {
    /// The time now, read in the same way.
    #[inline(always)]
    pub(crate) fn now(self) -> u64 {
        if self.counts {
            counter::read()
        } else {
            slow_ticks()
        }
    }
}

/// Nanoseconds in a number of ticks.
#[inline]
pub(crate) fn nanos(ticks: u64) -> u64 {
    let scaled = (u128::from(ticks) * u128::from(SCALE.load(Relaxed))) >> 32;
    #[expect(clippy::cast_possible_truncation, reason = "a counter has no 584 years in it")]
    let nanos = scaled as u64;
    nanos
}

/// The time from `start` to `end`, both in ticks; zero if `end` is the earlier one.
pub(crate) fn between(start: u64, end: u64) -> Duration {
    Duration::from_nanos(nanos(end.saturating_sub(start)))
}

/// Corrects the scale of the ticks over the time since the first reading, once that is a second or more.
///
/// Called by the agent now and then. It changes the scale at most once: sums of ticks are shown as counters, which
/// must not run backwards, not even by a billionth. What is left is an error below 1e-7.
///
/// Says whether it has: what was computed from the scale before is to be computed anew.
pub(crate) fn recalibrate() -> bool {
    if SOURCE.load(Relaxed) != COUNTER || CORRECTED.load(Relaxed) {
        return false;
    }
    if let Some(first) = START.get() {
        let now = Reading::take();
        let elapsed = now.time.saturating_duration_since(first.time);
        if elapsed >= Duration::from_secs(1) && !CORRECTED.swap(true, Relaxed) {
            store_scale(elapsed, now.ticks.saturating_sub(first.ticks));
            return true;
        }
    }
    false
}

/// Ticks in a number of nanoseconds, rounded down.
pub(crate) fn ticks_in(nanos: u64) -> u64 {
    let ticks = (u128::from(nanos) << 32).checked_div(u128::from(SCALE.load(Relaxed)));
    ticks
        .and_then(|ticks| u64::try_from(ticks).ok())
        .unwrap_or(u64::MAX)
}

/// Where ticks come from; `UNKNOWN` until the first reading.
static SOURCE: AtomicU8 = AtomicU8::new(UNKNOWN);
/// Nanoseconds a tick, as a fixed-point number with 32 bits behind the point.
static SCALE: AtomicU64 = AtomicU64::new(ONE);
static CORRECTED: AtomicBool = AtomicBool::new(false);
static START: OnceLock<Reading> = OnceLock::new();

const UNKNOWN: u8 = 0;
const COUNTER: u8 = 1;
const SYSTEM: u8 = 2;
const ONE: u64 = 1 << 32;
const CALIBRATION: Duration = Duration::from_micros(50);

/// The same moment on both clocks.
#[derive(Debug)]
struct Reading {
    #[expect(clippy::disallowed_types, reason = "the reference")]
    time: Instant,
    ticks: u64,
}

impl Reading {
    /// Of five tries the one in which the two clocks were read closest together, so that a preemption
    /// between the two does not spoil the calibration.
    fn take() -> Self {
        let once = || {
            let before = counter::read();
            #[expect(clippy::disallowed_types, reason = "the reference")]
            let time = Instant::now();
            let after = counter::read();
            let apart = after.wrapping_sub(before);
            (
                apart,
                Self {
                    time,
                    ticks: before.wrapping_add(apart / 2),
                },
            )
        };
        let mut best = once();
        for _ in 0..4 {
            let next = once();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }
}

#[cold]
fn slow_ticks() -> u64 {
    let start = START.get_or_init(|| {
        let first = Reading::take();
        let source = if counter::trusted() { COUNTER } else { SYSTEM };
        if source == COUNTER {
            let mut now = Reading::take();
            while now.time.saturating_duration_since(first.time) < CALIBRATION {
                std::hint::spin_loop();
                now = Reading::take();
            }
            store_scale(
                now.time.saturating_duration_since(first.time),
                now.ticks.saturating_sub(first.ticks),
            );
        }
        SOURCE.store(source, Relaxed);
        first
    });
    if SOURCE.load(Relaxed) == COUNTER {
        counter::read()
    } else {
        u64::try_from(start.time.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn store_scale(elapsed: Duration, ticks: u64) {
    let scale = (elapsed.as_nanos() << 32).checked_div(u128::from(ticks));
    if let Some(scale) = scale.and_then(|scale| u64::try_from(scale).ok())
        && scale > 0
    {
        SCALE.store(scale, Relaxed);
    }
}

/// The processor's own counter.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod counter {
    #![expect(unsafe_code, reason = "the instruction has no safe form")]

    #[inline]
    pub(super) fn read() -> u64 {
        // SAFETY: every x86-64 processor has the instruction, and it only reads.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// Whether it runs at one rate on all cores: the processor says so (CPUID 8000_0007, EDX bit 8), and
    /// on Linux the kernel has not found otherwise, since it then changes its own clock away from it.
    pub(super) fn trusted() -> bool {
        // As a pointer, since the function is unsafe in older toolchains and safe in newer ones.
        let cpuid: unsafe fn(u32) -> core::arch::x86_64::CpuidResult = core::arch::x86_64::__cpuid;
        // SAFETY: the instruction exists on every x86-64 processor.
        let cpuid = |leaf| unsafe { cpuid(leaf) };
        let invariant = cpuid(0x8000_0000).eax >= 0x8000_0007 && cpuid(0x8000_0007).edx & (1 << 8) != 0;
        invariant && kernel_agrees()
    }

    fn kernel_agrees() -> bool {
        if !cfg!(target_os = "linux") {
            return true;
        }
        std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .map_or(true, |name| {
                matches!(name.trim(), "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page")
            })
    }
}

/// The generic timer: one rate for all cores, by its architecture.
#[cfg(all(target_arch = "aarch64", not(miri)))]
mod counter {
    #![expect(unsafe_code, reason = "the register has no safe form")]

    #[inline]
    pub(super) fn read() -> u64 {
        let count: u64;
        // SAFETY: user code may read this register on every system that Rust's std runs on.
        unsafe {
            core::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags));
        }
        count
    }

    pub(super) fn trusted() -> bool {
        true
    }
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod counter {
    pub(super) fn read() -> u64 {
        0
    }

    pub(super) fn trusted() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_measures_as_long_as_the_system_says() {
        let start = ticks();
        #[expect(clippy::disallowed_types, reason = "the reference")]
        let reference = Instant::now();
        while reference.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        // Around the reference, so that a preemption between two readings only makes ours longer.
        let theirs = reference.elapsed();
        let ours = between(start, ticks());
        assert!(ours >= Duration::from_millis(19), "{ours:?} {theirs:?}");
        assert!(ours <= theirs + Duration::from_secs(1), "{ours:?} {theirs:?}");
    }

    #[test]
    fn time_that_runs_backwards_is_zero() {
        assert_eq!(between(10, 9), Duration::ZERO);
    }
}
