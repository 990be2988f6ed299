//! How runs of children are stopped: asked, waited for, aborted, and in the end declared stuck.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::launch::Run;
use super::spec::Shutdown;
use crate::event::Event;
use crate::scope::{ABORT_WAIT, Reason};

/// Stops these runs together. Returns the keys of those whose tasks do not end though they were aborted.
///
/// What a run's task has spawned counts as the run: all of it is in the run's scope.
pub(super) async fn stop(mut runs: Vec<(Arc<Run>, Shutdown)>, cause: &str) -> Vec<u64> {
    let start = Instant::now();
    for (run, shutdown) in &runs {
        run.emit(Event::Stopping { cause: cause.into() });
        run.scope.cancel(Reason::supervisor(cause));
        if *shutdown == Shutdown::Abort {
            abort(run);
        }
    }
    // Those that have least time first, so that nobody waits for another's grace.
    runs.sort_by_key(|(_, shutdown)| patience(*shutdown).unwrap_or(Duration::MAX));
    for (run, shutdown) in &runs {
        // A grace that no clock can tell is none.
        let until = patience(*shutdown).and_then(|grace| start.checked_add(grace));
        if *shutdown != Shutdown::Abort && !run.scope.quiet(until).await {
            run.emit(Event::StopTimedOut {
                grace: start.elapsed(),
            });
            abort(run);
        }
    }
    let until = Instant::now() + ABORT_WAIT;
    let mut stuck = Vec::new();
    for (run, _) in &runs {
        if !run.scope.quiet(Some(until)).await {
            run.emit(Event::Stuck {
                after: start.elapsed(),
            });
            stuck.push(run.key);
        }
        // Nothing joins it any more.
        run.scope.shut();
    }
    stuck
}

fn abort(run: &Run) {
    if run.scope.shut() > 0 {
        run.emit(Event::Aborted);
    }
}

/// How long it is waited for; for ever where that is not said.
fn patience(shutdown: Shutdown) -> Option<Duration> {
    match shutdown {
        Shutdown::Abort => Some(Duration::ZERO),
        Shutdown::Grace(grace) => Some(grace),
        Shutdown::Infinite => None,
    }
}
