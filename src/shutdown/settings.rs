//! What a shutdown is to take, and the way through it.

use std::panic::resume_unwind;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::course::{self, Phase};
use super::drain::drain;
use super::report::{Finished, Report};
use super::watchdog;
use crate::event::{self, Event, Subject};
use crate::scope::{ABORT_WAIT, Fate, Reason, Scope};
use crate::task::kind::{Kind, KindId};

/// How long tasks have to end by default, before they are aborted.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(20);

/// How long the whole of a shutdown may take by default: within the 30 seconds that Kubernetes gives. Docker gives 10, and
/// systemd 90.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(25);

/// The exit code by default where tasks are still alive, or the deadline is over.
pub const DEFAULT_EXIT_CODE: u8 = 1;

/// Longer than any shutdown takes.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// What a shutdown may take, and the way to [run](Self::run) a service with that.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use lifespan::shutdown::{Finished, Settings};
///
/// #[tokio::main]
/// async fn main() -> Finished<()> {
///     let settings = Settings::new().readiness_delay(Duration::from_secs(5)).grace(Duration::from_secs(15));
///     let finished = settings.run(|root| async move { drop(root) }).await;
///     println!("{}", finished.report);
///     finished
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until something runs with them"]
pub struct Settings {
    readiness_delay: Duration,
    grace: Duration,
    deadline: Duration,
    exit_code: u8,
}

impl Settings {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            readiness_delay: Duration::ZERO,
            grace: DEFAULT_GRACE,
            deadline: DEFAULT_DEADLINE,
            exit_code: DEFAULT_EXIT_CODE,
        }
    }

    /// How long the service works on after `/readyz` has begun to say 503, so that load balancers take notice. By default,
    /// not at all; at most a day.
    pub fn readiness_delay(mut self, delay: Duration) -> Self {
        self.readiness_delay = delay.min(MOST);
        self
    }

    /// How long tasks have to end once the drain has begun, all together; those left are aborted. By default,
    /// [`DEFAULT_GRACE`]. It is cut so that two seconds of the [deadline](Self::deadline) are left.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(MOST);
        self
    }

    /// How long all of it may take, from the initiation to the end of the process, which is then forced. By default,
    /// [`DEFAULT_DEADLINE`]; at most a day.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(MOST);
        self
    }

    /// The exit code where tasks are still alive, or the deadline is over. By default, [`DEFAULT_EXIT_CODE`]; 0 means 1.
    pub fn exit_code(mut self, code: u8) -> Self {
        self.exit_code = code.max(1);
        self
    }

    /// Runs a service until it ends or is told to, and then ends all that is in the root scope. As [`run`](super::run), and
    /// what came of it is at hand.
    ///
    /// # Panics
    ///
    /// As [`run`](super::run).
    ///
    /// # Cancel safety
    ///
    /// None, as [`run`](super::run).
    pub async fn run<F, Fut>(self, service: F) -> Finished<Fut::Output>
    where
        F: FnOnce(Scope) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        static MAIN: Kind = Kind::new("main");
        course::open();
        watchdog::start(self.deadline, self.exit_code);
        let root = Scope::root();
        let main = root.spawn(&MAIN, |cx| async move {
            let _ending = Ending;
            service(cx.scope()).await
        });

        let reason = course::reached(Phase::Unready).await;
        let start = Instant::now();
        let grace = self.grace_left();
        tracing::info!(%reason, delay = ?self.readiness_delay, ?grace, deadline = ?self.deadline, "lifespan: shutdown initiated");
        sleep(self.readiness_delay).await;
        course::advance(Phase::Draining);
        let found = drain(&root, &reason, grace).await;
        let report = Report::new(reason, start.elapsed(), found);
        let alive = |kind: KindId| report.survivors().any(|late| late.kind == kind);
        let ended = match alive(MAIN.id()) {
            true => None,
            // It has left its scope; its output is there in no time.
            false => timeout(ABORT_WAIT, main).await.ok(),
        };
        complete(&report);
        let output = match ended.transpose() {
            Ok(output) => output,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => resume_unwind(payload),
                Err(_) => None,
            },
        };
        Finished::new(output, report, self.exit_code)
    }

    /// What of the grace is within the deadline, with time enough to abort tasks and to name survivors.
    fn grace_left(&self) -> Duration {
        let most = self.deadline.saturating_sub(self.readiness_delay);
        let spare = watchdog::naming(self.deadline).saturating_add(ABORT_WAIT);
        self.grace.min(most.saturating_sub(spare))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells the end of the service's future, however it came.
struct Ending;

impl Drop for Ending {
    fn drop(&mut self) {
        course::initiate(Reason::new("the service has ended"));
    }
}

fn complete(report: &Report) {
    let survivors = report.survivors().count();
    course::advance(Phase::Complete);
    event::note(
        Subject::default(),
        Event::ShutdownComplete {
            took: report.took,
            survivors: survivors.try_into().unwrap_or(u64::MAX),
        },
    );
    for late in report
        .late
        .iter()
        .filter(|late| late.fate != Fate::Ended)
        .take(MOST_LOGGED)
    {
        tracing::warn!(%late, "lifespan: a task did not stop");
    }
    tracing::info!(took = ?report.took, late = report.late.len(), survivors, "lifespan: shutdown complete");
}

/// How many survivors are logged at most: all are in the report.
const MOST_LOGGED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_grace_ends_before_the_deadline() {
        let settings = Settings::new();
        assert_eq!(settings.grace_left(), DEFAULT_GRACE);
        let settings = settings.readiness_delay(SECOND * 10);
        assert_eq!(settings.grace_left(), SECOND * 13);
        assert_eq!(settings.deadline(SECOND * 5).grace_left(), Duration::ZERO);
    }

    #[test]
    fn no_setting_makes_success_of_a_failure() {
        assert_eq!(Settings::new().exit_code(0).exit_code, 1);
        assert_eq!(Settings::new().exit_code(70).exit_code, 70);
    }
}
