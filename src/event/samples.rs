//! One event of each sort, for tests that must see them all.

use super::*;

/// In the order of the type.
pub(crate) fn each() -> Vec<Event> {
    let seconds = Duration::from_millis(1_500);
    let text = |text: &str| Arc::<str>::from(text);
    vec![
        Event::Spawned { restart: 2 },
        Event::Ready { after: seconds },
        Event::Stopping {
            cause: text("budget"),
        },
        Event::Stopped {
            outcome: Outcome::Failed,
            ran: seconds,
            error: Some(text("no route")),
        },
        Event::Panicked {
            message: text("index out of\nbounds"),
            location: Some(text("src/a.rs:1:2")),
            backtrace: None,
        },
        Event::RestartScheduled {
            delay: seconds,
            restart: 3,
            of: 5,
        },
        Event::BudgetExhausted {
            allowed: 5,
            period: seconds,
        },
        Event::Escalated {
            to: None,
            cause: text("budget"),
        },
        Event::StopTimedOut { grace: seconds },
        Event::Aborted,
        Event::Stuck { after: seconds },
        Event::Heartbeat { silent: seconds },
        Event::Overdue { silent: seconds },
        Event::LostWakeup {
            waiting_at: Some(text("recv")),
            idle: seconds,
        },
        Event::ShutdownInitiated {
            cause: text("SIGTERM"),
        },
        Event::ShutdownComplete {
            took: seconds,
            survivors: 7,
        },
    ]
}
