//! The drain: one stage after the other, the last that was started first.

use std::slice;
use std::time::Duration;

use tokio::time::Instant;

use crate::scope::{Found, GivenUp, Reason, Scope};

/// Closes the scopes in a scope, and then that scope.
///
/// The stages are those of the beginning: scopes that are made meanwhile end with the scope itself, so that a service that
/// takes requests to the end cannot keep its own door from being closed.
pub(super) async fn drain(root: &Scope, reason: &Reason, grace: Duration) -> Found {
    let until = Instant::now() + grace;
    let (mut found, mut given_up) = (Found::default(), GivenUp::default());
    let stages = root.stages();
    let mut left = stages.len().saturating_add(1);
    for stage in stages {
        let share = share(until.saturating_duration_since(Instant::now()), left);
        if share.is_zero() {
            break; // all that is left at once, with the root
        }
        left = left.saturating_sub(1);
        close(&stage, reason, share, &mut found, &mut given_up).await;
    }
    let rest = until.saturating_duration_since(Instant::now());
    close(slice::from_ref(root), reason, rest, &mut found, &mut given_up).await;
    found
}

async fn close(
    scopes: &[Scope],
    reason: &Reason,
    grace: Duration,
    found: &mut Found,
    given_up: &mut GivenUp,
) {
    for scope in scopes {
        scope.cancel(reason.clone());
    }
    let more = Scope::close_all(scopes, grace, given_up).await;
    found.late.extend(more.late);
    found.cleanups.extend(more.cleanups);
}

/// An equal share of the time that is left, for each of so many stages.
fn share(left: Duration, stages: usize) -> Duration {
    left / u32::try_from(stages.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_needs_less_leaves_more_to_the_others() {
        let second = Duration::from_secs(1);
        assert_eq!(share(second * 20, 4), second * 5);
        assert_eq!(share(second * 20, 3), second * 20 / 3);
        assert_eq!(share(second * 20, 1), second * 20);
        assert_eq!(share(second, 0), second);
        assert_eq!(share(Duration::ZERO, 4), Duration::ZERO);
    }
}
