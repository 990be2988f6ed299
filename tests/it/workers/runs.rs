//! Runs of one worker: each goes on where the one before has stopped.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifespan::Scope;
use lifespan::worker::{Checkpoint, CheckpointError, MemoryStore, Progress};
use proptest::prelude::*;
use tokio::time::sleep;

/// Reads a stream of offsets up to `end`, and stops in each way that a worker can.
async fn run(progress: Progress<u64>, processed: Arc<Mutex<Vec<u64>>>, end: u64, panics_at: u64) {
    let (last, mut run) = progress.resume().await.unwrap();
    for offset in last.map_or(0, |last| last + 1)..end {
        processed.lock().unwrap().push(offset);
        if offset == panics_at {
            std::panic::resume_unwind(Box::new("told"));
        }
        sleep(Duration::from_millis(10)).await;
        run.commit(offset).await.unwrap();
    }
}

proptest! {
    #[test]
    fn a_worker_that_is_restarted_goes_on_behind_what_it_committed(
        lives in prop::collection::vec((0u64..100, 0u64..40), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let progress = Progress::new(MemoryStore::default());
            let processed = Arc::new(Mutex::new(Vec::new()));
            // Some runs panic, some are aborted; a plain loop is their supervisor.
            for (ms, panics_at) in lives {
                let committed = progress.resume().await.unwrap().0;
                let before = processed.lock().unwrap().len();
                let mut worker = lifespan::spawn(
                    "runs-restarted",
                    run(progress.clone(), Arc::clone(&processed), 40, panics_at),
                );
                if tokio::time::timeout(Duration::from_millis(ms), &mut worker).await.is_err() {
                    worker.abort();
                    let _ = worker.await;
                }
                let first = processed.lock().unwrap().get(before).copied();
                prop_assert!(first.is_none_or(|first| first == committed.map_or(0, |last| last + 1)));
            }
            run(progress.clone(), Arc::clone(&processed), 40, u64::MAX).await;
            prop_assert_eq!(progress.resume().await.unwrap().0, Some(39));
            let mut processed = processed.lock().unwrap().clone();
            // In order, but for the one that each run was at when it stopped.
            prop_assert!(processed.windows(2).all(|two| two[1] == two[0] || two[1] == two[0] + 1));
            processed.dedup();
            prop_assert_eq!(processed, (0..40).collect::<Vec<_>>());
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn only_the_latest_run_commits() {
    let progress = Progress::new(MemoryStore::default());
    let (_, mut first) = progress.resume().await.unwrap();
    first.commit(1).await.unwrap();
    let (last, mut second) = progress.resume().await.unwrap();
    assert_eq!(last, Some(1));
    let late = first.commit(2).await.unwrap_err();
    assert!(matches!(late, CheckpointError::Superseded), "{late}");
    second.commit(3).await.unwrap();
    drop((first, second));
    assert_eq!(progress.resume().await.unwrap().0, Some(3));
}

/// A store whose commits wait until the test lets them go on.
struct Gated {
    begun: mpsc::Sender<u64>,
    gate: mpsc::Receiver<()>,
    last: Arc<AtomicU64>,
}

impl Checkpoint<u64> for Gated {
    fn load(&mut self) -> Result<Option<u64>, CheckpointError> {
        Ok(Some(self.last.load(SeqCst)))
    }

    fn commit(&mut self, value: &u64) -> Result<(), CheckpointError> {
        self.begun.send(*value).unwrap();
        self.gate.recv().unwrap();
        self.last.store(*value, SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_commit_that_an_aborted_run_left_underway_is_seen_or_never_made() {
    let (begun, told) = mpsc::channel();
    let (go_on, gate) = mpsc::channel();
    let last = Arc::new(AtomicU64::new(0));
    let progress = Progress::new(Gated {
        begun,
        gate,
        last: Arc::clone(&last),
    });
    let (_, mut first) = progress.resume().await.unwrap();
    // Underway, and another one behind it.
    assert!(futures::poll!(Box::pin(first.commit(1))).is_pending());
    assert_eq!(told.recv(), Ok(1));
    assert!(futures::poll!(Box::pin(first.commit(2))).is_pending());
    let mut resume = Box::pin(progress.resume());
    assert!(futures::poll!(&mut resume).is_pending());
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    let (resumed, mut second) = resume.await.unwrap();
    let resumed = resumed.unwrap();
    assert!([1, 2].contains(&resumed), "{resumed}");
    go_on.send(()).unwrap();
    second.commit(resumed + 1).await.unwrap();
    let (after, _) = progress.resume().await.unwrap();
    assert_eq!(after, Some(resumed + 1));
}

#[tokio::test]
async fn a_store_that_panics_or_fails_says_so_and_the_next_call_goes_on() {
    struct Moody(u64);
    impl Checkpoint<u64> for Moody {
        fn load(&mut self) -> Result<Option<u64>, CheckpointError> {
            self.0 += 1;
            match self.0 {
                1 => std::panic::resume_unwind(Box::new("told")),
                2 => Err(CheckpointError::store("the database is away")),
                loads => Ok(Some(loads)),
            }
        }

        fn commit(&mut self, _: &u64) -> Result<(), CheckpointError> {
            Ok(())
        }
    }
    let progress = Progress::new(Moody(0));
    assert!(matches!(progress.resume().await, Err(CheckpointError::Unknown)));
    let failed = progress.resume().await.unwrap_err();
    assert_eq!(failed.to_string(), "the store failed: the database is away");
    assert_eq!(progress.resume().await.unwrap().0, Some(3));
}

#[tokio::test]
async fn commits_are_tasks_of_their_runs_scope() {
    let scope = Scope::new("runs-scope");
    let progress = Progress::new(MemoryStore::default());
    let (begun, told) = mpsc::channel();
    let (go_on, gate) = mpsc::channel();
    let gated = Progress::new(Gated {
        begun,
        gate,
        last: Arc::default(),
    });
    let worker = scope.spawn("runs-scoped", |_cx| async move {
        let (_, mut run) = gated.resume().await.unwrap();
        run.commit(7).await.unwrap();
        progress.resume().await.unwrap().1.commit(7).await.unwrap();
    });
    while told.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(scope.tasks(), 2);
    go_on.send(()).unwrap();
    worker.await.unwrap();
}
