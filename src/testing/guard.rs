//! A test's own scope, and the look at what is left in it.

use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::message;
use crate::scope::{self, Alive, Scope};
use crate::task::KindId;

/// How long a [`LeakGuard`] waits for tasks to end, by default.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// How often it looks at least: on a machine that is busy, a second can pass before a task had its turn.
pub const LEAST_LOOKS: u32 = 20;

/// Fails a test when tasks that it has spawned outlive it.
///
/// The test's body runs in a [scope] of its own, so that every task that it spawns through lifespan, and
/// every task of those, belongs to this test and no other: tests that run at the same time do not disturb each other,
/// in one runtime or in many. (`goleak`, which this is after, compares all goroutines of the process before and after,
/// and knows only what was there before.)
///
/// What it cannot see: tasks that nobody [tracks](crate#ways-in), those that were spawned into another scope by name, as
/// `Scope::root().spawn(…)` does, and all but those of [`scope`](Self::scope) where `LIFESPAN_DISABLED` is set.
///
/// # Examples
///
/// ```
/// use lifespan::testing::LeakGuard;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// // In a `#[tokio::test]`:
/// LeakGuard::new()
///     .run(async {
///         let worker = lifespan::spawn("worker", async { 42 });
///         assert_eq!(worker.await.expect("no panic"), 42);
///     })
///     .await;
/// # }
/// ```
///
/// One that forgets its worker fails:
///
/// ```should_panic
/// # use lifespan::testing::LeakGuard;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// LeakGuard::new()
///     .run(async {
///         lifespan::spawn("worker", std::future::pending::<()>());
///     })
///     .await;
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a guard that is not run or checked looks only once, when it is dropped"]
pub struct LeakGuard {
    scope: Scope,
    made_at: &'static Location<'static>,
    wait: Duration,
    kinds: Vec<KindId>,
    sites: Vec<String>,
    checked: bool,
}

impl LeakGuard {
    /// A guard with a scope that is in no other.
    #[track_caller]
    pub fn new() -> Self {
        Self {
            scope: Scope::new("test"),
            made_at: Location::caller(),
            wait: DEFAULT_WAIT,
            kinds: Vec::new(),
            sites: Vec::new(),
            checked: false,
        }
    }

    /// How long tasks may take to end after the test, on tokio's clock: where that is paused, no time passes. By default,
    /// [`DEFAULT_WAIT`]. It looks [`LEAST_LOOKS`] times in any case.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Leaves out tasks of a kind. By default, none are.
    pub fn ignore_kind(mut self, kind: impl AsRef<str>) -> Self {
        self.kinds.push(KindId::named(kind.as_ref()));
        self
    }

    /// Leaves out tasks that were spawned at a place whose `file:line:column` has this text in it: `src/pool.rs`, or
    /// `src/pool.rs:88:`. By default, none are.
    pub fn ignore_site(mut self, part: impl Into<String>) -> Self {
        self.sites.push(part.into());
        self
    }

    /// The scope whose tasks must not outlive the test. What is spawned in it, or in a child of it, counts as well.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Runs the body of a test, in place, and checks.
    ///
    /// # Panics
    ///
    /// Where tasks are left: with their kinds, where they were spawned, and what they do. A panic of the body passes
    /// through, and nothing is checked then. Outside of a tokio runtime with timers.
    #[track_caller]
    pub fn run<F: Future>(self, body: F) -> impl Future<Output = F::Output> {
        let body = self
            .scope
            .wrap(KindId::named("test-body"), body, Location::caller());
        async move {
            let output = body.await;
            self.check().await;
            output
        }
    }

    /// Waits until no task is left, or the [time](Self::wait) has passed.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub async fn check(mut self) {
        self.checked = true;
        let (start, mut pause, mut looks) = (Instant::now(), Duration::from_micros(1), 0u32);
        loop {
            looks = looks.saturating_add(1);
            let left = self.left();
            if left.is_empty() {
                return;
            }
            if looks >= LEAST_LOOKS && start.elapsed() >= self.wait {
                panic!("{}", message::message(&left, self.made_at, start.elapsed()));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn left(&self) -> Vec<Alive> {
        let mut left = scope::members(&self.scope);
        left.retain(|member| {
            let is_at = |site: &String| member.spawned_at.is_some_and(|at| at.to_string().contains(site));
            !self.kinds.contains(&member.kind) && !self.sites.iter().any(is_at)
        });
        left
    }
}

const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Default for LeakGuard {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for LeakGuard {
    /// Looks once, where nothing was checked and the test has not failed already: a test that forgets to check must not
    /// pass in silence.
    fn drop(&mut self) {
        if self.checked || std::thread::panicking() {
            return;
        }
        let left = self.left();
        assert!(
            left.is_empty(),
            "{}",
            message::message(&left, self.made_at, Duration::ZERO)
        );
    }
}
