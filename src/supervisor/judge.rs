//! What is to become of a child that has ended by itself, and of its supervisor: pure decisions.

use std::time::Duration;

use tokio::time::Instant;

use super::spec::{AutoShutdown, Restart};

/// How a run ended, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// It is done, or its own scope was cancelled.
    Done,
    /// It failed or panicked.
    Failed,
    /// It is not to be started again.
    Stop,
    /// It wants its supervisor to give up.
    Escalate,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// It is started again, if the budget allows.
    Again,
    /// It stays in the list of children, and can be started again by hand or with its group.
    Rest,
    /// It stays in the list of children, and only a hand starts it again.
    Held,
    /// It is forgotten.
    Gone,
    /// The supervisor gives up.
    GiveUp,
}

/// Decides about a child that ended by itself.
pub(super) fn next(restart: Restart, ending: Ending) -> Next {
    match (ending, restart) {
        (Ending::Escalate, _) => Next::GiveUp,
        (_, Restart::Temporary) => Next::Gone,
        (Ending::Stop, _) => Next::Held,
        (Ending::Failed, _) | (Ending::Done, Restart::Permanent) => Next::Again,
        (Ending::Done, Restart::Transient) => Next::Rest,
    }
}

/// Whether a supervisor is done when a significant child has ended for good. `others` says whether another significant
/// one is left.
pub(super) fn is_over(auto: AutoShutdown, others: bool) -> bool {
    match auto {
        AutoShutdown::Never => false,
        AutoShutdown::AnySignificant => true,
        AutoShutdown::AllSignificant => !others,
    }
}

/// Whether a deadline that children were to meet has passed for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// They missed it.
    Missed,
    /// It was the clock or the process that stood still: they have until then.
    Until(Instant),
}

/// Decides at `now` about a deadline that was set `allowed` before.
///
/// Whoever looks at it late was asleep, and so were the children: a process that was stopped or a machine that was
/// suspended must not find all its children late at once.
pub(super) fn due(deadline: Instant, allowed: Duration, now: Instant) -> Due {
    let late = now.saturating_duration_since(deadline);
    if late < SLACK.max(allowed / 2) {
        return Due::Missed;
    }
    now.checked_add(allowed).map_or(Due::Missed, Due::Until)
}

/// How late a look may be and still count.
const SLACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_of_every_kind() {
        use Ending::{Done, Escalate, Failed, Stop};
        use Restart::{Permanent, Temporary, Transient};
        let expected = [
            (Permanent, Done, Next::Again),
            (Permanent, Failed, Next::Again),
            (Permanent, Stop, Next::Held),
            (Permanent, Escalate, Next::GiveUp),
            (Transient, Done, Next::Rest),
            (Transient, Failed, Next::Again),
            (Transient, Stop, Next::Held),
            (Transient, Escalate, Next::GiveUp),
            (Temporary, Done, Next::Gone),
            (Temporary, Failed, Next::Gone),
            (Temporary, Stop, Next::Gone),
            (Temporary, Escalate, Next::GiveUp),
        ];
        for (restart, ending, wanted) in expected {
            assert_eq!(next(restart, ending), wanted, "{restart:?} {ending:?}");
        }
    }

    #[test]
    fn every_auto_shutdown() {
        use AutoShutdown::{AllSignificant, AnySignificant, Never};
        for others in [false, true] {
            assert!(!is_over(Never, others));
            assert!(is_over(AnySignificant, others));
            assert_eq!(is_over(AllSignificant, others), !others);
        }
    }

    #[test]
    fn a_look_that_comes_late_grants_the_time_again() {
        let (start, allowed) = (Instant::now(), Duration::from_secs(10));
        let late = |seconds| due(start, allowed, start + Duration::from_secs(seconds));
        assert_eq!(late(0), Due::Missed);
        assert_eq!(late(4), Due::Missed);
        assert_eq!(late(5), Due::Until(start + Duration::from_secs(15)));
        assert_eq!(
            due(start, Duration::MAX, start + Duration::from_secs(1)),
            Due::Missed
        );
    }
}
