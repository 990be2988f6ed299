//! Supervisors: tasks that are started in order, watched, started again when they fail, and stopped in reverse order.
//!
//! Semantics are those of Erlang's `supervisor`, where they make sense here; `docs/SUPERVISOR_SUITE.md` goes through its
//! tests one by one. A supervisor has *children*, each given by a [`ChildSpec`]; what a failed one takes with it says the
//! [`Strategy`]; and how often that may happen says a budget, of all children together, after which the supervisor *gives
//! up*: it stops its children and leaves it to the supervisor above, or to what [`Builder::on_give_up`] says.
//!
//! * **Children are ordinary tasks**, with records, kinds and scopes; being supervised adds nothing to their polls.
//! * **Never twice.** A child runs again when its former task has *ended*: its destructors have run, and what it had spawned
//!   is gone too. One that does not stop is aborted; one that does not end then is *stuck*: its supervisor gives up rather
//!   than run it twice.
//! * **A panic is a failure**, with its message and place. A panic's payload whose own destructor panics hurts nobody.
//! * **What a child says of itself is believed, but for one thing**: whether it was cancelled is known from its own scope. See
//!   [`Exit`].
//! * **Against `tokio::task::JoinSet`**, with which this is often written by hand: that says that a task has ended, and
//!   leaves all else to you: order, readiness, waiting, budgets, and who is told.
//!
//! What happens is told as [events](crate::event). While a supervisor starts or stops a group of children it does nothing
//! else: failures and requests that come meanwhile wait, as in Erlang.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use lifespan::supervisor::{Backoff, ChildSpec, Restart, Strategy, Supervisor};
//! use lifespan::Scope;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), lifespan::supervisor::StartError> {
//! let ingest = Supervisor::builder("ingest")
//!     .strategy(Strategy::RestForOne)
//!     .intensity(5, Duration::from_secs(60))
//!     .child(ChildSpec::new("reader", |cx| async move { cx.cancelled().await; }).backoff(Backoff::default()))
//!     .child(ChildSpec::new("parser", |cx| async move {
//!         tokio::select! {
//!             _ = cx.cancelled() => Ok(()),
//!             line = async { "42" } => line.parse::<u8>().map(drop),
//!         }
//!     }).restart(Restart::Transient))
//!     .start(&Scope::root())
//!     .await?;
//! ingest.stop().await;
//! # Ok(()) }
//! ```

mod backoff;
mod builder;
mod child;
mod context;
mod control;
pub(crate) mod counts;
mod end;
mod error;
mod exit;
mod inbox;
mod intensity;
mod judge;
mod launch;
mod restart;
mod shared;
mod shell;
mod spec;
mod start;
mod stop;
mod strategy;
mod view;
mod wait;

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::scope::{Reason, Scope};

pub use backoff::Backoff;
pub use builder::Builder;
pub use context::Context;
pub use counts::MAX_COUNTED;
pub use error::{ControlError, SpecError, StartError};
pub use exit::{BoxError, Exit, IntoExit, LastExit};
pub use inbox::Which;
pub use intensity::{DEFAULT_INTENSITY, DEFAULT_PERIOD, MAX_EXTENSION, MAX_INTENSITY};
pub use spec::{AutoShutdown, ChildSpec, Restart, Shutdown};
pub use strategy::Strategy;
pub use view::{
    ChildCounts, ChildId, ChildRow, ChildState, MAX_SHOWN, SupervisorRow, SupervisorState, Supervisors, all,
    exhausted,
};

use inbox::{Message, Verb};
use shared::Shared;

/// A handle of a supervisor that runs: see the [module](self).
///
/// Clones are handles of the same supervisor. Dropping one, and the last one too, stops nothing: what ends a supervisor is
/// [`stop`](Self::stop), its scope, and what its specification says.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
    scope: Scope,
}

impl Supervisor {
    /// Specifies a supervisor of that name.
    ///
    /// Control characters in the name become `_`, and so does `/`; it is cut to 64 bytes.
    pub fn builder(name: impl AsRef<str>) -> Builder {
        Builder::new(name.as_ref())
    }

