//! What a supervisor's task keeps of a child, and how it changes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::time::Instant;

use super::backoff::Row;
use super::counts;
use super::exit::LastExit;
use super::launch::Run;
use super::shared::Facts;
use super::shell::Shell;
use super::spec::ChildSpec;
use super::view::ChildState;
use crate::task::panic;

pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) state: State,
    pub(super) row: Row,
    pub(super) restarts: u64,
    pub(super) counter: Arc<AtomicU64>,
    /// Changes whenever timers that were set for it count no more.
    pub(super) epoch: u64,
    pub(super) last: Option<LastExit>,
}

pub(super) enum State {
    /// It runs, and is not ready.
    Starting(Arc<Run>),
    Running(Arc<Run>),
    Stopping(Arc<Run>),
    /// It is to be started: then, or with another that is.
    Waiting(Option<Instant>),
    Stopped {
        /// Not with its group, either.
        held: bool,
    },
    /// Its run does not end.
    Stuck(Arc<Run>),
}

impl State {
    pub(super) fn run(&self) -> Option<&Arc<Run>> {
        match self {
            Self::Starting(run) | Self::Running(run) | Self::Stopping(run) | Self::Stuck(run) => Some(run),
            Self::Waiting(_) | Self::Stopped { .. } => None,
        }
    }

    /// Whether it is to be started with its group.
    pub(super) fn returns(&self) -> bool {
        !matches!(self, Self::Stopped { held: true } | Self::Stuck(_))
    }

    fn shown(&self) -> ChildState {
        match self {
            Self::Starting(_) => ChildState::Starting,
            Self::Running(_) => ChildState::Running,
            Self::Stopping(_) => ChildState::Stopping,
            Self::Waiting(_) => ChildState::Restarting,
            Self::Stopped { .. } => ChildState::Stopped,
            Self::Stuck(_) => ChildState::Stuck,
        }
    }
}

impl Shell {
    /// Takes a child in, which is not started yet.
    pub(super) fn adopt(&mut self, spec: ChildSpec) -> u64 {
        let key = self.next_key;
        self.next_key = self.next_key.saturating_add(1);
        let facts = Facts {
            name: Arc::clone(&spec.name),
            kind: spec.kind_id(),
            is_supervisor: spec.supervisor,
            restart: spec.restart,
            significant: spec.significant,
            backs_off: spec.backoff.is_some(),
            state: ChildState::Stopped,
            run: None,
            restarts: 0,
            last: None,
            next: None,
        };
        let child = Child {
            counter: counts::counter(&self.shared.path, &spec.name),
            spec,
            state: State::Stopped { held: false },
            row: Row::default(),
            restarts: 0,
            epoch: 0,
            last: None,
        };
        self.shared.lock().children.insert(key, facts);
        self.children.insert(key, child);
        key
    }

    /// Forgets a child, which does not run.
    pub(super) fn forget(&mut self, key: u64) {
        let facts = self.shared.lock().children.remove(&key);
        drop(facts);
        // What its closure captured is the host's.
        if let Some(child) = self.children.remove(&key) {
            panic::contain(|| drop(child));
        }
    }

    pub(super) fn set(&mut self, key: u64, state: State) {
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        child.epoch = child.epoch.wrapping_add(1);
        child.state = state;
        self.show(key);
    }

    /// Tells others how a child stands.
    pub(super) fn show(&self, key: u64) {
        let Some(child) = self.children.get(&key) else {
            return;
        };
        let mut run = child.state.run().cloned();
        let last = child.last.clone();
        let mut inner = self.shared.lock();
        let Some(facts) = inner.children.get_mut(&key) else {
            return;
        };
        facts.state = child.state.shown();
        facts.restarts = child.restarts;
        facts.next = match child.state {
            State::Waiting(until) => until,
            _ => None,
        };
        std::mem::swap(&mut facts.run, &mut run);
        let last = std::mem::replace(&mut facts.last, last);
        drop(inner);
        drop((run, last));
    }

    pub(super) fn set_stopped(&mut self, key: u64, held: bool) {
        if self
            .children
            .get(&key)
            .is_some_and(|child| child.state.run().is_none())
        {
            self.set(key, State::Stopped { held });
        }
    }
}

pub(super) fn is_stuck(child: &Child) -> bool {
    matches!(child.state, State::Stuck(_))
}
