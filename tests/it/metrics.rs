//! What the numbers of a scrape mean.

use lifespan::prometheus::{Collector, DEFAULT_KINDS, render};
use lifespan::registry;

use crate::exposition::{Sample, Scrape};

#[tokio::test]
async fn live_is_what_was_spawned_less_what_has_finished() {
    // A kind that churns on other threads while it is scraped.
    let churn = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let churning = churn.spawn(async move {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let _detached = lifespan::spawn("metrics-churn", tokio::task::yield_now());
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..20 {
        let scrape = Scrape::take(usize::MAX);
        for live in &scrape.family("lifespan_tasks").unwrap().samples {
            let kind = &live.labels["kind"];
            let spawned = scrape
                .value("lifespan_tasks_spawned_total", &[("kind", kind)])
                .unwrap();
            let finished: f64 = ["completed", "failed", "panicked", "cancelled"]
                .map(|outcome| [("kind", &**kind), ("outcome", outcome)])
                .iter()
                .map(|labels| scrape.value("lifespan_tasks_finished_total", labels).unwrap())
                .sum();
            assert!(
                live.value >= 0.0 && live.value == spawned - finished,
                "{kind}: {live:?}"
            );
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    churning.await.unwrap();
    churn.shutdown_background();
}

#[tokio::test]
async fn outcomes_are_told_apart() {
    let kind = [("kind", "metrics-outcomes")];
    lifespan::spawn("metrics-outcomes", async {}).await.unwrap();
    lifespan::Builder::new("metrics-outcomes")
        .fallible()
        .spawn(async { Err::<(), _>("no") })
        .await
        .unwrap()
        .unwrap_err();
    lifespan::spawn("metrics-outcomes", async { panic!("as asked") })
        .await
        .unwrap_err();
    let waits = lifespan::spawn("metrics-outcomes", std::future::pending::<()>());
    waits.abort();
    waits.await.unwrap_err();
    let _lives = lifespan::spawn("metrics-outcomes", std::future::pending::<()>());

    let scrape = Scrape::take(usize::MAX);
    for outcome in lifespan::Outcome::ALL {
        let labels = [kind[0], ("outcome", outcome.name())];
        assert_eq!(scrape.value("lifespan_tasks_finished_total", &labels), Some(1.0));
    }
    assert_eq!(scrape.value("lifespan_task_panics_total", &kind), Some(1.0));
    assert_eq!(scrape.value("lifespan_tasks_spawned_total", &kind), Some(5.0));
    assert_eq!(scrape.value("lifespan_tasks", &kind), Some(1.0));
    assert_eq!(
        scrape.value("lifespan_task_lifetime_seconds_count", &kind),
        Some(4.0)
    );
}

#[tokio::test]
async fn histograms_are_cumulative() {
    let kind = ("kind", "metrics-histogram");
    lifespan::spawn("metrics-histogram", async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let scrape = Scrape::take(usize::MAX);
    let family = scrape.family("lifespan_task_poll_seconds").unwrap();
    let buckets: Vec<&Sample> = family
        .samples
        .iter()
        .filter(|sample| sample.name.ends_with("_bucket") && sample.labels["kind"] == kind.1)
        .collect();
    assert!(buckets.is_sorted_by(|a, b| a.value <= b.value), "{buckets:?}");
    assert_eq!(
        buckets.last().map(|last| (&*last.labels["le"], last.value)),
        Some(("+Inf", 101.0))
    );
    assert_eq!(
        scrape.value("lifespan_task_poll_seconds_count", &[kind]),
        Some(101.0)
    );
    assert_eq!(scrape.value("lifespan_task_polls_total", &[kind]), Some(101.0));
    let sum = scrape.value("lifespan_task_poll_seconds_sum", &[kind]).unwrap();
    assert_eq!(
        scrape.value("lifespan_task_busy_seconds_total", &[kind]),
        Some(sum)
    );
    assert!(sum > 0.0);
}

#[tokio::test]
async fn leaks_are_named_by_their_site() {
    let line = line!() + 1;
    let stuck = [(); 3].map(|()| lifespan::spawn("metrics-leak", std::future::pending::<()>()));
    tokio::task::yield_now().await;
    registry::sweep();
    registry::sweep();
    let scrape = Scrape::take(usize::MAX);
    let leaked = scrape.family("lifespan_tasks_leaked").unwrap();
    let ours: Vec<&Sample> = leaked
        .samples
        .iter()
        .filter(|sample| sample.labels["kind"] == "metrics-leak")
        .collect();
    let [ours] = ours[..] else { panic!("{leaked:?}") };
    let site = &ours.labels["spawned_at"];
    assert!(site.starts_with(&format!("{}:{line}:", file!())), "{site}");
    assert_eq!((&*ours.labels["verdict"], ours.value), ("orphaned", 3.0));
    let states = |state| {
        scrape.value(
            "lifespan_task_states",
            &[("kind", "metrics-leak"), ("state", state)],
        )
    };
    assert_eq!(
        [states("idle"), states("scheduled"), states("running")],
        [Some(3.0), Some(0.0), Some(0.0)]
    );
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn blocking_jobs_are_queued_or_running() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let _in = runtime.enter();
    let before = jobs();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (started, start) = std::sync::mpsc::channel::<()>();
    lifespan::spawn_blocking("metrics-blocking", move || {
        started.send(()).unwrap();
        held.recv().unwrap_err();
    });
    start.recv().unwrap();
    lifespan::spawn_blocking("metrics-blocking", || ());
    // Other tests have jobs of their own.
    let now = jobs();
    assert!(now.0 > 0.0 && now.1 > 0.0, "{before:?} {now:?}");
    drop(release);
}

fn jobs() -> (f64, f64) {
    let scrape = Scrape::take(DEFAULT_KINDS);
    let state = |state| {
        scrape
            .value("lifespan_blocking_jobs", &[("state", state)])
            .unwrap()
    };
    (state("queued"), state("running"))
}

#[test]
fn counters_of_a_runtime_start_with_it_and_never_go_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .name("metrics-runtime")
        .build()
        .unwrap();
    let label = [("runtime", "metrics-runtime")];
    let metrics = runtime.metrics();
    let busy = || {
        let parks = metrics.worker_park_count(0);
        let task = runtime.spawn(tokio::task::yield_now());
        runtime.block_on(task).unwrap();
        let parked = || metrics.worker_park_count(0) > parks;
        wait_until("the worker parks", parked);
    };
    busy();
    registry::watch(runtime.handle());
    let mut last = 0.0;
    for _ in 0..5 {
        let least = metrics.worker_park_count(0);
        // Two that scrape do not take each other's counts away.
        let scrapes = [Scrape::take(DEFAULT_KINDS), Scrape::take(DEFAULT_KINDS)];
        for scrape in scrapes {
            let parks = scrape.value("tokio_worker_parks_total", &label).unwrap();
            assert!(
                parks >= last && parks >= least as f64 && parks >= 1.0,
                "{parks} {last} {least}"
            );
            last = parks;
            assert_eq!(scrape.value("tokio_workers", &label), Some(1.0));
        }
        busy();
    }
}

#[test]
fn runtimes_of_one_name_are_told_apart() {
    let runtime = || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .name("metrics-twin")
            .build()
            .unwrap();
        registry::watch(runtime.handle());
        runtime
    };
    let _twins = [runtime(), runtime()];
    // The reader refuses a series that is there twice.
    let scrape = Scrape::take(DEFAULT_KINDS);
    let workers = scrape.family("tokio_workers").unwrap();
    let twins = workers
        .samples
        .iter()
        .filter(|sample| sample.labels["runtime"].starts_with("metrics-twin"));
    assert_eq!(twins.count(), 2);
}

#[tokio::test]
async fn what_is_beyond_the_shown_kinds_is_summed_up() {
    lifespan::spawn("metrics-shown", async {}).await.unwrap();
    let all = Scrape::take(usize::MAX);
    for shown in [0, 1, 2] {
        let few = Scrape::take(shown);
        let kinds = few.family("lifespan_tasks_spawned_total").unwrap();
        assert_eq!(kinds.samples.len(), shown + 1);
        assert_eq!(kinds.samples[0].labels["kind"], "other");
        let sum = |scrape: &Scrape| -> f64 {
            let family = scrape.family("lifespan_tasks_spawned_total").unwrap();
            family.samples.iter().map(|sample| sample.value).sum()
        };
        assert!(sum(&few) >= sum(&all), "{} {}", sum(&few), sum(&all));
    }
}

/// A process has 1,024 kinds for all its tests, so that a test that uses them up has a process to itself.
#[test]
fn an_instance_stays_below_ten_thousand_series() {
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "metrics::series_of_all_kinds", "--ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by `an_instance_stays_below_ten_thousand_series`, in a process of its own"]
async fn series_of_all_kinds() {
    for index in 0..2 * lifespan::MAX_KINDS {
        let kind = lifespan::KindId::named(&format!("kind {index}"));
        lifespan::spawn(kind, async {}).await.unwrap();
    }
    // More leaks, at more sites, than a scrape names.
    #[track_caller]
    fn leak() -> tokio::task::JoinHandle<()> {
        lifespan::spawn("kind 1000", std::future::pending())
    }
    #[rustfmt::skip]
    let leaks = [
        leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(),
        leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(), leak(),
    ];
    registry::watch(&tokio::runtime::Handle::current());
    tokio::task::yield_now().await;
    registry::sweep();
    registry::sweep();

    let scrape = Scrape::take(DEFAULT_KINDS);
    assert!(scrape.series() < 10_000, "{} series", scrape.series());
    assert_eq!(
        scrape.family("lifespan_tasks").unwrap().samples.len(),
        DEFAULT_KINDS + 1
    );
    // Nothing is lost in the sum: 1,024 names over the limit, and those that are not shown.
    let other = scrape.value("lifespan_tasks_spawned_total", &[("kind", "other")]);
    let hidden = 2 * lifespan::MAX_KINDS - DEFAULT_KINDS + leaks.len();
    assert_eq!(other, Some(hidden as f64));
    assert_eq!(scrape.value("lifespan_tasks", &[("kind", "other")]), Some(25.0));
    let leaked = &scrape.family("lifespan_tasks_leaked").unwrap().samples;
    assert_eq!(leaked.iter().map(|sample| sample.value).sum::<f64>(), 25.0);
    // The 20 sites and all others; and for each other verdict that it is said of none.
    assert_eq!(leaked.len(), 24);
}

#[test]
fn a_registry_of_ones_own_shows_the_same() {
    let registry = prometheus::Registry::new();
    registry.register(Box::new(Collector::new().kinds(3))).unwrap();
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    let scrape = Scrape::parse(&text);
    assert!(
        scrape
            .families
            .iter()
            .all(|family| family.name.starts_with("lifespan_"))
    );
    assert!(scrape.family("lifespan_tasks").unwrap().samples.len() <= 4);
}

#[test]
fn scrapes_are_timed() {
    let count = || {
        let scrape = Scrape::take(DEFAULT_KINDS);
        scrape.value("lifespan_agent_scrape_seconds_count", &[]).unwrap()
    };
    let first = count();
    assert!(count() > first);
    assert!(render(DEFAULT_KINDS).is_ok());
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}
