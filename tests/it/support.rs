//! The vocabulary of these tests: wait for something with a deadline, and count by kind.

use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "deadlines of tests, which no test drives")]
use std::time::Instant;

use lifespan::registry::{self, KindSummary, Row};
use lifespan::{KindId, Outcome};

/// How long anything here may take before a test gives up on it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `done` holds; panics with `what` where that takes longer than [`DEADLINE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_types, reason = "as above")]
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What the registry has counted for one kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) spawned: u64,
    /// By outcome, in the order of [`Outcome::ALL`].
    pub(crate) finished: [u64; Outcome::ALL.len()],
}

impl Counts {
    /// Of a kind that may not have been used yet.
    pub(crate) fn of(kind: &str) -> Self {
        Self::among(&registry::kinds(), kind)
    }

    pub(crate) fn among(kinds: &[KindSummary], kind: &str) -> Self {
        let kind = kinds.iter().find(|summary| summary.kind.name() == kind);
        kind.map_or_else(Self::default, |kind| Self {
            spawned: kind.spawned,
            finished: Outcome::ALL.map(|outcome| kind.finished.with(outcome)),
        })
    }

    /// Counts one task that ends so.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.spawned += 1;
        self.finished[outcome as usize] += 1;
    }

    pub(crate) fn ended(&self) -> u64 {
        self.finished.iter().sum()
    }
}

/// The rows of a kind.
pub(crate) fn rows_of(kind: KindId) -> Vec<Row> {
    registry::rows().filter(|row| row.kind == kind).collect()
}

/// Once all is quiet: the kind has counted exactly that, and no row of it is left.
#[track_caller]
pub(crate) fn assert_settled(kind: KindId, expected: Counts) {
    wait_until("its tasks have ended", || {
        Counts::of(kind.name()).ended() >= expected.ended()
    });
    assert_eq!(Counts::of(kind.name()), expected, "{kind}");
    wait_until("no row is left", || rows_of(kind).is_empty());
}
