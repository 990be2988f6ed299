//! How far the shutdown is, for all to see.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, OnceLock};

use tokio::sync::watch;

use super::bell;
use crate::event::{self, Event, Subject};
use crate::scope::Reason;

/// How far the shutdown of the process is. It only moves on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[repr(u8)]
pub enum Phase {
    /// None was initiated.
    Running = 0,
    /// The service works on, and is not ready for more: load balancers take notice.
    Unready = 1,
    /// Scopes are being closed.
    Draining = 2,
    /// All has ended that will.
    Complete = 3,
}

impl Phase {
    /// The name that views show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Complete => "complete",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How far the shutdown is. [`Phase::Running`] in a process that never calls [`run`](super::run).
#[must_use]
pub fn phase() -> Phase {
    *PHASE.borrow()
}

/// Why the process stops, if it does.
#[must_use]
pub fn reason() -> Option<Reason> {
    REASON.get().cloned()
}

/// Begins the shutdown, as a signal does; says whether that was news. The first reason stays.
///
/// Where nobody [runs](super::run) it does nothing. It can be called from any thread, and returns at once.
///
/// # Examples
///
/// ```
/// use lifespan::{Reason, shutdown};
///
/// // Nobody runs here.
/// assert!(!shutdown::initiate(Reason::new("the disk is full")));
/// assert_eq!(shutdown::phase(), shutdown::Phase::Running);
/// ```
pub fn initiate(reason: Reason) -> bool {
    if !RUNS.load(SeqCst) {
        return false;
    }
    let cause = Arc::from(reason.message());
    if REASON.set(reason).is_err() {
        return false;
    }
    advance(Phase::Unready);
    bell::ring(bell::INITIATED);
    event::note(Subject::default(), Event::ShutdownInitiated { cause });
    true
}

/// Waits until the drain begins, and says why: for a server's graceful shutdown.
///
/// Never resolves in a process that never calls [`run`](super::run).
///
/// # Cancel safety
///
/// It can be dropped at any time, and called as often as you like.
pub async fn requested() -> Reason {
    reached(Phase::Draining).await
}

/// Waits for a phase that only comes with a reason.
pub(super) async fn reached(wanted: Phase) -> Reason {
    let mut phase = PHASE.subscribe();
    loop {
        // The sender lives as long as the process.
        let _ = phase.wait_for(|phase| *phase >= wanted).await;
        if let Some(reason) = reason() {
            return reason;
        }
    }
}

/// Moves on to that phase, never back.
pub(super) fn advance(to: Phase) {
    PHASE.send_if_modified(|phase| {
        let forward = to > *phase;
        if forward {
            *phase = to;
        }
        forward
    });
}

/// From here on a shutdown can be initiated.
pub(super) fn open() {
    RUNS.store(true, SeqCst);
}

static RUNS: AtomicBool = AtomicBool::new(false);
static REASON: OnceLock<Reason> = OnceLock::new();
static PHASE: LazyLock<watch::Sender<Phase>> = LazyLock::new(|| watch::Sender::new(Phase::Running));
