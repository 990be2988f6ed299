//! A supervised worker: its restarts are a supervisor's, and each goes on where the run before has stopped.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifespan::supervisor::{AutoShutdown, ChildSpec, Restart, Supervisor};
use lifespan::worker::{MemoryStore, Progress};
use lifespan::{KindId, Outcome, Scope};

use crate::support::Counts;

const END: u64 = 30;
const BAD: [u64; 3] = [7, 8, 20];

#[tokio::test(start_paused = true)]
async fn a_supervised_worker_goes_on_behind_what_it_committed() {
    let progress = Progress::<u64>::new(MemoryStore::default());
    let processed = Arc::new(Mutex::new(Vec::new()));
    let failures = Arc::new(AtomicU64::new(0));
    let kind = KindId::named("worker-supervised");
    let reader = {
        let (progress, processed) = (progress.clone(), Arc::clone(&processed));
        move |_cx| {
            let (progress, processed, failures) =
                (progress.clone(), Arc::clone(&processed), Arc::clone(&failures));
            async move {
                let (last, mut run) = progress.resume().await.expect("a store in memory");
                for offset in last.map_or(0, |last| last + 1)..END {
                    // Each bad one fails once, before it has any effect.
                    let failed = usize::try_from(failures.load(SeqCst)).unwrap();
                    if BAD.get(failed) == Some(&offset) {
                        failures.fetch_add(1, SeqCst);
                        panic!("no use for {offset}");
                    }
                    processed.lock().unwrap().push(offset);
                    run.commit(offset).await.expect("the latest run");
                }
            }
        }
    };
    let spec = ChildSpec::new("reader", reader)
        .kind(kind)
        .restart(Restart::Transient)
        .significant();
    let stream = Supervisor::builder("stream")
        .intensity(5, Duration::from_secs(60))
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(spec)
        .start(&Scope::new("workers-supervised"))
        .await
        .unwrap();
    stream.ended().await;
    assert_eq!(*processed.lock().unwrap(), (0..END).collect::<Vec<_>>());
    assert_eq!(progress.resume().await.unwrap().0, Some(END - 1));
    let mut expected = Counts::default();
    BAD.iter().for_each(|_| expected.add(Outcome::Panicked));
    expected.add(Outcome::Completed);
    assert_eq!(Counts::of("worker-supervised"), expected);
}
