//! What needs a process of its own: settings that are read once, and tables and memory that all tests share.

use std::process::Command;

use lifespan::{KindId, Scope, Track, WorkerPool, registry, worker};

use crate::support::{Counts, assert_settled, rows_of};

/// Runs an ignored test in a process of its own; `test` is its whole name.
#[track_caller]
pub(crate) fn run_alone(test: &str, env: &[(&str, &str)]) {
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_remove("LIFESPAN_DISABLED")
        .env_remove("LIFESPAN_WAKER")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success() && told.contains("1 passed"),
        "{told}\n{errors}"
    );
}

/// Two tasks that wake each other, and one that panics; their results.
fn some_tasks() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let receives = lifespan::spawn("alone", receiver);
        tokio::task::yield_now().await;
        lifespan::spawn("alone", async move { sender.send(42).unwrap() })
            .await
            .unwrap();
        assert_eq!(receives.await.unwrap(), Ok(42));
        let panics = lifespan::spawn("alone", async { std::panic::resume_unwind(Box::new("told")) });
        assert!(panics.await.unwrap_err().is_panic());
        assert_eq!(lifespan::spawn_blocking("alone", || 6 * 7).await.unwrap(), 42);
        assert_eq!(async { 1 }.tracked("alone").await, 1);
    });
    assert_eq!(lifespan::thread::spawn("alone", || 6 * 7).join().unwrap(), 42);
}

/// Bounds hold, and what runs in them is counted, whether tasks have records or not.
fn some_jobs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let pool = WorkerPool::builder("alone-pool")
            .workers(1)
            .queue(1)
            .build(&Scope::new("alone"));
        let job = pool.try_submit(|_cx| async { 42 }).unwrap();
        let waits = pool.try_submit(|_cx| std::future::pending::<()>()).unwrap();
        assert!(pool.try_submit(|_cx| async {}).is_err());
        assert_eq!(job.await.unwrap(), 42);
        let report = pool.close(std::time::Duration::ZERO).await;
        assert_eq!((report.aborted + report.dropped, report.left), (1, 0), "{report}");
        assert!(waits.await.unwrap_err().is_cancelled());
        let server = lifespan::thread::serve("alone-server", || 1, |one, more: u64| *one + more);
        assert_eq!(server.unwrap().call(41).await, Ok(42));
    });
}

#[test]
#[ignore = "needs a process of its own"]
fn disabled() {
    some_tasks();
    some_jobs();
    assert_eq!(Counts::of("alone"), Counts::default());
    let task = async {}.tracked("alone");
    assert_eq!(task.id(), None);
    assert_eq!(registry::rows().count(), 0);
    assert_eq!(registry::health().record_bytes, 0);
}

#[test]
fn recording_can_be_switched_off() {
    run_alone("processes::disabled", &[("LIFESPAN_DISABLED", "1")]);
}

#[test]
#[ignore = "needs a process of its own"]
fn passed_through() {
    some_tasks();
    assert_eq!(Counts::of("alone").ended(), 6);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let same = std::future::poll_fn(|cx| {
        // tokio's own waker, as it would be without us.
        std::task::Poll::Ready(std::ptr::from_ref(cx.waker().vtable()).addr())
    });
    let ours = runtime
        .block_on(lifespan::spawn_on("alone", same, runtime.handle()))
        .unwrap();
    let tokios =
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::ptr::from_ref(cx.waker().vtable()).addr()));
    assert_eq!(ours, runtime.block_on(runtime.spawn(tokios)).unwrap());
    let _lost = lifespan::spawn_on("alone", std::future::pending::<()>(), runtime.handle());
    runtime.block_on(tokio::task::yield_now());
    registry::sweep();
    registry::sweep();
    let rows = rows_of(KindId::named("alone"));
    assert_eq!(
        (rows[0].wakers, rows[0].wakes, rows[0].orphaned),
        (None, None, false)
    );
}

#[test]
fn wakers_can_be_passed_through() {
    run_alone("processes::passed_through", &[("LIFESPAN_WAKER", "passthrough")]);
}

#[test]
#[ignore = "needs a process of its own"]
fn kinds_alone() {
    let names = 1_000_000;
    let mut other = 0;
    for name in 0..names {
        let kind = KindId::named(&format!("kind-{name}"));
        other += u64::from(kind == KindId::OTHER);
        if name % 1_000 == 0 {
            drop(async {}.tracked(kind));
        }
    }
    assert_eq!(registry::kinds().len(), lifespan::MAX_KINDS + 1);
    assert_eq!(other, names - lifespan::MAX_KINDS as u64);
    assert_eq!(registry::health().kinds_refused, other);
    // Two of the thousand were kinds of their own.
    assert_eq!(Counts::of("other").spawned, 998);
    assert_eq!(KindId::named("kind-7").name(), "kind-7");
    for absurd in ["\0", "a\0b", &"x".repeat(1 << 20), "\u{202e}", ""] {
        assert_eq!(KindId::named(absurd), KindId::OTHER);
    }
}

#[test]
fn a_million_names_are_a_thousand_kinds_and_other() {
    run_alone("processes::kinds_alone", &[]);
}

#[test]
#[ignore = "needs a process of its own"]
fn pools_alone() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // Each name twice: pools of one name are counted as one.
        for number in 0..200 {
            let kind = KindId::named(&format!("pool-{}", number % 100));
            let pool = WorkerPool::builder(kind).build(&Scope::new("pools"));
            pool.try_submit(|_cx| async {}).unwrap().await.unwrap();
        }
    });
    let pools = worker::pools();
    assert_eq!(pools.len(), worker::MAX_POOLS + 1);
    for row in &pools {
        let expected = if row.pool == KindId::OTHER { 72 } else { 2 };
        assert_eq!((row.done, row.workers), (expected, 0), "{row:?}");
    }
}

#[test]
fn many_names_of_pools_are_sixty_four_and_other() {
    run_alone("pools_alone", &[]);
}

#[test]
#[ignore = "needs a process of its own"]
fn a_million_live_alone() {
    const TASKS: usize = 1_000_000;
    let kind = KindId::named("spike");
    let bytes = || registry::health().record_bytes;
    let mut tasks: Vec<_> = (0..TASKS)
        .map(|_| std::future::pending::<()>().tracked(kind))
        .collect();
    let (full, full_rss) = (bytes(), resident());
    assert!(full >= 128_000_000, "{full}");
    assert_eq!(registry::rows().count(), TASKS);
    // In an order that empties no slab before most are half empty.
    let mut state = 1_u64;
    for last in (1..TASKS).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tasks.swap(last, (state >> 33) as usize % (last + 1));
    }
    drop(tasks);
    registry::sweep();
    let mut expected = Counts::default();
    (0..TASKS).for_each(|_| expected.add(lifespan::Outcome::Cancelled));
    assert_settled(kind, expected);
    let left = bytes();
    assert!(left < 2_000_000, "{left} bytes of records are left of {full}");
    if let (Some(full), Some(left)) = (full_rss, resident()) {
        assert!(full - left > 110_000_000, "RSS was {full}, is {left}");
    }
}

/// Bytes of this process that are in memory, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

#[test]
fn the_memory_of_a_spike_goes_back() {
    run_alone("processes::a_million_live_alone", &[]);
}
