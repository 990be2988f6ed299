//! What happens is told, to whoever reads or follows the journal.

#[cfg(feature = "server")]
mod listing;
mod lives;
mod logs;
#[cfg(feature = "server")]
mod stream;

use std::future::pending;
use std::time::Duration;

use lifespan::event::{Event, follow, recent};
use lifespan::{KindId, Scope};

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_stop_is_told_of() {
    let kind = KindId::named("event-stubborn");
    let mut reader = follow();
    let scope = Scope::new("stubborn");
    let _task = scope.spawn(kind, |_| pending::<()>());
    let _ = scope.close(Duration::from_secs(5)).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        // Other tests write into the same journal.
        if let Ok(entry) = reader.next().await
            && entry.subject.kind == Some(kind)
        {
            assert!(entry.subject.task.is_some());
            told.push(entry.event.clone());
        }
    }
    assert!(matches!(told[0], Event::StopTimedOut { grace, .. } if grace == Duration::from_secs(5)));
    assert!(matches!(told[1], Event::Aborted));
    let all = recent();
    assert_eq!(all.offered, all.entries.len() as u64 + all.dropped);
    assert!(all.entries.iter().any(|entry| entry.subject.kind == Some(kind)));
}

/// Makes two events of each of so many tasks, at most 64: `stop_timed_out` and `aborted`.
async fn make(kind: KindId, tasks: usize) {
    let scope = Scope::new("events");
    for _ in 0..tasks {
        drop(scope.spawn(kind, |_| pending::<()>()));
    }
    let report = scope.close(Duration::ZERO).await;
    assert_eq!(report.late.len(), tasks);
}

/// The same, in a runtime of its own.
fn make_now(kind: KindId, tasks: usize) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(make(kind, tasks));
}
