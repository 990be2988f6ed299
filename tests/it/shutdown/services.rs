//! Services that are ended by signals: each runs in a process of its own.

use std::future::pending;
use std::hint::black_box;
use std::time::Duration;

use lifespan::Scope;
use lifespan::shutdown::{self, Settings};
use tokio::runtime::{Builder, Runtime};

/// Longer than any test.
const AN_HOUR: Duration = Duration::from_secs(3_600);
/// What the tests give those that are ended at their deadline.
pub(super) const SHORT: Duration = Duration::from_secs(6);

fn multi_thread() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[expect(clippy::print_stdout, reason = "the test reads it")]
fn say(what: &str) {
    println!("{what}");
}

/// Everything that can be in the way: 10,000 tasks, 10 blocked threads, a busy loop.
fn crowd(scope: &Scope) {
    for _ in 0..10_000 {
        scope.spawn("crowd-idle", |_| pending::<()>());
    }
    culprits(scope);
}

fn culprits(scope: &Scope) {
    scope.spawn("crowd-jobs", |_| async {
        for _ in 0..10 {
            lifespan::spawn_blocking("crowd-blocked", || std::thread::sleep(AN_HOUR));
        }
    });
    scope.spawn("crowd-busy", |_| async { spin() });
}

fn spin() {
    loop {
        black_box(0);
    }
}

#[test]
#[ignore = "needs a process of its own"]
fn clean() {
    tracing::subscriber::set_global_default(Printing).unwrap();
    let code = multi_thread().block_on(lifespan::run(|root| async move {
        let task = root.child("door").spawn("clean-door", |cx| async move {
            say("ready");
            say(&format!("told: {}", cx.cancelled().await));
        });
        task.await.unwrap();
    }));
    say(&format!("returned {code:?}"));
}

#[test]
#[ignore = "needs a process of its own"]
fn crowded() {
    let runtime = multi_thread();
    let settings = Settings::new()
        .grace(Duration::from_secs(1))
        .deadline(SHORT)
        .exit_code(70);
    let finished = runtime.block_on(settings.run(|root| async move {
        crowd(&root.child("crowd"));
        say("ready");
        root.context().cancelled().await;
    }));
    say(&format!("{}", finished.report));
    say("complete");
    // As at the end of `main`: it waits for the blocking jobs.
    drop(runtime);
}

/// The negative control: as services do it without us.
#[test]
#[ignore = "needs a process of its own"]
fn unaided() {
    let runtime = multi_thread();
    runtime.block_on(async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let scope = Scope::new("crowd");
        crowd(&scope);
        say("ready");
        terminate.recv().await;
        let _ = scope.close(Duration::from_secs(1)).await;
    });
    say("complete");
    drop(runtime);
}

#[test]
#[ignore = "needs a process of its own"]
fn blocked() {
    let runtime = multi_thread();
    let settings = Settings::new().grace(AN_HOUR).deadline(SHORT).exit_code(70);
    let _ = runtime.block_on(settings.run(|root| async move {
        let scope = root.child("crowd");
        let idle = || {
            for _ in 0..16 {
                scope.spawn("blocked-idle", |_| pending::<()>());
            }
        };
        idle();
        for _ in 0..2 {
            scope.spawn("blocked-worker", |_| async {
                say("blocked");
                std::thread::sleep(AN_HOUR);
            });
        }
        idle();
        pending::<()>().await;
    }));
}

/// Signals, drain and service share one thread, which is busy.
#[test]
#[ignore = "needs a process of its own"]
fn busy() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let settings = Settings::new().deadline(SHORT).exit_code(70);
    let _ = runtime.block_on(settings.run(|root| async move {
        root.spawn("busy-loop", |_| async {
            say("busy");
            spin();
        });
        pending::<()>().await;
    }));
}

#[test]
#[ignore = "needs a process of its own"]
fn stubborn() {
    let runtime = multi_thread();
    let settings = Settings::new().grace(AN_HOUR).deadline(AN_HOUR);
    let _ = runtime.block_on(settings.run(|root| async move {
        culprits(&root.child("crowd"));
        say("ready");
        let reason = shutdown::requested().await;
        say(&format!("told: {reason}"));
        pending::<()>().await;
    }));
}

/// Whoever logs waits for ever, and so does whoever names survivors.
#[test]
#[ignore = "needs a process of its own"]
fn muted() {
    tracing::subscriber::set_global_default(Blocking).unwrap();
    let settings = Settings::new().deadline(SHORT).exit_code(70);
    let _ = multi_thread().block_on(settings.run(|root| async move {
        crowd(&root.child("crowd"));
        say("ready");
        shutdown::requested().await;
    }));
}

/// Handlers of others, before and after ours.
#[test]
#[ignore = "needs a process of its own"]
fn neighbours() {
    multi_thread().block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut before = signal(SignalKind::terminate()).unwrap();
        let finished = Settings::new().run(|root| async move {
            let mut after = signal(SignalKind::interrupt()).unwrap();
            say("ready");
            tokio::select! {
                _ = after.recv() => say("heard after"),
                _ = before.recv() => say("heard before"),
            }
            root.context().cancelled().await.to_string()
        });
        say(&format!("ended: {:?}", finished.await.output));
    });
}

/// A subscriber behind a pipe that nobody reads.
struct Blocking;

impl tracing::Subscriber for Blocking {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        say("logs, and waits");
        std::thread::sleep(AN_HOUR);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Prints messages of logs.
struct Printing;

impl tracing::Subscriber for Printing {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!(" {field}={value:?}"));
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        say(&format!("log:{}", message.0));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
