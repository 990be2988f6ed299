//! Every way in for a future, and every way in which it can end.

use crate::support::Counts;
use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::registry::{self, KindSummary};
use lifespan::{Builder, JoinSet, KindId, Outcome, Track};
use std::any::Any;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinError, JoinHandle, yield_now};

/// What a task resolves to.
pub(super) type Output = Result<u64, Refused>;
pub(super) type Body = Pin<Box<dyn Future<Output = Output> + Send>>;

#[derive(Debug, PartialEq)]
pub(super) struct Refused;

/// What a task panics with. Not `panic!`, whose hook would write a line for each.
#[derive(Debug, PartialEq)]
pub(super) struct Told(pub(super) u64);

/// What a task does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    Completes,
    Fails,
    Panics,
    /// It waits, and is aborted once it was polled.
    Aborted,
    /// It is aborted at once. On a runtime of one thread that is before its first poll.
    AbortedAtOnce,
}

impl Ending {
    pub(super) const ALL: [Self; 5] = [
        Self::Completes,
        Self::Fails,
        Self::Panics,
        Self::Aborted,
        Self::AbortedAtOnce,
    ];

    /// What is counted. `fallible`: the spawner asked for an `Err` to be told apart.
    pub(super) fn outcome(self, fallible: bool) -> Outcome {
        match self {
            Self::Fails if fallible => Outcome::Failed,
            Self::Completes | Self::Fails => Outcome::Completed,
            Self::Panics => Outcome::Panicked,
            Self::Aborted | Self::AbortedAtOnce => Outcome::Cancelled,
        }
    }
}

/// One kind, and how many of its tasks' destructors have run.
pub(super) struct Ledger {
    pub(super) kind: KindId,
    pub(super) destroyed: AtomicU64,
}

impl Ledger {
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            kind: KindId::named(name),
            destroyed: AtomicU64::new(0),
        })
    }

    /// Not counted as ended before it is gone, and never more ended than spawned.
    pub(super) fn check(&self) {
        self.check_in(&registry::kinds());
    }

    pub(super) fn check_in(&self, kinds: &[KindSummary]) {
        let counts = Counts::among(kinds, self.kind.name());
        assert!(counts.ended() <= counts.spawned, "{counts:?}");
        assert!(
            counts.ended() <= self.destroyed.load(SeqCst),
            "{counts:?}: one ended before its destructors"
        );
    }
}

/// Owned by each task.
pub(super) struct Owned(pub(super) Arc<Ledger>);

impl Drop for Owned {
    fn drop(&mut self) {
        // Slow now and then, so that a task which is counted too early is seen.
        if self.0.destroyed.load(SeqCst).is_multiple_of(8) {
            std::thread::yield_now();
        }
        self.0.destroyed.fetch_add(1, SeqCst);
    }
}

/// A task's future; it says on `started` that it was polled.
pub(super) fn body(ledger: &Arc<Ledger>, ending: Ending, started: oneshot::Sender<()>) -> Body {
    let owned = Owned(Arc::clone(ledger));
    Box::pin(async move {
        let _owned = owned;
        let _ = started.send(());
        yield_now().await;
        match ending {
            Ending::Completes => Ok(42),
            Ending::Fails => Err(Refused),
            Ending::Panics => resume_unwind(Box::new(Told(7))),
            Ending::Aborted | Ending::AbortedAtOnce => std::future::pending().await,
        }
    })
}

/// A body that nobody asks whether it has started.
pub(super) fn quiet_body(ledger: &Arc<Ledger>, ending: Ending) -> Body {
    body(ledger, ending, oneshot::channel().0)
}

/// The result must be what it would be without us.
pub(super) fn check(ending: Ending, result: Result<Output, JoinError>) {
    match ending {
        Ending::Completes => assert_eq!(result.unwrap(), Ok(42)),
        Ending::Fails => assert_eq!(result.unwrap(), Err(Refused)),
        Ending::Panics => check_payload(result.unwrap_err().into_panic()),
        Ending::Aborted | Ending::AbortedAtOnce => assert!(result.unwrap_err().is_cancelled()),
    }
}

pub(super) fn check_payload(payload: Box<dyn Any + Send>) {
    assert_eq!(*payload.downcast::<Told>().unwrap(), Told(7));
}

/// A task that was spawned one way or the other.
pub(super) struct Task {
    pub(super) abort: AbortHandle,
    pub(super) join: Pin<Box<dyn Future<Output = Result<Output, JoinError>>>>,
}

impl From<JoinHandle<Output>> for Task {
    fn from(handle: JoinHandle<Output>) -> Self {
        Self {
            abort: handle.abort_handle(),
            join: Box::pin(handle),
        }
    }
}

