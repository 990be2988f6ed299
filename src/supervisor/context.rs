//! What a child is given.

use std::fmt;
use std::sync::Arc;

use super::launch::Run;
use crate::scope::{Reason, Scope};

/// What a run of a child is given: when to stop, and how to say that it is ready and alive.
///
/// Every run has its own, and its own scope: what the child spawns through lifespan joins it, and ends with the run.
#[derive(Clone)]
pub struct Context {
    run: Arc<Run>,
}

impl Context {
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self { run }
    }

    /// Waits until the child is to stop, and says why.
    ///
    /// It need not say so in what it returns: whether a child stopped because it was asked to is known from this, not from
    /// its error.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time, and called as often as you like: in a `select!` too.
    pub async fn cancelled(&self) -> Reason {
        self.run.scope.context().cancelled().await
    }

    /// Whether the child is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the child is to stop, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.run.scope.reason()
    }

    /// Says that the child is ready: see [`ChildSpec::start_timeout`](super::ChildSpec::start_timeout). More than once is
    /// as good as once.
    pub fn ready(&self) {
        self.run.set_ready();
    }

    /// Gives a sign of life: see [`ChildSpec::heartbeat`](super::ChildSpec::heartbeat). It costs a reading of the clock,
    /// and wakes nobody.
    pub fn heartbeat(&self) {
        self.run.beat();
    }

    /// How often the child was started again before this run.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.run.restart
    }

    /// The child's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.run.child
    }

    /// The path of its supervisor.
    #[must_use]
    pub fn supervisor(&self) -> &str {
        &self.run.supervisor
    }

    /// The scope of this run.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.run.scope.clone()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("supervisor", &self.run.supervisor)
            .field("child", &self.run.child)
            .field("restarts", &self.run.restart)
            .finish_non_exhaustive()
    }
}