    /// The names of the supervisors above it, and its own, with `/` between them. One longer than 256 bytes shows its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.shared.path
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> SupervisorState {
        self.shared.lock().state
    }

    /// How many restarts it would allow now.
    #[must_use]
    pub fn budget_remaining(&self) -> u32 {
        self.shared.lock().budget.left(Instant::now())
    }

    /// Its children, in the order of their starts. Those of supervisors among them are in [`all`].
    #[must_use]
    pub fn list(&self) -> Vec<ChildRow> {
        view::row(&self.shared, Instant::now(), usize::MAX).children
    }

    /// How many children it has.
    #[must_use]
    pub fn count(&self) -> ChildCounts {
        let inner = self.shared.lock();
        let mut counts = ChildCounts::default();
        for child in inner.children.values() {
            counts.specs += 1;
            counts.active += usize::from(child.state.is_active());
            counts.supervisors += usize::from(child.is_supervisor);
            counts.workers += usize::from(!child.is_supervisor);
        }
        counts
    }

    /// Adds a child after all others, and starts it. It returns when the child is ready.
    ///
    /// # Errors
    ///
    /// Where the child is not valid, its name is taken (but for [`Strategy::Dynamic`]), or it did not start: it is then not
    /// added.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, the child is added, whether somebody waits for that or not.
    pub async fn add(&self, child: ChildSpec) -> Result<ChildId, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.shared.inbox.post(Message::Add(Box::new(child), answer));
        answered.await.unwrap_or(Err(ControlError::Ended))
    }

    /// Stops a child, as its specification says. It stays in the list, and is started again by hand alone; but for
    /// [`Restart::Temporary`] and [`Strategy::Dynamic`], where it is forgotten. One that does not run already is not
    /// started again.
    ///
    /// # Errors
    ///
    /// Where there is no such child, and where it does not end though it was aborted.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, the child is stopped, whether somebody waits for that or not.
    pub async fn terminate(&self, child: impl Into<Which>) -> Result<(), ControlError> {
        self.control(Verb::Terminate, child.into()).await
    }

    /// Starts a child that has ended or was terminated.
    ///
    /// # Errors
    ///
    /// Where there is no such child, it runs or is about to, or does not start.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, the child is started, whether somebody waits for that or not.
    pub async fn restart(&self, child: impl Into<Which>) -> Result<(), ControlError> {
        self.control(Verb::Restart, child.into()).await
    }

    /// Forgets a child that has ended or was terminated.
    ///
    /// # Errors
    ///
    /// Where there is no such child, or it runs or is about to.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, the child is forgotten, whether somebody waits for that or not.
    pub async fn delete(&self, child: impl Into<Which>) -> Result<(), ControlError> {
        self.control(Verb::Delete, child.into()).await
    }

    /// Stops all children, in reverse order, and then the supervisor; returns how it ended.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, the supervisor stops, whether somebody waits for that or not.
    pub async fn stop(&self) -> End {
        self.scope
            .cancel(Reason::supervisor("the supervisor was stopped"));
        self.ended().await
    }

    /// Waits until it has ended: stopped, shut down by itself, or given up.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time, and called as often as you like.
    pub async fn ended(&self) -> End {
        self.shared.end().await
    }

    async fn control(&self, verb: Verb, child: Which) -> Result<(), ControlError> {
        let (answer, answered) = oneshot::channel();
        self.shared.inbox.post(Message::Control(verb, child, answer));
        answered.await.unwrap_or(Err(ControlError::Ended))
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("path", &self.shared.path)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// How a supervisor ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// It was stopped: by [`Supervisor::stop`], by its scope, or since its runtime shut down.
    Stopped,
    /// Its significant children had ended.
    Finished,
    /// It gave up.
    GaveUp(GaveUp),
}

/// That a supervisor gave up, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GaveUp {
    /// The supervisor's path.
    pub supervisor: Arc<str>,
    /// Why.
    pub cause: Arc<str>,
    /// The children whose tasks do not end though they were aborted.
    pub stuck: Vec<Arc<str>>,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "supervisor `{}` gave up: {}", self.supervisor, self.cause)?;
        if !self.stuck.is_empty() {
            write!(f, "; stuck: {}", self.stuck.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for GaveUp {}
