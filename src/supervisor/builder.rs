//! How a supervisor is specified and started.

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::{SpecError, StartError, check_all};
use super::intensity::{DEFAULT_INTENSITY, DEFAULT_PERIOD};
use super::shared::Shared;
use super::shell::{self, Shell};
use super::spec::{AutoShutdown, ChildSpec, clean};
use super::strategy::Strategy;
use super::{GaveUp, Supervisor};
use crate::scope::{Reason, Scope};
use crate::task::kind::Kind;
use crate::task::panic;

/// A supervisor before it starts. See [`Supervisor::builder`].
#[must_use = "a builder starts nothing until it is told to"]
pub struct Builder {
    pub(super) name: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) intensity: (u32, Duration),
    pub(super) auto: AutoShutdown,
    pub(super) backtraces: bool,
    pub(super) children: Vec<ChildSpec>,
    pub(super) last_resort: LastResort,
}

/// What a supervisor does after it gave up, where none is above it.
pub(super) enum LastResort {
    CancelScope,
    Call(Box<dyn FnOnce(&GaveUp) + Send>),
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: clean(name),
            strategy: Strategy::default(),
            intensity: (DEFAULT_INTENSITY, DEFAULT_PERIOD),
            auto: AutoShutdown::default(),
            backtraces: false,
            children: Vec::new(),
            last_resort: LastResort::CancelScope,
        }
    }

    /// Whom a failed child takes with it. By default, [`Strategy::OneForOne`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How many restarts it allows, of all its children together, within so long. One more, and it gives up. By default,
    /// [`DEFAULT_INTENSITY`] in [`DEFAULT_PERIOD`]; none where it is 0, and at most [`MAX_INTENSITY`](super::MAX_INTENSITY).
    ///
    /// A start that failed counts as well, and time that starts and stops take does not pass for the budget. Supervisors
    /// above multiply it: ten restarts of ten each are a hundred.
    pub fn intensity(mut self, restarts: u32, period: Duration) -> Self {
        self.intensity = (restarts, period);
        self
    }

    /// Whether it stops when significant children have ended. By default, [`AutoShutdown::Never`].
    pub fn auto_shutdown(mut self, auto: AutoShutdown) -> Self {
        self.auto = auto;
        self
    }

    /// Tells the frames of a child's panic too, in its event. By default, it does not: symbols take milliseconds to read,
    /// at the first time more.
    pub fn backtraces(mut self) -> Self {
        self.backtraces = true;
        self
    }

    /// Adds a child, to be started after those before it.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// What to do after it gave up and its children were stopped, if no supervisor is above it: such as to exit the
    /// process with a code of your own. A panic in it goes no further. By default, the scope that it was started in is
    /// cancelled, with a reason of [`Cause::GaveUp`](crate::scope::Cause::GaveUp): a service that waits for its root scope
    /// drains, ends, and is started anew from outside.
    ///
    /// Either way `/readyz` says no, until a supervisor of that path is started or the scope is closed.
    pub fn on_give_up(mut self, act: impl FnOnce(&GaveUp) + Send + 'static) -> Self {
        self.last_resort = LastResort::Call(Box::new(act));
        self
    }

    /// Starts it in a scope, as a task of kind `supervisor`: first all children, one after the other. It returns when
    /// the last one is ready.
    ///
    /// The supervisor stops when the scope is cancelled or closed, or its deadline passes: its children are stopped in
    /// reverse order, each as its specification says. They are tasks in the scope, so that a close of it waits for them, and
    /// aborts them when its own grace is over.
    ///
    /// # Errors
    ///
    /// Where it is not valid, and where a child did not start: those that had are then stopped again.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops what it has started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers.
    pub async fn start(self, scope: &Scope) -> Result<Supervisor, StartError> {
        static KIND: Kind = Kind::new("supervisor");
        self.check()?;
        warn_where_nothing_is_caught();
        panic::watch();
        let own = scope.child(&self.name);
        let shared = Shared::new(&self.name, None, self.strategy, self.intensity);
        let (tell, told) = oneshot::channel();
        let shell = Shell::new(Arc::clone(&shared), own.clone(), self.auto, self.backtraces);
        let above = scope.clone();
        own.spawn(&KIND, move |_| {
            shell::root(shell, self.children, tell, self.last_resort, above)
        });
        let stop = StopOnDrop(Some(own.clone()));
        let started = told.await;
        stop.disarm();
        match started {
            Ok(Ok(())) => Ok(Supervisor { shared, scope: own }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Cancelled("its task was aborted".into())),
        }
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        if self.intensity.1.is_zero() {
            return Err(SpecError::ZeroDuration("period"));
        }
        check_all(&self.children, self.strategy, self.auto)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .field("intensity", &self.intensity)
            .field("auto_shutdown", &self.auto)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

/// Stops a supervisor whose start nobody waits for any more.
struct StopOnDrop(Option<Scope>);

impl StopOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(scope) = self.0.take() {
            scope.cancel(Reason::supervisor("nobody waits for its start"));
        }
    }
}

fn warn_where_nothing_is_caught() {
    static ONCE: Once = Once::new();
    if cfg!(panic = "abort") {
        ONCE.call_once(|| {
            tracing::warn!(
                "built with panic = \"abort\": a child that panics ends the process, and no supervisor restarts it"
            );
        });
    }
}
