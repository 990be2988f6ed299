//! Events in the log.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifespan::event::{self, LogLevel};
use lifespan::{KindId, Scope};
use tracing::field::{Field, Visit};
use tracing::subscriber::set_default;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::{make, make_now};

/// One line, as a subscriber gets it.
#[derive(Debug)]
struct Line {
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Line {
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", |value| value)
    }
}

#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    /// What a line makes the subscriber do.
    act: Option<fn(&Metadata<'_>)>,
}

impl Log {
    /// The lines about a kind.
    fn of(&self, kind: KindId) -> Vec<Line> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        lines
            .into_iter()
            .filter(|line| line.get("kind") == kind.name())
            .collect()
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "lifespan::event" {
            return;
        }
        let mut line = Line {
            level: *event.metadata().level(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        self.lines.lock().unwrap().push(line);
        if let Some(act) = self.act {
            act(event.metadata());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_logged_without_an_agent() {
    let log = Log::default();
    let _log = set_default(tracing_subscriber::registry().with(log.clone()));
    let kind = KindId::named("event-logged");
    let scope = Scope::new("logged");
    let task = scope.spawn(kind, |_| pending::<()>());
    let report = scope.close(Duration::from_secs(3)).await;
    drop(task);
    let lines = log.of(kind);
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line.level, line.get("message")))
        .collect();
    assert_eq!(said, [(Level::WARN, "stop_timed_out"), (Level::WARN, "aborted")]);
    assert_eq!(lines[0].get("grace_seconds"), "3.0");
    assert_eq!(lines[0].get("task"), report.late[0].id.unwrap().to_string());
    // What does not apply is not there.
    assert!(!lines[0].fields.contains_key("outcome"));
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_a_few_lines_and_all_of_it_is_in_the_journal() {
    let log = Log::default();
    let _log = set_default(tracing_subscriber::registry().with(log.clone()));
    let kind = KindId::named("event-storm");
    let (start, before) = (event::recent().offered, event::lines());
    for _ in 0..10 {
        make(kind, 64).await;
    }
    assert_eq!(log.of(kind).len(), 20);
    assert!(event::recent().offered >= start + 1_280);
    assert!(event::lines().suppressed - before.suppressed >= 1_260);
    assert!(event::lines().logged - before.logged >= 20);
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_logged_down_to_its_level() {
    let log = Log::default();
    let _log = set_default(tracing_subscriber::registry().with(log.clone()));
    let kind = KindId::named("event-hushed");
    event::log_level(kind, LogLevel::Error);
    make(kind, 1).await;
    assert_eq!(log.of(kind).len(), 0);
    event::log_level(kind, LogLevel::Warn);
    make(kind, 1).await;
    assert_eq!(log.of(kind).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_harms_nobody() {
    let log = Log {
        act: Some(|_| panic!("a subscriber that panics")),
        ..Log::default()
    };
    let _log = set_default(tracing_subscriber::registry().with(log.clone()));
    let kind = KindId::named("event-panicking-log");
    let start = event::recent().offered;
    make(kind, 2).await;
    assert_eq!(log.of(kind).len(), 4);
    assert!(event::recent().offered >= start + 4);
}

/// In a process of its own, since a subscriber for all threads stays, and only there does `tracing` let a subscriber
/// call itself.
#[test]
fn a_subscriber_that_causes_events_is_not_called_for_those() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "events::logs::alone", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "run by `a_subscriber_that_causes_events_is_not_called_for_those`, in a process of its own"]
fn alone() {
    static ACTS: AtomicBool = AtomicBool::new(true);
    let log = Log {
        act: Some(|_| {
            if ACTS.load(Relaxed) {
                // Out of the runtime that it is called in, and into another.
                tokio::task::block_in_place(|| make_now(KindId::named("event-inner"), 1));
            }
        }),
        ..Log::default()
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log.clone())).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(make(KindId::named("event-outer"), 1));
    let said = |log: &Log| -> Vec<(String, String)> {
        let lines = std::mem::take(&mut *log.lines.lock().unwrap());
        let both = |line: &Line| (line.get("kind").to_owned(), line.get("message").to_owned());
        lines.iter().map(both).collect()
    };
    let (outer, inner) = ("event-outer".to_owned(), "event-inner".to_owned());
    assert_eq!(
        said(&log),
        [
            (outer.clone(), "stop_timed_out".to_owned()),
            (outer, "aborted".to_owned())
        ]
    );
    let told = event::recent().entries;
    assert_eq!(told.len(), 6, "all are in the journal");
    assert_eq!((event::lines().logged, event::lines().suppressed), (2, 4));
    // An agent says at its end what was left out.
    ACTS.store(false, Relaxed);
    let agent = lifespan::Agent::builder("test");
    #[cfg(feature = "server")]
    let agent = agent.without_server();
    agent.start().unwrap().shutdown(Duration::from_secs(10)).unwrap();
    let mut sums = said(&log);
    sums.sort();
    let sum = |event: &str| format!("{event}: left out 2 more lines like those before in the last 0 s");
    assert_eq!(
        sums,
        [(inner.clone(), sum("aborted")), (inner, sum("stop_timed_out"))]
    );
}
