//! The rules as they run: once for each sweep, on the agent's thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::capture::{self, Capture, Captures};
use super::{Leaks, News, Rules, Verdict};
use crate::background::{Job, Stop};
use crate::clock;
use crate::event::{self, Event, Subject};
use crate::registry;
use crate::task::text;

/// The groups that have a verdict, as of the last look: the agent takes one after each sweep.
#[must_use]
pub fn groups() -> Arc<Leaks> {
    Arc::clone(&lock().leaks)
}

/// Judges the last [sweep](registry::sweep), unless that was done already. The agent does so after each.
///
/// Suspicions need many looks, over minutes and hours.
pub fn look() -> Arc<Leaks> {
    let Some(sweep) = registry::last_sweep() else {
        return groups();
    };
    let mut watch = lock();
    if watch.looked_at == Some(sweep.at) {
        return Arc::clone(&watch.leaks);
    }
    watch.looked_at = Some(sweep.at);
    let ticks = clock::ticks();
    let rules = match watch.rules.take() {
        Some(rules) if rules.young() == sweep.young => rules,
        _ => Rules::new(sweep.young),
    };
    let begun = *watch.begun.get_or_insert(ticks);
    let rules = watch.rules.insert(rules);
    let now = clock::between(begun, ticks);
    let found = rules.look(&registry::kinds(), &sweep.sites, now);
    let leaks = Arc::new(Leaks::new(sweep.at, found.leaks, found.refused));
    watch.leaks = Arc::clone(&leaks);
    watch.captures.look(&sweep, &leaks, now);
    drop(watch);
    found.news.iter().take(MOST_TOLD).for_each(tell);
    leaks
}

/// The evidence that is kept.
#[must_use]
pub fn captures() -> Captures {
    lock().captures.captures()
}

/// Captures what is known now; `None` before the first [sweep](registry::sweep).
///
/// Control characters in the cause become `_`, and it is cut to 256 bytes.
#[expect(clippy::must_use_candidate, reason = "it is kept")]
pub fn capture(cause: &str) -> Option<Arc<Capture>> {
    let sweep = registry::last_sweep()?;
    let cause = text::clean(cause, MOST_CAUSE).into_owned();
    let mut watch = lock();
    let leaks = Arc::clone(&watch.leaks);
    Some(watch.captures.take(cause, &sweep, &leaks))
}

/// The longest cause, in bytes.
const MOST_CAUSE: usize = 256;

/// The loop that looks at each sweep.
pub(crate) fn job() -> Job {
    Box::new(|stop| Box::pin(keep_looking(stop)))
}

async fn keep_looking(mut stop: Stop) {
    while !stop.is_stopped() {
        look();
        let _ = tokio::time::timeout(EVERY, stop.stopped()).await;
    }
}

/// A sweep is judged when it is half a second old at most, of a second until the next.
const EVERY: Duration = Duration::from_millis(500);

/// How many events a look makes at most. All groups are in [`groups`], and the journal has room for others.
const MOST_TOLD: usize = 64;

fn tell(news: &News) {
    let (News::Raised(leak) | News::Resolved(leak)) = news;
    let subject = Subject {
        kind: Some(leak.kind),
        ..Subject::default()
    };
    let spawned_at = leak.spawned_at.to_string().into();
    let event = match (news, leak.verdict) {
        (News::Resolved(_), _) => Event::LeakResolved {
            verdict: leak.verdict.name(),
            spawned_at,
            lasted: leak.lasted,
        },
        (News::Raised(_), Verdict::Suspected) => Event::LeakSuspected {
            spawned_at,
            tasks: leak.tasks,
            evidence: leak.evidence.as_str().into(),
        },
        (News::Raised(_), _) => Event::Leaked {
            verdict: leak.verdict.name(),
            spawned_at,
            tasks: leak.tasks,
            evidence: leak.evidence.as_str().into(),
        },
    };
    event::emit(subject, event);
}

/// One for the process, as the registry is: of two agents one looks.
struct Watch {
    looked_at: Option<SystemTime>,
    /// The moment that the rules count from, in ticks.
    begun: Option<u64>,
    rules: Option<Rules>,
    leaks: Arc<Leaks>,
    captures: capture::Watch,
}

fn lock() -> std::sync::MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

static WATCH: std::sync::LazyLock<Mutex<Watch>> = std::sync::LazyLock::new(|| {
    Mutex::new(Watch {
        looked_at: None,
        begun: None,
        rules: None,
        leaks: Arc::new(Leaks::new(SystemTime::UNIX_EPOCH, Vec::new(), 0)),
        captures: capture::Watch::new(),
    })
});
