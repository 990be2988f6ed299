//! Events as lines of `tracing`, with the target `lifespan::event`.
//!
//! A line is written by whoever tells of the event, outside of every lock: see [`emit`](super::emit). The subscriber
//! is the host's: should it panic, that goes no further; should it cause events, they are in the journal, and their
//! lines are left out and counted.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::limit::{Limiter, Summary};
use super::{Entry, Event, Subject, Value};
use crate::clock;
use crate::task::kind::{AsKind, KindId, MAX_KINDS};
use crate::task::{Outcome, TaskId, panic};

/// How loud a line of an event is; one that is less loud is of more detail.
///
/// It has the levels of `tracing`, whose own type is not part of this crate's interface.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[repr(u8)]
pub enum LogLevel {
    /// No line.
    Off = 1,
    /// Something is broken, and will not mend itself.
    Error,
    /// Something went wrong that is being dealt with.
    Warn,
    /// Tasks begin and end.
    Info,
    /// What happens in between.
    Debug,
}

/// Logs events of tasks of a kind down to that level, and none of more detail. By default, all are logged.
///
/// For a kind of which long-lived tasks come and go all the time: with [`LogLevel::Warn`] only what goes wrong with
/// them is logged. The journal holds their events all the same. It is for the whole process, from now on; to let only
/// some lines through for some subscriber, filter on the target `lifespan::event` there.
///
/// # Examples
///
/// ```
/// use lifespan::event::{self, LogLevel};
///
/// event::log_level("websocket", LogLevel::Warn);
/// ```
pub fn log_level(kind: impl AsKind, most: LogLevel) {
    if let Some(level) = LEVELS.get(usize::from(kind.kind_id().index())) {
        level.store(most as u8, Relaxed);
    }
}

impl Event {
    /// How loud its line is.
    ///
    /// | level | events |
    /// |---|---|
    /// | error | `panicked`, `budget_exhausted`, `escalated`, `stuck` |
    /// | warn | `restart_scheduled`, `stop_timed_out`, `aborted`, `overdue`, `lost_wakeup`; `stopped` where the outcome is failed or panicked; `shutdown_complete` with survivors |
    /// | info | `spawned`, `stopped`, `heartbeat`, `shutdown_initiated`, `shutdown_complete` |
    /// | debug | `ready`, `stopping` |
    #[must_use]
    pub fn level(&self) -> LogLevel {
        match self {
            Self::Panicked { .. }
            | Self::BudgetExhausted { .. }
            | Self::Escalated { .. }
            | Self::Stuck { .. } => LogLevel::Error,
            Self::RestartScheduled { .. }
            | Self::StopTimedOut { .. }
            | Self::Aborted
            | Self::Overdue { .. }
            | Self::LostWakeup { .. } => LogLevel::Warn,
            Self::Stopped { outcome, .. } => match outcome {
                Outcome::Failed | Outcome::Panicked => LogLevel::Warn,
                Outcome::Completed | Outcome::Cancelled => LogLevel::Info,
            },
            Self::ShutdownComplete { survivors, .. } if *survivors > 0 => LogLevel::Warn,
            Self::Spawned { .. }
            | Self::Heartbeat { .. }
            | Self::ShutdownInitiated { .. }
            | Self::ShutdownComplete { .. } => LogLevel::Info,
            Self::Ready { .. } | Self::Stopping { .. } => LogLevel::Debug,
        }
    }
}

/// Lines of events, since the process started: all that a subscriber may have wanted were logged or left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lines {
    /// Those that were logged.
    pub logged: u64,
    /// Those that were left out, since there were too many of their sort; lines that sum them up say how many.
    pub suppressed: u64,
}

/// How many lines of events were logged, and left out.
///
/// Of each event of a child, or of a kind, 10 lines are logged at once, then one more every 30 s; and every 30 s one
/// that says how many were left out.
#[must_use]
pub fn lines() -> Lines {
    let limiter = lock();
    Lines {
        logged: limiter.logged,
        suppressed: limiter.suppressed,
    }
}

