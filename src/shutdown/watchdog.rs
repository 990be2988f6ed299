//! The thread that hears signals and keeps the deadline, whatever the runtime does.
//!
//! It calls nothing of the host's that could block: no subscriber of its logs, no lock that the host can hold, not even
//! standard error. What does is done by another thread, for which it waits no longer than it can.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::bell::Bell;
use super::course;
use super::last_words::{self, Why};
use super::system::{self, SIGNALS};
use crate::scope::Reason;

/// Starts the thread, once a process. Where the system does not give what it takes, the service runs without it.
pub(super) fn start(deadline: Duration, exit_code: u8) {
    let bell = match Bell::hang() {
        Ok(Some(bell)) => bell,
        Ok(None) => return,
        Err(error) => return off(&error),
    };
    let watch = Watch::new(deadline);
    let thread = thread::Builder::new()
        .name("lifespan-signal".to_owned())
        .spawn(move || keep(watch, &bell, exit_code));
    if let Err(error) = thread {
        return off(&error);
    }
    // Last: from here on a signal no longer ends the process by itself.
    for signal in SIGNALS {
        if let Err(error) = system::listen(signal) {
            off(&error);
        }
    }
}

fn off(error: &std::io::Error) {
    tracing::warn!(%error, "lifespan: signals are not handled, or no deadline is kept; the service runs on");
}

fn keep(mut watch: Watch, bell: &Bell, exit_code: u8) {
    loop {
        let limit = watch.left(Instant::now());
        if limit.is_some_and(|left| left.is_zero()) {
            let why = Why::Deadline(watch.deadline);
            leave(why, &watch, exit_code, naming(watch.deadline));
        }
        let rung = bell.wait(limit);
        let signal = rung.and_then(|rung| SIGNALS.into_iter().find(|signal| signal.number == rung));
        if let Some(signal) = signal {
            if watch.hear() {
                let code = signal.number.saturating_add(128);
                leave(Why::Again(signal), &watch, code, AT_ONCE);
            }
            watch.begin(Instant::now());
            course::initiate(Reason::new(signal.name));
        }
        if course::reason().is_some() {
            watch.begin(Instant::now());
        }
    }
}

/// What is decided about the time and the signals.
#[derive(Debug)]
struct Watch {
    deadline: Duration,
    begun: Option<Instant>,
    heard: bool,
}

impl Watch {
    fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            begun: None,
            heard: false,
        }
    }

    /// The shutdown has begun, whoever began it.
    fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// A signal has come; says whether it is the second.
    fn hear(&mut self) -> bool {
        std::mem::replace(&mut self.heard, true)
    }

    /// How long the shutdown has taken, if it has begun.
    fn since(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.begun?))
    }

    /// How long until survivors are to be named, if the shutdown has begun.
    fn left(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.begun?);
        Some(
            self.deadline
                .saturating_sub(naming(self.deadline))
                .saturating_sub(since),
        )
    }
}

/// What part of the deadline is for naming survivors.
pub(super) fn naming(deadline: Duration) -> Duration {
    Duration::from_secs(1).min(deadline / 4)
}

/// How long a second signal waits for names.
const AT_ONCE: Duration = Duration::from_millis(30);

fn leave(why: Why, watch: &Watch, code: u8, limit: Duration) -> ! {
    let after = watch.since(Instant::now()).unwrap_or_default();
    let (done, named) = mpsc::channel();
    let words = thread::Builder::new()
        .name("lifespan-last-words".to_owned())
        .spawn(move || {
            last_words::say(why, after);
            let _ = done.send(());
        });
    if words.is_ok() {
        // It may block for ever, or panic: whichever comes first.
        let _ = named.recv_timeout(limit);
    }
    system::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_time_runs_from_the_first_initiation() {
        let start = Instant::now();
        let mut watch = Watch::new(SECOND * 10);
        assert_eq!(watch.left(start), None);
        watch.begin(start);
        watch.begin(start + SECOND * 5);
        assert_eq!(watch.left(start), Some(SECOND * 9));
        assert_eq!(watch.left(start + SECOND * 8), Some(SECOND));
        assert_eq!(watch.left(start + SECOND * 9), Some(Duration::ZERO));
        assert_eq!(watch.left(start + SECOND * 90), Some(Duration::ZERO));
    }

    #[test]
    fn only_a_second_signal_is_one_too_many() {
        let mut watch = Watch::new(SECOND);
        // Initiated by other means: not a signal.
        watch.begin(Instant::now());
        assert!(!watch.hear());
        assert!(watch.hear());
        assert!(watch.hear());
    }

    #[test]
    fn naming_takes_no_more_than_a_part_of_the_deadline() {
        assert_eq!(naming(SECOND * 25), SECOND);
        assert_eq!(naming(SECOND), SECOND / 4);
        assert_eq!(naming(Duration::ZERO), Duration::ZERO);
    }
}