/// The only task of a set.
pub(super) fn of_set(spawn: impl FnOnce(&mut JoinSet<Output>) -> AbortHandle) -> Task {
    let mut set = JoinSet::new();
    Task {
        abort: spawn(&mut set),
        join: Box::pin(async move { set.join_next().await.unwrap() }),
    }
}

pub(super) struct Way {
    pub(super) name: &'static str,
    /// An `Err` is told apart.
    pub(super) fallible: bool,
    /// Needs no `LocalSet`.
    pub(super) anywhere: bool,
    pub(super) spawn: fn(KindId, Body) -> Task,
}

pub(super) const fn way(name: &'static str, spawn: fn(KindId, Body) -> Task) -> Way {
    Way {
        name,
        fallible: false,
        anywhere: true,
        spawn,
    }
}

pub(super) const fn local(name: &'static str, spawn: fn(KindId, Body) -> Task) -> Way {
    Way {
        anywhere: false,
        ..way(name, spawn)
    }
}

pub(super) const fn fallible(name: &'static str, spawn: fn(KindId, Body) -> Task) -> Way {
    Way {
        fallible: true,
        ..way(name, spawn)
    }
}

pub(super) fn current() -> Handle {
    Handle::current()
}

/// Every way in for a future.
pub(super) static WAYS: &[Way] = &[
    way("tracked", |kind, body| current().spawn(body.tracked(kind)).into()),
    way("root", |kind, body| {
        current().spawn(body.tracked(kind).root()).into()
    }),
    way("no-waker", |kind, body| {
        current().spawn(body.tracked(kind).no_waker()).into()
    }),
    fallible("fallible", |kind, body| {
        current().spawn(body.tracked(kind).fallible()).into()
    }),
    way("spawn", |kind, body| lifespan::spawn(kind, body).into()),
    way("spawn-on", |kind, body| {
        lifespan::spawn_on(kind, body, &current()).into()
    }),
    way("builder", |kind, body| {
        Builder::new(kind)
            .name("a name")
            .attribute("key", 1)
            .spawn(body)
            .into()
    }),
    fallible("builder-fallible", |kind, body| {
        Builder::new(kind).fallible().spawn(body).into()
    }),
    way("builder-on", |kind, body| {
        Builder::new(kind).long_lived().spawn_on(body, &current()).into()
    }),
    fallible("builder-track", |kind, body| {
        current()
            .spawn(Builder::new(kind).name("a name").fallible().track(body))
            .into()
    }),
    way("set", |kind, body| of_set(|set| set.spawn(kind, body))),
    way("set-on", |kind, body| {
        of_set(|set| set.spawn_on(kind, body, &current()))
    }),
    way("unordered", |kind, body| {
        let mut children = FuturesUnordered::from_iter([body.tracked(kind)]);
        let parent = async move { children.next().await.unwrap() };
        current().spawn(parent).into()
    }),
    way("selected", |kind, body| {
        let child = body.tracked(kind);
        let parent = async move {
            tokio::select! {
                output = child => output,
                never = std::future::pending() => never,
            }
        };
        current().spawn(parent).into()
    }),
    way("nested", |kind, body| {
        lifespan::spawn("conservation-parent", body.tracked(kind)).into()
    }),
    way("moved", |kind, body| {
        let mut child = Box::pin(body.tracked(kind));
        let parent = async move {
            // A first poll here, with this task's waker; all others in another runtime.
            assert!(futures::poll!(&mut child).is_pending());
            let mut elsewhere = tokio::task::JoinSet::new();
            elsewhere.spawn_on(child, OTHER.handle());
            match elsewhere.join_next().await.unwrap() {
                Ok(output) => output,
                Err(error) => resume_unwind(error.into_panic()),
            }
        };
        current().spawn(parent).into()
    }),
    local("spawn-local", |kind, body| {
        lifespan::spawn_local(kind, body).into()
    }),
    local("builder-local", |kind, body| {
        Builder::new(kind).spawn_local(body).into()
    }),
    local("set-local", |kind, body| {
        of_set(|set| set.spawn_local(kind, body))
    }),
    local("tracked-local", |kind, body| {
        tokio::task::spawn_local(body.tracked(kind)).into()
    }),
];

/// Another runtime, for futures that move.
pub(super) static OTHER: LazyLock<Runtime> = LazyLock::new(|| multi_thread(1));

pub(super) fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub(super) fn multi_thread(workers: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers).enable_all().build().unwrap()
}

pub(super) async fn run(way: &Way, ledger: &Arc<Ledger>, ending: Ending) -> Outcome {
    let (started, starts) = oneshot::channel();
    let task = (way.spawn)(ledger.kind, body(ledger, ending, started));
    if ending == Ending::Aborted {
        starts.await.unwrap();
    }
    if matches!(ending, Ending::Aborted | Ending::AbortedAtOnce) {
        task.abort.abort();
    }
    check(ending, task.join.await);
    ending.outcome(way.fallible)
}
