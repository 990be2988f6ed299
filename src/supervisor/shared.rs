//! What a supervisor's task and all others know of it, and the list of all supervisors.
//!
//! # Invariants
//!
//! 1. Only the supervisor's own task writes here, and its destructor. Others read, and leave messages in the inbox.
//! 2. The list holds supervisors weakly: a handle, the supervisor's task, and, once it gave up, its scope keep one.
//! 3. Nothing of the host's runs or is dropped under a lock of these.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::End;
use super::exit::LastExit;
use super::inbox::Inbox;
use super::intensity::Budget;
use super::launch::Run;
use super::spec::Restart;
use super::strategy::Strategy;
use super::view::{ChildState, SupervisorState};
use crate::task::kind::KindId;

/// One supervisor.
pub(super) struct Shared {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) path: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) inbox: Arc<Inbox>,
    /// It has ended.
    pub(super) ended: Notify,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub(super) state: SupervisorState,
    pub(super) budget: Budget,
    pub(super) children: BTreeMap<u64, Facts>,
    pub(super) cause: Option<Arc<str>>,
    pub(super) end: Option<End>,
}

/// What others see of a child.
pub(super) struct Facts {
    pub(super) name: Arc<str>,
    pub(super) kind: KindId,
    pub(super) is_supervisor: bool,
    pub(super) restart: Restart,
    pub(super) significant: bool,
    pub(super) backs_off: bool,
    pub(super) state: ChildState,
    pub(super) run: Option<Arc<Run>>,
    pub(super) restarts: u64,
    pub(super) last: Option<LastExit>,
    pub(super) next: Option<Instant>,
}

impl Shared {
    pub(super) fn new(
        name: &str,
        parent: Option<(u64, &str)>,
        strategy: Strategy,
        (allowed, period): (u32, Duration),
    ) -> Arc<Self> {
        let path = parent.map_or_else(|| name.into(), |(_, above)| join(above, name));
        let shared = Arc::new(Self {
            id: NEXT.fetch_add(1, Relaxed),
            parent: parent.map(|(id, _)| id),
            path,
            strategy,
            inbox: Arc::default(),
            ended: Notify::new(),
            inner: Mutex::new(Inner {
                state: SupervisorState::Starting,
                budget: Budget::new(allowed, period),
                children: BTreeMap::new(),
                cause: None,
                end: None,
            }),
        });
        list().insert(shared.id, Arc::downgrade(&shared));
        shared
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has ended.
    pub(super) async fn end(&self) -> End {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            let end = self.lock().end.clone();
            if let Some(end) = end {
                return end;
            }
            ended.await;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        list().remove(&self.id);
    }
}

/// All supervisors, the oldest first.
pub(super) fn all() -> Vec<Arc<Shared>> {
    list().values().filter_map(Weak::upgrade).collect()
}

fn list() -> MutexGuard<'static, BTreeMap<u64, Weak<Shared>>> {
    static LIST: Mutex<BTreeMap<u64, Weak<Shared>>> = Mutex::new(BTreeMap::new());
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest path, in bytes; a longer one shows its end.
const MOST_PATH: usize = 256;

fn join(above: &str, name: &str) -> Arc<str> {
    let path = format!("{above}/{name}");
    if path.len() <= MOST_PATH {
        return path.into();
    }
    format!("\u{2026}/{name}").into()
}

static NEXT: AtomicU64 = AtomicU64::new(1);
