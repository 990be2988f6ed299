//! The tree of scopes: who is in it, and how cancellation goes down.
//!
//! # Invariants
//!
//! 1. A child keeps its parent alive, and a task its scope; a parent knows its children only weakly. So a scope is gone
//!    with its last handle, task and child, and leaves nothing.
//! 2. What a scope decides is written down, from the top downwards, *before* the token is cancelled: whoever is woken
//!    finds the reason.
//! 3. A child copies its parent's standing and becomes known to it under one lock, so that no decision misses it.
//! 4. At most one lock of a node is held at a time but for that, parent before child, and nothing foreign runs under one.
//! 5. Cancellation and deadlines of a parent stop before a *shielded* child, whose maker is told instead and cancels it
//!    in its own order. A close does not stop there: it waits for what is in it, and in the end aborts it.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cleanup::Cleanup;
use super::close::GivenUp;
use super::reason::Reason;
use super::standing::Standing;
use crate::task::TaskId;
use crate::task::exit::{self, Panic};
use crate::task::kind::KindId;
use crate::task::membership::{Membership, Newcomer};
use crate::task::panic;
use crate::task::text;

/// The longest name of a scope, in bytes.
const MOST_NAME: usize = 64;
/// The longest path, in bytes; a longer one shows its end.
const MOST_PATH: usize = 256;

/// One scope.
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) name: Box<str>,
    pub(super) path: Arc<str>,
    parent: Option<Arc<Self>>,
    /// What cancels its parent stops here: see invariant 5.
    shielded: bool,
    pub(super) token: CancellationToken,
    /// The deadline came nearer.
    pub(super) tightened: Notify,
    /// The last task of it or of a scope in it has ended; once closed, any task.
    pub(super) emptied: Notify,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub(super) standing: Standing,
    members: HashMap<u64, Arc<Member>>,
    children: HashMap<u64, Weak<Node>>,
    pub(super) cleanups: Vec<Cleanup>,
}

/// A task of a scope.
pub(super) struct Member {
    pub(super) key: u64,
    scope: Arc<Node>,
    pub(super) id: Option<TaskId>,
    pub(super) kind: KindId,
    pub(super) name: Option<Box<str>>,
    pub(super) blocks: bool,
    pub(super) site: Option<&'static Location<'static>>,
    pub(super) since: Instant,
    abort: Mutex<Option<AbortHandle>>,
}

impl Node {
    /// A scope without a parent.
    pub(super) fn root(name: &str) -> Arc<Self> {
        let name = clean(name);
        let root = Arc::new(Self::new(
            name.clone(),
            name.into(),
            None,
            Standing::default(),
            false,
        ));
        roots().insert(root.id, Arc::downgrade(&root));
        root
    }

    /// A scope within this one.
    pub(super) fn child(self: &Arc<Self>, name: &str) -> Arc<Self> {
        self.add_child(name, false)
    }

    /// A scope within this one that whoever made it cancels, and nothing above it.
    pub(super) fn shielded_child(self: &Arc<Self>, name: &str) -> Arc<Self> {
        self.add_child(name, true)
    }

    fn add_child(self: &Arc<Self>, name: &str, shielded: bool) -> Arc<Self> {
        let name = clean(name);
        let path = join(&self.path, &name);
        let mut inner = self.lock();
        let standing = if shielded {
            inner.standing.shielded_child()
        } else {
            inner.standing.child()
        };
        let child = Arc::new(Self::new(name, path, Some(Arc::clone(self)), standing, shielded));
        inner.children.insert(child.id, Arc::downgrade(&child));
        child
    }

