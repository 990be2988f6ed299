//! Where a scope stands: pure decisions, with `now` as an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::reason::Reason;

/// How long the tasks of a cancelled scope have to stop before they overstay, unless a close says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// What a scope is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ScopeState {
    /// Its tasks are to work.
    Open,
    /// Its tasks are to stop.
    Cancelled,
    /// It was closed. Tasks of it that are left have been aborted, where that is possible.
    Closed,
}

impl ScopeState {
    /// The name that views show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }
}

/// What is decided about one scope. Nothing here is ever taken back: a deadline only comes nearer, a reason stays, and
/// what is closed is not opened again.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    cancelled: Option<(Reason, Instant)>,
    deadline: Option<Instant>,
    /// From here on its tasks overstay: as the last close said.
    overstays_at: Option<Instant>,
    closed: bool,
}

impl Standing {
    /// That of a new child.
    pub(super) fn child(&self) -> Self {
        self.clone()
    }

    /// That of a new child which only its maker cancels.
    pub(super) fn shielded_child(&self) -> Self {
        Self {
            cancelled: None,
            deadline: None,
            ..self.clone()
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Brings the deadline nearer; says whether it did.
    pub(super) fn tighten(&mut self, to: Instant) -> bool {
        let nearer = self.deadline.is_none_or(|deadline| to < deadline);
        if nearer {
            self.deadline = Some(to);
        }
        nearer
    }

    /// Cancels; says whether it was not cancelled before. The first reason stays.
    pub(super) fn cancel(&mut self, reason: &Reason, now: Instant) -> bool {
        // A deadline that has passed is a reason, though nobody was there to write it down.
        self.cancelled = self.cancellation(now);
        let first = self.cancelled.is_none();
        if first {
            self.cancelled = Some((reason.clone(), now));
        }
        first
    }

    /// Why it is cancelled, if it is.
    pub(super) fn reason(&self, now: Instant) -> Option<Reason> {
        self.cancellation(now).map(|(reason, _)| reason)
    }

    /// Says when its tasks begin to overstay.
    pub(super) fn grant(&mut self, until: Instant) {
        self.overstays_at = Some(until);
    }

    pub(super) fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn state(&self, now: Instant) -> ScopeState {
        if self.closed {
            ScopeState::Closed
        } else if self.cancellation(now).is_some() {
            ScopeState::Cancelled
        } else {
            ScopeState::Open
        }
    }

    /// Whether the tasks that are left had time enough to stop.
    pub(super) fn overstays(&self, now: Instant) -> bool {
        let granted = || {
            let (_, since) = self.cancellation(now)?;
            // Further away than a clock can tell: never.
            since.checked_add(DEFAULT_GRACE)
        };
        self.overstays_at.or_else(granted).is_some_and(|at| at < now)
    }

    fn cancellation(&self, now: Instant) -> Option<(Reason, Instant)> {
        let passed = || {
            let deadline = self.deadline.filter(|deadline| *deadline <= now)?;
            Some((Reason::deadline(), deadline))
        };
        self.cancelled.clone().or_else(passed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reason::Cause;
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    proptest! {
        #[test]
        fn deadlines_only_tighten(steps in prop::collection::vec((0u64..1_000, any::<bool>()), 1..32)) {
            let start = Instant::now();
            let mut standing = Standing::default();
            let mut nearest = None::<u64>;
            for (at, child) in steps {
                // A child starts with what its parent has.
                if child {
                    standing = standing.child();
                }
                standing.tighten(start + ms(at));
                nearest = Some(nearest.map_or(at, |nearest| nearest.min(at)));
                prop_assert_eq!(standing.deadline(), nearest.map(|at| start + ms(at)));
            }
        }

        #[test]
        fn the_first_reason_stays(deadline in 0u64..100, times in prop::collection::vec(0u64..100, 1..8)) {
            let start = Instant::now();
            let mut times = times;
            times.sort_unstable();
            let mut standing = Standing::default();
            standing.tighten(start + ms(deadline));
            for at in &times {
                standing.cancel(&Reason::new(at.to_string()), start + ms(*at));
            }
            let reason = standing.reason(start + ms(1_000)).expect("cancelled");
            if times[0] < deadline {
                prop_assert_eq!(reason.message(), times[0].to_string());
            } else {
                prop_assert_eq!(reason.cause(), Cause::Deadline);
            }
        }
    }

    #[test]
    fn tasks_overstay_when_their_grace_has_passed() {
        let start = Instant::now();
        let mut standing = Standing::default();
        assert!(!standing.overstays(start + ms(1_000_000)));
        standing.tighten(start + ms(100));
        assert!(!standing.overstays(start + ms(100) + DEFAULT_GRACE));
        assert!(standing.overstays(start + ms(101) + DEFAULT_GRACE));
        // A close says how long they have.
        standing.grant(start + ms(60_000));
        assert!(!standing.overstays(start + ms(60_000)));
        assert!(standing.overstays(start + ms(60_001)));
    }

    #[test]
    fn what_is_closed_stays_closed() {
        let now = Instant::now();
        let mut standing = Standing::default();
        assert_eq!(standing.state(now), ScopeState::Open);
        standing.cancel(&Reason::closed(), now);
        assert_eq!(standing.state(now), ScopeState::Cancelled);
        assert!(standing.close());
        assert!(!standing.close());
        assert_eq!(standing.state(now), ScopeState::Closed);
        assert_eq!(standing.child().state(now), ScopeState::Closed);
    }
}
