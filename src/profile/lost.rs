//! Lost wakeups: a task that waited for what had come already, and that nothing woke.
//!
//! A probe polls a task that has been idle for long. Should that move it on, what it waited for had come before; and
//! should nothing wake it within a second after, nothing would have. The probe has healed that, so it is told: counted,
//! written into the journal, and logged.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use super::interned::Stack;
use crate::background::Stop;
use crate::clock;
use crate::event;
use crate::event::{Event, Subject};
use crate::registry;
use crate::task::TaskId;
use crate::task::kind::KindId;
use crate::task::probe::Held;

/// A task that a probe has moved on.
pub(super) struct Suspect {
    /// Its record counts wakes, whether or not the task has ended since.
    pub(super) held: Held,
    pub(super) id: TaskId,
    pub(super) kind: KindId,
    pub(super) name: Option<Box<str>>,
    /// Where it stood, if it was asked before.
    pub(super) waited_at: Option<Arc<Stack>>,
    pub(super) idle: Duration,
    /// When it was found, in ticks.
    pub(super) at: u64,
}

/// How long a wake may come late.
const GRACE: Duration = Duration::from_secs(1);
/// More are not looked into at a time.
const MOST: usize = 256;

static SUSPECTS: Mutex<Vec<Suspect>> = Mutex::new(Vec::new());
static FOUND: Notify = Notify::const_new();

/// Remembers a task that a probe has moved on; [`settle`] decides.
pub(super) fn suspect(suspect: Suspect) {
    let mut suspects = SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner);
    if suspects.len() < MOST {
        suspects.push(suspect);
        FOUND.notify_one();
    }
}

/// Tells of those that nothing woke in the time that it had, given the time now in ticks.
pub(super) fn settle(now: u64) {
    let due: Vec<Suspect> = {
        let mut suspects = SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner);
        let due = |suspect: &mut Suspect| clock::between(suspect.at, now) >= GRACE;
        suspects.extract_if(.., due).collect()
    };
    // Without the lock: letting go of a record can run what drops the runtime's waker.
    for suspect in due {
        if suspect.held.wakes() == suspect.held.look.wakes {
            tell(suspect);
        }
    }
}

fn tell(lost: Suspect) {
    registry::lost::add(lost.kind);
    let waiting_at: Option<Arc<str>> = lost.waited_at.as_deref().map(point);
    let subject = Subject {
        task: Some(lost.id),
        kind: Some(lost.kind),
        name: lost.name.map(Into::into),
        ..Subject::default()
    };
    event::emit(
        subject,
        Event::LostWakeup {
            waiting_at,
            idle: lost.idle,
        },
    );
}

/// A stack as one text, cut to a length that a log line bears.
fn point(stack: &Stack) -> Arc<str> {
    let mut text = String::new();
    for function in stack.functions() {
        if text.len() + function.len() > MOST_TEXT {
            text.push_str(" < …");
            break;
        }
        if !text.is_empty() {
            text.push_str(" < ");
        }
        text.push_str(function);
    }
    text.into()
}

const MOST_TEXT: usize = 1_024;

/// Settles suspects when it is time, until the stop.
pub(crate) async fn watch(mut stop: Stop) {
    while !stop.is_stopped() {
        {
            let mut stopped = pin!(stop.stopped());
            let mut found = pin!(FOUND.notified());
            poll_fn(|cx| match stopped.as_mut().poll(cx) {
                Poll::Pending => found.as_mut().poll(cx),
                Poll::Ready(()) => Poll::Ready(()),
            })
            .await;
        }
        while !stop.is_stopped() && are_there() {
            let _ = tokio::time::timeout(GRACE, stop.stopped()).await;
            settle(clock::ticks());
        }
    }
}

fn are_there() -> bool {
    !SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}