    fn new(
        name: Box<str>,
        path: Arc<str>,
        parent: Option<Arc<Self>>,
        standing: Standing,
        shielded: bool,
    ) -> Self {
        exit::heed_scopes();
        OPEN.fetch_add(u64::from(!standing.is_closed()), Relaxed);
        let token = parent
            .as_ref()
            .filter(|_| !shielded)
            .map_or_else(CancellationToken::new, |parent| parent.token.child_token());
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            name,
            path,
            parent,
            shielded,
            token,
            tightened: Notify::new(),
            emptied: Notify::new(),
            inner: Mutex::new(Inner {
                standing,
                members: HashMap::new(),
                children: HashMap::new(),
                cleanups: Vec::new(),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels it and what is in it; says whether it was not cancelled before.
    pub(super) fn cancel(self: &Arc<Self>, reason: &Reason) -> bool {
        let now = Instant::now();
        let first = self.lock().standing.cancel(reason, now);
        for below in self.reached().into_iter().skip(1) {
            below.lock().standing.cancel(reason, now);
        }
        self.token.cancel();
        first
    }

    /// Brings the deadline of it and of what is in it nearer.
    pub(super) fn tighten(self: &Arc<Self>, to: Instant) {
        for node in self.reached() {
            if node.lock().standing.tighten(to) {
                node.tightened.notify_waiters();
            }
        }
    }

    /// Closes it and what is in it, and returns the tasks that are left.
    pub(super) fn shut(self: &Arc<Self>) -> Vec<Arc<Member>> {
        let mut left = Vec::new();
        for node in self.subtree() {
            if node.shielded {
                node.cancel(&Reason::closed());
            }
            let mut inner = node.lock();
            if inner.standing.close() {
                OPEN.fetch_sub(1, Relaxed);
            }
            left.extend(inner.members.values().cloned());
        }
        left.sort_by_key(|member| member.key);
        left
    }

    /// Closes it where nothing is in it; says whether it did.
    pub(super) fn retire(&self, reason: &Reason, now: Instant) -> bool {
        {
            let mut inner = self.lock();
            if !inner.members.is_empty() || !inner.children.is_empty() {
                return false;
            }
            inner.standing.cancel(reason, now);
            if inner.standing.close() {
                OPEN.fetch_sub(1, Relaxed);
            }
        }
        self.token.cancel();
        true
    }

    /// It and all scopes in it that are alive, each before those in it and the older of two children first.
    pub(super) fn subtree(self: &Arc<Self>) -> Vec<Arc<Self>> {
        walk(vec![Arc::clone(self)]).collect()
    }

    /// That part of the subtree which its cancellation reaches.
    fn reached(self: &Arc<Self>) -> Vec<Arc<Self>> {
        walk_where(vec![Arc::clone(self)], |node| !node.shielded).collect()
    }

    pub(super) fn children(&self) -> Vec<Arc<Self>> {
        // Let go of after the lock: the last hold on a child takes the lock to leave.
        self.lock().children.values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// Whether no task is in it, nor in any scope in it.
    pub(super) fn is_quiet(self: &Arc<Self>) -> bool {
        self.is_quiet_but(&GivenUp::default())
    }

    /// The same, but for tasks that were given up.
    pub(super) fn is_quiet_but(self: &Arc<Self>, given_up: &GivenUp) -> bool {
        let mut nodes = walk(vec![Arc::clone(self)]);
        nodes.all(|node| node.lock().members.values().all(|member| given_up.has(member)))
    }

    /// Takes a task in.
    pub(super) fn admit(self: &Arc<Self>, newcomer: Newcomer) -> Arc<Member> {
        let member = Arc::new(Member {
            key: NEXT.fetch_add(1, Relaxed),
            scope: Arc::clone(self),
            id: newcomer.id,
            kind: newcomer.kind,
            name: newcomer.name,
            blocks: newcomer.blocks,
            site: newcomer.site,
            since: Instant::now(),
            abort: Mutex::new(None),
        });
        self.lock().members.insert(member.key, Arc::clone(&member));
        member
    }
}

impl Inner {
    pub(super) fn tasks(&self) -> usize {
        self.members.len()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let cleanups = {
            let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
            if !inner.standing.is_closed() {
                OPEN.fetch_sub(1, Relaxed);
            }
            std::mem::take(&mut inner.cleanups)
        };
        // What they captured is the host's: a destructor that panics must not take down whoever let go last.
        cleanups
            .into_iter()
            .for_each(|cleanup| panic::contain(|| drop(cleanup)));
        let Some(parent) = self.parent.take() else {
            roots().remove(&self.id);
            return;
        };
        parent.lock().children.remove(&self.id);
        // One after the other: a chain of parents can be deeper than a stack.
        let mut next = Arc::into_inner(parent);
        while let Some(mut node) = next {
            next = node.parent.take().and_then(|parent| {
                parent.lock().children.remove(&node.id);
                Arc::into_inner(parent)
            });
        }
    }
}

impl Member {
    /// Aborts the task, where that is possible; says whether it is.
    pub(super) fn abort(&self) -> bool {
        let handle = lock(&self.abort).clone();
        if let Some(handle) = &handle {
            handle.abort();
        }
        handle.is_some()
    }

    pub(super) fn has_left(&self) -> bool {
        !self.scope.lock().members.contains_key(&self.key)
    }

    pub(super) fn scope(&self) -> &Arc<Node> {
        &self.scope
    }
}

impl Membership for Member {
    fn path(&self) -> Arc<str> {
        Arc::clone(&self.scope.path)
    }

    fn overstays(&self) -> bool {
        self.scope.lock().standing.overstays(Instant::now())
    }

    fn admit(&self, newcomer: Newcomer) -> Arc<dyn Membership> {
        self.scope.admit(newcomer)
    }

    fn abort_with(&self, handle: AbortHandle) {
        *lock(&self.abort) = Some(handle.clone());
        // A close that has been here before the handle was could not abort it.
        if self.scope.lock().standing.is_closed() {
            handle.abort();
        }
    }

    fn leave(&self, _: Option<Panic>) {
        let (left, telling) = {
            let mut inner = self.scope.lock();
            let left = inner.members.remove(&self.key);
            (left, inner.members.is_empty() || inner.standing.is_closed())
        };
        drop(left);
        // Its handle keeps the task's memory, and the record this.
        drop(lock(&self.abort).take());
        let mut node = Some(&self.scope).filter(|_| telling);
        while let Some(above) = node {
            above.emptied.notify_waiters();
            node = above.parent();
        }
    }
}

/// Those scopes and all in them that are alive, each before those in it, and the older of two children first.
pub(super) fn walk(roots: Vec<Arc<Node>>) -> impl Iterator<Item = Arc<Node>> {
    walk_where(roots, |_| true)
}

/// The same, but for children that are not wanted, and what is in them.
fn walk_where(roots: Vec<Arc<Node>>, wanted: impl Fn(&Node) -> bool) -> impl Iterator<Item = Arc<Node>> {
    // Not by recursion: a host can nest scopes deeper than a stack is.
    let mut todo = roots;
    todo.reverse();
    std::iter::from_fn(move || {
        let node = todo.pop()?;
        let mut children = node.children();
        children.retain(|child| wanted(child));
        children.sort_by_key(|child| std::cmp::Reverse(child.id));
        todo.extend(children);
        Some(node)
    })
}

/// Scopes that exist and are not closed.
pub(super) fn open() -> u64 {
    OPEN.load(Relaxed)
}

/// All scopes without a parent, the oldest first.
pub(super) fn all_roots() -> Vec<Arc<Node>> {
    let mut all: Vec<Arc<Node>> = roots().values().filter_map(Weak::upgrade).collect();
    all.sort_by_key(|root| root.id);
    all
}

fn clean(name: &str) -> Box<str> {
    let name = text::clean(name, MOST_NAME);
    if name.is_empty() {
        "unnamed".into()
    } else {
        name.into()
    }
}

fn join(parent: &str, name: &str) -> Arc<str> {
    let path = format!("{parent}/{name}");
    if path.len() <= MOST_PATH {
        return path.into();
    }
    format!("\u{2026}/{name}").into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn roots() -> MutexGuard<'static, HashMap<u64, Weak<Node>>> {
    static ROOTS: LazyLock<Mutex<HashMap<u64, Weak<Node>>>> = LazyLock::new(Mutex::default);
    lock(&ROOTS)
}

static NEXT: AtomicU64 = AtomicU64::new(1);
static OPEN: AtomicU64 = AtomicU64::new(0);
