//! One run of a child: what its supervisor, its task and its readers know of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::context::Context;
use super::exit::Returned;
use super::inbox::{Inbox, Message};
use super::shared::Shared;
use super::spec::ChildSpec;
use crate::event::{self, Event, Subject};
use crate::scope::Scope;
use crate::task::TaskId;
use crate::task::exit::Panic;
use crate::task::extra::Facts;
use crate::task::kind::KindId;
use crate::task::membership::{Membership, Newcomer};

/// One run of a child. It is also the task's place in the scope of the run, so that the task's record knows its
/// supervisor, and its supervisor what the task died of.
pub(super) struct Run {
    pub(super) key: u64,
    pub(super) kind: KindId,
    pub(super) child: Arc<str>,
    pub(super) supervisor: Arc<str>,
    /// How often the child was started again before.
    pub(super) restart: u64,
    pub(super) since: Instant,
    pub(super) scope: Scope,
    inbox: Arc<Inbox>,
    backtraces: bool,
    task: OnceLock<TaskId>,
    member: OnceLock<Arc<dyn Membership>>,
    ready: AtomicBool,
    /// When its heart beat last, in nanoseconds since it began.
    beat: AtomicU64,
    overdue: AtomicBool,
    panic: Mutex<Option<Panic>>,
}

impl Run {
    pub(super) fn task(&self) -> Option<TaskId> {
        self.task.get().copied()
    }

    pub(super) fn emit(&self, event: Event) {
        let subject = Subject {
            task: self.task(),
            kind: Some(self.kind),
            name: None,
            supervisor: Some(Arc::clone(&self.supervisor)),
            child: Some(Arc::clone(&self.child)),
        };
        event::emit(subject, event);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    pub(super) fn set_ready(&self) {
        if self.ready.swap(true, Relaxed) {
            return;
        }
        self.beat();
        self.emit(Event::Ready {
            after: self.since.elapsed(),
        });
        self.inbox.post(Message::Ready(self.key));
    }

    pub(super) fn beat(&self) {
        let now = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let before = self.beat.swap(now, Relaxed);
        if self.overdue.load(Relaxed) && self.overdue.swap(false, Relaxed) {
            let silent = Duration::from_nanos(now.saturating_sub(before));
            self.emit(Event::Heartbeat { silent });
        }
    }

    pub(super) fn last_beat(&self) -> Instant {
        self.since + Duration::from_nanos(self.beat.load(Relaxed))
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.overdue.load(Relaxed)
    }

    /// Its heartbeat did not come; says whether that is news.
    pub(super) fn miss(&self) -> bool {
        !self.overdue.swap(true, Relaxed)
    }

    pub(super) fn take_panic(&self) -> Option<Panic> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Membership for Run {
    fn path(&self) -> Arc<str> {
        match self.member.get() {
            Some(member) => member.path(),
            None => self.scope.path().into(),
        }
    }

    fn supervisor(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.supervisor))
    }

    fn wants_backtrace(&self) -> bool {
        self.backtraces
    }

    fn is_silent(&self) -> bool {
        self.is_overdue()
    }

    fn overstays(&self) -> bool {
        self.member.get().is_some_and(|member| member.overstays())
    }

    fn admit(&self, newcomer: Newcomer) -> Arc<dyn Membership> {
        self.scope.admit(newcomer)
    }

    fn abort_with(&self, handle: AbortHandle) {
        if let Some(member) = self.member.get() {
            member.abort_with(handle);
        }
    }

    fn leave(&self, panic: Option<Panic>) {
        *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = panic;
        if let Some(member) = self.member.get() {
            member.leave(None);
        }
    }
}

/// What a factory needs to start a run.
pub(super) struct Launch<'a> {
    run: Arc<Run>,
    set: &'a mut JoinSet<Returned>,
    supervisor: u64,
    spec: Given,
}

/// What a run takes from the specification of its child.
#[derive(Clone, Copy)]
struct Given {
    site: &'static std::panic::Location<'static>,
    named: bool,
}

/// Who starts a run.
#[derive(Clone, Copy)]
pub(super) struct Starter<'a> {
    pub(super) scope: &'a Scope,
    pub(super) shared: &'a Shared,
    pub(super) backtraces: bool,
}

impl<'a> Launch<'a> {
    pub(super) fn new(
        starter: Starter<'_>,
        spec: &ChildSpec,
        (key, restart): (u64, u64),
        set: &'a mut JoinSet<Returned>,
    ) -> Self {
        let run = Run {
            key,
            kind: spec.kind_id(),
            child: Arc::clone(&spec.name),
            supervisor: Arc::clone(&starter.shared.path),
            restart,
            since: Instant::now(),
            scope: starter.scope.shielded_child(&spec.name),
            inbox: Arc::clone(&starter.shared.inbox),
            backtraces: starter.backtraces,
            task: OnceLock::new(),
            member: OnceLock::new(),
            ready: AtomicBool::new(false),
            beat: AtomicU64::new(0),
            overdue: AtomicBool::new(false),
            panic: Mutex::new(None),
        };
        Self {
            run: Arc::new(run),
            set,
            supervisor: starter.shared.id,
            spec: Given {
                site: spec.site,
                named: spec.named,
            },
        }
    }

    pub(super) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// The number of the supervisor that starts it.
    pub(super) fn supervisor(&self) -> u64 {
        self.supervisor
    }

    pub(super) fn context(&self) -> Context {
        Context::new(Arc::clone(&self.run))
    }

    /// Spawns the run's task, and says which one that is in the set.
    pub(super) fn spawn(self, future: impl Future<Output = Returned> + Send + 'static) -> Id {
        let run = self.run;
        let facts = Facts {
            name: self.spec.named.then(|| Box::from(&*run.child)),
            ..Facts::default()
        };
        let place = |member: Arc<dyn Membership>| -> Arc<dyn Membership> {
            let _ = run.member.set(member);
            Arc::clone(&run) as Arc<dyn Membership>
        };
        let (handle, id) = run
            .scope
            .spawn_into(self.set, run.kind, facts, future, self.spec.site, place);
        if let Some(id) = id {
            let _ = run.task.set(id);
        }
        handle.id()
    }
}
