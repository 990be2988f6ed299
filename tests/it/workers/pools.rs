//! Pools: limits, order, panics, ends, and counts that add up. Time is tokio's paused clock.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifespan::worker::{self, PoolRow, Refused};
use lifespan::{Outcome, Reason, Scope, WorkerPool};
use proptest::prelude::*;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use crate::support::{Counts, rows_of};

const SECOND: Duration = Duration::from_secs(1);

async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

fn pool(kind: &'static str, workers: usize, queue: usize) -> WorkerPool {
    WorkerPool::builder(kind)
        .workers(workers)
        .queue(queue)
        .build(&Scope::new("pools"))
}

fn sum(row: &PoolRow) -> u64 {
    row.rejected + row.queued + row.running + row.done + row.panicked + row.aborted + row.dropped
}

#[tokio::test(start_paused = true)]
async fn so_many_run_so_many_wait_and_further_ones_are_given_back() {
    let pool = pool("pool-limits", 2, 3);
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let job = |number: usize| {
        let (gate, running, most) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
        move |_cx| async move {
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, SeqCst);
            number
        }
    };
    // Without a chance for any of them to run in between.
    let accepted: Vec<_> = (0..5)
        .map(|number| pool.try_submit(job(number)).unwrap())
        .collect();
    let refused = pool.try_submit(job(5)).unwrap_err();
    assert!(refused.is_full());
    assert_eq!(refused.to_string(), "the pool is full");
    settle().await;
    let row = pool.row();
    assert_eq!((row.offered, row.running, row.queued, row.rejected), (6, 2, 3, 1));
    gate.add_permits(1);
    settle().await;
    // The one that was given back is as it was.
    let last = pool.try_submit(refused.into_job()).unwrap();
    gate.add_permits(5);
    for (number, job) in accepted.into_iter().chain([last]).enumerate() {
        assert_eq!(job.await.unwrap(), number);
    }
    assert_eq!(most.load(SeqCst), 2);
    let row = pool.row();
    assert_eq!((row.done, row.running, row.queued), (6, 0, 0));
    assert_eq!(sum(&row), row.offered);
}

