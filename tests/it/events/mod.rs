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

#[test]
fn a_reader_needs_no_runtime_of_tokio() {
    let kind = KindId::named("event-elsewhere");
    let mut reader = follow();
    let maker = std::thread::spawn(move || make_now(kind, 1));
    let told = futures::executor::block_on(async {
        loop {
            if let Ok(entry) = reader.next().await
                && entry.subject.kind == Some(kind)
            {
                return entry.event.name();
            }
        }
    });
    assert_eq!(told, "stop_timed_out");
    maker.join().unwrap();
}

#[test]
fn a_number_of_another_process_begins_anew() {
    make_now(KindId::named("event-anew"), 1);
    let mut reader = follow().after(u64::MAX - 1);
    // Either the first event, or how many there were before the oldest.
    let first = match reader.try_next().unwrap() {
        Ok(entry) => entry.seq,
        Err(missed) => missed.events,
    };
    assert!(first >= 1);
}
