//! Foreign tasks by spawn site, as tokio's hooks tell of them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifespan::Track;
use lifespan::hooks::Hooks;
use lifespan::registry::{self, ForeignSite};
use tokio::runtime::{Builder, Runtime};

fn hooked(mut builder: Builder) -> Runtime {
    Hooks::new().install(&mut builder);
    builder.enable_all().build().unwrap()
}

/// Untracked tasks that were spawned in this file at or after that line, and before that many more.
fn live(from: u32, lines: u32) -> u64 {
    let here = |site: &&ForeignSite| {
        let place = site.spawned_at;
        place.file() == file!() && (from..from + lines).contains(&place.line())
    };
    registry::foreign()
        .sites
        .iter()
        .filter(here)
        .map(|site| site.live)
        .sum()
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn foreign_tasks_are_known_by_site_until_they_end() {
    for builder in [Builder::new_multi_thread(), Builder::new_current_thread()] {
        let runtime = hooked(builder);
        let before = line!();
        let tasks: Vec<_> = (0..3)
            .map(|_| runtime.spawn(std::future::pending::<()>()))
            .collect();
        assert_eq!(live(before, 10), 3);
        tasks[0].abort();
        runtime.block_on(async { tasks.into_iter().next().unwrap().await.unwrap_err() });
        wait_until("an aborted task is forgotten", || live(before, 10) == 2);
        drop(runtime);
        assert_eq!(live(before, 10), 0, "a runtime that is gone has no tasks");
    }
}

#[test]
fn blocking_jobs_and_workers_leave_no_trace() {
    let runtime = hooked(Builder::new_multi_thread());
    let before = line!();
    runtime.block_on(async {
        for _ in 0..10 {
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
        let local = tokio::task::LocalSet::new();
        let _task = local.spawn_local(std::future::pending::<()>());
        local.run_until(tokio::task::yield_now()).await;
        assert_eq!(live(before, 10), 0);
    });
    drop(runtime);
    assert_eq!(live(before, 10), 0);
}

#[test]
fn our_tasks_are_not_foreign() {
    let runtime = hooked(Builder::new_current_thread());
    let handle = runtime.handle().clone();
    let before = line!();
    let pending = std::future::pending::<()>;
    let mut set = lifespan::JoinSet::new();
    runtime.block_on(async {
        // Not even before their first poll.
        lifespan::spawn("hooks-ours", pending());
        lifespan::spawn_on("hooks-ours", pending(), &handle);
        lifespan::Builder::new("hooks-ours").spawn(pending());
        lifespan::Builder::new("hooks-ours").spawn_on(pending(), &handle);
        set.spawn("hooks-ours", pending());
        set.spawn_on("hooks-ours", pending(), &handle);
        assert_eq!(live(before, 30), 0);
        assert_eq!(inside_of_the_library(), 0);
        // This one tokio spawned: it is, until it says what it is.
        handle.spawn(pending().tracked("hooks-ours"));
        assert_eq!(live(before, 30), 1);
        tokio::task::yield_now().await;
        assert_eq!(live(before, 30), 0);
        // What one of our tasks spawns past us is foreign.
        let past_us = handle.clone();
        lifespan::spawn("hooks-ours", async move { drop(past_us.spawn(pending())) });
        tokio::task::yield_now().await;
        assert_eq!(live(before, 30), 1);
    });
}

#[test]
fn neither_are_those_of_a_local_runtime() {
    let mut builder = Builder::new_current_thread();
    Hooks::new().install(&mut builder);
    let runtime = builder.build_local(Default::default()).unwrap();
    let before = line!();
    let pending = std::future::pending::<()>;
    let mut set = lifespan::JoinSet::new();
    runtime.block_on(async {
        lifespan::spawn_local("hooks-local", pending());
        lifespan::Builder::new("hooks-local").spawn_local(pending());
        set.spawn_local("hooks-local", pending());
        assert_eq!(live(before, 20), 0);
        tokio::task::spawn_local(pending());
        assert_eq!(live(before, 20), 1);
    });
}

/// Tasks whose spawn site is in the library: one of ours that a route does not call so.
fn inside_of_the_library() -> u64 {
    let sites = registry::foreign().sites;
    let inside = sites
        .iter()
        .filter(|site| site.spawned_at.file().starts_with("src/"));
    inside.map(|site| site.live).sum()
}

#[test]
fn a_task_that_a_runtime_refuses_is_not_alive() {
    for builder in [Builder::new_multi_thread(), Builder::new_current_thread()] {
        let runtime = hooked(builder);
        let handle = runtime.handle().clone();
        drop(runtime);
        let line = line!() + 1;
        handle.spawn(std::future::pending::<()>());
        assert_eq!(live(line, 1), 0);
    }
}

#[test]
fn callbacks_of_the_host_are_called_too() {
    let spawned = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(Mutex::new(Vec::new()));
    let (first, second, gone) = (Arc::clone(&spawned), Arc::clone(&spawned), Arc::clone(&ended));
    let mut builder = Builder::new_current_thread();
    Hooks::new()
        .on_task_spawn(move |_| assert_eq!(first.fetch_add(1, Relaxed) % 2, 0))
        .on_task_spawn(move |_| assert_eq!(second.fetch_add(1, Relaxed) % 2, 1))
        .on_task_terminate(move |task| gone.lock().unwrap().push(task.id()))
        .install(&mut builder);
    let runtime = builder.build().unwrap();
    let line = line!() + 1;
    let task = runtime.spawn(async {});
    let id = task.id();
    runtime.block_on(task).unwrap();
    assert_eq!(spawned.load(Relaxed), 2);
    assert_eq!(*ended.lock().unwrap(), [id]);
    assert_eq!(live(line, 1), 0);
    // Ours are the host's business as well.
    runtime.block_on(async { lifespan::spawn("hooks-host", async {}).await.unwrap() });
    assert_eq!(spawned.load(Relaxed), 4);
}

#[cfg(feature = "server")]
#[test]
fn the_endpoints_show_them() {
    let runtime = hooked(Builder::new_current_thread());
    let line = line!() + 1;
    runtime.spawn(std::future::pending::<()>());
    let asking = Builder::new_current_thread().enable_all().build().unwrap();
    let kinds = asking.block_on(crate::client::get("/debug/kinds")).json();
    let site = format!("{}:{line}:", file!());
    let mut sites = kinds["untracked_sites"].as_array().unwrap().iter();
    let shown = sites.find(|shown| shown["spawned_at"].as_str().unwrap().starts_with(&site));
    assert_eq!(shown.unwrap()["live"], 1);
}