/// Writes the line of an event, unless there are too many of its sort; and says what was left out before.
pub(super) fn write(entry: &Entry) {
    let level = entry.event.level();
    if !is_heard(level) || !is_wanted(entry.subject.kind, level) {
        return;
    }
    let (sort, shared) = (Sort::of(entry, level), Sort::shared(entry, level));
    let busy = Busy::begin();
    let now = now();
    let mut limiter = lock();
    let logs = limiter.offer(sort, shared, busy.is_some(), now);
    let summaries = if busy.is_some() {
        limiter.summaries(now, false)
    } else {
        Vec::new()
    };
    drop(limiter);
    if logs {
        panic::contain(|| line(entry, level));
    }
    summaries
        .iter()
        .for_each(|summary| panic::contain(|| sum(summary)));
}

/// Says what was left out: what is due, or all of it.
pub(crate) fn flush(all: bool) {
    let Some(_busy) = Busy::begin() else { return };
    let summaries = lock().summaries(now(), all);
    summaries
        .iter()
        .for_each(|summary| panic::contain(|| sum(summary)));
}

/// Lines that are alike.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Sort {
    supervisor: Option<Arc<str>>,
    child: Option<Arc<str>>,
    /// Where there is no child.
    kind: Option<KindId>,
    event: &'static str,
    level: LogLevel,
}

impl Sort {
    fn of(entry: &Entry, level: LogLevel) -> Self {
        let Subject {
            supervisor,
            child,
            kind,
            ..
        } = &entry.subject;
        Self {
            supervisor: supervisor.clone(),
            child: child.clone(),
            kind: kind.filter(|_| child.is_none()),
            ..Self::shared(entry, level)
        }
    }

    fn shared(entry: &Entry, level: LogLevel) -> Self {
        Self {
            supervisor: None,
            child: None,
            kind: None,
            event: entry.event.name(),
            level,
        }
    }
}

/// While it lives, this thread is in the subscriber.
struct Busy;

impl Busy {
    /// `None` where it is there already; or so near to its end that nobody can say.
    fn begin() -> Option<Self> {
        let began = BUSY.try_with(|busy| !busy.replace(true)).unwrap_or(false);
        // Not `then_some`, which makes one in any case, and drops it.
        began.then(|| Self)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = BUSY.try_with(|busy| busy.set(false));
    }
}

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Whether any subscriber would take such a line. Asks none of them.
fn is_heard(level: LogLevel) -> bool {
    let level = match level {
        LogLevel::Off => return false,
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    level <= LevelFilter::current()
}

fn is_wanted(kind: Option<KindId>, level: LogLevel) -> bool {
    let most = kind.and_then(|kind| LEVELS.get(usize::from(kind.index())));
    match most.map_or(0, |most| most.load(Relaxed)) {
        0 => true,
        most => level as u8 <= most,
    }
}

/// By kind; 0 where nothing was said.
static LEVELS: [AtomicU8; MAX_KINDS + 1] = [const { AtomicU8::new(0) }; MAX_KINDS + 1];

static LIMITER: LazyLock<Mutex<Limiter<Sort>>> = LazyLock::new(|| Mutex::new(Limiter::new()));

fn lock() -> MutexGuard<'static, Limiter<Sort>> {
    LIMITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Since the first event.
fn now() -> Duration {
    static START: LazyLock<u64> = LazyLock::new(clock::ticks);
    let start = *START;
    clock::between(start, clock::ticks())
}

/// An event of `tracing` has its level and the names of its fields in a static, so there is one for each level. What
/// is `None` is not among the fields of a line.
macro_rules! at_level {
    ($level:expr, $($line:tt)+) => {
        match $level {
            LogLevel::Off => {}
            LogLevel::Error => tracing::event!(target: TARGET, Level::ERROR, $($line)+),
            LogLevel::Warn => tracing::event!(target: TARGET, Level::WARN, $($line)+),
            LogLevel::Info => tracing::event!(target: TARGET, Level::INFO, $($line)+),
            LogLevel::Debug => tracing::event!(target: TARGET, Level::DEBUG, $($line)+),
        }
    };
}

const TARGET: &str = "lifespan::event";

fn line(entry: &Entry, level: LogLevel) {
    let Subject {
        task,
        kind,
        name,
        supervisor,
        child,
    } = &entry.subject;
    let mut fields = Vec::new();
    entry.event.fields(|key, value| fields.push((key, value)));
    let get = |key: &str| {
        fields
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| *value)
    };
    let number = |key: &str| match get(key) {
        Some(Value::Number(number)) => Some(number),
        _ => None,
    };
    let time = |key: &str| match get(key) {
        Some(Value::Time(time)) => Some(time.as_secs_f64()),
        _ => None,
    };
    let text = |key: &str| match get(key) {
        Some(Value::Word(word)) => Some(word),
        Some(Value::Text(text)) => text,
        _ => None,
    };
    at_level!(
        level,
        seq = entry.seq,
        task = task.map(TaskId::get),
        kind = kind.map(|kind| kind.name()),
        name = name.as_deref(),
        supervisor = supervisor.as_deref(),
        child = child.as_deref(),
        outcome = text("outcome"),
        ran_seconds = time("ran_seconds"),
        restart = number("restart"),
        of = number("of"),
        delay_seconds = time("delay_seconds"),
        error = text("error"),
        cause = text("cause"),
        to = text("to"),
        // `message` is the line's own.
        panic = text("message"),
        location = text("location"),
        backtrace = text("backtrace"),
        allowed = number("allowed"),
        period_seconds = time("period_seconds"),
        grace_seconds = time("grace_seconds"),
        after_seconds = time("after_seconds"),
        silent_seconds = time("silent_seconds"),
        waiting_at = text("waiting_at"),
        idle_seconds = time("idle_seconds"),
        took_seconds = time("took_seconds"),
        survivors = number("survivors"),
        "{}",
        entry.event
    );
}

