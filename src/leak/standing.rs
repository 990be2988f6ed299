//! Whether something stands: raised when it has held for a while, and given up when it has not for a while.

use std::time::Duration;

/// One thing that can be raised. Pure: `now` is an argument.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// Since when it has held without a break, or, once raised, has not.
    turning: Option<Duration>,
    /// Since when it has held, where it is raised.
    raised: Option<Duration>,
}

/// What a look has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    Raised,
    /// It had held for so long.
    Resolved(Duration),
}

impl Standing {
    /// Takes in whether it holds; it turns when that has been otherwise for so long.
    pub(super) fn look(&mut self, holds: bool, now: Duration, after: Duration) -> Option<Turn> {
        if holds == self.raised.is_some() {
            self.turning = None;
            return None;
        }
        let since = *self.turning.get_or_insert(now);
        if now.saturating_sub(since) < after {
            return None;
        }
        self.turning = None;
        if let Some(raised) = self.raised.take() {
            return Some(Turn::Resolved(since.saturating_sub(raised)));
        }
        self.raised = Some(since);
        Some(Turn::Raised)
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.is_some()
    }

    /// How long it has held.
    pub(super) fn lasted(&self, now: Duration) -> Duration {
        now.saturating_sub(self.raised.or(self.turning).unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_turns_when_it_has_been_otherwise_for_a_while() {
        let secs = Duration::from_secs;
        let mut standing = Standing::default();
        let mut look =
            |holds, now, after| (standing.look(holds, secs(now), secs(after)), standing.is_raised());
        assert_eq!(look(true, 1, 5), (None, false));
        assert_eq!(look(false, 3, 5), (None, false));
        assert_eq!(look(true, 4, 5), (None, false));
        assert_eq!(look(true, 8, 5), (None, false));
        assert_eq!(look(true, 9, 5), (Some(Turn::Raised), true));
        assert_eq!(look(false, 10, 60), (None, true));
        assert_eq!(look(true, 60, 60), (None, true));
        assert_eq!(look(false, 100, 60), (None, true));
        assert_eq!(look(false, 160, 60), (Some(Turn::Resolved(secs(96))), false));
        assert_eq!(look(true, 170, 0), (Some(Turn::Raised), true));
    }
}
