//! What scrapes cost, and what they had to leave out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::catalogue;
use super::family::Family;
use crate::clock;

/// A part of a scrape that can fail without the others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Lifespan,
    Tokio,
    Process,
}

impl Part {
    const ALL: [Self; 3] = [Self::Lifespan, Self::Tokio, Self::Process];

    fn name(self) -> &'static str {
        match self {
            Self::Lifespan => "lifespan",
            Self::Tokio => "tokio",
            Self::Process => "process",
        }
    }

    fn errors(self) -> &'static AtomicU64 {
        static LIFESPAN: AtomicU64 = AtomicU64::new(0);
        static TOKIO: AtomicU64 = AtomicU64::new(0);
        static PROCESS: AtomicU64 = AtomicU64::new(0);
        match self {
            Self::Lifespan => &LIFESPAN,
            Self::Tokio => &TOKIO,
            Self::Process => &PROCESS,
        }
    }
}

/// Counts a part, or something in it, that was left out.
pub(super) fn count_error(part: Part) {
    part.errors().fetch_add(1, Relaxed);
}

/// How often something was left out, by part.
pub(super) fn errors() -> Family {
    let mut errors = Family::new(&catalogue::SCRAPE_ERRORS);
    for part in Part::ALL {
        errors.count(&[part.name()], part.errors().load(Relaxed));
    }
    errors
}

/// Takes the time of a scrape.
pub(super) fn timed<R>(scrape: impl FnOnce() -> R) -> R {
    let start = clock::ticks();
    let result = scrape();
    let took = clock::between(start, clock::ticks());
    NANOS.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    SCRAPES.fetch_add(1, Relaxed);
    result
}

/// How long all scrapes took that have ended.
pub(super) fn seconds() -> Family {
    let mut seconds = Family::new(&catalogue::SCRAPE_SECONDS);
    let nanos = std::time::Duration::from_nanos(NANOS.load(Relaxed));
    seconds.summary(SCRAPES.load(Relaxed), nanos.as_secs_f64());
    seconds
}

static SCRAPES: AtomicU64 = AtomicU64::new(0);
static NANOS: AtomicU64 = AtomicU64::new(0);
