//! What a supervisor is told of a child before it runs.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::Id;

use super::backoff::Backoff;
use super::builder::Builder;
use super::context::Context;
use super::exit::{IntoExit, returned};
use super::launch::Launch;
use super::shell;
use crate::task::kind::{AsKind, Kind, KindId};
use crate::task::text;

/// When a child is started again after it has ended by itself.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// When it failed: an error, or a panic.
    Transient,
    /// Never, and neither with its group: once it has ended, it is forgotten.
    Temporary,
}

impl Restart {
    /// The name that views show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        }
    }
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Its task is aborted at once.
    Abort,
    /// It is asked to stop, and aborted where it has not after so long.
    Grace(Duration),
    /// It is asked to stop, and waited for however long that takes. For supervisors.
    Infinite,
}

impl Shutdown {
    /// How long a child has to stop, by default.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Grace(Self::DEFAULT_GRACE)
    }
}

/// When a supervisor stops since its significant children have ended.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AutoShutdown {
    /// Never; it can have no significant children.
    #[default]
    Never,
    /// When one of them has ended by itself, for good.
    AnySignificant,
    /// When the last of them has.
    AllSignificant,
}

/// How a supervisor knows that a child is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Readiness {
    /// It is, once it is spawned.
    Spawned,
    /// It says so, within that time if there is one.
    Told(Option<Duration>),
}

/// A child of a supervisor: how it is made, and when it is started again.
///
/// What makes its future is called for each run anew, and a panic in it is a failed start. The future runs as an
/// ordinary task: of the child's kind, in a scope of its own. A child has ended when its task has, and all that it
/// spawned through lifespan: what is left is cancelled, and aborted where it does not stop, before the child runs again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use lifespan::supervisor::{Backoff, ChildSpec, Restart, Shutdown};
///
/// let reader = ChildSpec::new("reader", |cx| async move {
///     // connect …
///     cx.ready();
///     cx.cancelled().await;
/// })
/// .restart(Restart::Transient)
/// .shutdown(Shutdown::Grace(Duration::from_secs(1)))
/// .start_timeout(Duration::from_secs(10))
/// .backoff(Backoff::default());
/// # let _ = reader;
/// ```
#[must_use = "a specification starts nothing until a supervisor has it"]
pub struct ChildSpec {
    pub(super) name: Arc<str>,
    kind: OnceLock<KindId>,
    /// Its tasks need a name beside their kind.
    pub(super) named: bool,
    pub(super) restart: Restart,
    pub(super) significant: bool,
    pub(super) shutdown: Shutdown,
    pub(super) readiness: Readiness,
    pub(super) heartbeat: Option<Duration>,
    pub(super) backoff: Option<Backoff>,
    pub(super) supervisor: bool,
    pub(super) site: &'static Location<'static>,
    pub(super) factory: Box<dyn Factory>,
}

/// Makes a run of a child, as a task. Behind it the future's type is gone, and its polls pay nothing for that.
pub(super) trait Factory: Send {
    fn run(&mut self, launch: Launch<'_>) -> Id;
}

impl<F: FnMut(Launch<'_>) -> Id + Send> Factory for F {
    fn run(&mut self, launch: Launch<'_>) -> Id {
        self(launch)
    }
}

impl ChildSpec {
    /// A child of that name. Its tasks are of the kind of that name too.
    ///
    /// Control characters in the name become `_`, and it is cut to 64 bytes.
    #[track_caller]
    pub fn new<F, Fut>(name: impl AsRef<str>, mut run: F) -> Self
    where
        F: FnMut(Context) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoExit,
    {
        let name = clean(name.as_ref());
        Self::with(name, None, move |launch: Launch<'_>| {
            let future = run(launch.context());
            launch.spawn(async move { returned(future.await.into_exit()) })
        })
    }

    /// A supervisor of that name, as a child. `build` is called for each run anew, with a builder of that name.
    ///
    /// It is ready when all its children are, waited for without a limit both at its start and at its stop; when it
    /// gives up, it has failed; and when it has shut down by itself, it is done.
    ///
    /// # Examples
    ///
    /// ```
    /// use lifespan::supervisor::{ChildSpec, Strategy};
    ///
    /// let sessions = ChildSpec::supervisor("sessions", |builder| builder.strategy(Strategy::Dynamic));
    /// # let _ = sessions;
    /// ```
    #[track_caller]
    pub fn supervisor<F>(name: impl AsRef<str>, mut build: F) -> Self
    where
        F: FnMut(Builder) -> Builder + Send + 'static,
    {
        static KIND: Kind = Kind::new("supervisor");
        let name = clean(name.as_ref());
        let own = Arc::clone(&name);
        let spec = Self::with(name, Some(KIND.id()), move |launch: Launch<'_>| {
            let builder = build(Builder::new(&own));
            let nested = shell::nested(builder, &launch);
            launch.spawn(nested)
        });
        Self {
            shutdown: Shutdown::Infinite,
            readiness: Readiness::Told(None),
            supervisor: true,
            ..spec
        }
    }

    #[track_caller]
    fn with(
        name: Arc<str>,
        kind: Option<KindId>,
        factory: impl FnMut(Launch<'_>) -> Id + Send + 'static,
    ) -> Self {
        Self {
            name,
            named: kind.is_some(),
            kind: kind.map(OnceLock::from).unwrap_or_default(),
            restart: Restart::default(),
            significant: false,
            shutdown: Shutdown::default(),
            readiness: Readiness::Spawned,
            heartbeat: None,
            backoff: None,
            supervisor: false,
            site: Location::caller(),
            factory: Box::new(factory),
        }
    }

    /// The kind of its tasks. By default, that of its name; give one to children that share a kind.
    pub fn kind(mut self, kind: impl AsKind) -> Self {
        self.kind = kind.kind_id().into();
        self.named = true;
        self
    }

    /// When it is started again. By default, [`Restart::Permanent`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Counts for its supervisor's [`AutoShutdown`]. By default, it does not.
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// How it is stopped. By default, [`Shutdown::Grace`] of 5 s.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// The child says when it is ready, with [`Context::ready`], and within that time: else its start has failed. What
    /// starts after it waits for it. By default, it is ready as soon as it is spawned.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.readiness = Readiness::Told(Some(limit));
        self
    }

    /// The child gives a sign of life, with [`Context::heartbeat`], at least so often: else it is *overdue*, which is
    /// shown and told, and changes nothing. By default, it need not.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// How long it waits before it is started again. By default, it does not.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }
}

impl ChildSpec {
    /// Looked up when it is used: a name that another kind stands for takes no place among the kinds.
    pub(super) fn kind_id(&self) -> KindId {
        *self.kind.get_or_init(|| KindId::named(&self.name))
    }
}

impl Readiness {
    pub(super) fn is_told(self) -> bool {
        matches!(self, Self::Told(_))
    }

    pub(super) fn limit(self) -> Option<Duration> {
        match self {
            Self::Told(limit) => limit,
            Self::Spawned => None,
        }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("restart", &self.restart)
            .field("significant", &self.significant)
            .field("shutdown", &self.shutdown)
            .field("heartbeat", &self.heartbeat)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// The longest name of a child and of a supervisor, in bytes.
const MOST_NAME: usize = 64;

/// A name as it is shown. A `/` would look like a step in a path.
pub(super) fn clean(name: &str) -> Arc<str> {
    let name = text::clean(name, MOST_NAME).replace('/', "_");
    if name.is_empty() {
        return "unnamed".into();
    }
    name.into()
}