fn sum(summary: &Summary<Sort>) {
    let Sort {
        supervisor,
        child,
        kind,
        event,
        level,
    } = &summary.sort;
    let (suppressed, over) = (summary.suppressed, summary.over.as_secs_f64());
    at_level!(
        *level,
        event,
        kind = kind.map(|kind| kind.name()),
        supervisor = supervisor.as_deref(),
        child = child.as_deref(),
        suppressed,
        over_seconds = over,
        "{event}: left out {suppressed} more lines like those before in the last {over:.0} s"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;
    use std::time::SystemTime;
    use tracing::field::{Field, Visit};
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    /// What a subscriber was given: the names of fields, and the message.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<SeenLine>>>);

    type SeenLine = (Level, Vec<String>);

    #[derive(Default)]
    struct Fields(Vec<String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.push(match field.name() {
                "message" => format!("{value:?}"),
                name => name.to_owned(),
            });
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            assert_eq!(event.metadata().target(), TARGET);
            self.0.lock().unwrap().push((*event.metadata().level(), fields.0));
        }
    }

    #[test]
    fn a_line_has_every_field_of_its_event() {
        let seen = Seen::default();
        let events = samples::each();
        with_default(tracing_subscriber::registry().with(seen.clone()), || {
            for event in &events {
                let entry = Entry {
                    seq: 1,
                    at: SystemTime::UNIX_EPOCH,
                    subject: Subject::default(),
                    event: event.clone(),
                };
                line(&entry, event.level());
            }
        });
        let seen = seen.0.lock().unwrap();
        for (event, (level, fields)) in events.iter().zip(&*seen) {
            let mut expected = vec![event.name().to_owned(), "seq".to_owned()];
            event.fields(|key, value| {
                if value != Value::Text(None) {
                    expected.push(if key == "message" { "panic" } else { key }.to_owned());
                }
            });
            let (mut fields, mut expected) = (fields.clone(), expected);
            fields.sort();
            expected.sort();
            assert_eq!(fields, expected);
            assert_eq!(
                level.as_str().to_lowercase(),
                format!("{:?}", event.level()).to_lowercase()
            );
        }
        assert_eq!(seen.len(), events.len());
    }

    #[test]
    fn a_kind_is_logged_down_to_its_level() {
        let kind = KindId::named("log-quiet");
        assert!(is_wanted(Some(kind), LogLevel::Debug));
        log_level(kind, LogLevel::Warn);
        assert!(is_wanted(Some(kind), LogLevel::Warn));
        assert!(!is_wanted(Some(kind), LogLevel::Info));
        log_level(kind, LogLevel::Off);
        assert!(!is_wanted(Some(kind), LogLevel::Error));
        log_level(kind, LogLevel::Debug);
        assert!(is_wanted(Some(kind), LogLevel::Debug));
        assert!(is_wanted(None, LogLevel::Debug));
    }
}