#[tokio::test(start_paused = true)]
async fn a_submit_waits_for_room_and_one_that_is_dropped_has_submitted_nothing() {
    let pool = pool("pool-wait", 1, 0);
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let first = pool
        .submit(move |_cx| async move { held.notified().await })
        .await
        .unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let job = || {
        let ran = Arc::clone(&ran);
        move |_cx| async move { ran.fetch_add(1, SeqCst) }
    };
    assert!(timeout(SECOND, pool.submit(job())).await.is_err());
    assert_eq!(pool.row().offered, 1);
    let second = async { pool.submit(job()).await.unwrap().await.unwrap() };
    let release = async {
        settle().await;
        gate.notify_one();
    };
    let (second, ()) = tokio::join!(second, release);
    assert_eq!(second, 0);
    first.await.unwrap();
    assert_eq!(ran.load(SeqCst), 1);
    let row = pool.row();
    assert_eq!((row.offered, row.done, row.rejected), (2, 2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_begin_in_the_order_in_which_they_were_accepted() {
    let pool = pool("pool-order", 1, 1_000);
    let began = Arc::new(Mutex::new(Vec::new()));
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let first = pool
        .try_submit(move |_cx| async move { held.notified().await })
        .unwrap();
    let jobs: Vec<_> = (0..1_000)
        .map(|number| {
            let began = Arc::clone(&began);
            pool.try_submit(move |_cx| async move { began.lock().unwrap().push(number) })
                .unwrap()
        })
        .collect();
    gate.notify_one();
    first.await.unwrap();
    for job in jobs {
        job.await.unwrap();
    }
    assert_eq!(*began.lock().unwrap(), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_panic_hurts_only_who_submitted_it() {
    let pool = pool("pool-panic", 1, 8);
    let in_the_closure = pool.try_submit(|_cx| -> std::future::Ready<()> {
        std::panic::resume_unwind(Box::new("in the closure"))
    });
    let at_once = pool.try_submit(|_cx| async { std::panic::resume_unwind(Box::new("at once")) });
    let later = pool.try_submit(|_cx| async {
        sleep(SECOND).await;
        std::panic::resume_unwind(Box::new("later"))
    });
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("in a destructor"))
        }
    }
    let bomb = Bomb;
    let at_its_end = pool.try_submit(move |_cx| async move {
        let _bomb = &bomb;
    });
    let fine = pool.try_submit(|_cx| async { 42 });
    assert!(in_the_closure.unwrap().await.unwrap_err().is_panic());
    let at_once: Result<(), _> = at_once.unwrap().await;
    assert!(at_once.unwrap_err().is_panic());
    let later: Result<(), _> = later.unwrap().await;
    assert!(later.unwrap_err().is_panic());
    assert!(at_its_end.unwrap().await.unwrap_err().is_panic());
    assert_eq!(fine.unwrap().await.unwrap(), 42);
    let row = pool.row();
    assert_eq!((row.panicked, row.done, row.running, row.queued), (4, 1, 0, 0));
    let mut expected = Counts::default();
    (0..4).for_each(|_| expected.add(Outcome::Panicked));
    expected.add(Outcome::Completed);
    assert_eq!(Counts::of("pool-panic"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_aborted_makes_room() {
    let pool = pool("pool-abort", 1, 1);
    let runs = pool.try_submit(|_cx| pending::<()>()).unwrap();
    let waits = pool.try_submit(|_cx| pending::<()>()).unwrap();
    settle().await;
    assert!(pool.try_submit(|_cx| async {}).is_err());
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled());
    let next = pool.try_submit(|_cx| async { 42 }).unwrap();
    runs.abort();
    assert_eq!(next.await.unwrap(), 42);
    let row = pool.row();
    assert_eq!((row.dropped, row.aborted, row.done, row.rejected), (1, 1, 1, 1));
    assert_eq!(sum(&row), row.offered);
}

#[tokio::test(start_paused = true)]
async fn a_close_drains_what_was_accepted() {
    let pool = pool("pool-drain", 2, 10);
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let ran = Arc::clone(&ran);
        let job = move |_cx| async move {
            sleep(SECOND).await;
            ran.fetch_add(1, SeqCst);
        };
        drop(pool.try_submit(job).unwrap());
    }
    let report = pool.close(SECOND * 6).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.done, ran.load(SeqCst)), (10, 10));
    assert_eq!(report.scope.took, SECOND * 5);
    let refused = pool.try_submit(|_cx| async {}).unwrap_err();
    assert!(matches!(refused, Refused::Closed(_)), "{refused:?}");
    assert!(pool.submit(|_cx| async {}).await.is_err());
    assert_eq!(pool.row().rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_at_its_grace_and_says_what_was_lost() {
    let pool = pool("pool-grace", 2, 10);
    let began = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..10)
        .map(|_| {
            let began = Arc::clone(&began);
            let job = move |_cx| async move {
                began.fetch_add(1, SeqCst);
                sleep(SECOND).await;
            };
            pool.try_submit(job).unwrap()
        })
        .collect();
    let report = pool.close(Duration::from_millis(2_500)).await;
    assert_eq!(
        (report.done, report.aborted, report.dropped, report.left),
        (4, 2, 4, 0)
    );
    assert!(!report.is_clean());
    assert_eq!(report.scope.late.len(), 6);
    assert_eq!(began.load(SeqCst), 6);
    let told = report.to_string();
    assert!(
        told.starts_with("pool pool-grace: 4 done, 0 panicked, 2 aborted, 4 dropped, 0 left; closed "),
        "{told}"
    );
    let mut ended = [0, 0];
    for job in jobs {
        ended[usize::from(job.await.is_err())] += 1;
    }
    assert_eq!(ended, [4, 6]);
    assert_eq!(sum(&pool.row()), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_begins_once_its_pool_has_been_closed() {
    for _ in 0..200 {
        let pool = pool("pool-late", 4, 64);
        for _ in 0..68 {
            drop(pool.try_submit(|_cx| pending::<()>()).unwrap());
        }
        // However far the first ones have come, those that wait never have a turn.
        let report = pool.close(Duration::ZERO).await;
        assert_eq!(report.left, 0, "{report}");
        assert!(report.aborted <= 4, "{report}");
        assert_eq!(report.aborted + report.dropped, 68, "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_cancelled_stops_the_pool_from_accepting() {
    let service = Scope::new("pool-service");
    let pool = WorkerPool::builder("pool-cancel")
        .workers(1)
        .queue(1)
        .build(&service);
    let told = pool
        .try_submit(|cx| async move { cx.cancelled().await.to_string() })
        .unwrap();
    let goes_on = pool
        .try_submit(|_cx| async {
            sleep(SECOND).await;
            42
        })
        .unwrap();
    let waits = pool.submit(|_cx| async {});
    let cancel = async {
        settle().await;
        service.cancel(Reason::new("maintenance"));
    };
    let (waits, ()) = tokio::join!(timeout(SECOND, waits), cancel);
    assert!(matches!(waits, Ok(Err(Refused::Closed(_)))));
    assert!(matches!(pool.try_submit(|_cx| async {}), Err(Refused::Closed(_))));
    assert_eq!(told.await.unwrap(), "maintenance");
    let report = service.close(SECOND * 5).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(goes_on.await.unwrap(), 42);
    let row = pool.row();
    assert_eq!((row.offered, row.done, row.rejected), (4, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_pools_jobs_are_tasks_of_its_kind_and_scope() {
    let pool = pool("pool-rows", 1, 8);
    let line = line!() + 2;
    let jobs: Vec<_> = (0..3)
        .map(|_| pool.try_submit(|_cx| pending::<()>()).unwrap())
        .collect();
    settle().await;
    let rows = rows_of(lifespan::KindId::named("pool-rows"));
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(row.scope.as_deref(), Some("pools/pool-rows"));
        let site = row.spawned_at.unwrap();
        assert_eq!((site.file(), site.line()), (file!(), line));
    }
    let named = worker::pools();
    let named = named.iter().find(|row| row.pool.name() == "pool-rows").unwrap();
    assert_eq!(
        (named.workers, named.queue, named.running, named.queued),
        (1, 8, 1, 2)
    );
    drop(pool);
    for job in jobs {
        job.abort();
        assert!(job.await.unwrap_err().is_cancelled());
    }
    // Its name stays, and what it has counted.
    let named = worker::pools();
    let named = named.iter().find(|row| row.pool.name() == "pool-rows").unwrap();
    assert_eq!((named.workers, named.queue, named.offered), (0, 0, 3));
}

#[cfg(feature = "prometheus")]
#[tokio::test(start_paused = true)]
async fn a_scrape_shows_what_a_pool_holds_and_refuses() {
    let pool = pool("pool-scraped", 2, 3);
    let _jobs: Vec<_> = (0..4)
        .map(|_| pool.try_submit(|_cx| pending::<()>()).unwrap())
        .collect();
    settle().await;
    let more: Vec<_> = (0..3).map(|_| pool.try_submit(|_cx| pending::<()>())).collect();
    assert_eq!(more.iter().filter(|more| more.is_err()).count(), 2);
    let scrape = crate::exposition::Scrape::take(0);
    for (metric, expected) in [
        ("workers", 2.0),
        ("queue_capacity", 3.0),
        ("queue_depth", 3.0),
        ("running", 2.0),
        ("rejected_total", 2.0),
    ] {
        let name = format!("lifespan_pool_{metric}");
        assert_eq!(
            scrape.value(&name, &[("pool", "pool-scraped")]),
            Some(expected),
            "{name}"
        );
    }
}

#[test]
fn the_end_of_a_runtime_is_the_end_of_its_jobs() {
    let pool = pool("pool-runtime", 1, 100);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..101 {
            drop(pool.try_submit(|_cx| pending::<()>()).unwrap());
        }
        settle().await;
    });
    drop(runtime);
    let row = pool.row();
    assert_eq!(
        (row.aborted, row.dropped, row.running, row.queued),
        (1, 100, 0, 0)
    );
    assert_eq!(pool.scope().tasks(), 0);
}

#[test]
fn limits_are_kept_in_range() {
    let pool = pool("pool-range", 0, usize::MAX);
    let row = pool.row();
    assert_eq!(row.workers, 1);
    assert_eq!(row.queue, Semaphore::MAX_PERMITS - 1);
}

/// What a step of the property test does.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Offers a job that so ends.
    Offer(Ends),
    /// Waits for room for one, and gives up.
    GiveUp,
    Abort(prop::sample::Index),
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    After(u64),
    Panics(u64),
    Never,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = prop_oneof![
        4 => (0u64..20).prop_map(Ends::After),
        1 => (0u64..20).prop_map(Ends::Panics),
        1 => Just(Ends::Never),
    ];
    let step = prop_oneof![
        6 => ends.prop_map(Step::Offer),
        1 => Just(Step::GiveUp),
        1 => any::<prop::sample::Index>().prop_map(Step::Abort),
        2 => (0u64..10).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn every_job_that_is_offered_is_accounted_for(
        steps in steps(), workers in 1usize..4, queue in 0usize..4, grace in 0u64..30,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(account(steps, workers, queue, Duration::from_millis(grace)))?;
    }
}

async fn account(
    steps: Vec<Step>,
    workers: usize,
    queue: usize,
    grace: Duration,
) -> Result<(), TestCaseError> {
    let pool = pool("pool-property", workers, queue);
    let (mut offered, mut full, mut jobs) = (0, 0, Vec::new());
    for step in steps {
        match step {
            Step::Offer(ends) => {
                offered += 1;
                let job = move |_cx| async move {
                    match ends {
                        Ends::After(ms) => sleep(Duration::from_millis(ms)).await,
                        Ends::Panics(ms) => {
                            sleep(Duration::from_millis(ms)).await;
                            std::panic::resume_unwind(Box::new("told"));
                        }
                        Ends::Never => pending().await,
                    }
                };
                match pool.try_submit(job) {
                    Ok(job) => jobs.push(job),
                    Err(_) => full += 1,
                }
            }
            Step::GiveUp => {
                let mut waits = Box::pin(pool.submit(|_cx| async {}));
                match futures::poll!(&mut waits) {
                    std::task::Poll::Ready(job) => {
                        offered += 1;
                        jobs.push(job.unwrap());
                    }
                    std::task::Poll::Pending => drop(waits),
                }
            }
            Step::Abort(which) if !jobs.is_empty() => jobs[which.index(jobs.len())].abort(),
            Step::Abort(_) => {}
            Step::Pass(ms) => sleep(Duration::from_millis(ms)).await,
        }
        let row = pool.row();
        prop_assert_eq!(row.offered, offered);
        prop_assert_eq!(row.rejected, full);
        prop_assert_eq!(sum(&row), offered);
        prop_assert!(row.running <= workers as u64, "{:?}", row);
        prop_assert!(row.running + row.queued <= (workers + queue) as u64, "{:?}", row);
    }
    let report = pool.close(grace).await;
    prop_assert_eq!(report.left, 0);
    let row = pool.row();
    prop_assert_eq!(row.queued + row.running, 0);
    prop_assert_eq!(sum(&row), offered);
    // As the handles tell it.
    let (mut done, mut panicked, mut cut) = (0, 0, 0);
    for job in jobs {
        match job.await {
            Ok(()) => done += 1,
            Err(error) if error.is_panic() => panicked += 1,
            Err(_) => cut += 1,
        }
    }
    prop_assert_eq!((row.done, row.panicked), (done, panicked));
    prop_assert_eq!(row.aborted + row.dropped, cut);
    Ok(())
}
